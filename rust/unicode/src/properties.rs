//! The properties of characters that cleaning asks for, in one table lookup.
//!
//! [`Class`] packs what [`crate::Class`] cannot say: scripts, sentence ends, what NFC may change,
//! what is invisible. `properties.py` says where each comes from and writes the table.

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod runs;

use std::sync::LazyLock;

use crate::properties::runs::RUNS;

/// A set of properties of one character, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class(u16);

impl Class {
    /// No property at all.
    pub const NONE: Self = Self(0);
    /// White space as Python's `str.isspace` has it: `White_Space` and U+001C to U+001F.
    pub const SPACE: Self = Self(1);
    /// A letter: general category L.
    pub const LETTER: Self = Self(1 << 1);
    /// Part of a word: letters, marks, numbers, connectors such as `_`, and the two joiners.
    pub const WORD: Self = Self(1 << 2);
    /// A sign that makes no word by itself, by the list of datatrove.
    pub const SYMBOL: Self = Self(1 << 3);
    /// Ends a sentence: `Sentence_Terminal` and the additions of datatrove.
    pub const END: Self = Self(1 << 4);
    /// Of a script that is written without spaces: Han, kana, Bopomofo.
    pub const UNSPACED: Self = Self(1 << 5);
    /// A base character of a script that spells with zero width joiners.
    pub const JOINING: Self = Self(1 << 6);
    /// A pictograph, which may be part of a joined emoji.
    pub const PICTURE: Self = Self(1 << 7);
    /// A mark: general category M.
    pub const MARK: Self = Self(1 << 8);
    /// May change under NFC, alone or with its neighbours.
    pub const COMPOSES: Self = Self(1 << 9);
    /// A space other than U+0020: general category Zs.
    pub const BLANK: Self = Self(1 << 10);
    /// A line break other than U+000A: CR, VT, FF, NEL, LS, PS.
    pub const BREAK: Self = Self(1 << 11);
    /// A control or a noncharacter that is neither tab nor line break.
    pub const CONTROL: Self = Self(1 << 12);
    /// Invisible: zero width, direction, variation selectors, tags.
    pub const HIDDEN: Self = Self(1 << 13);
    /// U+FFFD, which stands where a decoder gave up.
    pub const REPLACEMENT: Self = Self(1 << 14);
    /// Of a byte, not of a character: part of one beyond ASCII.
    pub const WIDE: Self = Self(1 << 15);

    /// Whether this has one of the properties of `other`.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The properties that this has not.
    #[inline]
    #[must_use]
    pub const fn missing(self) -> Self {
        Self(!self.0)
    }

    /// Those of its properties that `other` has too.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The properties of both.
    #[inline]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const BITS: u32 = 7;
const BLOCK: usize = 1 << BITS;
const BLOCKS: usize = 0x11_0000 >> BITS;

/// The table: for each block of 128 code points the place of its classes; equal blocks are shared.
#[derive(Debug)]
pub struct Classes {
    places: Box<[u16]>,
    blocks: Vec<Class>,
    bytes: [Class; 256],
}

impl Classes {
    /// The classes of `char`.
    #[inline]
    pub fn of(&self, char: char) -> Class {
        self.of_code(char as usize)
    }

    /// The classes of the character that begins at `at` in well-formed UTF-8, and its bytes.
    #[inline]
    pub fn at(&self, bytes: &[u8], at: usize) -> (Class, usize) {
        let part = |place: usize| bytes.get(at + place).map_or(0, |byte| usize::from(byte & 0x3f));
        let first = part(0);
        match bytes[at] {
            byte @ 0..0x80 => (self.of_byte(byte), 1),
            0x80..0xe0 => (self.of_code((first & 0x1f) << 6 | part(1)), 2),
            0xe0..0xf0 => (self.of_code((first & 0xf) << 12 | part(1) << 6 | part(2)), 3),
            _ => {
                let high = (first & 0x7) << 18 | part(1) << 12;
                (self.of_code(high | part(2) << 6 | part(3)), 4)
            }
        }
    }

    #[inline]
    fn of_code(&self, code: usize) -> Class {
        let block = usize::from(self.places[code >> BITS]);
        self.blocks[(block << BITS) | (code & (BLOCK - 1))]
    }

    /// The classes of an ASCII character; [`Class::WIDE`] for any other byte.
    #[inline]
    pub fn of_byte(&self, byte: u8) -> Class {
        self.bytes[usize::from(byte)]
    }

    fn build() -> Self {
        let mut places = vec![0_u16; BLOCKS].into_boxed_slice();
        let mut blocks: Vec<Class> = Vec::new();
        let mut run = 0;
        let mut fresh = [Class::NONE; BLOCK];
        for (block, place) in places.iter_mut().enumerate() {
            for (offset, class) in fresh.iter_mut().enumerate() {
                let code = ((block << BITS) | offset) as u32;
                while RUNS.get(run + 1).is_some_and(|(start, _)| *start <= code) {
                    run += 1;
                }
                *class = Class(RUNS[run].1);
            }
            let known = blocks.chunks_exact(BLOCK).position(|old| old == fresh);
            *place = known.unwrap_or(blocks.len() / BLOCK) as u16;
            if known.is_none() {
                blocks.extend_from_slice(&fresh);
            }
        }
        let bytes =
            std::array::from_fn(|byte| if byte < 0x80 { blocks[byte] } else { Class::WIDE });
        Self { places, blocks, bytes }
    }
}

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::build);

/// The table, built on first use.
#[inline]
pub fn classes() -> &'static Classes {
    &CLASSES
}

/// The classes of `char`.
pub fn class_of(char: char) -> Class {
    CLASSES.of(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_point_has_the_class_of_its_run() {
        let mut run = 0;
        for char in '\0'..=char::MAX {
            while RUNS.get(run + 1).is_some_and(|(start, _)| *start <= char as u32) {
                run += 1;
            }
            assert_eq!(class_of(char), Class(RUNS[run].1), "{char:?}");
            let text = format!("{char}");
            assert_eq!(classes().at(text.as_bytes(), 0), (class_of(char), char.len_utf8()));
            if char.is_ascii() {
                assert_eq!(classes().of_byte(char as u8), class_of(char));
            }
        }
    }

    #[test]
    fn known_characters_have_their_classes() {
        for (char, class) in [
            ('a', Class::LETTER),
            ('中', Class::UNSPACED),
            ('ー', Class::UNSPACED),
            ('。', Class::END),
            ('，', Class::SYMBOL),
            ('\u{a0}', Class::BLANK),
            ('\u{85}', Class::BREAK),
            ('\u{ffff}', Class::CONTROL),
            ('\u{200b}', Class::HIDDEN),
            ('क', Class::JOINING),
            ('ن', Class::JOINING),
            ('👍', Class::PICTURE),
            ('\u{301}', Class::MARK),
            ('\u{301}', Class::COMPOSES),
            ('\u{1161}', Class::COMPOSES),
            ('\u{fffd}', Class::REPLACEMENT),
        ] {
            assert!(class_of(char).has(class), "{char:?} {class:?}");
        }
        assert!(!class_of('中').has(Class::COMPOSES));
        assert!(!class_of('\n').has(Class::CONTROL.or(Class::BREAK)));
        assert!(!class_of('。').has(Class::UNSPACED));
    }
}
