//! The longest token that a text begins with.
//!
//! ```text
//! lengths ← by_bytes[first two bytes] (or by_char3[first character])   a 16-bit set of lengths:
//!           and, from 4 bytes on, by_start[hash of the first 4 or 6]   some token has this length
//! for len in lengths, longest first:
//!     2 bytes or one character of 3: its symbol stands in a table by value
//!     else: look the first len bytes up in the MergeTree's index
//! no length left: the first byte
//! ```
//!
//! That is cheap because few prefixes of a text are tokens, and the sets exclude nearly all the
//! others. Three bytes are first looked up in a Bloom filter: of letters in any order nearly all
//! begin some token.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::encode::char3::{char3_of, first_char3};
use crate::encode::merge_tree::MergeTree;
use crate::vocab::hash::{fibonacci, fibonacci_u32};
use crate::vocab::piece_key::{PieceKey, window};
use crate::vocab::symbol::{NONE, Symbol};
use crate::vocab::vocabulary::Vocabulary;

/// The base-2 logarithm of the entries of `by_start`: 128 KB, each shared by a few tokens.
const START_BITS: u32 = 16;
/// The base-2 logarithm of the bits of `three`: 32 KB, of which a 200k vocabulary sets one in
/// thirty.
const THREE_BITS: u32 = 18;
/// The bit of a set of lengths that stands for all lengths over [`PieceKey::MAX_LEN`].
const LONG: u16 = 1;

/// Finds the longest token at the start of a text.
#[derive(Clone, Debug)]
pub(crate) struct LongestPrefix {
    /// By the first two bytes: bit n says that some token begins with them and has n bytes.
    by_bytes: Vec<u16>,
    /// The same by the first character, if it has three bytes.
    by_char3: Vec<u16>,
    /// The same by a hash of the first four bytes, or of six if they begin with a character of
    /// three.
    by_start: Vec<u16>,
    /// By two bytes: the symbol of the token that consists of them.
    two: Vec<Symbol>,
    /// A Bloom filter of the tokens of three bytes.
    three: Vec<u64>,
    /// By character of three bytes: the symbol of the token that consists of it.
    char3s: Vec<Symbol>,
    /// Tokens of more than [`PieceKey::MAX_LEN`] bytes by the first [`PieceKey::MAX_LEN`], the
    /// longest first.
    long: HashMap<PieceKey, Vec<LongToken>, FixedState>,
    bytes: [Symbol; 256],
}

/// The bytes and the symbol of a token of more than [`PieceKey::MAX_LEN`] bytes.
type LongToken = (Box<[u8]>, Symbol);

