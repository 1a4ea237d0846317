//! Removes C0 controls.
//!
//! Those that break a line are replaced as the rule [`breaks`](super::breaks) says, so that no two
//! lines are joined.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, properties_of};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};
use crate::rules::breaks::replace_breaks;

pub(super) const RULE: Rule = Rule::normaliser::<Controls>(
    "controls",
    2,
    "removes C0 controls but tab and line feed; CR LF and a lone CR, VT or FF become LF",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Controls {
    /// Whether DEL, C1 controls and noncharacters are removed too. NEL is a C1 control that breaks
    /// a line: the rule `breaks`, if it runs before, has replaced it.
    all: bool,
}

impl Rewrite for Controls {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::CONTROL.or(Properties::BREAK))
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let wanted = Properties::CONTROL.or(Properties::BREAK);
        replace_breaks(edit, text, wanted, |char| match char {
            '\r' | '\u{b}' | '\u{c}' => Some("\n"),
            '\0'..' ' => Some(""),
            _ if self.all && properties_of(char).has(wanted) => match char {
                '\u{2028}' | '\u{2029}' => None,
                '\u{85}' => Some("\n"),
                _ => Some(""),
            },
            _ => None,
        });
    }
}
