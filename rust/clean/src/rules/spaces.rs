//! Normalises white space, but keeps indentation.
//!
//! Within a line, a run of blanks becomes one tab if it has a tab, else one space. Blanks at the
//! end of a line are removed. Indentation keeps its width: each blank becomes a space, except tabs
//! and U+3000, with which Chinese and Japanese paragraphs start. Of consecutive empty lines at most
//! `empty_lines` stay, at the start and the end of the text none.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Spaces>(
    "spaces",
    1,
    "replaces Unicode spaces by U+0020 and runs by one blank, trims ends of lines and of the text",
);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Spaces {
    /// The maximum number of consecutive empty lines.
    empty_lines: usize,
}

impl Default for Spaces {
    fn default() -> Self {
        Self { empty_lines: 1 }
    }
}

/// Returns whether `char` separates words within a line.
fn is_blank(char: char) -> bool {
    char == ' '
        || char == '\t'
        || (char > '\u{7f}' && property_table().of(char).has(Properties::BLANK))
}

impl Rewrite for Spaces {
    fn may_change(&self, summary: &CharacterSummary) -> bool {
        summary.is_untidy || summary.properties.has(Properties::BLANK)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        // empty lines are a gap, which is replaced only when a line with text or the end follows
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
                normalise_line(edit, start, kept);
                if kept.len() < content.len() {
                    edit.remove(start + kept.len()..start + content.len());
                }
                gap_start = start + line.len();
                (seen_text, empty) = (true, 0);
            }
            start += line.len();
        }
        close_gap(edit, gap_start..start, 0);
    }
}

/// Replaces the empty lines `gap` by `allowed` line feeds.
fn close_gap(edit: &mut Edit<'_>, gap: Range<usize>, allowed: usize) {
    let old = &edit.text()[gap.clone()];
    if old.len() != allowed {
        let chars = old.chars().count();
        edit.replace(gap, &"\n".repeat(allowed), (chars - allowed) as u64);
    }
}

/// Normalises the blanks of one line, which starts at byte `start` and does not end with a blank.
fn normalise_line(edit: &mut Edit<'_>, start: usize, line: &str) {
    let blank = |byte: u8| u8::from(byte == b' ') | u8::from(byte == b'\t');
    // no early exit: the compiler vectorises this form
    let has_run =
        line.as_bytes().windows(2).fold(0, |found, pair| found | (blank(pair[0]) & blank(pair[1])));
    if has_run == 0 && line.is_ascii() {
        return;
    }
    let body = line.len() - line.trim_start_matches(is_blank).len();
    for (at, char) in line[..body].char_indices() {
        if !matches!(char, ' ' | '\t' | '\u{3000}') {
            edit.replace(start + at..start + at + char.len_utf8(), " ", 1);
        }
    }
    // the run of blanks before the current character: its start, its length, whether it has a tab
    let mut run: Option<(usize, u64, bool)> = None;
    for (at, char) in line[body..].char_indices() {
        let at = body + at;
        if is_blank(char) {
            let (from, count, has_tab) = run.unwrap_or((at, 0, false));
            run = Some((from, count + 1, has_tab || char == '\t'));
        } else if let Some((from, count, has_tab)) = run.take() {
            let new = if has_tab { "\t" } else { " " };
            if line[from..at] != *new {
                edit.replace(start + from..start + at, new, (count - 1).max(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(text: &str) -> (String, u64) {
        let rule = Spaces::default();
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        rule.apply(&mut edit);
        match edit.finish() {
            0 => (text.to_owned(), 0),
            changed => (out, changed),
        }
    }

    #[test]
    fn white_space_is_normalised_and_counted() {
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
            assert_eq!(normalised(text), (expected.to_owned(), changed), "{text:?}");
        }
    }
}
