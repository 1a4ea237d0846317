//! Removes byte order marks at the start of a text, also after white space.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule =
    Rule::normaliser::<Bom>("bom", 2, "removes U+FEFF at the start of a text");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Bom {}

const MARK: char = '\u{feff}';

impl Rewrite for Bom {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::HIDDEN)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let start = edit.text().char_indices();
        for (at, char) in start.take_while(|(_, char)| *char == MARK || char.is_whitespace()) {
            if char == MARK {
                edit.remove(at..at + MARK.len_utf8());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_at_the_start_are_removed() {
        for (text, expected) in [
            ("\u{feff}hello\u{feff}", "hello\u{feff}"),
            ("\n\u{feff} \u{feff}a", "\n a"),
            ("a\u{feff}", ""),
        ] {
            let mut out = String::new();
            let mut edit = Edit::new(text, &mut out);
            Bom {}.apply(&mut edit);
            edit.finish();
            assert_eq!(out, expected, "{text:?}");
        }
    }
}
