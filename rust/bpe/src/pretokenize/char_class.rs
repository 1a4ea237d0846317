//! The character classes that the published patterns distinguish; ill-formed bytes count as U+FFFD.

use lslm_unicode::{category_of_entry, tables};

/// The class of a character; the discriminants are the entries of [`CLASSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CharClass {
    /// None of the others: controls, formats, private use, unassigned.
    Other,
    /// `[\p{P}\p{S}]`
    Symbol,
    /// `\p{M}`
    Mark,
    /// `[\p{Lm}\p{Lo}]`
    Letter,
    /// `[\p{Lu}\p{Lt}]`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `\p{N}`
    Number,
    /// `[\s&&[^\r\n]]`
    Space,
    /// `[\r\n]`
    Newline,
    /// No character: the text, or the piece that an earlier step left, ends here.
    End,
}

impl CharClass {
    const ALL: [Self; 10] = [
        Self::Other,
        Self::Symbol,
        Self::Mark,
        Self::Letter,
        Self::Upper,
        Self::Lower,
        Self::Number,
        Self::Space,
        Self::Newline,
        Self::End,
    ];

    /// Returns the class of the code point `code` > 127.
    #[inline]
    pub(super) fn of(code: u32) -> Self {
        let block = usize::from(tables::INDEX[code as usize / tables::BLOCK]);
        Self::ALL[usize::from(CLASSES[block * tables::BLOCK + code as usize % tables::BLOCK])]
    }

    /// Returns the class of the two-byte character that is the bytes `a` and `b`.
    #[inline]
    pub(super) fn of_two_bytes(a: u8, b: u8) -> Self {
        TWO_BYTES[usize::from(a & 0x1F) << 6 | usize::from(b & 0x3F)]
    }

    /// `\p{L}`
    pub(super) const fn is_letter(self) -> bool {
        matches!(self, Self::Letter | Self::Upper | Self::Lower)
    }

    /// `\s`
    pub(super) const fn is_white_space(self) -> bool {
        matches!(self, Self::Space | Self::Newline)
    }

    /// `[^\s\p{L}\p{N}]`, which the patterns handle as punctuation.
    pub(super) const fn is_punctuation(self) -> bool {
        matches!(self, Self::Other | Self::Symbol | Self::Mark)
    }
}

/// Returns the class that an entry of [`tables::BLOCKS`] stands for.
const fn from_entry(entry: u8) -> CharClass {
    use lslm_unicode::GeneralCategory;
    let category = category_of_entry(entry);
    match category {
        GeneralCategory::UppercaseLetter | GeneralCategory::TitlecaseLetter => CharClass::Upper,
        GeneralCategory::LowercaseLetter => CharClass::Lower,
        _ if category.is_letter() => CharClass::Letter,
        _ if category.is_mark() => CharClass::Mark,
        _ if category.is_number() => CharClass::Number,
        _ if category.is_white_space() => CharClass::Space,
        _ if category.is_punctuation() || category.is_symbol() => CharClass::Symbol,
        _ => CharClass::Other,
    }
}

/// [`tables::BLOCKS`] as discriminants of [`CharClass`]. The line ends are in [`ASCII`] only.
static CLASSES: [u8; tables::BLOCKS.len()] = {
    let mut classes = [0; tables::BLOCKS.len()];
    let mut i = 0;
    while i < classes.len() {
        classes[i] = from_entry(tables::BLOCKS[i]) as u8;
        i += 1;
    }
    classes
};

/// The classes of the ASCII characters.
static ASCII: [CharClass; 128] = {
    let mut classes = [CharClass::Other; 128];
    let mut i = 0;
    while i < 128 {
        classes[i] = from_entry(tables::BLOCKS[i]);
        i += 1;
    }
    classes[b'\n' as usize] = CharClass::Newline;
    classes[b'\r' as usize] = CharClass::Newline;
    classes
};

