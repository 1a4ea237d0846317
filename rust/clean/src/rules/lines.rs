//! Removes lines by what they contain and by their length.
//!
//! The simplest line edit: later stages judge the text without these lines. A line is removed with
//! its line feed, if it has one.

use aho_corasick::AhoCorasick;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::measure::{Flow, Judge};
use crate::rule::{Build, LineEdit, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::line_edit::<LineRemoval>(
    "lines",
    1,
    "removes lines that contain a phrase, or are shorter or longer than a limit",
);

/// A limit that is null is not checked. Lines that are empty or white space always stay.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LineSettings {
    /// Phrases, in any case of ASCII letters.
    containing: Vec<String>,
    /// The length in code points.
    min_chars: Option<usize>,
    max_chars: Option<usize>,
}

struct LineRemoval {
    settings: LineSettings,
    phrases: AhoCorasick,
}

impl Build for LineRemoval {
    type Settings = LineSettings;

    fn build(settings: LineSettings) -> Result<Self> {
        if settings.containing.iter().any(String::is_empty) {
            return Err(Error::invalid("lines.containing has an empty string: remove it"));
        }
        let phrases = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&settings.containing)
            .map_err(|error| Error::invalid(format!("lines.containing: {error}")))?;
        Ok(Self { settings, phrases })
    }
}

impl LineEdit for LineRemoval {
    fn apply(&self, document: &View<'_>, edit: &mut Edit<'_>, _: &mut Judge<'_>) -> Flow {
        let (settings, text) = (&self.settings, document.text());
        for line in document.lines().all() {
            let reason = if line.is_blank() {
                None
            } else if settings.min_chars.is_some_and(|min| line.chars() < min) {
                Some("lines.too_short")
            } else if settings.max_chars.is_some_and(|max| line.chars() > max) {
                Some("lines.too_long")
            } else if !settings.containing.is_empty() && self.phrases.is_match(line.of(text)) {
                Some("lines.phrase")
            } else {
                None
            };
            if let Some(reason) = reason {
                let range = line.range();
                edit.replace(range.start..(range.end + 1).min(text.len()), "", 1);
                edit.count_line(reason, line.of(text));
            }
        }
        Flow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{CleanBuffers, CleanConfig, Cleaner};

    #[test]
    fn lines_are_removed_and_counted_by_reason() {
        let settings = json!({"lines": {"containing": ["cookie"], "min_chars": 3, "max_chars": 9}});
        let config = CleanConfig::profile("none").unwrap().with(&settings).unwrap();
        let cleaner = Cleaner::new(&config).unwrap();
        for (text, expected, changes) in [
            ("one two\n\nthree\n", "one two\n\nthree\n", vec![]),
            ("a\none\n", "one\n", vec![("lines", 1), ("lines.too_short", 1)]),
            ("one\nb\nc", "one\n", vec![("lines", 2), ("lines.too_short", 2)]),
            ("中中中\nA Cookie!", "中中中\n", vec![("lines", 1), ("lines.phrase", 1)]),
            (
                "a long line\nx",
                "",
                vec![("lines", 2), ("lines.too_long", 1), ("lines.too_short", 1)],
            ),
            ("", "", vec![]),
        ] {
            let cleaned = cleaner.clean(text, &mut CleanBuffers::default());
            assert_eq!(cleaned.text, expected, "{text:?}");
            assert_eq!(cleaned.changes.iter().collect::<Vec<_>>(), changes, "{text:?}");
        }
    }
}
