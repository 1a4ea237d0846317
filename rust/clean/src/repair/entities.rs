//! Decodes HTML entities that end in a semicolon.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::bytes::windows_1252;

/// The name of each entity, and its characters in hexadecimal: those of HTML 5, and those whose name
/// in capitals can mean nothing else.
static TABLE: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
    let lines = include_str!("entities.txt").lines();
    lines
        .filter_map(|line| {
            let (name, codes) = line.split_once(' ')?;
            let chars = codes.split(' ').filter_map(|code| u32::from_str_radix(code, 16).ok());
            Some((name, chars.filter_map(char::from_u32).collect()))
        })
        .collect()
});

/// Characters between `&` and `;`, at most, without a `#`.
const MAX_NAME: usize = 24;

/// Returns `text` with its entities decoded, or `None` if it has none.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut done) = (String::new(), 0);
    for at in memchr::memchr_iter(b'&', bytes) {
        if at < done {
            continue;
        }
        let hash = usize::from(bytes.get(at + 1) == Some(&b'#'));
        let name = &bytes[at + 1 + hash..];
        let length =
            name.iter().take(MAX_NAME + 1).take_while(|b| b.is_ascii_alphanumeric()).count();
        if length == 0 || length > MAX_NAME || name.get(length) != Some(&b';') {
            continue;
        }
        let name = &text[at + 1..at + 1 + hash + length];
        let decoded = match name.strip_prefix('#') {
            Some(number) => character(number),
            None => TABLE.get(name).cloned(),
        };
        if let Some(decoded) = decoded {
            out.push_str(&text[done..at]);
            out.push_str(&decoded);
            done = at + 1 + name.len() + 1;
        }
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// Returns the character with a number, such as "65" or "x41", as HTML 5 reads it; `None` if it is
/// not a number, or that of the semicolon, which would look like an entity of its own.
fn character(number: &str) -> Option<String> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if digits.is_empty() || !digits.chars().all(|char| char.is_digit(radix)) {
        return None;
    }
    // too large for the type is too large for a character
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    let char = match code {
        0x3b => return None,
        0 => '\u{fffd}',
        0x80..=0x9f => windows_1252(code as u8),
        _ => char::from_u32(code).unwrap_or('\u{fffd}'),
    };
    let is_invalid = matches!(code,
        1..=8 | 0xb | 0xe..=0x1f | 0x7f..=0x9f | 0xfdd0..=0xfdef)
        || (code <= 0x10_ffff && code & 0xfffe == 0xfffe);
    // HTML reads 0x80 to 0x9f as Windows-1252, and those without a character there as controls
    let is_removed = is_invalid && !matches!(code, 0x80..=0x9f);
    Some(if is_removed { String::new() } else { char.to_string() })
}
