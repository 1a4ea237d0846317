//! Which characters a text has, so that normalisers with nothing to do are skipped.

pub use lslm_unicode::properties::{Properties, PropertyTable, properties_of, property_table};

/// Which characters a text contains, as far as normalisers decide by it whether to run.
#[derive(Clone, Copy, Debug)]
pub struct CharacterSummary {
    /// The union of the properties of all characters beyond ASCII, and of ASCII characters only
    /// [`Properties::CONTROL`] and [`Properties::BREAK`].
    pub properties: Properties,
    /// Whether there may be white space to normalise: a run of blanks, a blank at the end of a
    /// line, a run of three or more line feeds, white space at either end of the text.
    pub is_untidy: bool,
}

impl CharacterSummary {
    /// Returns the summary of `text`.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (is_ascii, has_controls) = scan_ascii(bytes);
        let mut properties = Properties::NONE;
        if has_controls {
            let table = property_table();
            for &byte in bytes {
                properties = properties.or(table.of_byte(byte));
            }
            properties = properties.and(Properties::CONTROL.or(Properties::BREAK));
        }
        if !is_ascii {
            properties = properties.or(properties_beyond_ascii(text));
        }
        Self { properties, is_untidy: is_untidy(bytes) }
    }
}

/// Returns whether all bytes are ASCII, and whether there are controls besides tab and line feed.
fn scan_ascii(bytes: &[u8]) -> (bool, bool) {
    let (mut high, mut control) = (0_u8, 0_u8);
    // no early exit: the compiler vectorises this form
    for &byte in bytes {
        high |= byte;
        let low = u8::from(byte < 0x20) & u8::from(byte != b'\t') & u8::from(byte != b'\n');
        control |= low | u8::from(byte == 0x7f);
    }
    (high < 0x80, control != 0)
}

/// See [`CharacterSummary::is_untidy`].
fn is_untidy(bytes: &[u8]) -> bool {
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

fn properties_beyond_ascii(text: &str) -> Properties {
    let table = property_table();
    let mut all = Properties::NONE;
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
    fn a_summary_has_what_occurs_in_the_text() {
        let summary = CharacterSummary::of("plain text,\nwith lines\n");
        assert!(!summary.is_untidy && summary.properties == Properties::NONE);
        assert!(CharacterSummary::of("a\rb").properties.has(Properties::BREAK));
        assert!(CharacterSummary::of("a\x07b").properties.has(Properties::CONTROL));
        for text in ["a  b", "a \nb", "a\n\n\nb", "a\n\n", "a ", "\na", "a\t b"] {
            assert!(CharacterSummary::of(text).is_untidy, "{text:?}");
        }
        assert!(CharacterSummary::of("e\u{301}").properties.has(Properties::COMPOSES));
    }
}
