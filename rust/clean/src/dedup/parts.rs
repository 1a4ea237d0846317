//! What a document and its parts are compared by, and a text without some of its parts.

use std::ops::Range;

use lslm_runtime::{Error, Result};
use lslm_unicode::general_category;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::chars::{Properties, property_table};

/// Returns the hash that identifies a text: XXH3 of its bytes, 128 bits, equal on every machine.
///
/// That any two of 10^12 different texts share a hash has a probability of about 10^-15.
pub fn content_hash(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

/// What is compared besides whole documents.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// Lines, split at line feeds; one that is empty or white space is none.
    Lines,
    /// Runs of lines that are not blank. The blank lines after one belong to it.
    Paragraphs,
}

impl PartKind {
    /// Returns the name of one of them.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lines => "line",
            Self::Paragraphs => "paragraph",
        }
    }
}

/// The settings of the rule `dedup`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupSettings {
    /// Whether a document that equals an earlier one is dropped.
    pub documents: bool,
    /// The parts that are removed where they equal an earlier one; null for none.
    pub parts: Option<PartKind>,
    /// Whether letters, marks and numbers alone are compared, in lower case.
    pub normalise: bool,
    /// Code points of a part that can be removed, at least: "}" and "Yes." are not copies.
    pub min_part_chars: usize,
    /// Code points that a document must have left after the removal of parts.
    pub min_chars_left: usize,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self {
            documents: true,
            parts: None,
            normalise: false,
            min_part_chars: 20,
            min_chars_left: 1,
        }
    }
}

/// A part of a text that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// The bytes that go if the part is removed.
    pub range: Range<usize>,
    /// The hash of its content.
    pub hash: u128,
}

/// Hashes documents and their parts, and removes parts, as the settings say.
///
/// ```
/// use lslm_clean::dedup::{Dedup, DedupSettings, PartKind};
///
/// let settings = DedupSettings {
///     parts: Some(PartKind::Lines),
///     min_part_chars: 3,
///     normalise: true,
///     ..DedupSettings::default()
/// };
/// let dedup = Dedup::new(settings)?;
/// let text = "Read more!\nnew\nread more\n";
/// let parts = dedup.parts(text, &mut String::new());
/// assert_eq!(parts.len(), 3);
/// assert_eq!(parts[0].hash, parts[2].hash);
/// assert_eq!(dedup.without(text, &parts, |part| part == 2), "Read more!\nnew");
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dedup {
    settings: DedupSettings,
}

impl Dedup {
    /// Returns what compares texts by `settings`, which must name something to compare.
    pub fn new(settings: DedupSettings) -> Result<Self> {
        if !settings.documents && settings.parts.is_none() {
            return Err(Error::invalid(
                "dedup.documents = false, dedup.parts = null: nothing is compared; set one, or \
                 switch dedup off",
            ));
        }
        Ok(Self { settings })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &DedupSettings {
        &self.settings
    }

    /// Returns the hash of a document or of the content of a part; `buffer` is working memory.
    pub fn hash(&self, text: &str, buffer: &mut String) -> u128 {
        if self.settings.normalise {
            normalise(text, buffer);
            if !buffer.is_empty() {
                return content_hash(buffer);
            }
        }
        content_hash(text)
    }

    /// Returns the parts of `text` that can be compared, in order; none without `dedup.parts`.
    pub fn parts(&self, text: &str, buffer: &mut String) -> Vec<TextPart> {
        let mut parts = Vec::new();
        let mut add = |content: Range<usize>, end: usize| {
            if text[content.clone()].chars().nth(self.min_last_char()).is_some() {
                let hash = self.hash(&text[content.clone()], buffer);
                parts.push(TextPart { range: content.start..end, hash });
            }
        };
        match self.settings.parts {
            None => {}
            Some(PartKind::Lines) => {
                for (content, end) in lines(text) {
                    if !is_blank(&text[content.clone()]) {
                        add(content, end);
                    }
                }
            }
            Some(PartKind::Paragraphs) => {
                // the content of the open paragraph, and the end of the blank lines after it
                let mut open: Option<(Range<usize>, usize)> = None;
                for (line, end) in lines(text) {
                    let is_blank = is_blank(&text[line.clone()]);
                    open = match open {
                        Some((content, _)) if is_blank => Some((content, end)),
                        // no blank line in between: the paragraph continues
                        Some((content, last)) if last == content.end + 1 && !is_blank => {
                            Some((content.start..line.end, end))
                        }
                        None if is_blank => None,
                        before => {
                            if let Some((content, end)) = before {
                                add(content, end);
                            }
                            Some((line, end))
                        }
                    };
                }
                if let Some((content, end)) = open {
                    add(content, end);
                }
            }
        }
        parts
    }

    /// Returns `text` without the parts, by their index in `parts`, for which `is_removed` is true.
    /// Where the end of the text goes, the line feeds before it go too.
    pub fn without(
        &self,
        text: &str,
        parts: &[TextPart],
        is_removed: impl Fn(usize) -> bool,
    ) -> String {
        let mut left = String::with_capacity(text.len());
        let mut done = 0;
        for (index, part) in parts.iter().enumerate() {
            if is_removed(index) {
                left.push_str(&text[done..part.range.start]);
                done = part.range.end;
            }
        }
        left.push_str(&text[done..]);
        if done == text.len() {
            left.truncate(left.trim_end_matches('\n').len());
        }
        left
    }

    /// Returns the index of the character that a part of the least length ends with.
    fn min_last_char(&self) -> usize {
        self.settings.min_part_chars.max(1) - 1
    }
}

/// Returns the bytes of each line without its line feed, and the end of the line with it.
fn lines(text: &str) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.map(move |end| {
        let line = start..end;
        start = (end + 1).min(text.len());
        (line, start)
    })
}

