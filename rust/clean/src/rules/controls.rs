//! Removes control characters and noncharacters.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Controls>(
    "controls",
    1,
    "removes C0 and C1 controls other than tab and line breaks, and noncharacters",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Controls {}

impl Rewrite for Controls {
    fn may_change(&self, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::CONTROL)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let table = property_table();
        for (at, char) in edit.text().char_indices() {
            if table.of(char).has(Properties::CONTROL) {
                edit.replace(at..at + char.len_utf8(), "", 1);
            }
        }
    }
}
