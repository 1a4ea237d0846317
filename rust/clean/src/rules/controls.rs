//! Characters that no text means.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Controls>(
    "controls",
    1,
    "C0 and C1 controls other than tab and line breaks, and noncharacters, are cut",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Controls;

impl Build for Controls {
    type Settings = Settings;

    fn build(_: Settings) -> Result<Self> {
        Ok(Self)
    }
}

impl Rewrite for Controls {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.classes.has(Properties::CONTROL)
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
