//! Normalises white space, but keeps what carries meaning.
//!
//! - A tab stays in a line with text: two tabs are an empty cell. U+3000 stays within a line.
//! - Other Unicode spaces become U+0020.
//! - A run of spaces within a line becomes one, if the line is prose: it is not indented, has no tab
//!   and no `|`, and is not *aligned*: no run of spaces, nor the word after it, ends in the same
//!   column as one of an adjacent line.
//! - Spaces at the end of a line are removed, but two stay where the next line has text: in Markdown
//!   they break the line.
//! - Of consecutive empty lines at most `empty_lines` stay, at the start and the end of the text
//!   none. A line of white space is empty.
//! - Fenced code, from a line that starts with ```` ``` ```` or `~~~` to the next, stays as it is.
//!
//! Alignment holds for both of two lines, and lines that are aligned stay as they are. So a second
//! run finds the same lines aligned.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, find, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Spaces>(
    "spaces",
    2,
    "replaces Unicode spaces by U+0020 and runs in prose by one; trims ends of lines and of the text",
);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Spaces {
    /// The maximum number of consecutive empty lines. Two separate functions of source code.
    empty_lines: usize,
}

impl Default for Spaces {
    fn default() -> Self {
        Self { empty_lines: 2 }
    }
}

/// The indentation of Chinese and Japanese paragraphs, and what aligns their columns.
const IDEOGRAPHIC_SPACE: char = '\u{3000}';
/// Two spaces at the end of a line.
const HARD_BREAK: &str = "  ";

/// Returns whether `char` is a space, of any width.
fn is_space(char: char) -> bool {
    char == ' ' || (char > '\u{7f}' && property_table().of(char).has(Properties::BLANK))
}

/// Returns whether `char` is a space or a tab.
fn is_blank(char: char) -> bool {
    char == '\t' || is_space(char)
}

impl Rewrite for Spaces {
    fn may_change(&self, text: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::BLANK) || is_untidy(text.as_bytes())
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let mut lines = text.split_inclusive('\n').peekable();
        // empty lines are a gap, which is replaced only when a line with text or the end follows
        let (mut start, mut gap_start, mut empty) = (0, 0, 0);
        let (mut seen_text, mut in_fence) = (false, false);
        let mut previous = Columns::default();
        let has_wide = find(text, 0, Properties::BLANK).is_some();
        while let Some(line) = lines.next() {
            let content = line.strip_suffix('\n').unwrap_or(line);
            let is_fence = is_fence(content);
            if in_fence || is_fence || !content.chars().all(is_blank) {
                let allowed = if seen_text { empty.min(self.empty_lines) } else { 0 };
                close_gap(edit, gap_start, start, allowed);
                gap_start = start + line.len();
                (seen_text, empty) = (true, 0);
            }
            if in_fence || is_fence {
                in_fence ^= is_fence;
                previous = Columns::default();
            } else if content.chars().all(is_blank) {
                empty += 1;
                previous = Columns::default();
            } else if is_even(content, has_wide) {
                // has no columns, and nothing to normalise
                previous = Columns::default();
            } else {
                let next = lines.peek().map_or("", |next| next.trim_end_matches('\n'));
                let next = if is_fence_or_empty(next) { "" } else { next };
                let columns = Columns::of(content);
                let is_aligned = columns.share(&previous) || columns.share(&Columns::of(next));
                normalise_line(edit, start, content, is_aligned, !next.is_empty());
                previous = columns;
            }
            start += line.len();
        }
        close_gap(edit, gap_start, start, 0);
    }
}

