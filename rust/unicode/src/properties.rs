//! The character properties that cleaning needs, all of them in one table lookup.
//!
//! [`Properties`] holds what [`crate::GeneralCategory`] lacks: scripts, ends of sentences, what NFC
//! may change, what is invisible. `properties.py` derives each of them and writes the table.
//!
//! A two-level table: `code >> 7` selects a block of 128 code points, and equal blocks are stored
//! once. It is built at first use from 3,045 runs of code points with equal properties, so the
//! binary holds 24 KiB of runs instead of 2.1 MiB of entries.
//!
//! ```
//! use lslm_unicode::properties::{Properties, properties_of};
//!
//! let han = properties_of('中');
//! assert!(han.has(Properties::LETTER) && han.has(Properties::UNSPACED));
//! assert!(properties_of('\u{200b}').has(Properties::HIDDEN));
//! ```

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod runs;

use std::sync::LazyLock;

use crate::properties::runs::RUNS;

/// A set of properties, of one character or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties(u16);

impl Properties {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// White space as in Python's `str.isspace`: `White_Space` and U+001C to U+001F.
    pub const SPACE: Self = Self(1);
    /// A letter: general category L.
    pub const LETTER: Self = Self(1 << 1);
    /// Part of a word: letters, marks, numbers, connectors such as `_`, and the two joiners.
    pub const WORD: Self = Self(1 << 2);
    /// A symbol that is not a word by itself, by datatrove's list.
    pub const SYMBOL: Self = Self(1 << 3);
    /// Ends a sentence: `Sentence_Terminal` and datatrove's additions.
    pub const SENTENCE_END: Self = Self(1 << 4);
    /// A letter or number of a script written without spaces: Han, kana, Bopomofo.
    pub const UNSPACED: Self = Self(1 << 5);
    /// A base character of a script whose spelling uses zero width joiners.
    pub const JOINING: Self = Self(1 << 6);
    /// A pictograph, which may be part of a joined emoji.
    pub const PICTOGRAPH: Self = Self(1 << 7);
    /// A mark: general category M.
    pub const MARK: Self = Self(1 << 8);
    /// May interact under NFC with characters before it: a combining class other than 0, or
    /// [`RECOMPOSES`](Self::RECOMPOSES). A text can be normalised in parts that begin at other
    /// characters.
    pub const UNSTABLE: Self = Self(1 << 9);
    /// A space other than U+0020: general category Zs.
    pub const BLANK: Self = Self(1 << 10);
    /// A line break other than U+000A: CR, VT, FF, NEL, LS, PS.
    pub const BREAK: Self = Self(1 << 11);
    /// A control or a noncharacter, tab and line breaks excluded.
    pub const CONTROL: Self = Self(1 << 12);
    /// Invisible: zero width characters, direction marks, variation selectors, tags.
    pub const HIDDEN: Self = Self(1 << 13);
    /// Its `NFC_Quick_Check` is not Yes: it changes under NFC, or may compose with a character
    /// before it.
    pub const RECOMPOSES: Self = Self(1 << 14);
    /// A property of bytes only: part of a character beyond ASCII.
    pub const NON_ASCII: Self = Self(1 << 15);

    /// Returns whether the two sets share a property.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the properties that are not in this set.
    #[inline]
    #[must_use]
    pub const fn missing(self) -> Self {
        Self(!self.0)
    }

    /// Returns the properties that are in both sets.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the properties that are in either set.
    #[inline]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Bits of a code point that index within a block. 128 code points, as in [`crate::tables`]: ASCII
/// is one block, and few blocks differ.
const BLOCK_BITS: u32 = 7;
const BLOCK_LEN: usize = 1 << BLOCK_BITS;
/// Blocks from U+0000 to U+10FFFF.
const N_BLOCKS: usize = 0x11_0000 >> BLOCK_BITS;

/// The properties of every code point; see the [module](self) for the layout.
#[derive(Debug)]
pub struct PropertyTable {
    /// For each 128 code points, the number of their block in `blocks`.
    block_numbers: Box<[u16]>,
    /// Distinct blocks, one after the other.
    blocks: Vec<Properties>,
    /// For each byte, the properties of that ASCII character, or [`Properties::NON_ASCII`].
    bytes: [Properties; 256],
}

impl PropertyTable {
    /// Returns the properties of `char`.
    #[inline]
    pub fn of(&self, char: char) -> Properties {
        self.of_code(char as usize)
    }

