//! Invisible characters, except where spelling needs them.
//!
//! Cut: zero width spaces, word joiners, soft hyphens, marks and overrides of direction, deprecated
//! format characters, stray tags and variation selectors. Kept: joiners and non-joiners behind a
//! letter of a script that spells with them (Arabic, Indic and others), ZWJ behind a pictograph,
//! one variation selector behind a visible character, tags behind a black flag.
//!
//! What is kept depends only on what stands before it in the output, and marks do not count: so
//! neither a second run nor a reordering of marks by NFC changes the decision.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::normaliser::<Hidden>(
    "hidden",
    1,
    "zero width, direction and other invisible characters are cut where spelling has no use for them",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Hidden;

impl Build for Hidden {
    type Settings = Settings;

    fn build(_: Settings) -> Result<Self> {
        Ok(Self)
    }
}

const BLACK_FLAG: char = '\u{1f3f4}';

impl Rewrite for Hidden {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.classes.has(Properties::HIDDEN)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let table = property_table();
        let (mut base, mut base_class) = ('\n', Properties::NONE);
        let mut selectable = false;
        for (at, char) in edit.text().char_indices() {
            let class = table.of(char);
            let kept = match char {
                '\u{200c}' | '\u{180e}' => base_class.has(Properties::JOINING),
                '\u{200d}' => base_class.has(Properties::JOINING.or(Properties::PICTOGRAPH)),
                '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => selectable,
                '\u{e0020}'..='\u{e007f}' => base == BLACK_FLAG,
                _ => !class.has(Properties::HIDDEN),
            };
            if !kept {
                edit.replace(at..at + char.len_utf8(), "", 1);
                continue;
            }
            let selector = class.has(Properties::HIDDEN) && class.has(Properties::MARK);
            let tag = matches!(char, '\u{e0020}'..='\u{e007f}');
            selectable = !selector && !class.has(Properties::SPACE);
            if !class.has(Properties::MARK) && !tag {
                (base, base_class) = (char, class);
            }
        }
    }
}
