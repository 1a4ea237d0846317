//! The tables of the rules: classes of characters, and the exceptions.

use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::chars::{Properties, property_table};
use crate::view::english::classes::RUNS;
use crate::view::word_hash::word_hash;

/// Bits of [`RUNS`], in the order in which the script writes them.
pub(super) mod class {
    pub(crate) const LOWER: u16 = 1;
    pub(crate) const UPPER: u16 = 1 << 1;
    pub(crate) const LETTER: u16 = 1 << 2;
    pub(crate) const QUOTE: u16 = 1 << 3;
    pub(crate) const MARK: u16 = 1 << 4;
    pub(crate) const ICON: u16 = 1 << 5;
    pub(crate) const CURRENCY: u16 = 1 << 6;
    pub(crate) const SENTENCE_END: u16 = 1 << 7;
    pub(crate) const PUNCTUATION: u16 = 1 << 8;
}

/// Bytes of an exception, at most; the longest are `(╯°□°）╯︵┻━┻` and `shouldn't've`.
pub(super) const MAX_EXCEPTION_BYTES: usize = 32;

/// See [`TABLES`].
#[derive(Debug)]
pub(super) struct Tables {
    ascii: [u16; 128],
    /// For each exception, the lengths of its parts.
    exceptions: HashMap<&'static [u8], Box<[u8]>>,
    /// A bit for each exception, at [`filter_bit`]; most other words have theirs unset.
    filter: Bits,
    /// The same for the exceptions that are letters or digits, at [`hash_bit`].
    alone: Bits,
    /// The same for the letters or digits of exceptions that have marks around them.
    with_marks: Bits,
}

/// A bit for each of many hashes.
type Bits = [u64; FILTER_BITS / 64];

/// Bits of the filter before the table of exceptions: 4 KiB, of which 3 % are set. Where it had an
/// eighth of them, a quarter of all words passed it (docs/log.md).
pub(super) const FILTER_BITS: usize = 1 << 15;

pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut exceptions = HashMap::new();
    let [mut filter, mut alone, mut with_marks] = [[0; FILTER_BITS / 64]; 3];
    for line in include_str!("exceptions.txt").lines() {
        let text: &'static str = line.replace(' ', "").leak();
        let parts = line.split(' ').map(|part| part.len() as u8).collect();
        exceptions.insert(text.as_bytes(), parts);
        set(&mut filter, filter_bit(text.as_bytes()));
        let core = text.trim_matches(|char: char| !char.is_ascii_alphanumeric());
        if !core.is_empty() {
            let bits = if core == text { &mut alone } else { &mut with_marks };
            set(bits, hash_bit(word_hash(core)));
        }
    }
    let ascii = std::array::from_fn(|byte| found_class(byte as u32));
    Tables { ascii, exceptions, filter, alone, with_marks }
});

fn set(bits: &mut Bits, bit: usize) {
    bits[bit / 64] |= 1 << (bit % 64);
}

impl Tables {
    /// Returns the lengths of the parts of the exception that `text` is.
    pub(super) fn exception(&self, text: &[u8]) -> Option<&[u8]> {
        if text.is_empty() || text.len() > MAX_EXCEPTION_BYTES || !self.may_be_exception(text) {
            return None;
        }
        self.exceptions.get(text).map(|parts| &**parts)
    }

    #[inline(always)]
    pub(super) fn is_exception(&self, text: &[u8]) -> bool {
        self.may_be_exception(text) && self.exception(text).is_some()
    }

    /// Returns whether letters or digits with this hash may be an exception; false is certain.
    #[inline(always)]
    pub(super) fn may_be_alone(&self, hash: u64) -> bool {
        has_bit(&self.alone, hash_bit(hash))
    }

    /// Returns whether letters or digits with this hash, and marks around them, may be an exception;
    /// false is certain.
    #[inline(always)]
    pub(super) fn may_have_marks(&self, hash: u64) -> bool {
        has_bit(&self.with_marks, hash_bit(hash))
    }

    /// Returns whether `text`, which is not empty, may be an exception; false is certain.
    #[inline(always)]
    pub(super) fn may_be_exception(&self, text: &[u8]) -> bool {
        has_bit(&self.filter, filter_bit(text))
    }
}

#[inline(always)]
fn has_bit(bits: &Bits, bit: usize) -> bool {
    bits[bit / 64] >> (bit % 64) & 1 == 1
}

/// Returns the bit of a word in a filter by hashes: its high bits.
#[inline(always)]
fn hash_bit(hash: u64) -> usize {
    (hash >> (64 - FILTER_BITS.ilog2())) as usize
}

/// Returns the bit of a word in the filter: from its length, first, second, middle and last byte.
#[inline]
pub(super) fn filter_bit(word: &[u8]) -> usize {
    let length = word.len();
    let (first, last) = (word[0], word[length - 1]);
    let (second, middle) = (word[length.min(2) - 1], word[length / 2]);
    let key = u32::from_le_bytes([first, second, middle, last]);
    // a length of at most 32 bytes changes the upper bits too
    (key.wrapping_add(length as u32).wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS.ilog2()))
        as usize
}

pub(super) fn found_class(code: u32) -> u16 {
    RUNS[RUNS.partition_point(|(start, _)| *start <= code) - 1].1
}

#[inline]
pub(super) fn class_of(char: char) -> u16 {
    match TABLES.ascii.get(char as usize) {
        Some(class) => *class,
        None => found_class(char as u32),
    }
}

pub(super) fn has(char: Option<char>, class: u16) -> bool {
    char.is_some_and(|char| class_of(char) & class != 0)
}

pub(super) fn is_digit(char: Option<char>) -> bool {
    char.is_some_and(|char| char.is_ascii_digit())
}

/// Returns the lengths of the parts of the exception that `text` is.
pub(super) fn exception(text: &str) -> Option<&'static [u8]> {
    TABLES.exception(text.as_bytes())
}

pub(super) fn is_space(char: char) -> bool {
    property_table().of(char).has(Properties::SPACE)
}
