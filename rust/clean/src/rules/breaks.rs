//! Replaces the line breaks of all systems by LF.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Breaks>(
    "breaks",
    1,
    "replaces CR LF, CR, vertical tab, form feed, NEL, U+2028 and U+2029 by LF",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Breaks {}

impl Rewrite for Breaks {
    fn may_change(&self, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::BREAK)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let mut after_return = false;
        for (at, char) in edit.text().char_indices() {
            match char {
                '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                    edit.replace(at..at + char.len_utf8(), "\n", 1);
                }
                // the CR before it has become the line feed of both
                '\n' if after_return => edit.replace(at..at + 1, "", 0),
                _ => {}
            }
            after_return = char == '\r';
        }
    }
}
