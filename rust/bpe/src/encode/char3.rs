//! Characters of three UTF-8 bytes, U+0800 to U+FFFF, as 16-bit numbers.
//!
//! Most scripts written without spaces consist of them, Chinese and Japanese above all. The bytes
//! need not be well-formed: what counts is `1110xxxx 10xxxxxx 10xxxxxx`.

/// The 16 bits that the three bytes of a character hold. Zero, which only an overlong spelling
/// gives, is free to stand for "not such a character".
pub(crate) type Char3 = u16;

/// Returns the three-byte character that `text` begins with.
#[inline(always)]
pub(crate) fn first_char3(text: &[u8]) -> Option<Char3> {
    match *text {
        [lead, second, third, ..]
            if is_lead(lead) && is_continuation(second) && is_continuation(third) =>
        {
            Some(u16::from(lead) << 12 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F))
        }
        _ => None,
    }
}

/// Returns the three-byte character in the lowest three bytes of `bytes`.
#[inline(always)]
pub(crate) fn char3_of(bytes: u32) -> Option<Char3> {
    let character = bytes << 12 | (bytes >> 8 & 0x3F) << 6 | (bytes >> 16 & 0x3F);
    (bytes & 0xC0_C0F0 == 0x80_80E0).then_some(character as Char3)
}

/// Returns the three-byte character that `start..end` of `text` begins with.
#[inline(always)]
pub(crate) fn char3_at(text: &[u8], start: usize, end: usize) -> Option<Char3> {
    if start + 3 > end {
        return None;
    }
    // One read, except at the end of the text.
    match text.get(start..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => char3_of(u32::from_le_bytes(*bytes)),
        None => first_char3(&text[start..end]),
    }
}

/// Whether `byte` begins a three-byte character.
#[inline(always)]
pub(crate) fn is_lead(byte: u8) -> bool {
    byte & 0xF0 == 0xE0
}

/// Whether `byte` continues a character of any length.
#[inline(always)]
pub(crate) fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Whether a piece has more than one character and begins with a three-byte one, perhaps after a
/// space. Such pieces are split at boundaries before they are looked up.
#[inline(always)]
pub(crate) fn has_char3s(text: &[u8], start: usize, len: usize) -> bool {
    let lead = |at: usize| text.get(at).map_or(0, |byte| byte & 0xF0) == 0xE0;
    // The bytes first: the length of a piece is unpredictable, its script is not.
    (lead(start) | lead(start + 1)) && len > 3
}

/// [`has_char3s`] for a piece of more than three bytes that begins with `window`.
#[inline(always)]
pub(crate) fn has_char3(window: u128) -> bool {
    is_lead(window as u8) | is_lead((window >> 8) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_char3_is_the_same_from_bytes_and_from_a_number() {
        for text in ["\u{4E2D}x", "\u{FFFD}", "\u{800}", "abc", "\u{E9}a", "\u{1F600}"] {
            let bytes = [text.as_bytes(), &[0; 4]].concat();
            let expected = text.chars().next().filter(|c| c.len_utf8() == 3).map(|c| c as Char3);
            assert_eq!(first_char3(text.as_bytes()), expected);
            assert_eq!(char3_of(u32::from_le_bytes(*bytes.first_chunk().unwrap())), expected);
            assert_eq!(char3_at(&bytes, 0, text.len()), expected);
            assert_eq!(char3_at(text.as_bytes(), 0, text.len()), expected);
        }
        assert_eq!(first_char3(b"\xE4\xB8"), None);
        assert_eq!(char3_at("\u{4E2D}x".as_bytes(), 0, 2), None);
    }
}
