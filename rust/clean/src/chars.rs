//! The classes of characters that the rules ask for, in one table lookup.

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod runs;

use std::sync::LazyLock;

use crate::chars::runs::RUNS;

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
    pub(crate) const WIDE: Self = Self(1 << 15);

    /// Whether this has one of the properties of `other`.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The properties that this has not.
    #[inline]
    pub(crate) const fn missing(self) -> Self {
        Self(!self.0)
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
pub(crate) struct Classes {
    places: Box<[u16]>,
    blocks: Vec<Class>,
    bytes: [Class; 256],
}

impl Classes {
    /// The classes of `char`.
    #[inline]
    pub(crate) fn of(&self, char: char) -> Class {
        let code = char as usize;
        let block = usize::from(self.places[code >> BITS]);
        self.blocks[(block << BITS) | (code & (BLOCK - 1))]
    }

    /// The classes of an ASCII character; [`Class::WIDE`] for any other byte.
    #[inline]
    pub(crate) fn of_byte(&self, byte: u8) -> Class {
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
pub(crate) fn classes() -> &'static Classes {
    &CLASSES
}

/// The classes of `char`.
pub fn class_of(char: char) -> Class {
    CLASSES.of(char)
}

/// What a text contains, as far as the normalisers need to know to leave it alone.
#[derive(Clone, Copy, Debug)]
pub struct Survey {
    /// The properties that occur: all of those of characters beyond ASCII, of ASCII only
    /// [`Class::CONTROL`] and [`Class::BREAK`].
    pub classes: Class,
    /// Whether there may be white space to tidy: a run, one at a line's end, many empty lines.
    pub untidy: bool,
    /// Whether there is anything beyond ASCII.
    pub beyond_ascii: bool,
}

impl Survey {
    /// Looks through `text` once.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (high, control) = ascii_facts(bytes);
        let mut classes = Class::NONE;
        if control {
            for &byte in bytes {
                classes = classes.or(CLASSES.of_byte(byte));
            }
            let wanted = Class::CONTROL.or(Class::BREAK);
            classes = Class(classes.0 & wanted.0);
        }
        if high {
            classes = classes.or(classes_beyond_ascii(text));
        }
        Self { classes, untidy: untidy(bytes), beyond_ascii: high }
    }
}

/// Whether there are bytes beyond ASCII, and controls other than tab and line feed.
fn ascii_facts(bytes: &[u8]) -> (bool, bool) {
    let (mut high, mut control) = (0_u8, 0_u8);
    // no early end: this form becomes vector code
    for &byte in bytes {
        high |= byte;
        let low = u8::from(byte < 0x20) & u8::from(byte != b'\t') & u8::from(byte != b'\n');
        control |= low | u8::from(byte == 0x7f);
    }
    (high >= 0x80, control != 0)
}

/// Whether two blanks meet, a blank stands before a line feed or at an end, or three line feeds meet.
fn untidy(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let blank = |byte: u8| u8::from(byte == b' ') | u8::from(byte == b'\t');
    let feed = |byte: u8| u8::from(byte == b'\n');
    let mut found = blank(*last) | feed(*first);
    for pair in bytes.windows(2) {
        found |= blank(pair[0]) & (blank(pair[1]) | feed(pair[1]));
    }
    for three in bytes.windows(3) {
        found |= feed(three[0]) & feed(three[1]) & feed(three[2]);
    }
    found |= u8::from(bytes.ends_with(b"\n\n"));
    found != 0
}

fn classes_beyond_ascii(text: &str) -> Class {
    let table = classes();
    let mut all = Class::NONE;
    for char in text.chars() {
        if char >= '\u{80}' {
            all = all.or(table.of(char));
        }
    }
    all
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

    #[test]
    fn a_survey_sees_what_there_is() {
        let survey = Survey::of("plain text,\nwith lines\n");
        assert!(!survey.untidy && !survey.beyond_ascii && survey.classes == Class::NONE);
        assert!(Survey::of("a\rb").classes.has(Class::BREAK));
        assert!(Survey::of("a\x07b").classes.has(Class::CONTROL));
        for text in ["a  b", "a \nb", "a\n\n\nb", "a\n\n", "a ", "\na", "a\t b"] {
            assert!(Survey::of(text).untidy, "{text:?}");
        }
        assert!(Survey::of("e\u{301}").classes.has(Class::COMPOSES));
    }
}
