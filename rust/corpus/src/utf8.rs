//! Decodes bytes as UTF-8 under a [`Utf8Policy`].

use std::borrow::Cow;
use std::ops::Range;

use crate::options::Utf8Policy;

/// The ill-formed sequences that became U+FFFD, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replacements(Vec<Replacement>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replacement {
    /// Offset of the U+FFFD in the decoded text.
    offset: usize,
    /// Length of the sequence that it replaced.
    n_bytes: usize,
}

impl Replacements {
    /// Appends U+FFFD to `text` in place of a sequence of `n_bytes`.
    pub(crate) fn push(&mut self, text: &mut String, n_bytes: usize) {
        self.0.push(Replacement { offset: text.len(), n_bytes });
        text.push(char::REPLACEMENT_CHARACTER);
    }

    /// Returns the number of sequences.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns the bytes that each U+FFFD within `range` of the text has more than the sequence that
    /// it replaced, in all.
    pub(crate) fn surplus(&self, range: Range<usize>) -> i64 {
        let within = self.0.iter().filter(|one| range.contains(&one.offset));
        within.map(|one| char::REPLACEMENT_CHARACTER.len_utf8() as i64 - one.n_bytes as i64).sum()
    }
}

/// Returns `bytes` as text, and the ill-formed sequences that were replaced. The error, under
/// [`Utf8Policy::Refuse`] only, is the offset of the first ill-formed byte.
pub(crate) fn decode(
    bytes: &[u8],
    policy: Utf8Policy,
) -> Result<(Cow<'_, str>, Replacements), usize> {
    // `basic` is the faster flavour for text that is nearly always well-formed
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Ok((Cow::Borrowed(text), Replacements::default()));
    }
    match policy {
        Utf8Policy::Refuse => {
            Err(std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len))
        }
        Utf8Policy::Replace => {
            let mut text = String::with_capacity(bytes.len() + 16);
            let mut replaced = Replacements::default();
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                if !chunk.invalid().is_empty() {
                    replaced.push(&mut text, chunk.invalid().len());
                }
            }
            Ok((Cow::Owned(text), replaced))
        }
    }
}

/// The same as [`decode`] for owned bytes, which are not copied when they are well-formed.
pub(crate) fn decode_owned(
    bytes: Vec<u8>,
    policy: Utf8Policy,
) -> Result<(String, Replacements), usize> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, Replacements::default())),
        Err(error) => decode(error.as_bytes(), policy).map(|(text, n)| (text.into_owned(), n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_maximal_ill_formed_sequence_is_one_replacement() {
        // Unicode 17, table 3-8: truncated sequences, and bytes that start none
        let bytes = b"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64";
        let (text, replaced) = decode(bytes, Utf8Policy::Replace).unwrap();
        assert_eq!(text, "a\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d");
        assert_eq!(replaced.count(), 6);
        assert_eq!(text.len() as i64 - replaced.surplus(0..text.len()), bytes.len() as i64);
        assert_eq!(decode(bytes, Utf8Policy::Refuse), Err(1));
    }

    proptest! {
        #[test]
        fn decode_equals_from_utf8_lossy(bytes: Vec<u8>) {
            let (text, replaced) = decode(&bytes, Utf8Policy::Replace).unwrap();
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
            prop_assert_eq!(replaced.count() == 0, std::str::from_utf8(&bytes).is_ok());
            let raw = text.len() as i64 - replaced.surplus(0..text.len());
            prop_assert_eq!(raw, bytes.len() as i64);
            let owned = decode_owned(bytes.clone(), Utf8Policy::Replace).unwrap();
            prop_assert_eq!((text.into_owned(), replaced), owned);
        }
    }
}
