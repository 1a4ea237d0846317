//! Unicode's normal forms, as of Unicode 9.0 as in Hugging Face's library.
//!
//! ```text
//! NFC of most text: every character has its bit in a table of 8 KiB → unchanged, nothing is copied
//! otherwise:        icu_normalizer's form; text with characters later than Unicode 9.0 is
//!                   normalised part by part between those
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use icu_normalizer::properties::{
    CanonicalCombiningClassMapBorrowed, CanonicalCompositionBorrowed,
    CanonicalDecompositionBorrowed, Decomposed,
};
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use super::unicode9::is_newer;

/// A Unicode normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NormalForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl NormalForm {
    /// Returns `text` in this form, or `None` if it is in it already. Ill-formed bytes stay.
    pub(super) fn apply(self, text: &[u8]) -> Option<Vec<u8>> {
        // ASCII is in every normal form.
        if text.is_ascii() {
            return None;
        }
        if let Ok(text) = std::str::from_utf8(text) {
            if self == Self::Nfc && is_nfc_unchanged(text) {
                return None;
            }
            return match self.normalize(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed.into_bytes()),
            };
        }
        // Copied only once something changes: ill-formed bytes may be many.
        let mut changed: Option<Vec<u8>> = None;
        let (mut start, mut copied) = (0, 0);
        for chunk in text.utf8_chunks() {
            let end = start + chunk.valid().len();
            if !chunk.valid().is_ascii()
                && let Cow::Owned(part) = self.normalize(chunk.valid())
            {
                let changed = changed.get_or_insert_default();
                changed.extend_from_slice(&text[copied..start]);
                changed.extend_from_slice(part.as_bytes());
                copied = end;
            }
            start = end + chunk.invalid().len();
        }
        if let Some(changed) = &mut changed {
            changed.extend_from_slice(&text[copied..]);
        }
        changed
    }

    /// Returns the normal form as of Unicode 9.0, as Hugging Face's library has it: later
    /// characters stay, and separate the text before them from the text after them.
    ///
    /// Text in today's normal form is in the older one too: its parts have no more to reorder,
    /// decompose or compose than the whole. So only changed text is searched for later characters.
    fn normalize(self, text: &str) -> Cow<'_, str> {
        let today = self.normalize_today(text);
        if matches!(today, Cow::Borrowed(_)) || !text.contains(is_newer) {
            return today;
        }
        let mut changed = String::with_capacity(text.len());
        for part in text.split_inclusive(is_newer) {
            let newer = part.chars().next_back().filter(|&c| is_newer(c));
            let known = &part[..part.len() - newer.map_or(0, char::len_utf8)];
            changed.push_str(&self.normalize_today(known));
            changed.extend(newer);
        }
        if changed == text { Cow::Borrowed(text) } else { Cow::Owned(changed) }
    }

    /// Returns the normal form as of the Unicode version of `icu_normalizer`.
    fn normalize_today(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Nfc => ComposingNormalizerBorrowed::new_nfc().normalize(text),
            Self::Nfkc => ComposingNormalizerBorrowed::new_nfkc().normalize(text),
            Self::Nfd => DecomposingNormalizerBorrowed::new_nfd().normalize(text),
            Self::Nfkd => DecomposingNormalizerBorrowed::new_nfkd().normalize(text),
        }
    }

    /// Returns the ends of parts of `text` that can be normalised separately.
    ///
    /// A part may end before a character whose decomposition begins with a starter that composes
    /// with no character before it. The canonical decompositions of all characters show which ones
    /// do, so the rule needs no table of its own.
    pub(super) fn boundaries(self, text: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = 0;
        for chunk in text.utf8_chunks() {
            for (offset, c) in chunk.valid().char_indices() {
                if at + offset > 0 && self.starts_part(c) {
                    ends.push(at + offset);
                }
            }
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                if at > 0 {
                    ends.push(at);
                }
                at += chunk.invalid().len();
                ends.push(at);
            }
        }
        ends.push(text.len());
        ends.dedup();
        ends
    }

    /// Returns whether a part may end before `c`.
    fn starts_part(self, c: char) -> bool {
        if c.is_ascii() || is_newer(c) {
            return true;
        }
        let mut buffer = [0; 4];
        let form = if matches!(self, Self::Nfc | Self::Nfd) { Self::Nfd } else { Self::Nfkd };
        let first = form.normalize(c.encode_utf8(&mut buffer)).chars().next().unwrap_or(c);
        is_starter(first) && !composes_backwards(first)
    }
}

