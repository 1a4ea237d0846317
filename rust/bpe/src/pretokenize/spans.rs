//! Splits a text where no token of a vocabulary spans two bytes: for vocabularies without a pattern.
//!
//! ```text
//! build:  for each token, for each two adjacent bytes a, b in it: spans[a, b] ← true
//! split:  a piece ends between two bytes a, b of the text unless spans[a, b]
//! ```
//!
//! Merging never crosses such a place, so the ids of the pieces are those of the whole text. In
//! SentencePiece's vocabularies a space only begins tokens, and most line ends are in none, so that
//! pieces are words.

use std::sync::Arc;

/// Which two bytes stand side by side in some token.
#[derive(Clone)]
pub(crate) struct Spans {
    spans: Arc<[[u64; 4]; 256]>,
    splits_spaces: bool,
}

impl Spans {
    /// Returns the table of `tokens`. With `splits_spaces`, a piece ends before each space too.
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = &'a [u8]>, splits_spaces: bool) -> Self {
        let mut spans = [[0; 4]; 256];
        for pair in tokens.flat_map(|token| token.windows(2)) {
            if !(splits_spaces && pair[1] == b' ') {
                spans[usize::from(pair[0])][usize::from(pair[1] / 64)] |= 1 << (pair[1] % 64);
            }
        }
        Self { spans: Arc::new(spans), splits_spaces }
    }

    /// Returns whether a piece ends before each space, whatever the tokens are.
    pub(crate) fn splits_spaces(&self) -> bool {
        self.splits_spaces
    }

    /// Calls `emit` with the ends of the pieces of `text`, ascending; the last one is its length.
    pub(crate) fn ends(&self, text: &[u8], mut emit: impl FnMut(usize)) {
        for (end, pair) in (1..).zip(text.windows(2)) {
            if self.spans[usize::from(pair[0])][usize::from(pair[1] / 64)] >> (pair[1] % 64) & 1
                == 0
            {
                emit(end);
            }
        }
        if !text.is_empty() {
            emit(text.len());
        }
    }
}

impl std::fmt::Debug for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_no_token_spans() {
        let tokens: [&[u8]; 4] = [b" a", b"ab", b"  ", b"\n\n"];
        let split = |splits_spaces, text: &str| {
            let (mut pieces, mut start) = (Vec::new(), 0);
            Spans::new(tokens.into_iter(), splits_spaces).ends(text.as_bytes(), |end| {
                pieces.push(text[start..end].to_owned());
                start = end;
            });
            pieces
        };
        assert_eq!(split(false, "ab  aba\n\nb"), ["ab", "  ab", "a", "\n\n", "b"]);
        assert_eq!(split(true, "ab  ab"), ["ab", " ", " ab"]);
        assert!(split(false, "").is_empty());
    }
}