impl LongestPrefix {
    /// Returns a finder of the tokens of `vocabulary` for which `symbol_of` is not [`NONE`].
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        bytes: &[Symbol; 256],
        symbol_of: impl Fn(u32) -> Symbol,
    ) -> Self {
        let mut prefixes = Self {
            by_bytes: vec![0; 1 << 16],
            by_char3: vec![0; 1 << 16],
            by_start: vec![0; 1 << START_BITS],
            two: vec![NONE; 1 << 16],
            three: vec![0; 1 << (THREE_BITS - 6)],
            char3s: vec![NONE; 1 << 16],
            long: HashMap::default(),
            bytes: *bytes,
        };
        for (id, token) in vocabulary.iter() {
            let symbol = symbol_of(id);
            if symbol == NONE || token.len() == 1 {
                continue;
            }
            if token.len() > PieceKey::MAX_LEN {
                prefixes.insert_long(token, symbol);
            } else {
                prefixes.insert_short(token, symbol);
            }
        }
        for tokens in prefixes.long.values_mut() {
            tokens.sort_by_key(|(token, _)| usize::MAX - token.len());
        }
        prefixes
    }

    fn insert_long(&mut self, token: &[u8], symbol: Symbol) {
        let start = PieceKey::read(token, 0, PieceKey::MAX_LEN);
        self.long.entry(start).or_default().push((token.into(), symbol));
        self.by_bytes[two_bytes(token)] |= LONG;
        if let Some(character) = first_char3(token) {
            self.by_char3[usize::from(character)] |= LONG;
        }
    }

    fn insert_short(&mut self, token: &[u8], symbol: Symbol) {
        let window = window(token, 0);
        if token.len() == 2 {
            self.two[two_bytes(token)] = symbol;
        } else if token.len() == 3 {
            let bit = three(window);
            self.three[bit / 64] |= 1 << (bit % 64);
        }
        let len_bit = 1 << token.len();
        if token.len() >= 4 && char3_of(window as u32).is_none() {
            self.by_start[four(window)] |= len_bit;
        } else if token.len() >= 6 {
            self.by_start[six(window)] |= len_bit;
        }
        self.by_bytes[two_bytes(token)] |= len_bit;
        if let Some(character) = first_char3(token) {
            self.by_char3[usize::from(character)] |= len_bit;
            if token.len() == 3 && character != 0 {
                self.char3s[usize::from(character)] = symbol;
            }
        }
    }

    /// Returns the longest token of at most `max_len` bytes, 1 to [`PieceKey::MAX_LEN`], that
    /// `window` begins with, and its length. Bytes of `window` after those do not matter.
    #[inline(always)]
    pub(crate) fn find(&self, tree: &MergeTree, window: u128, max_len: usize) -> (Symbol, usize) {
        let character = char3_of(window as u32);
        let lengths = match character {
            Some(character) => {
                let begun = self.by_char3[usize::from(character)];
                // Most characters begin no token of six bytes or more.
                if begun >> 6 == 0 { begun } else { begun & 0x3F | self.by_start[six(window)] }
            }
            None => self.by_bytes[usize::from(window as u16)] & 0xF | self.by_start[four(window)],
        };
        let mut lengths = lengths & ((2 << max_len) - 2) as u16;
        while lengths != 0 {
            #[cfg(test)]
            crate::encode::steps::count(1);
            let len = lengths.ilog2() as usize;
            lengths ^= 1 << len;
            if len == 2 {
                return (self.two[usize::from(window as u16)], 2);
            }
            if len == 3 {
                if let Some(character @ 1..) = character {
                    return (self.char3s[usize::from(character)], 3);
                }
                let bit = three(window);
                if self.three[bit / 64] >> (bit % 64) & 1 == 0 {
                    continue;
                }
            }
            if let Some(symbol) = tree.find(PieceKey::from_window(window, len)) {
                return (symbol, len);
            }
        }
        if character.is_some() && max_len >= 2 && self.by_bytes[usize::from(window as u16)] & 4 != 0
        {
            return (self.two[usize::from(window as u16)], 2);
        }
        (self.bytes[usize::from(window as u8)], 1)
    }

    /// Returns the longest token of more than [`PieceKey::MAX_LEN`] and at most `max_len` bytes
    /// that `text` begins with, and its length.
    #[inline]
    pub(crate) fn find_long(&self, text: &[u8], max_len: usize) -> Option<(Symbol, usize)> {
        let begun = match first_char3(text) {
            Some(character) => self.by_char3[usize::from(character)],
            None => self.by_bytes[two_bytes(text)],
        };
        if begun & LONG == 0 {
            return None;
        }
        let tokens = self.long.get(&PieceKey::read(text, 0, PieceKey::MAX_LEN))?;
        tokens
            .iter()
            .find(|(token, _)| {
                #[cfg(test)]
                crate::encode::steps::count(1);
                token.len() <= max_len && text.starts_with(token)
            })
            .map(|(token, symbol)| (*symbol, token.len()))
    }
}

/// Returns the index of the first two bytes of `text`.
#[inline(always)]
fn two_bytes(text: &[u8]) -> usize {
    usize::from(text[0]) | usize::from(text[1]) << 8
}

/// Returns the bit of the first three bytes of `window` in the Bloom filter.
#[inline(always)]
fn three(window: u128) -> usize {
    fibonacci_u32((window as u32) << 8) as usize >> (32 - THREE_BITS)
}

/// Returns the index in `by_start` of the first four bytes of `window`.
#[inline(always)]
fn four(window: u128) -> usize {
    (fibonacci_u32(window as u32) >> (32 - START_BITS)) as usize
}

/// Returns the index in `by_start` of the first six bytes of `window`.
#[inline(always)]
fn six(window: u128) -> usize {
    fibonacci((window as u64) << 16) as usize >> (64 - START_BITS)
}
