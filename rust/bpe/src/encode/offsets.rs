//! Where in the text each id comes from.

use std::ops::Range;

use lslm_runtime::TokenId;

use crate::decode::token_bytes::TokenBytes;
use crate::normalize::{Alignment, origin};

/// Ids with the range of the text that each of them stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<TokenId>,
    /// For each id, its start and end in the text, in the requested [`Unit`].
    pub offsets: Vec<Range<usize>>,
}

/// What offsets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of the text in UTF-8.
    Byte,
    /// Unicode scalar values; a byte that is not UTF-8 counts as one.
    Character,
}

/// Collects the ranges of ids while a text is encoded.
pub(crate) struct Offsets<'a> {
    token_bytes: &'a TokenBytes,
    ranges: Vec<Range<usize>>,
    /// The offset in the text of the part that was normalised last.
    base: usize,
    /// Where the normalised part differs from the text; `None` if nowhere.
    alignment: Option<Alignment>,
    pieces: Vec<Piece>,
}

/// A piece whose ids are pending.
struct Piece {
    /// Its range in the normalised part.
    range: Range<usize>,
    /// The bytes at its start that are not in the text: a space that pre-tokenisation has added.
    n_added: usize,
}

impl<'a> Offsets<'a> {
    /// Returns an empty collection; `token_bytes` says how long each token is.
    pub(crate) fn new(token_bytes: &'a TokenBytes) -> Self {
        Self { token_bytes, ranges: Vec::new(), base: 0, alignment: None, pieces: Vec::new() }
    }

    /// Returns the ranges of all ids, in bytes of the text.
    pub(crate) fn into_ranges(self) -> Vec<Range<usize>> {
        self.ranges
    }

    /// Starts a part at offset `base` of the text, with the alignment of its normal form.
    pub(crate) fn begin(&mut self, base: usize, alignment: Option<Alignment>) {
        (self.base, self.alignment) = (base, alignment);
    }

    /// Appends the range of an added token in the text.
    pub(crate) fn push_raw(&mut self, range: Range<usize>) {
        self.ranges.push(range);
    }

    /// Appends the range of an added token in the normalised part.
    pub(crate) fn push(&mut self, range: Range<usize>) {
        let range = self.origin(range);
        self.ranges.push(range);
    }

    /// Adds a piece at `range` of the normalised part, with `n_added` bytes before it.
    pub(crate) fn add_piece(&mut self, range: Range<usize>, n_added: usize) {
        self.pieces.push(Piece { range, n_added });
    }

    /// Appends the ranges of the ids of all pieces since the last call.
    ///
    /// The ids of piece k are those from `marks[k]` to `marks[k + 1]` of `ids`.
    pub(crate) fn finish_pieces(&mut self, ids: &[TokenId], marks: &[usize]) {
        let pieces = std::mem::take(&mut self.pieces);
        for (piece, mark) in pieces.iter().zip(marks.windows(2)) {
            let Piece { range, n_added } = piece;
            let len = range.len() + n_added;
            let mut done = 0;
            for &id in &ids[mark[0]..mark[1]] {
                let start = done;
                done += self.token_bytes.get(id).map_or(0, <[u8]>::len).min(len - start);
                let at = |in_piece: usize| range.start + in_piece.saturating_sub(*n_added);
                let range = self.origin(at(start)..at(done));
                self.ranges.push(range);
            }
        }
    }

    /// Returns the range of the text that a range of the normalised part comes from.
    fn origin(&self, range: Range<usize>) -> Range<usize> {
        let (start, end) = match &self.alignment {
            None => (range.start, range.end),
            Some(alignment) => origin(alignment, range.start, range.end),
        };
        self.base + start..self.base + end
    }
}

/// Replaces ranges in bytes of `text` by ranges in characters.
pub(crate) fn bytes_to_characters(text: &[u8], ranges: &mut [Range<usize>]) {
    // By offset: whether a character begins there, and how many begin before it.
    let mut begins = vec![true; text.len() + 1];
    let mut n_before = vec![0_usize; text.len() + 1];
    let mut offset = 0;
    for chunk in text.utf8_chunks() {
        for (inner, c) in chunk.valid().char_indices() {
            begins[offset + inner + 1..offset + inner + c.len_utf8()].fill(false);
        }
        offset += chunk.valid().len() + chunk.invalid().len();
    }
    for offset in 0..text.len() {
        n_before[offset + 1] = n_before[offset] + usize::from(begins[offset]);
    }
    for range in ranges {
        // A token that begins inside a character covers it whole.
        let start = n_before[range.start] - usize::from(!begins[range.start]);
        let end = n_before[range.end];
        *range = start..end.max(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_inside_a_character_cover_it_whole() {
        let text = "a\u{4E2D}\u{E9}".as_bytes();
        let mut ranges = [0..1, 1..2, 2..4, 4..6, 6..6];
        bytes_to_characters(text, &mut ranges);
        assert_eq!(ranges, [0..1, 1..2, 1..2, 2..3, 3..3]);
        let mut ranges = [0..1, 1..2, 2..3];
        bytes_to_characters(b"\xFFa\xE4", &mut ranges);
        assert_eq!(ranges, [0..1, 1..2, 2..3]);
    }
}
