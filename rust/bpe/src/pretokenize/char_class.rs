//! What the published patterns ask of a character, for text that may be any bytes.

use lslm_unicode::{category_of_entry, tables};

/// What the published patterns tell apart. The numbers are those of the derived table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
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
    /// The end of the piece that the step before cut.
    End,
}

impl Kind {
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

    /// `\p{L}`
    pub(super) const fn is_letter(self) -> bool {
        matches!(self, Self::Letter | Self::Upper | Self::Lower)
    }

    /// `\s`
    pub(super) const fn is_white_space(self) -> bool {
        matches!(self, Self::Space | Self::Newline)
    }

    /// `[^\s\p{L}\p{N}]`
    pub(super) const fn is_rest(self) -> bool {
        matches!(self, Self::Other | Self::Symbol | Self::Mark)
    }
}

const fn kind_of_entry(entry: u8) -> Kind {
    use lslm_unicode::GeneralCategory;
    let category = category_of_entry(entry);
    match category {
        GeneralCategory::UppercaseLetter | GeneralCategory::TitlecaseLetter => Kind::Upper,
        GeneralCategory::LowercaseLetter => Kind::Lower,
        _ if category.is_letter() => Kind::Letter,
        _ if category.is_mark() => Kind::Mark,
        _ if category.is_number() => Kind::Number,
        _ if category.is_white_space() => Kind::Space,
        _ if category.is_punctuation() || category.is_symbol() => Kind::Symbol,
        _ => Kind::Other,
    }
}

/// [`tables::BLOCKS`] as numbers of [`Kind`]; the line ends are in [`ASCII`] only.
static BLOCKS: [u8; tables::BLOCKS.len()] = {
    let mut kinds = [0; tables::BLOCKS.len()];
    let mut i = 0;
    while i < kinds.len() {
        kinds[i] = kind_of_entry(tables::BLOCKS[i]) as u8;
        i += 1;
    }
    kinds
};

/// The kinds of the ASCII characters.
static ASCII: [Kind; 128] = {
    let mut kinds = [Kind::Other; 128];
    let mut i = 0;
    while i < 128 {
        kinds[i] = kind_of_entry(tables::BLOCKS[i]);
        i += 1;
    }
    kinds[b'\n' as usize] = Kind::Newline;
    kinds[b'\r' as usize] = Kind::Newline;
    kinds
};

// The first block must be the first 128 characters for `ASCII` to be right.
const _: () = assert!(tables::INDEX[0] == 0 && tables::BLOCK == 128);

/// The kind of the code point `code` > 127.
#[inline]
pub(super) fn kind_of(code: u32) -> Kind {
    let block = usize::from(tables::INDEX[code as usize / tables::BLOCK]);
    Kind::ALL[usize::from(BLOCKS[block * tables::BLOCK + code as usize % tables::BLOCK])]
}

/// The kinds of the characters of two bytes, U+0080 to U+07FF at 128 to 2047.
static TWO: [Kind; 2048] = {
    let mut kinds = [Kind::Other; 2048];
    let mut code = 128;
    while code < 2048 {
        let block = tables::INDEX[code / tables::BLOCK] as usize;
        kinds[code] = kind_of_entry(tables::BLOCKS[block * tables::BLOCK + code % tables::BLOCK]);
        code += 1;
    }
    kinds
};

/// The kind of the character that is the bytes `a` and `b`.
#[inline]
pub(super) fn kind_of_two(a: u8, b: u8) -> Kind {
    TWO[usize::from(a & 0x1F) << 6 | usize::from(b & 0x3F)]
}

/// The code point at `at` and its length in bytes; an ill-formed byte is U+FFFD of length 1.
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
    // A continuation byte as its six bits, anything else (also the end) as a number above them.
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
            // over-long forms and surrogates
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

/// The kind of the character at `at` and its length in bytes; [`Kind::End`] of length 0 at the
/// end of `text`.
#[inline]
pub(super) fn peek(text: &[u8], at: usize) -> (Kind, usize) {
    match text.get(at) {
        None => (Kind::End, 0),
        Some(&byte) if byte < 0x80 => (ASCII[usize::from(byte)], 1),
        Some(_) => {
            let (code, length) = decode(text, at);
            (kind_of(code), length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_the_standard_library_decodes() {
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
    fn rejects_what_the_standard_library_rejects() {
        // all first two bytes with the edges of the ones after them
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
