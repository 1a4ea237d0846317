//! White space that carries no meaning.

use std::ops::Range;

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Spaces>(
    "spaces",
    1,
    "Unicode spaces become U+0020, runs in a line one blank; ends of lines and documents are cut",
);

/// A space keeps the indentation of a line as wide as it was; U+3000 stays there, since Chinese and
/// Japanese paragraphs begin with it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// How many empty lines may follow each other.
    empty_lines: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { empty_lines: 1 }
    }
}

struct Spaces {
    empty_lines: usize,
}

impl Build for Spaces {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self { empty_lines: settings.empty_lines })
    }
}

fn is_blank(char: char) -> bool {
    char == ' '
        || char == '\t'
        || (char > '\u{7f}' && property_table().of(char).has(Properties::BLANK))
}

impl Rewrite for Spaces {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.untidy || survey.classes.has(Properties::BLANK)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        // empty lines wait as a gap until it is known whether text follows them
        let (mut start, mut gap_start, mut empty) = (0, 0, 0);
        let mut seen_text = false;
        for line in text.split_inclusive('\n') {
            let content = line.strip_suffix('\n').unwrap_or(line);
            let kept = content.trim_end_matches(is_blank);
            if kept.is_empty() {
                empty += 1;
            } else {
                let allowed = if seen_text { empty.min(self.empty_lines) } else { 0 };
                close_gap(edit, gap_start..start, allowed);
                tidy(edit, start, kept);
                if kept.len() < content.len() {
                    edit.cut(start + kept.len()..start + content.len());
                }
                gap_start = start + line.len();
                (seen_text, empty) = (true, 0);
            }
            start += line.len();
        }
        close_gap(edit, gap_start..start, 0);
    }
}

/// Leaves `allowed` line feeds of the empty lines `gap`.
fn close_gap(edit: &mut Edit<'_>, gap: Range<usize>, allowed: usize) {
    let old = &edit.text()[gap.clone()];
    if old.len() != allowed {
        let characters = old.chars().count();
        edit.replace(gap, &"\n".repeat(allowed), (characters - allowed) as u64);
    }
}

/// Tidies one line, which begins at `start` and ends with something visible.
fn tidy(edit: &mut Edit<'_>, start: usize, line: &str) {
    let blank = |byte: u8| u8::from(byte == b' ') | u8::from(byte == b'\t');
    // no early end: this form becomes vector code
    let meet =
        line.as_bytes().windows(2).fold(0, |met, pair| met | (blank(pair[0]) & blank(pair[1])));
    if meet == 0 && line.is_ascii() {
        return;
    }
    let body = line.len() - line.trim_start_matches(is_blank).len();
    for (at, char) in line[..body].char_indices() {
        if !matches!(char, ' ' | '\t' | '\u{3000}') {
            edit.replace(start + at..start + at + char.len_utf8(), " ", 1);
        }
    }
    let mut run: Option<(usize, u64, bool)> = None;
    for (at, char) in line[body..].char_indices() {
        let at = body + at;
        if is_blank(char) {
            let (from, count, tab) = run.unwrap_or((at, 0, false));
            run = Some((from, count + 1, tab || char == '\t'));
        } else if let Some((from, count, tab)) = run.take() {
            let new = if tab { "\t" } else { " " };
            if line[from..at] != *new {
                edit.replace(start + from..start + at, new, (count - 1).max(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidied(text: &str) -> (String, u64) {
        let rule = Spaces::build(Settings::default()).unwrap();
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        rule.apply(&mut edit);
        match edit.finish() {
            0 => (text.to_owned(), 0),
            changed => (out, changed),
        }
    }

    #[test]
    fn white_space_is_tidied() {
        for (text, expected, changed) in [
            ("a b\tc\n", "a b\tc\n", 0),
            ("a  b", "a b", 1),
            ("a \t b", "a\tb", 2),
            ("a\u{a0}b", "a b", 1),
            ("a\u{3000}b", "a b", 1),
            ("\u{3000}\u{3000}他说", "\u{3000}\u{3000}他说", 0),
            ("    x = 1", "    x = 1", 0),
            ("\u{a0}\u{a0}x", "  x", 2),
            ("a \nb\t\nc", "a\nb\nc", 2),
            ("a\n\nb", "a\n\nb", 0),
            ("a\n\n\n\nb", "a\n\nb", 2),
            ("a\n \n\t\nb", "a\n\nb", 3),
            ("\n\n  a\n\n", "  a\n", 3),
            ("a\n  ", "a\n", 2),
            (" \n \n", "", 4),
            ("", "", 0),
        ] {
            assert_eq!(tidied(text), (expected.to_owned(), changed), "{text:?}");
        }
    }
}
