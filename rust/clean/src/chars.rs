//! What characters a text has, so that a normaliser that has nothing to do is passed by.

pub use lslm_unicode::properties::{Properties, PropertyTable, properties_of, property_table};

/// What a text contains, as far as the normalisers need to know to leave it alone.
#[derive(Clone, Copy, Debug)]
pub struct CharacterSummary {
    /// The properties that occur: all of those of characters beyond ASCII, of ASCII only
    /// [`Properties::CONTROL`] and [`Properties::BREAK`].
    pub classes: Properties,
    /// Whether there may be white space to tidy: a run, one at a line's end, many empty lines.
    pub untidy: bool,
    /// Whether there is anything beyond ASCII.
    pub beyond_ascii: bool,
}

impl CharacterSummary {
    /// Looks through `text` once.
    pub fn of(text: &str) -> Self {
        let table = property_table();
        let bytes = text.as_bytes();
        let (high, control) = ascii_facts(bytes);
        let mut classes = Properties::NONE;
        if control {
            for &byte in bytes {
                classes = classes.or(table.of_byte(byte));
            }
            classes = classes.and(Properties::CONTROL.or(Properties::BREAK));
        }
        if high {
            classes = classes.or(classes_beyond_ascii(text));
        }
        Self { classes, untidy: untidy(bytes), beyond_ascii: high }
    }
}

/// Whether there are bytes beyond ASCII, and controls other than tab and line feed.
fn ascii_facts(bytes: &[u8]) -> (bool, bool) {
    let (mut high, mut control) = (0_u8, 0_u8);
    // no early end: this form becomes vector code
    for &byte in bytes {
        high |= byte;
        let low = u8::from(byte < 0x20) & u8::from(byte != b'\t') & u8::from(byte != b'\n');
        control |= low | u8::from(byte == 0x7f);
    }
    (high >= 0x80, control != 0)
}

/// Whether two blanks meet, a blank stands before a line feed or at an end, or three line feeds meet.
fn untidy(bytes: &[u8]) -> bool {
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

fn classes_beyond_ascii(text: &str) -> Properties {
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
    fn a_survey_sees_what_there_is() {
        let survey = CharacterSummary::of("plain text,\nwith lines\n");
        assert!(!survey.untidy && !survey.beyond_ascii && survey.classes == Properties::NONE);
        assert!(CharacterSummary::of("a\rb").classes.has(Properties::BREAK));
        assert!(CharacterSummary::of("a\x07b").classes.has(Properties::CONTROL));
        for text in ["a  b", "a \nb", "a\n\n\nb", "a\n\n", "a ", "\na", "a\t b"] {
            assert!(CharacterSummary::of(text).untidy, "{text:?}");
        }
        assert!(CharacterSummary::of("e\u{301}").classes.has(Properties::COMPOSES));
    }
}