/// Returns whether there may be white space to normalise, if all of it is ASCII.
fn is_untidy(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let blank = |byte: u8| u8::from(byte == b' ') | u8::from(byte == b'\t');
    let feed = |byte: u8| u8::from(byte == b'\n');
    let (mut found, mut feeds) = (blank(*last) | feed(*first), 0);
    // no early exit: the compiler vectorises this form
    for (one, two) in bytes.iter().zip(&bytes[1..]) {
        found |= blank(*one) & (blank(*two) | feed(*two));
        feeds |= feed(*one) & feed(*two);
    }
    found != 0
        || (feeds != 0
            && (bytes.ends_with(b"\n\n") || memchr::memmem::find(bytes, b"\n\n\n").is_some()))
}

/// Returns whether all spaces in `line`, which has text, are single U+0020 before other characters.
/// `has_wide` is whether the text may have spaces of another width.
fn is_even(line: &str, has_wide: bool) -> bool {
    let bytes = line.as_bytes();
    let is_space = |byte: u8| u8::from(byte == b' ');
    // no early exit: the compiler vectorises this form
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    let doubles = pairs.fold(0, |found, (one, two)| found | is_space(*one) & is_space(*two));
    let has_wide = has_wide && find(line, 0, Properties::BLANK).is_some();
    doubles == 0 && !has_wide && bytes.last() != Some(&b' ')
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start_matches(is_blank);
    line.starts_with("```") || line.starts_with("~~~")
}

fn is_fence_or_empty(line: &str) -> bool {
    line.chars().all(is_blank) || is_fence(line)
}

/// Replaces the empty lines in the bytes `start..end` by `allowed` line feeds.
fn close_gap(edit: &mut Edit<'_>, start: usize, end: usize, allowed: usize) {
    let old = &edit.text()[start..end];
    if old.len() != allowed {
        let chars = old.chars().count();
        edit.replace(start..end, &"\n".repeat(allowed), (chars - allowed) as u64);
    }
}

/// Where the runs of spaces of one line end, and the words after them, in code points.
#[derive(Default)]
struct Columns {
    runs: Vec<usize>,
    words: Vec<usize>,
}

impl Columns {
    /// Returns the columns of `line`; none if it has no run of spaces.
    fn of(line: &str) -> Self {
        let mut columns = Self::default();
        let line = line.trim_end_matches(is_blank);
        let (mut spaces, mut in_word) = (0, false);
        for (column, char) in line.chars().enumerate() {
            if is_space(char) {
                if in_word {
                    columns.words.push(column);
                    in_word = false;
                }
                spaces += 1;
            } else {
                // a run at the start of the line is its indentation
                if spaces > 1 && column > spaces {
                    columns.runs.push(column);
                    in_word = true;
                }
                spaces = 0;
            }
        }
        if in_word {
            columns.words.push(line.chars().count());
        }
        columns
    }

    fn share(&self, other: &Self) -> bool {
        let any = |left: &[usize], right: &[usize]| left.iter().any(|c| right.contains(c));
        any(&self.runs, &other.runs) || any(&self.words, &other.words)
    }
}

