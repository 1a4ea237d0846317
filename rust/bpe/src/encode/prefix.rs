//! The longest token that a text begins with.
//!
//! All starts of the text are looked up by hash, the longest first. That is cheap because few
//! starts are tokens: a small table knows which lengths the tokens have that begin with the same two
//! bytes, or with the same character of three bytes, and the index of the vocabulary says quickly
//! what is not there. Two bytes are a place in a table, and three are first asked of a set in bits,
//! since of letters in any order nearly all begin some token.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::encode::boundary::{wide, wide_of};
use crate::encode::merge_tree::Tokens;
use crate::encode::model::{NONE, Symbol};
use crate::vocab::hash::{fibonacci, fibonacci_u32};
use crate::vocab::piece_key::{PieceKey, window};
use crate::vocab::vocabulary::Vocabulary;

/// 128 KB, and a few tokens share a place.
const START_BITS: u32 = 16;
/// 32 KB, and one hash in thirty is a token's by chance.
const THREE_BITS: u32 = 18;
/// Some token has more than [`PieceKey::MAX_LEN`] bytes.
const LONG: u16 = 1;

/// Finds tokens at the start of a text.
#[derive(Clone, Debug)]
pub(crate) struct Longest {
    /// By the first two bytes: bit n says that some token begins with them and has n bytes.
    by_bytes: Vec<u16>,
    /// The same by the first character, if it has three bytes.
    by_character: Vec<u16>,
    /// The same by a hash of the first four bytes, or of six when a character of three begins.
    by_start: Vec<u16>,
    /// The symbol that the first two bytes are.
    two: Vec<Symbol>,
    /// One bit by a hash of three bytes: some token may be these.
    three: Vec<u64>,
    /// The symbol that a character of three bytes is.
    characters: Vec<Symbol>,
    /// Tokens of more than [`PieceKey::MAX_LEN`] bytes by the first [`PieceKey::MAX_LEN`], the longest first.
    long: HashMap<PieceKey, Vec<Long>, FixedState>,
    bytes: [Symbol; 256],
}

/// A token of more than [`PieceKey::MAX_LEN`] bytes.
type Long = (Box<[u8]>, Symbol);

impl Longest {
    /// A finder of the tokens of `vocabulary` for which `symbol` is not [`NONE`].
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        bytes: &[Symbol; 256],
        symbol: impl Fn(u32) -> Symbol,
    ) -> Self {
        let mut longest = Self {
            by_bytes: vec![0; 1 << 16],
            by_character: vec![0; 1 << 16],
            by_start: vec![0; 1 << START_BITS],
            two: vec![NONE; 1 << 16],
            three: vec![0; 1 << (THREE_BITS - 6)],
            characters: vec![NONE; 1 << 16],
            long: HashMap::default(),
            bytes: *bytes,
        };
        for (id, token) in vocabulary.iter() {
            let symbol = symbol(id);
            if symbol == NONE || token.len() == 1 {
                continue;
            }
            if token.len() > PieceKey::MAX_LEN {
                let start = PieceKey::read(token, 0, PieceKey::MAX_LEN);
                longest.long.entry(start).or_default().push((token.into(), symbol));
                longest.by_bytes[usize::from(token[0]) | usize::from(token[1]) << 8] |= LONG;
                if let Some(character) = wide(token) {
                    longest.by_character[usize::from(character)] |= LONG;
                }
                continue;
            }
            if token.len() == 2 {
                longest.two[usize::from(token[0]) | usize::from(token[1]) << 8] = symbol;
            } else if token.len() == 3 {
                let place = three(window(token, 0));
                longest.three[place / 64] |= 1 << (place % 64);
            }
            let bit = 1 << token.len();
            let window = window(token, 0);
            if token.len() >= 4 && wide_of(window).is_none() {
                longest.by_start[four(window)] |= bit;
            } else if token.len() >= 6 {
                longest.by_start[six(window)] |= bit;
            }
            longest.by_bytes[usize::from(token[0]) | usize::from(token[1]) << 8] |= bit;
            if let Some(character) = wide(token) {
                longest.by_character[usize::from(character)] |= bit;
                if token.len() == 3 && character != 0 {
                    longest.characters[usize::from(character)] = symbol;
                }
            }
        }
        for list in longest.long.values_mut() {
            list.sort_by_key(|(token, _)| usize::MAX - token.len());
        }
        longest
    }

    /// The longest token of at most `most` bytes, 1 to [`PieceKey::MAX_LEN`], that `window` begins with, and
    /// its length. What `window` holds behind those bytes is of no meaning.
    #[inline(always)]
    pub(crate) fn find(&self, tokens: &Tokens, window: u128, most: usize) -> (Symbol, usize) {
        let character = wide_of(window);
        let lengths = match character {
            Some(character) => {
                let begun = self.by_character[usize::from(character)];
                // most characters begin no longer token
                if begun >> 6 == 0 { begun } else { begun & 0x3F | self.by_start[six(window)] }
            }
            None => self.by_bytes[usize::from(window as u16)] & 0xF | self.by_start[four(window)],
        };
        let mut lengths = lengths & ((2 << most) - 2) as u16;
        while lengths != 0 {
            let length = lengths.ilog2() as usize;
            lengths ^= 1 << length;
            if length == 2 {
                return (self.two[usize::from(window as u16)], 2);
            }
            if length == 3 {
                if let Some(character @ 1..) = character {
                    return (self.characters[usize::from(character)], 3);
                }
                let place = three(window);
                if self.three[place / 64] >> (place % 64) & 1 == 0 {
                    continue;
                }
            }
            if let Some(symbol) = exactly(tokens, window, length) {
                return (symbol, length);
            }
        }
        if character.is_some() && most >= 2 && self.by_bytes[usize::from(window as u16)] & 4 != 0 {
            return (self.two[usize::from(window as u16)], 2);
        }
        (self.bytes[usize::from(window as u8)], 1)
    }

    /// The longest token of more than [`PieceKey::MAX_LEN`] and at most `most` bytes that `text` begins with,
    /// and its length.
    #[inline]
    pub(crate) fn find_long(&self, text: &[u8], most: usize) -> Option<(Symbol, usize)> {
        let begin = match wide(text) {
            Some(character) => self.by_character[usize::from(character)],
            None => self.by_bytes[usize::from(text[0]) | usize::from(text[1]) << 8],
        };
        if begin & LONG == 0 {
            return None;
        }
        let list = self.long.get(&PieceKey::read(text, 0, PieceKey::MAX_LEN))?;
        list.iter()
            .find(|(token, _)| token.len() <= most && text.starts_with(token))
            .map(|(token, symbol)| (*symbol, token.len()))
    }
}

/// The place of the first four bytes of `window`.
#[inline(always)]
fn four(window: u128) -> usize {
    (fibonacci_u32(window as u32) >> (32 - START_BITS)) as usize
}

/// The place of the first three bytes of `window`.
#[inline(always)]
fn three(window: u128) -> usize {
    fibonacci_u32((window as u32) << 8) as usize >> (32 - THREE_BITS)
}

/// The place of the first six bytes of `window`.
#[inline(always)]
fn six(window: u128) -> usize {
    fibonacci((window as u64) << 16) as usize >> (64 - START_BITS)
}

/// The token that the first `length` bytes of `window` are.
#[inline(always)]
fn exactly(tokens: &Tokens, window: u128, length: usize) -> Option<Symbol> {
    tokens.find(PieceKey::from_window(window, length))
}
