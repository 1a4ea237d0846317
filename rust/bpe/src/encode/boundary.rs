//! Where a piece falls apart for certain: between two characters that no token joins.
//!
//! Merging never crosses a place that no token of the vocabulary spans, and what happens on one
//! side of such a place does not depend on the other. So a piece may be cut there, and its parts
//! merged, or found in the cache, each by itself. For scripts written without blanks this makes
//! all the difference: a Chinese sentence is a new piece nearly every time, while the one to three
//! characters between such places are nearly always known, and most are one character and one id.
//!
//! Places are between two characters of three bytes. A token spans one in two ways. It has both
//! characters whole: then the pair is in a set. Or it has a part of one of them: those tokens are
//! few, and are in the set with as much as is there, the byte nearest to the place.
//!
//! The set is a hash with two bits of one word for a pair, so that it may say that a pair is there
//! which is not. That only loses a cut. But each cut that is lost joins characters that seldom
//! meet, which is a part that has to be merged; hence the second bit, and hence the tokens with
//! parts are not simply held by two bytes: that joined one pair in fifteen.

use crate::vocab::hash::fibonacci;
use crate::vocab::vocabulary::Vocabulary;

/// The size of the set of pairs in bits: 128 KB, small enough to stay near the processor.
const BITS: u32 = 20;

/// A character of three bytes: the 16 bits that its bytes hold. Zero, which only a spelling that
/// is not UTF-8 gives, stands for anything else.
pub(crate) type Wide = u16;

/// The places that no token spans, and the characters that are one token.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    pairs: Vec<u64>,
    /// For each last byte, by its six bits, the first bytes, by their four bits, that a token with
    /// a part of a character has behind it. Where these are marked the set is asked again.
    partial: [u16; 64],
}

impl Cuts {
    /// The places that no token of `vocabulary` spans.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut cuts = Self { pairs: vec![0; 1 << (BITS - 6)], partial: [0; 64] };
        for (_, token) in vocabulary.iter() {
            cuts.join(token);
        }
        cuts
    }

    /// Notes the places inside `token`.
    fn join(&mut self, token: &[u8]) {
        for place in 1..token.len() {
            let (last, lead) = (token[place - 1], token[place]);
            if !is_inner(last) || lead & 0xF0 != 0xE0 {
                continue;
            }
            let left = place.checked_sub(3).and_then(|start| wide(&token[start..]));
            let right = wide(&token[place..]);
            if left.is_none() || right.is_none() {
                self.partial[usize::from(last & 0x3F)] |= 1 << (lead & 15);
            }
            let left = left.map_or(PART | u32::from(last & 0x3F), u32::from);
            let right = right.map_or(PART | u32::from(lead & 15), u32::from);
            let (word, bits) = position(left, right);
            self.pairs[word] |= bits;
        }
    }

    #[inline(always)]
    fn joins(&self, left: u32, right: u32) -> bool {
        let (word, bits) = position(left, right);
        self.pairs[word] & bits == bits
    }

    /// Whether no token spans the place between two characters.
    #[inline(always)]
    fn between(&self, left: Wide, right: Wide) -> bool {
        let marked = self.partial[usize::from(left & 0x3F)] >> (right >> 12) & 1 == 1;
        let apart = !self.joins(left.into(), right.into());
        // seldom both, which a processor can guess, unlike each of them
        if apart & marked { !self.joins_parts(left, right) } else { apart }
    }

    #[inline(never)]
    fn joins_parts(&self, left: Wide, right: Wide) -> bool {
        let last = PART | u32::from(left & 0x3F);
        let lead = PART | u32::from(right >> 12);
        self.joins(last, right.into()) || self.joins(left.into(), lead) || self.joins(last, lead)
    }

    /// Puts the ends of the parts of the piece from `start` to `end` of `text` into `ends`, from the
    /// place `count` on. Returns where the last part ends, which is before `end` when there was no
    /// room for more, and how many ends there are now.
    #[inline]
    pub(crate) fn ends(
        &self,
        text: &[u8],
        mut start: usize,
        end: usize,
        ends: &mut [usize],
        mut count: usize,
    ) -> (usize, usize) {
        let mut before = 0;
        while start < end {
            let Some(character) = wide(&text[start..end]) else {
                // whatever it is: what counts is that no cut is made beside it
                start += 1;
                before = 0;
                continue;
            };
            let Some(room) = ends.get_mut(count) else { return (ends[count - 1], count) };
            // the next one is written over it when it is none: which it is, nobody could guess
            *room = start;
            count += usize::from(before != 0 && self.between(before, character));
            before = character;
            start += 3;
        }
        let Some(room) = ends.get_mut(count) else { return (ends[count - 1], count) };
        *room = end;
        (end, count + 1)
    }

    /// Whether `window` begins with two characters of three bytes and no token spans the place
    /// between them.
    #[inline(always)]
    pub(crate) fn here(&self, window: u128) -> bool {
        match (wide_of(window), wide_of(window >> 24)) {
            (Some(left @ 1..), Some(right @ 1..)) => self.between(left, right),
            _ => false,
        }
    }
}