fn is_blank(line: &str) -> bool {
    let table = property_table();
    line.chars().all(|char| table.of(char).has(Properties::SPACE))
}

/// Sets `buffer` to the letters, marks and numbers of `text`, in lower case.
fn normalise(text: &str, buffer: &mut String) {
    buffer.clear();
    for char in text.chars() {
        if char.is_ascii() {
            if char.is_ascii_alphanumeric() {
                buffer.push(char.to_ascii_lowercase());
            }
            continue;
        }
        let category = general_category(char);
        if category.is_letter() || category.is_mark() || category.is_number() {
            buffer.extend(char.to_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dedup(parts: PartKind, min_part_chars: usize) -> Dedup {
        let settings = DedupSettings { parts: Some(parts), min_part_chars, ..Default::default() };
        Dedup::new(settings).unwrap()
    }

    #[test]
    fn the_hash_equals_that_of_xxhsum() {
        // XXH3_128bits of the empty text and of "abc", as xxhsum 0.8 prints them
        assert_eq!(content_hash(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(content_hash("abc"), 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950);
    }

    #[test]
    fn normalised_texts_have_letters_marks_and_numbers() {
        let mut buffer = String::new();
        for (text, expected) in [
            ("Read More!", "readmore"),
            ("ÉTÉ 2024 – ½", "été2024½"),
            ("「你好」，世界", "你好世界"),
            ("हिन्दी_x", "हिन्दीx"),
            ("--- \u{200b}", ""),
        ] {
            normalise(text, &mut buffer);
            assert_eq!(buffer, expected);
        }
        let settings = DedupSettings { normalise: true, ..Default::default() };
        let dedup = Dedup::new(settings).unwrap();
        assert_ne!(dedup.hash("---", &mut buffer), dedup.hash("***", &mut buffer));
        assert_eq!(dedup.hash("a b", &mut buffer), dedup.hash("(A) B.", &mut buffer));
        let none = DedupSettings { documents: false, ..Default::default() };
        assert!(Dedup::new(none).is_err());
    }

    proptest! {
        #[test]
        fn parts_equal_those_found_line_by_line(
            text in "(a|bb|中中中| |\t|\n|\n\n|\r\n|\n \n){0,20}",
            min_chars in 0..4_usize,
            removed in any::<u32>(),
        ) {
            let mut buffer = String::new();
            let is_removed = |at: usize| removed >> (at % 32) & 1 == 1;
            for kind in [PartKind::Lines, PartKind::Paragraphs] {
                let dedup = dedup(kind, min_chars);
                let parts = dedup.parts(&text, &mut buffer);
                let mut expected: Vec<String> = Vec::new();
                let mut is_open = false;
                for line in text.split('\n') {
                    let is_blank = line.trim().is_empty();
                    match expected.last_mut() {
                        Some(last) if is_open && !is_blank && kind == PartKind::Paragraphs => {
                            last.push('\n');
                            last.push_str(line);
                        }
                        _ if !is_blank => expected.push(line.to_owned()),
                        _ => {}
                    }
                    is_open = !is_blank;
                }
                expected.retain(|part| part.chars().count() >= min_chars);
                let hashes: Vec<u128> = expected.iter().map(|part| content_hash(part)).collect();
                prop_assert_eq!(parts.iter().map(|part| part.hash).collect::<Vec<_>>(), hashes);
                let left = dedup.without(&text, &parts, is_removed);
                let kept = expected.iter().enumerate().filter(|(at, _)| !is_removed(*at));
                let again = dedup.parts(&left, &mut buffer);
                let again: Vec<u128> = again.iter().map(|part| part.hash).collect();
                let kept: Vec<u128> = kept.map(|(_, part)| content_hash(part)).collect();
                prop_assert_eq!(again, kept, "{:?}", left);
                prop_assert_eq!(&dedup.without(&text, &parts, |_| false), &text);
            }
        }
    }
}