// `ASCII` reads the first block of `BLOCKS` as the first 128 characters.
const _: () = assert!(tables::INDEX[0] == 0 && tables::BLOCK == 128);

/// The classes of the two-byte characters, U+0080 to U+07FF, by code point.
static TWO_BYTES: [CharClass; 2048] = {
    let mut classes = [CharClass::Other; 2048];
    let mut code = 128;
    while code < 2048 {
        let block = tables::INDEX[code / tables::BLOCK] as usize;
        classes[code] = from_entry(tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK]);
        code += 1;
    }
    classes
};

/// Returns the code point at `at` and its length in bytes; U+FFFD of length 1 for an ill-formed
/// byte.
///
/// `at` must be less than the length of `text`.
#[inline]
pub(super) fn decode(text: &[u8], at: usize) -> (u32, usize) {
    const ILL: (u32, usize) = (0xFFFD, 1);
    let rest = &text[at..];
    let first = rest[0];
    if first < 0x80 {
        return (u32::from(first), 1);
    }
    // A continuation byte as its six bits; any other byte, or the end, as a number above 0x3F.
    let next = |i: usize| rest.get(i).map_or(0xFF, |byte| u32::from(byte ^ 0x80));
    match first {
        0xC2..=0xDF => {
            let a = next(1);
            if a > 0x3F {
                return ILL;
            }
            (u32::from(first & 0x1F) << 6 | a, 2)
        }
        0xE0..=0xEF => {
            let (a, b) = (next(1), next(2));
            let code = u32::from(first & 0x0F) << 12 | a << 6 | b;
            // Over-long forms and surrogates are ill-formed.
            if (a | b) > 0x3F || code < 0x800 || (0xD800..0xE000).contains(&code) {
                return ILL;
            }
            (code, 3)
        }
        0xF0..=0xF4 => {
            let (a, b, c) = (next(1), next(2), next(3));
            let code = u32::from(first & 0x07) << 18 | a << 12 | b << 6 | c;
            if (a | b | c) > 0x3F || !(0x1_0000..0x11_0000).contains(&code) {
                return ILL;
            }
            (code, 4)
        }
        _ => ILL,
    }
}

/// Returns the class of the character at `at` and its length in bytes; [`CharClass::End`] of length
/// 0 at the end of `text`.
#[inline]
pub(super) fn peek(text: &[u8], at: usize) -> (CharClass, usize) {
    match text.get(at) {
        None => (CharClass::End, 0),
        Some(&byte) if byte < 0x80 => (ASCII[usize::from(byte)], 1),
        Some(_) => {
            let (code, length) = decode(text, at);
            (CharClass::of(code), length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_point_decodes_as_in_the_standard_library() {
        for c in '\u{80}'..=char::MAX {
            let mut buffer = [0; 5];
            c.encode_utf8(&mut buffer);
            assert_eq!(decode(&buffer, 0), (c as u32, c.len_utf8()));
            for end in 1..c.len_utf8() {
                assert_eq!(decode(&buffer[..end], 0), (0xFFFD, 1), "cut {c:?}");
            }
        }
    }

    #[test]
    fn bytes_are_ill_formed_where_the_standard_library_says_so() {
        // All pairs of first two bytes, with the bytes around the limits of the ones after them.
        for first in 0x80..=0xFF {
            for second in 0..=0xFF {
                for third in [0, 0x7F, 0x80, 0xBF, 0xC0] {
                    for fourth in [0x7F, 0x80, 0xBF, 0xC0] {
                        let bytes = [first, second, third, fourth];
                        let well = (2..=4).find(|n| std::str::from_utf8(&bytes[..*n]).is_ok());
                        let well = well.filter(|n| {
                            std::str::from_utf8(&bytes[..*n]).is_ok_and(|s| s.chars().count() == 1)
                        });
                        assert_eq!(decode(&bytes, 0).1, well.unwrap_or(1), "{bytes:x?}");
                    }
                }
            }
        }
    }
}