#[inline(always)]
fn is_inner(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// The character of three bytes that `text` begins with.
#[inline(always)]
pub(crate) fn wide(text: &[u8]) -> Option<Wide> {
    match *text {
        [lead, second, third, ..] if lead & 0xF0 == 0xE0 && is_inner(second) && is_inner(third) => {
            Some(u16::from(lead) << 12 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F))
        }
        _ => None,
    }
}

/// The character of three bytes that the number `window` begins with, in its low bytes.
#[inline(always)]
pub(crate) fn wide_of(window: u128) -> Option<Wide> {
    let bytes = window as u32;
    let character = bytes << 12 | (bytes >> 8 & 0x3F) << 6 | (bytes >> 16 & 0x3F);
    (bytes & 0xC0_C0F0 == 0x80_80E0).then_some(character as Wide)
}

/// Marks a part of a character, which is one byte, among whole ones.
const PART: u32 = 1 << 16;

/// The word of a pair and its two bits.
#[inline(always)]
fn position(left: u32, right: u32) -> (usize, u64) {
    let pair = u64::from(left) << 17 | u64::from(right);
    let hash = fibonacci(pair);
    let word = hash >> (64 - (BITS - 6));
    let (one, other) = (hash >> 38 & 63, hash >> 44 & 63);
    (word as usize, 1 << one | 1 << other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::merge;
    use crate::encode::model::Model;

    fn any_piece() -> impl Strategy<Value = Vec<u8>> {
        // characters of all widths, whole and in parts
        let part = prop_oneof![
            Just("\u{4E2D}".as_bytes().to_vec()),
            Just("\u{6587}".as_bytes().to_vec()),
            Just("\u{1F600}".as_bytes().to_vec()),
            Just("\u{E9}".as_bytes().to_vec()),
            Just(b"a".to_vec()),
            Just(b"\xE4".to_vec()),
            Just(b"\xE4\xB8".to_vec()),
            Just(b"\xAD".to_vec()),
            Just(b"\x87\xE4".to_vec()),
            Just(b"\xF0\x9F".to_vec()),
            Just(b"\xFF".to_vec()),
        ];
        proptest::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever the tokens are, merging the parts gives what merging the whole gives.
        #[test]
        fn parts_merge_as_the_whole(
            words in proptest::collection::vec(any_piece(), 0..8),
            piece in any_piece(),
        ) {
            let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
            for word in words {
                // all starts of a word, so that it can grow
                for end in 2..=word.len() {
                    if !tokens.iter().any(|token| token == &word[..end]) {
                        tokens.push(word[..end].to_vec());
                    }
                }
            }
            let numbered = tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..]));
            let model = Model::from_ranks(Vocabulary::new(numbered).unwrap()).unwrap();
            let cuts = Cuts::new(&model.vocabulary);
            let task = lslm_runtime::Task::default();
            let mut scratch = merge::Scratch::default();
            let mut whole = Vec::new();
            merge::merge(&model, &piece, &mut scratch, &task, &mut whole).unwrap();
            let mut parts = Vec::new();
            let mut place = 0;
            while place < piece.len() {
                // little room, so that it has to go on several times
                let mut ends = [0; 2];
                let (end, count) = cuts.ends(&piece, place, piece.len(), &mut ends, 0);
                for &end in &ends[..count] {
                    let part = &piece[place..end];
                    merge::merge(&model, part, &mut scratch, &task, &mut parts).unwrap();
                    place = end;
                }
                prop_assert_eq!(place, end);
            }
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn characters_that_no_token_joins_are_apart() {
        let tokens: Vec<Vec<u8>> = (0..=255)
            .map(|byte| vec![byte])
            .chain(["\u{4E2D}\u{6587}", "\u{6587}"].map(|text| text.as_bytes().to_vec()))
            .collect();
        let numbered = tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..]));
        let vocabulary = Vocabulary::new(numbered).unwrap();
        let cuts = Cuts::new(&vocabulary);
        let text = "\u{6587}\u{4E2D}\u{6587}\u{4E2D}a\u{4E2D}";
        let mut ends = [0; 9];
        let (end, count) = cuts.ends(text.as_bytes(), 0, text.len(), &mut ends, 1);
        assert_eq!(end, text.len());
        assert_eq!(ends[1..count], [3, 9, 16]);
    }
}
