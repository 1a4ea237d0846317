//! GPT-2's byte alphabet: bytes spelled as characters, as vocabulary files have them.
//!
//! A byte that is a printable Latin-1 character is spelled by that character; the other 68 bytes
//! are spelled by the characters from U+0100 on, in ascending order of the byte. So each byte is
//! one visible character, and a token is a string without spaces.
//! Source: `bytes_to_unicode` in the GPT-2 release, restated.

/// Whether `byte` is spelled by the character with the same number.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// By byte: the character that spells it.
const SPELLED: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100_u32;
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            // Never `None`: U+0100 to U+0143 are scalar values.
            match char::from_u32(next - 1) {
                Some(c) => c,
                None => '\0',
            }
        };
        byte += 1;
    }
    table
};

/// By character: the byte that it spells plus one; zero where it spells none.
const UNSPELLED: [u16; 0x144] = {
    let mut table = [0_u16; 0x144];
    let mut byte = 0;
    while byte < 256 {
        table[SPELLED[byte] as usize] = byte as u16 + 1;
        byte += 1;
    }
    table
};

/// Appends the spelling of `bytes` to `out`.
pub(crate) fn spell(bytes: &[u8], out: &mut String) {
    out.extend(bytes.iter().map(|&byte| SPELLED[usize::from(byte)]));
}

/// Appends the bytes that `text` spells to `out`; returns false, with `out` unchanged, when some
/// character spells no byte.
pub(crate) fn unspell(text: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for c in text.chars() {
        match UNSPELLED.get(c as usize) {
            Some(&byte) if byte > 0 => out.push((byte - 1) as u8),
            _ => {
                out.truncate(start);
                return false;
            }
        }
    }
    true
}

/// Returns the 256 bytes in the order of the characters that spell them: first the 188 printable
/// ones, then the rest, each in ascending order.
pub(crate) fn byte_order() -> [u8; 256] {
    let mut order: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    order.sort_by_key(|&byte| SPELLED[usize::from(byte)]);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_spelling() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        spell(&all, &mut text);
        assert_eq!(text.chars().count(), 256);
        let mut back = Vec::new();
        assert!(unspell(&text, &mut back));
        assert_eq!(back, all);
        // The best-known of them.
        text.clear();
        spell(b" \n", &mut text);
        assert_eq!(text, "\u{120}\u{10A}");
    }

    #[test]
    fn other_characters_spell_nothing() {
        let mut out = vec![7];
        assert!(!unspell("a b", &mut out));
        assert!(!unspell("a\u{144}", &mut out));
        assert!(!unspell("\u{4E2D}", &mut out));
        assert_eq!(out, [7]);
    }

    #[test]
    fn bytes_are_ordered_as_in_published_vocabularies() {
        let order = byte_order();
        assert_eq!(&order[..3], b"!\"#");
        assert_eq!(order[187], 0xFF);
        assert_eq!(&order[188..191], &[0, 1, 2]);
        assert_eq!(order[188 + 32], b' ');
        assert_eq!(order[255], 0xAD);
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..=255));
    }
}
