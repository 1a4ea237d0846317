//! Removes byte order marks, at the start of a text or where files were concatenated.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Bom>("bom", 1, "removes U+FEFF everywhere");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Bom {}

impl Rewrite for Bom {
    fn may_change(&self, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::HIDDEN)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        for at in memchr::memmem::find_iter(edit.text().as_bytes(), "\u{feff}") {
            edit.replace(at..at + '\u{feff}'.len_utf8(), "", 1);
        }
    }
}