/// Normalises the spaces of one line with text, which starts at byte `start`.
fn normalise_line(
    edit: &mut Edit<'_>,
    start: usize,
    line: &str,
    is_aligned: bool,
    is_before_text: bool,
) {
    let body = line.trim_end_matches(is_space);
    let indentation = body.len() - body.trim_start_matches(is_blank).len();
    let is_prose = !is_aligned
        && !body.contains(['\t', '|'])
        && body[..indentation].chars().all(|char| char == IDEOGRAPHIC_SPACE);
    // the spaces before the current character: where they start and how many they are
    let (mut run_start, mut run) = (0, 0_u64);
    for (at, char) in body.char_indices() {
        let is_single = char == ' ' || char == IDEOGRAPHIC_SPACE || !is_space(char);
        if is_prose {
            if is_space(char) && char != IDEOGRAPHIC_SPACE {
                run_start = if run == 0 { at } else { run_start };
                run += 1;
                continue;
            }
            if run > 0 && body[run_start..at] != *" " {
                edit.replace(start + run_start..start + at, " ", (run - 1).max(1));
            }
            run = 0;
        } else if !is_single {
            edit.replace(start + at..start + at + char.len_utf8(), " ", 1);
        }
    }
    let end = &line[body.len()..];
    let is_hard_break = is_before_text && end.len() > 1 && end.bytes().all(|byte| byte == b' ');
    let kept = if is_hard_break { HARD_BREAK } else { "" };
    if end != kept {
        let removed = end.chars().count() - kept.len();
        edit.replace(start + body.len()..start + line.len(), kept, removed as u64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(text: &str) -> (String, u64) {
        let rule = Spaces { empty_lines: 1 };
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
            ("a\u{a0} b", "a b", 1),
            ("a\u{a0}b", "a b", 1),
            ("a\u{2003}\u{2003}\u{2003}b", "a b", 2),
            ("    x = 1", "    x = 1", 0),
            ("\u{a0}\u{a0}x", "  x", 2),
            ("a \nb\u{a0}\u{a0}\nc", "a\nb\nc", 3),
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

    #[test]
    fn white_space_with_a_meaning_stays() {
        for text in [
            "姓名\u{3000}\u{3000}张三\u{3000}\u{3000}电话\n",
            "\u{3000}\u{3000}他说\n",
            "a\tb\tc\n1\t\t3\n\t2\t\n",
            "line one  \nline two\n",
            "| name   | value |\n|--------|------:|\n",
            "x = 1     # aligned\nyy = 2    # aligned\n",
            "Name      Qty   Price\napple       3    1.50\nbanana     12   10.00\n",
            "    indented   code\n",
            "all:\n\techo  hi\n",
            "```\na  b \n\n\n\n\u{a0}c\n```\n",
            "~~~\nnot closed  \n\n\n\nend  \n\n",
        ] {
            assert_eq!(normalised(text), (text.to_owned(), 0), "{text:?}");
        }
        // prose beside it does not
        assert_eq!(
            normalised("One.  Two.\nThree four.  Five.\n").0,
            "One. Two.\nThree four. Five.\n"
        );
        assert_eq!(normalised("end    \nnext   \n\nlast  \n").0, "end  \nnext\n\nlast\n");
    }

    proptest! {
        #[test]
        fn normalising_spaces_is_idempotent(
            text in "(a|bb|ccc| |  |   |\u{a0}|\u{3000}|\t|\\||\n|\n\n|\n\n\n|  \n|```|~~~|中){0,40}",
            empty_lines in 0..3_usize,
        ) {
            let rule = Spaces { empty_lines };
            let (mut once, mut twice) = (String::new(), String::new());
            let mut edit = Edit::new(&text, &mut once);
            rule.apply(&mut edit);
            if edit.finish() == 0 {
                return Ok(());
            }
            let words = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(words(&once), words(&text));
            let mut edit = Edit::new(&once, &mut twice);
            rule.apply(&mut edit);
            prop_assert_eq!(edit.finish(), 0, "{:?} {:?}", once, twice);
        }

        #[test]
        fn an_even_line_has_no_columns_and_does_not_change(
            line in "(a|bb| |  |\t|\\||\u{a0}|\u{3000}|\u{2003}|中|é){1,30}", before_text in any::<bool>(),
        ) {
            if is_even(&line, true) && !line.chars().all(is_blank) {
                let columns = Columns::of(&line);
                prop_assert!(columns.runs.is_empty() && columns.words.is_empty());
                let mut out = String::new();
                for is_aligned in [false, true] {
                    let mut edit = Edit::new(&line, &mut out);
                    normalise_line(&mut edit, 0, &line, is_aligned, before_text);
                    prop_assert_eq!(edit.finish(), 0);
                }
            }
        }

        #[test]
        fn a_tidy_text_does_not_change(text in "(a|b| |\t|\n|\n\n){0,30}") {
            if !is_untidy(text.as_bytes()) {
                prop_assert_eq!(normalised(&text).1, 0);
            }
        }
    }
}
