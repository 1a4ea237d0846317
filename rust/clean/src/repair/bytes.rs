//! Charsets, and UTF-8 that was altered on its way.

use std::sync::LazyLock;

use super::tables;

/// A charset of one byte a character, ASCII in the lower half.
pub(super) struct Charset {
    /// What the bytes from 0x80 on decode to; `None` for Latin-1, the identity.
    upper: Option<&'static [u16; 128]>,
    /// Whether 0xa0 is a space in it, which may have become an ASCII space: not in MacRoman.
    has_a0: bool,
    /// Whether it is a *sloppy* one: 0x1a stands for U+FFFD, a byte that was lost.
    is_sloppy: bool,
    /// The byte of each code point below 0x2600, 0 for none.
    bytes: LazyLock<Vec<u8>>,
}

/// Code points of charsets are below it, except a few.
const MAX_CODE: usize = 0x2600;
const SUBSTITUTE: u8 = 0x1a;
const REPLACEMENT: char = '\u{fffd}';

macro_rules! charset {
    ($table:expr, $is_sloppy:literal) => {
        charset!($table, $is_sloppy, true)
    };
    ($table:expr, $is_sloppy:literal, $has_a0:literal) => {
        Charset {
            upper: $table,
            has_a0: $has_a0,
            is_sloppy: $is_sloppy,
            bytes: LazyLock::new(|| {
                let table: Option<&[u16; 128]> = $table;
                let mut bytes = vec![0; MAX_CODE];
                for (byte, code) in (0x80..=0xff_u8).zip(table.into_iter().flatten()) {
                    if let Some(place) = bytes.get_mut(usize::from(*code)) {
                        *place = byte;
                    }
                }
                bytes
            }),
        }
    };
}

/// In the order in which they are tried.
pub(super) static CHARSETS: [Charset; 10] = [
    charset!(None, false),
    charset!(Some(&tables::WINDOWS_1252), true),
    charset!(Some(&tables::WINDOWS_1251), true),
    charset!(Some(&tables::WINDOWS_1250), true),
    charset!(Some(&tables::WINDOWS_1253), true),
    charset!(Some(&tables::WINDOWS_1254), true),
    charset!(Some(&tables::WINDOWS_1257), true),
    charset!(Some(&tables::ISO_8859_2), false),
    charset!(Some(&tables::MACROMAN), false, false),
    charset!(Some(&tables::CP437), false),
];

impl Charset {
    /// Returns the bytes of `text`, or `None` if the charset lacks one of its characters.
    pub(super) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let Some(upper) = self.upper else {
            return is_latin_1(text).then(|| text.chars().map(|char| char as u8).collect());
        };
        let table: &[u8] = &self.bytes;
        let mut bytes = Vec::with_capacity(text.len());
        for char in text.chars() {
            let byte = match char as usize {
                0x1a if self.is_sloppy => return None,
                code @ 0..0x80 => code as u8,
                0xfffd if self.is_sloppy => SUBSTITUTE,
                code => match table.get(code) {
                    Some(0) => return None,
                    Some(byte) => *byte,
                    None => {
                        let index = upper.iter().position(|of| usize::from(*of) == code)?;
                        0x80 + index as u8
                    }
                },
            };
            bytes.push(byte);
        }
        Some(bytes)
    }
}

pub(super) fn is_latin_1(text: &str) -> bool {
    // U+0100 begins with the byte 0xc4
    text.bytes().all(|byte| byte < 0xc4)
}

/// Returns the character of a byte in Windows-1252; unassigned bytes are C1 controls.
pub(super) fn windows_1252(byte: u8) -> char {
    let code = match byte.checked_sub(0x80) {
        Some(index) => tables::WINDOWS_1252[usize::from(index)],
        None => u16::from(byte),
    };
    char::from_u32(u32::from(code)).unwrap_or(REPLACEMENT)
}

/// Returns Latin-1 `text` read as Windows-1252, or `None` if a byte is unassigned there.
pub(super) fn decode_windows_1252(text: &str) -> Option<String> {
    let is_unassigned = |char| matches!(char, '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}');
    (!text.contains(is_unassigned))
        .then(|| text.chars().map(|char| windows_1252(char as u8)).collect())
}

/// Returns the text that `bytes` are in UTF-8, altered as `charset` alters it, or `None` if they
/// are not UTF-8.
pub(super) fn decode(bytes: &[u8], charset: &Charset) -> Option<String> {
    let mut bytes = std::borrow::Cow::Borrowed(bytes);
    if charset.has_a0
        && let Some(restored) = with_a0(&bytes)
    {
        bytes = restored.into();
    }
    if charset.is_sloppy
        && let Some(replaced) = without_lossy(&bytes)
    {
        bytes = replaced.into();
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        return decode_variants(&bytes);
    }
    String::from_utf8(bytes.into_owned()).ok()
}

