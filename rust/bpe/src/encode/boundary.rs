//! Finds places inside a pre-token that no vocabulary token spans.
//!
//! Merging never crosses such a boundary, and what it does on one side does not depend on the
//! other. So a piece may be split there, and its parts merged, or found in the cache, each by
//! itself. In scripts written without spaces nearly every sentence is a new piece, while the one to
//! three characters between boundaries have mostly been seen before, and most are one id.
//!
//! ```text
//! build:  for each token, for each position in it between two three-byte characters a, b:
//!             Bloom filter ← (a, b); of a character that is cut off, its byte next to the position
//! split:  for each two adjacent three-byte characters a, b of a piece:
//!             if the filter has neither (a, b) nor a part of them: a boundary
//! ```
//!
//! The filter has two bits in one 64-bit word for each pair. A false positive only loses a
//! boundary, but each one joins two characters that seldom meet, a part that must then be merged.
//! Hence the second bit; and hence tokens with partial characters are in the filter with all that
//! is known, not just by two bytes, which joined one pair in fifteen.

use crate::encode::char3::{Char3, char3_at, char3_of, first_char3, is_continuation, is_lead};
use crate::vocab::hash::fibonacci;
use crate::vocab::vocabulary::Vocabulary;

/// The base-2 logarithm of the filter's size in bits: 128 KB, which a second-level cache holds.
const FILTER_BITS: u32 = 20;

/// A Bloom filter of the pairs of three-byte characters that some token spans.
#[derive(Clone, Debug)]
pub(crate) struct BoundaryFilter {
    words: Vec<u64>,
    /// By the last byte before a position (its low six bits): the first bytes after it (their low four
    /// bits) in the tokens that span it with a partial character. Only these pairs need lookups of
    /// partial characters.
    partial: [u16; 64],
}

impl BoundaryFilter {
    /// Returns the filter of the pairs that a token of `vocabulary` spans.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut filter = Self { words: vec![0; 1 << (FILTER_BITS - 6)], partial: [0; 64] };
        for (_, token) in vocabulary.iter() {
            filter.insert_pairs(token);
        }
        filter
    }

    /// Inserts the pairs of characters inside `token`.
    fn insert_pairs(&mut self, token: &[u8]) {
        for at in 1..token.len() {
            let (last, lead) = (token[at - 1], token[at]);
            if !is_continuation(last) || !is_lead(lead) {
                continue;
            }
            let left = at.checked_sub(3).and_then(|start| first_char3(&token[start..]));
            let right = first_char3(&token[at..]);
            if left.is_none() || right.is_none() {
                self.partial[usize::from(last & 0x3F)] |= 1 << (lead & 15);
            }
            let left = left.map_or(PARTIAL | u32::from(last & 0x3F), u32::from);
            let right = right.map_or(PARTIAL | u32::from(lead & 15), u32::from);
            let (word, bits) = position(left, right);
            self.words[word] |= bits;
        }
    }

    /// Whether some token may span the position between `left` and `right`.
    #[inline(always)]
    fn has_pair(&self, left: u32, right: u32) -> bool {
        let (word, bits) = position(left, right);
        self.words[word] & bits == bits
    }

    /// Whether no token spans the position between two characters.
    #[inline(always)]
    fn is_boundary_between(&self, left: Char3, right: Char3) -> bool {
        let has_partial = self.partial[usize::from(left & 0x3F)] >> (right >> 12) & 1 == 1;
        let is_apart = !self.has_pair(left.into(), right.into());
        // Without a branch on either alone: both together are rare, so predictable.
        if is_apart & has_partial { !self.has_partial_pair(left, right) } else { is_apart }
    }

    #[inline(never)]
    fn has_partial_pair(&self, left: Char3, right: Char3) -> bool {
        let last = PARTIAL | u32::from(left & 0x3F);
        let lead = PARTIAL | u32::from(right >> 12);
        self.has_pair(last, right.into())
            || self.has_pair(left.into(), lead)
            || self.has_pair(last, lead)
    }

    /// Splits the piece `start..end` of `text` at boundaries and writes the end of each part into
    /// `ends`, from index `count` on.
    ///
    /// Returns the end of the last part, which is less than `end` when `ends` is full, and the
    /// number of ends it now holds.
    #[inline]
    pub(crate) fn split(
        &self,
        text: &[u8],
        mut start: usize,
        end: usize,
        ends: &mut [usize],
        mut count: usize,
    ) -> (usize, usize) {
        let mut before = 0;
        while start < end {
            #[cfg(test)]
            crate::encode::steps::count(1);
            let Some(character) = char3_at(text, start, end) else {
                // Not a three-byte character: never split next to it.
                start += 1;
                before = 0;
                continue;
            };
            let Some(slot) = ends.get_mut(count) else { return (ends[count - 1], count) };
            // Write always, advance only at a boundary: a branch here would be unpredictable.
            *slot = start;
            count += usize::from(before != 0 && self.is_boundary_between(before, character));
            before = character;
            start += 3;
        }
        let Some(slot) = ends.get_mut(count) else { return (ends[count - 1], count) };
        *slot = end;
        (end, count + 1)
    }

    /// Whether `window` begins with two three-byte characters and no token spans the position
    /// between them.
    #[inline(always)]
    pub(crate) fn is_boundary(&self, window: u128) -> bool {
        match (char3_of(window as u32), char3_of((window >> 24) as u32)) {
            (Some(left @ 1..), Some(right @ 1..)) => self.is_boundary_between(left, right),
            _ => false,
        }
    }
}

/// Marks one byte of a partial character, among the 16-bit numbers of whole ones.
const PARTIAL: u32 = 1 << 16;

/// Returns the word of a pair and its two bits.
#[inline(always)]
fn position(left: u32, right: u32) -> (usize, u64) {
    let hash = fibonacci(u64::from(left) << 17 | u64::from(right));
    let word = hash >> (64 - (FILTER_BITS - 6));
    let (one, other) = (hash >> 38 & 63, hash >> 44 & 63);
    (word as usize, 1 << one | 1 << other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_no_token_spans_are_split() {
        let tokens: Vec<Vec<u8>> = (0..=255)
            .map(|byte| vec![byte])
            .chain(["\u{4E2D}\u{6587}", "\u{6587}"].map(|text| text.as_bytes().to_vec()))
            .collect();
        let numbered = tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..]));
        let filter = BoundaryFilter::new(&Vocabulary::new(numbered).unwrap());
        let text = "\u{6587}\u{4E2D}\u{6587}\u{4E2D}a\u{4E2D}";
        let mut ends = [0; 9];
        let (end, count) = filter.split(text.as_bytes(), 0, text.len(), &mut ends, 1);
        assert_eq!(end, text.len());
        assert_eq!(ends[1..count], [3, 9, 16]);
    }
}
