//! Where a piece falls apart for certain: between two characters that no token joins.
//!
//! Merging never crosses a place that no token of the vocabulary spans, and what happens on one
//! side of such a place does not depend on the other. So a piece may be cut there, and its parts
//! merged, or found in the cache, each by itself. For scripts written without blanks this makes
//! all the difference: a Chinese sentence is a new piece nearly every time, while the one to three
//! characters between such places are nearly always known.
//!
//! Places are between two characters of three or four bytes. A token spans one in two ways. It has
//! both characters whole: then the pair is in a set, held as one bit of a hash, so that a collision
//! only loses a cut. Or it has a part of one of them: those tokens are few, and the last byte
//! before and the first byte behind the place are marked instead.

use crate::vocabulary::Vocabulary;

/// The size of the set of pairs in bits: 64 KB, small enough to stay near the processor.
const BITS: u32 = 19;
/// The lead bytes of characters of three bytes and more.
const WIDE: u8 = 0xE0;

/// The places that no token spans.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    pairs: Vec<u64>,
    /// for each last byte, the first bytes from [`WIDE`] on that a token with a part of a
    /// character has behind it
    partial: [u32; 256],
}

impl Cuts {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut cuts = Self { pairs: vec![0; 1 << (BITS - 6)], partial: [0; 256] };
        for (_, token) in vocabulary.iter().filter(|(_, token)| token.len() > 1) {
            cuts.join(token);
        }
        cuts
    }

    /// Notes the places inside `token`.
    fn join(&mut self, token: &[u8]) {
        let mut before: Option<Character> = None;
        let mut start = 0;
        while start < token.len() {
            let character = Character::at(token, start);
            if start > 0 && token[start] >= WIDE {
                match before {
                    Some(before) if before.whole && character.whole => {
                        let (word, bit) = place(before.code, character.code);
                        self.pairs[word] |= bit;
                    }
                    _ => {
                        self.partial[usize::from(token[start - 1])] |= 1 << (token[start] - WIDE);
                    }
                }
            }
            before = Some(character);
            start += character.width;
        }
    }

    /// Calls `f` with where each part of `piece` begins and ends; together they are `piece`.
    #[inline]
    pub(crate) fn for_each(&self, piece: &[u8], mut f: impl FnMut(usize, usize)) {
        let (mut first, mut start) = (0, 0);
        // no character before: a code that no character has, and a cut before it is not asked for
        let mut before = Character { code: 0, width: 0, whole: false };
        while start < piece.len() {
            let character = Character::at(piece, start);
            if before.width > 2 && piece[start] >= WIDE {
                let marked =
                    self.partial[usize::from(piece[start - 1])] >> (piece[start] - WIDE) & 1;
                let (word, bit) = place(before.code, character.code);
                if self.pairs[word] & bit == 0 && marked == 0 {
                    f(first, start);
                    first = start;
                }
            }
            before = character;
            start += character.width;
        }
        f(first, piece.len());
    }
}

/// A character, or what there is of one.
#[derive(Clone, Copy, Debug)]
struct Character {
    /// its bytes as one number
    code: u32,
    width: usize,
    /// all the bytes that the first one announces are there
    whole: bool,
}

impl Character {
    /// What begins at `start`: a byte and, if it announces others, as many of them as follow.
    #[inline(always)]
    fn at(text: &[u8], start: usize) -> Self {
        let rest = &text[start..];
        let is_inner = |byte: u8| byte & 0xC0 == 0x80;
        // by far the most frequent here, in one step
        if let [lead @ 0xE0..=0xEF, second, third, ..] = *rest
            && is_inner(second)
            && is_inner(third)
        {
            let code = u32::from(lead) << 16 | u32::from(second) << 8 | u32::from(third);
            return Self { code, width: 3, whole: true };
        }
        let announced = match rest[0] {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            _ => 1,
        };
        let mut character = Self { code: u32::from(rest[0]), width: 1, whole: false };
        for &byte in rest.iter().take(announced).skip(1).take_while(|&&byte| is_inner(byte)) {
            character.code = character.code << 8 | u32::from(byte);
            character.width += 1;
        }
        character.whole = character.width == announced && !is_inner(rest[0]);
        character
    }
}

/// Where the bit of a pair is.
#[inline(always)]
fn place(left: u32, right: u32) -> (usize, u64) {
    let mixed = u64::from(left).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ u64::from(right).wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(29);
    let hash = mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> (64 - BITS);
    (hash as usize >> 6, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merge;
    use crate::model::Model;

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
            cuts.for_each(&piece, |start, end| {
                assert_eq!(start, place);
                place = end;
                merge::merge(&model, &piece[start..end], &mut scratch, &task, &mut parts).unwrap();
            });
            prop_assert_eq!(place, piece.len());
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn characters_that_no_token_joins_are_apart() {
        let tokens: Vec<Vec<u8>> = (0..=255)
            .map(|byte| vec![byte])
            .chain(["\u{4E2D}\u{6587}".as_bytes().to_vec()])
            .collect();
        let numbered = tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..]));
        let cuts = Cuts::new(&Vocabulary::new(numbered).unwrap());
        let mut parts = Vec::new();
        let text = "\u{6587}\u{4E2D}\u{6587}\u{4E2D}a\u{4E2D}";
        cuts.for_each(text.as_bytes(), |start, end| parts.push(&text[start..end]));
        assert_eq!(parts, ["\u{6587}", "\u{4E2D}\u{6587}", "\u{4E2D}a\u{4E2D}"]);
    }
}
