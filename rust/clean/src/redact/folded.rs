//! A short stretch of text in which full-width forms and typographic separators are plain ASCII.

/// Characters that are folded at most: an IBAN in groups of four has 42.
const MAX_CHARS: usize = 48;

/// The characters at one place of a text, folded to ASCII, up to the first that cannot be.
///
/// ```text
/// text    （０７５５）－26    folded  (0755)-26
/// ends    for each character, the byte of the text after it
/// ```
#[derive(Debug)]
pub(crate) struct Folded {
    chars: [u8; MAX_CHARS],
    ends: [u16; MAX_CHARS],
    start: usize,
    len: usize,
}

impl Folded {
    /// Folds the characters from byte `start` on, while `is_part` holds for them.
    pub(crate) fn new(text: &[u8], start: usize, is_part: impl Fn(u8) -> bool) -> Self {
        let mut folded = Self { chars: [0; MAX_CHARS], ends: [0; MAX_CHARS], start, len: 0 };
        let mut at = start;
        while folded.len < MAX_CHARS
            && let Some((char, size)) = fold(text, at)
            && is_part(char)
        {
            at += size;
            folded.chars[folded.len] = char;
            folded.ends[folded.len] = (at - start) as u16;
            folded.len += 1;
        }
        folded
    }

    /// Returns the folded characters.
    pub(crate) fn chars(&self) -> &[u8] {
        &self.chars[..self.len]
    }

    /// Returns the byte of the text after the first `count` characters.
    pub(crate) fn end(&self, count: usize) -> usize {
        match count {
            0 => self.start,
            _ => self.start + usize::from(self.ends[count - 1]),
        }
    }
}

/// Returns the ASCII form of the character at `at`, and its length in bytes; `None` if it has none.
#[inline]
pub(crate) fn fold(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *text.get(at)?;
    if byte < 0x80 {
        return (0x20..0x7f).contains(&byte).then_some((byte, 1));
    }
    let next = |offset: usize| text.get(at + offset).copied().unwrap_or(0);
    match (byte, next(1), next(2)) {
        (0xc2, 0xa0, _) => Some((b' ', 2)),
        // U+FF01 to U+FF5E are the ASCII characters from ! to ~
        (0xef, 0xbc, last @ 0x81..=0xbf) => Some((last - 0x60, 3)),
        (0xef, 0xbd, last @ 0x80..=0x9e) => Some((last - 0x20, 3)),
        // hyphens and dashes, the minus sign; thin and narrow spaces; the ideographic space
        (0xe2, 0x80, 0x90..=0x95) | (0xe2, 0x88, 0x92) => Some((b'-', 3)),
        (0xe2, 0x80, 0x87 | 0x89 | 0xaf) | (0xe3, 0x80, 0x80) => Some((b' ', 3)),
        _ => None,
    }
}

/// Returns the length in bytes of the ASCII or full-width digit at `at`, or 0.
#[inline]
pub(crate) fn digit_size(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'0'..=b'9') => 1,
        Some(0xef) if text.get(at + 1) == Some(&0xbc) => {
            3 * usize::from(matches!(text.get(at + 2), Some(0x90..=0x99)))
        }
        _ => 0,
    }
}

/// Returns whether a separator and a digit or parenthesis start at `at`.
#[inline]
pub(crate) fn is_separated(bytes: &[u8], at: usize) -> bool {
    let Some((char, size)) = fold(bytes, at) else { return false };
    let is_digit = |at: usize| digit_size(bytes, at) > 0;
    match char {
        b' ' | b')' => {
            is_digit(at + size)
                || fold(bytes, at + size).is_some_and(|(next, more)| {
                    matches!(next, b'(' | b' ' | b'-') && is_digit(at + size + more)
                })
        }
        b'-' | b'.' | b'/' | b'(' => is_digit(at + size),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_forms_and_dashes_are_folded() {
        let text = "x（０７５５）－26\u{a0}Ｘｘ\u{2013}\u{3000}7中";
        let folded = Folded::new(text.as_bytes(), 1, |_| true);
        assert_eq!(folded.chars(), b"(0755)-26 Xx- 7");
        assert_eq!(folded.end(0), 1);
        assert_eq!(&text[1..folded.end(7)], "（０７５５）－");
        assert_eq!(folded.end(folded.chars().len()), text.len() - "中".len());
        assert_eq!(Folded::new(b"12-a", 0, |char| char.is_ascii_digit()).chars(), b"12");
    }
}