/// Returns `bytes` with 0xa0 where a space stands within a sequence of UTF-8, or `None` if there is
/// no such space.
fn with_a0(bytes: &[u8]) -> Option<Vec<u8>> {
    // a sequence has at most four bytes, and begins before its space
    let is_altered = |space: usize| {
        (space.saturating_sub(3)..space).any(|at| altered_length(&bytes[at..]).is_some())
    };
    if !memchr::memchr_iter(b' ', bytes).any(is_altered) {
        return None;
    }
    // `Ã ` is nearly always the word `à`, whose 0xa0 and space became one; not in Portuguese
    let mut words = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        words.push(*byte);
        let rest = &bytes[at + 1..];
        let joins = [&b" "[..], b"quele", b"quela", b"quilo", b"s "];
        if *byte == 0xc3
            && rest.first() == Some(&b' ')
            && !joins.iter().any(|word| rest[1..].starts_with(word))
        {
            words.push(0xa0);
        }
    }
    let mut at = 0;
    while at < words.len() {
        let length = altered_length(&words[at..]).unwrap_or(0);
        for byte in words[at..at + length].iter_mut().filter(|byte| **byte == b' ') {
            *byte = 0xa0;
        }
        at += length.max(1);
    }
    Some(words)
}

/// Returns the length of the sequence at the start of `bytes` in which a space stands for 0xa0.
///
/// Leads that would give unlikely characters are left out.
fn altered_length(bytes: &[u8]) -> Option<usize> {
    let is_space = |at: usize| bytes.get(at) == Some(&b' ');
    let is_likely = |at: usize| {
        bytes.get(at).is_some_and(|byte| matches!(byte, 0x80..=0x84 | 0x86..=0x9f | 0xa1..=0xbf))
    };
    let is_continuation =
        |at: usize| bytes.get(at).is_some_and(|byte| (0x80..=0xbf).contains(byte));
    match *bytes.first()? {
        0xc2 | 0xc3 | 0xc5 | 0xce | 0xd0 | 0xd9 if is_space(1) => Some(2),
        0xe2 | 0xe3 if is_space(1) && is_likely(2) => Some(3),
        0xe0..=0xe3 if is_likely(1) && is_space(2) => Some(3),
        0xf0 => {
            let is_altered = (1..4).any(|space| {
                (1..4).all(|at| if at == space { is_space(at) } else { is_continuation(at) })
            });
            is_altered.then_some(4)
        }
        _ => None,
    }
}

/// Returns `bytes` with sequences that lost a byte replaced by U+FFFD, or `None` if there are none.
fn without_lossy(bytes: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(SUBSTITUTE, b'?', bytes)?;
    let mut out = Vec::new();
    let (mut at, mut done) = (0, 0);
    while at < bytes.len() {
        match lossy_length(&bytes[at..]) {
            Some(length) => {
                out.extend_from_slice(&bytes[done..at]);
                out.extend_from_slice("\u{fffd}".as_bytes());
                at += length;
                done = at;
            }
            None => at += 1,
        }
    }
    if done == 0 {
        return None;
    }
    out.extend_from_slice(&bytes[done..]);
    Some(out)
}

/// Returns the length of the sequence at the start of `bytes` that lost a byte. `?` stands for it at
/// most once.
fn lossy_length(bytes: &[u8]) -> Option<usize> {
    let at = |index: usize| bytes.get(index).copied();
    let is_lost = |index: usize| matches!(at(index), Some(SUBSTITUTE | b'?'));
    let is_continuation = |index: usize| matches!(at(index), Some(SUBSTITUTE | 0x80..=0xbf));
    let is_any = |index: usize| is_lost(index) || is_continuation(index);
    // one of the bytes 1..length is lost, the others may be
    let lost_one = |length: usize| {
        (1..length).any(|lost| {
            (1..length)
                .all(|index| if index == lost { is_lost(index) } else { is_continuation(index) })
        })
    };
    match bytes[0] {
        0xc2..=0xdf if at(1) == Some(SUBSTITUTE) => Some(2),
        0xc2 | 0xc3 if at(1) == Some(b'?') => Some(2),
        0xed if matches!(at(1), Some(0xa0..=0xaf))
            && at(3) == Some(0xed)
            && matches!(at(4), Some(0xb0..=0xbf))
            && is_any(2)
            && is_any(5)
            && (is_lost(2) || is_lost(5)) =>
        {
            Some(6)
        }
        0xe0..=0xef if lost_one(3) => Some(3),
        0xf0..=0xf4 if lost_one(4) => Some(4),
        SUBSTITUTE => Some(1),
        _ => None,
    }
}

/// Decodes UTF-8 in which NUL may be two bytes and characters beyond U+FFFF two surrogates, as Java
/// writes them.
fn decode_variants(bytes: &[u8]) -> Option<String> {
    let mut out = String::new();
    let (mut at, mut done) = (0, 0);
    while at < bytes.len() {
        let (char, length) = match bytes[at..] {
            [0xc0, 0x80, ..] => ('\0', 2),
            [
                0xed,
                a @ 0xa0..=0xaf,
                b @ 0x80..=0xbf,
                0xed,
                c @ 0xb0..=0xbf,
                d @ 0x80..=0xbf,
                ..,
            ] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let high = bits(a, 0xf) << 16 | bits(b, 0x3f) << 10;
                (char::from_u32(0x10000 + (high | bits(c, 0xf) << 6 | bits(d, 0x3f)))?, 6)
            }
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(std::str::from_utf8(&bytes[done..at]).ok()?);
        out.push(char);
        at += length;
        done = at;
    }
    out.push_str(std::str::from_utf8(&bytes[done..]).ok()?);
    Some(out)
}
