//! The byte order mark, at the beginning or where files were joined.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Bom>("bom", 1, "U+FEFF is cut wherever it stands");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Bom;

impl Build for Bom {
    type Settings = Settings;

    fn build(_: Settings) -> Result<Self> {
        Ok(Self)
    }
}

impl Rewrite for Bom {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.classes.has(Properties::HIDDEN)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        for at in memchr::memmem::find_iter(edit.text().as_bytes(), "\u{feff}") {
            edit.replace(at..at + '\u{feff}'.len_utf8(), "", 1);
        }
    }
}
