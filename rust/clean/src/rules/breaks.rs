//! One line break for all systems.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Breaks>(
    "breaks",
    1,
    "CR LF, CR, vertical tab, form feed, NEL, U+2028 and U+2029 become LF",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Breaks;

impl Build for Breaks {
    type Settings = Settings;

    fn build(_: Settings) -> Result<Self> {
        Ok(Self)
    }
}

impl Rewrite for Breaks {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.classes.has(Properties::BREAK)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let mut after_return = false;
        for (at, char) in edit.text().char_indices() {
            match char {
                '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                    edit.replace(at..at + char.len_utf8(), "\n", 1);
                }
                // the CR before it has become this line feed
                '\n' if after_return => edit.replace(at..at + 1, "", 0),
                _ => {}
            }
            after_return = char == '\r';
        }
    }
}
