//! Replaces the line breaks of all systems by LF.
//!
//! CR LF is one break. A lone CR, a vertical tab, a form feed, NEL, U+2028 or U+2029 beside a line
//! feed is removed, since the line ends there already; elsewhere it becomes a line feed.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, find};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Breaks>(
    "breaks",
    2,
    "replaces CR LF, CR, vertical tab, form feed, NEL, U+2028 and U+2029 by LF",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Breaks {}

impl Rewrite for Breaks {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::BREAK)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        replace_breaks(edit, text, Properties::BREAK, |char| {
            matches!(char, '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
                .then_some("\n")
        });
    }
}

/// Replaces the characters that have one of the properties `wanted` and for which `replacement`
/// returns a text: "" removes the character, "\n" treats it as a break.
pub(super) fn replace_breaks(
    edit: &mut Edit<'_>,
    text: &str,
    wanted: Properties,
    replacement: impl Fn(char) -> Option<&'static str>,
) {
    let mut from = 0;
    // the end of the last break that was written as a line feed
    let mut after_feed = 0;
    while let Some(at) = find(text, from, wanted) {
        let Some(char) = text[at..].chars().next() else { break };
        from = at + char.len_utf8();
        let Some(new) = replacement(char) else { continue };
        let is_before = text[from..].starts_with('\n');
        // a lone CR ends a line of its own even after a break, as in files of old systems
        let is_after = char != '\r' && (text[..at].ends_with('\n') || (after_feed == at && at > 0));
        if new.is_empty() || is_before || is_after {
            edit.replace(at..from, "", 1);
            if is_after {
                after_feed = from;
            }
        } else {
            edit.replace(at..from, new, 1);
            after_feed = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_become_line_feeds_and_join_no_lines() {
        for (text, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("a\rb\r\rc", "a\nb\n\nc"),
            ("part1\n\u{c}\npart2\n", "part1\n\npart2\n"),
            ("a\u{c}b\u{b}\u{c}c", "a\nb\nc"),
            ("a\u{2028}b\u{2029}\nc\u{85}d", "a\nb\nc\nd"),
            ("\u{c}a\r", "\na\n"),
            ("a\r\u{c}b", "a\nb"),
        ] {
            let mut out = String::new();
            let mut edit = Edit::new(text, &mut out);
            Breaks {}.apply(&mut edit);
            edit.finish();
            assert_eq!(out, expected, "{text:?}");
        }
    }
}