/// Returns true only if NFC changes nothing, whatever the order of the characters of `text`; true
/// for most text. One table load a character above 127, eight ASCII bytes at a time.
fn is_nfc_unchanged(text: &str) -> bool {
    let unchanged = nfc_unchanged();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        if first < 0x80 {
            let ascii = bytes[at..].first_chunk().is_some_and(|chunk: &[u8; 8]| {
                u64::from_le_bytes(*chunk) & 0x8080_8080_8080_8080 == 0
            });
            at += if ascii { 8 } else { 1 };
            continue;
        }
        let inner = |i: usize| bytes.get(at + i).map_or(0, |&byte| usize::from(byte & 0x3F));
        let first = usize::from(first);
        let (c, length) = match first {
            0xC0..0xE0 => ((first & 0x1F) << 6 | inner(1), 2),
            0xE0..0xF0 => ((first & 0xF) << 12 | inner(1) << 6 | inner(2), 3),
            _ => return false,
        };
        if unchanged[c / 64] >> (c % 64) & 1 == 0 {
            return false;
        }
        at += length;
    }
    true
}

/// Returns one bit for each character below U+10000: set if NFC leaves it as it is and composes it
/// with no character before it.
fn nfc_unchanged() -> &'static [u64; 1 << 10] {
    static UNCHANGED: OnceLock<Box<[u64; 1 << 10]>> = OnceLock::new();
    UNCHANGED.get_or_init(|| {
        let decompositions = CanonicalDecompositionBorrowed::new();
        let compositions = CanonicalCompositionBorrowed::new();
        let mut unchanged = Box::new([u64::MAX; 1 << 10]);
        let mut clear = |c: char| {
            if let Some(word) = unchanged.get_mut(c as usize / 64) {
                *word &= !(1 << (c as usize % 64));
            }
        };
        for c in '\0'..='\u{FFFF}' {
            match decompositions.decompose(c) {
                _ if !is_starter(c) => clear(c),
                Decomposed::Default => {}
                Decomposed::Expansion(a, b) if compositions.compose(a, b) == Some(c) => clear(b),
                _ => clear(c),
            }
        }
        unchanged
    })
}

/// Returns whether `c` has the canonical combining class 0.
fn is_starter(c: char) -> bool {
    CanonicalCombiningClassMapBorrowed::new().get_u8(c) == 0
}

/// Returns whether `c` is the second character of a canonical decomposition that composes again.
fn composes_backwards(c: char) -> bool {
    static SECONDS: OnceLock<HashSet<char>> = OnceLock::new();
    let seconds = SECONDS.get_or_init(|| {
        let decompositions = CanonicalDecompositionBorrowed::new();
        let compositions = CanonicalCompositionBorrowed::new();
        let second = |c| match decompositions.decompose(c) {
            Decomposed::Expansion(a, b) if compositions.compose(a, b).is_some() => Some(b),
            _ => None,
        };
        ('\0'..=char::MAX).filter_map(second).collect()
    });
    seconds.contains(&c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_has_the_characters_that_nfc_leaves_alone() {
        assert!(is_nfc_unchanged("12345678 “caf\u{E9}” — 中文，カ Ж"));
        for c in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let text = &*c.encode_utf8(&mut buffer);
            let form = NormalForm::Nfc;
            let alone = form.starts_part(c) && matches!(form.normalize(text), Cow::Borrowed(_));
            if c <= '\u{FFFF}' {
                // For a later character, today's combining class may clear the bit.
                assert!(is_nfc_unchanged(text) == alone || is_newer(c) && alone, "{c:?}");
            } else {
                assert!(!is_nfc_unchanged(text));
            }
        }
    }

    proptest! {
        #[test]
        fn nfc_leaves_text_of_the_table_alone(text in "[a\u{301}\u{E9}\u{4E00}-\u{4EFF}\u{2014}\u{3099}\u{304B}\u{AC00}\u{11A8}\u{212B}\u{1F600}]{0,9}") {
            prop_assert!(!is_nfc_unchanged(&text) || NormalForm::Nfc.normalize_today(&text) == text);
        }
    }
}