    /// Returns the properties of the character that starts at `at`, and its length in bytes.
    ///
    /// `bytes` must be well-formed UTF-8 from `at` on; for other bytes the result is unspecified.
    /// Panics if `at` is not below the length of `bytes`.
    #[inline]
    pub fn at(&self, bytes: &[u8], at: usize) -> (Properties, usize) {
        let low_bits =
            |offset: usize| bytes.get(at + offset).map_or(0, |byte| usize::from(byte & 0x3f));
        let first = low_bits(0);
        match bytes[at] {
            byte @ 0..0x80 => (self.of_byte(byte), 1),
            0x80..0xe0 => (self.of_code((first & 0x1f) << 6 | low_bits(1)), 2),
            0xe0..0xf0 => (self.of_code((first & 0xf) << 12 | low_bits(1) << 6 | low_bits(2)), 3),
            _ => {
                let high = (first & 0x7) << 18 | low_bits(1) << 12;
                (self.of_code(high | low_bits(2) << 6 | low_bits(3)), 4)
            }
        }
    }

    #[inline]
    fn of_code(&self, code: usize) -> Properties {
        let block = usize::from(self.block_numbers[code >> BLOCK_BITS]);
        self.blocks[(block << BLOCK_BITS) | (code & (BLOCK_LEN - 1))]
    }

    /// Returns the properties of an ASCII character, and [`Properties::NON_ASCII`] for any other
    /// byte.
    #[inline]
    pub fn of_byte(&self, byte: u8) -> Properties {
        self.bytes[usize::from(byte)]
    }

    /// Expands the runs block by block, and stores each distinct block once.
    fn build() -> Self {
        let mut block_numbers = vec![0_u16; N_BLOCKS].into_boxed_slice();
        let mut blocks: Vec<Properties> = Vec::new();
        let mut run = 0;
        let mut new_block = [Properties::NONE; BLOCK_LEN];
        for (block, number) in block_numbers.iter_mut().enumerate() {
            for (offset, properties) in new_block.iter_mut().enumerate() {
                let code = ((block << BLOCK_BITS) | offset) as u32;
                while RUNS.get(run + 1).is_some_and(|(start, _)| *start <= code) {
                    run += 1;
                }
                *properties = Properties(RUNS[run].1);
            }
            let equal = blocks.chunks_exact(BLOCK_LEN).position(|old| old == new_block);
            *number = equal.unwrap_or(blocks.len() / BLOCK_LEN) as u16;
            if equal.is_none() {
                blocks.extend_from_slice(&new_block);
            }
        }
        let bytes =
            std::array::from_fn(
                |byte| {
                    if byte < 0x80 { blocks[byte] } else { Properties::NON_ASCII }
                },
            );
        Self { block_numbers, blocks, bytes }
    }
}

static TABLE: LazyLock<PropertyTable> = LazyLock::new(PropertyTable::build);

/// Returns the table, which is built at the first call.
#[inline]
pub fn property_table() -> &'static PropertyTable {
    &TABLE
}

/// Returns the properties of `char`.
///
/// In a loop, call [`property_table`] once before it and [`PropertyTable::of`] in it.
pub fn properties_of(char: char) -> Properties {
    TABLE.of(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_point_has_the_properties_of_its_run() {
        let mut run = 0;
        for char in '\0'..=char::MAX {
            while RUNS.get(run + 1).is_some_and(|(start, _)| *start <= char as u32) {
                run += 1;
            }
            assert_eq!(properties_of(char), Properties(RUNS[run].1), "{char:?}");
            let text = format!("{char}");
            assert_eq!(
                property_table().at(text.as_bytes(), 0),
                (properties_of(char), char.len_utf8())
            );
            if char.is_ascii() {
                assert_eq!(property_table().of_byte(char as u8), properties_of(char));
            }
        }
    }

    #[test]
    fn known_characters_have_their_properties() {
        for (char, property) in [
            ('a', Properties::LETTER),
            ('中', Properties::UNSPACED),
            ('ー', Properties::UNSPACED),
            ('。', Properties::SENTENCE_END),
            ('，', Properties::SYMBOL),
            ('\u{a0}', Properties::BLANK),
            ('\u{85}', Properties::BREAK),
            ('\u{ffff}', Properties::CONTROL),
            ('\u{200b}', Properties::HIDDEN),
            ('क', Properties::JOINING),
            ('ن', Properties::JOINING),
            ('👍', Properties::PICTOGRAPH),
            ('\u{301}', Properties::MARK),
            ('\u{301}', Properties::UNSTABLE),
            ('\u{301}', Properties::RECOMPOSES),
            ('\u{316}', Properties::UNSTABLE),
            ('\u{1161}', Properties::RECOMPOSES),
            ('\u{212b}', Properties::RECOMPOSES),
        ] {
            assert!(properties_of(char).has(property), "{char:?} {property:?}");
        }
        assert!(!properties_of('中').has(Properties::UNSTABLE));
        assert!(!properties_of('\u{316}').has(Properties::RECOMPOSES));
        assert!(!properties_of('\n').has(Properties::CONTROL.or(Properties::BREAK)));
        assert!(!properties_of('。').has(Properties::UNSPACED));
    }
}
