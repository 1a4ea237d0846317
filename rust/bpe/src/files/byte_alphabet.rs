//! The spelling of bytes as characters that GPT-2 introduced and vocabulary files use.
//!
//! A byte that is a printable Latin-1 character stands for itself; the other 68 take the
//! characters from U+0100 on, in ascending order of the byte. So each byte is one visible
//! character and a token is a string without blanks.
//! Source: `bytes_to_unicode` of the GPT-2 release, restated.

/// Whether `byte` is spelled by the character of the same number.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const SPELLED: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100_u32;
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if is_plain(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            // U+0100..U+0143 are all assigned scalar values
            match char::from_u32(next - 1) {
                Some(c) => c,
                None => '\0',
            }
        };
        byte += 1;
    }
    table
};

/// Byte + 1 by character number, zero where the character spells none.
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

/// Appends the bytes that `text` spells to `out`; false, and nothing appended, when some character
/// spells no byte.
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
        // the best-known of them
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
}
