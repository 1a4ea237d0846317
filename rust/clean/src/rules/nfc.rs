//! Unicode normalisation form C.
//!
//! Most characters neither change nor join with their neighbours, in any version of Unicode; text
//! of these alone is left as it is. ICU4X looks at the rest, and only pieces that it changes are
//! copied, each with an unchanging character or the end on both sides.

use icu_normalizer::ComposingNormalizerBorrowed;
use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule =
    Rule::normaliser::<Nfc>("nfc", 1, "Unicode normalisation form C, by ICU4X");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

struct Nfc {
    normaliser: ComposingNormalizerBorrowed<'static>,
}

impl Build for Nfc {
    type Settings = Settings;

    fn build(_: Settings) -> Result<Self> {
        Ok(Self { normaliser: ComposingNormalizerBorrowed::new_nfc() })
    }
}

impl Rewrite for Nfc {
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        survey.classes.has(Properties::COMPOSES)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let table = property_table();
        let mut at = 0;
        while at < text.len() {
            let (normal, rest) = self.normaliser.split_normalized(&text[at..]);
            if rest.is_empty() {
                break;
            }
            let start = at + normal.len();
            // an inert character joins nothing before it: a piece may end there
            let end = rest
                .char_indices()
                .skip(1)
                .find(|(_, char)| !table.of(*char).has(Properties::COMPOSES))
                .map_or(text.len(), |(offset, _)| start + offset);
            let old = &text[start..end];
            let new = self.normaliser.normalize(old);
            if new != old {
                edit.replace(start..end, &new, difference(old, &new));
            }
            at = end;
        }
    }
}

/// The characters of `old` between what it has in common with `new` at the front and at the back;
/// one when only something was added.
fn difference(old: &str, new: &str) -> u64 {
    let same = |(a, b): &(char, char)| a == b;
    let count = old.chars().count();
    let front = old.chars().zip(new.chars()).take_while(same).count();
    let back = old.chars().rev().zip(new.chars().rev()).take_while(same).count();
    (count - (front + back).min(count)).max(1) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fast(text: &str) -> String {
        let rule = Nfc::build(Settings {}).unwrap();
        let mut out = String::new();
        if !rule.concerns(&CharacterSummary::of(text)) {
            return text.to_owned();
        }
        let mut edit = Edit::new(text, &mut out);
        rule.apply(&mut edit);
        if edit.finish() == 0 { text.to_owned() } else { out }
    }

    fn naive(text: &str) -> String {
        ComposingNormalizerBorrowed::new_nfc().normalize_iter(text.chars()).collect()
    }

    #[test]
    fn every_code_point_alone_and_between_letters() {
        for char in '\0'..=char::MAX {
            for text in [char.to_string(), format!("a{char}b"), format!("{char}\u{301}\u{323}")] {
                assert_eq!(fast(&text), naive(&text), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            text in "(a|e|o|中|문|\u{1100}|\u{1161}|\u{11a8}|가|\u{301}|\u{323}|\u{308}|ا|\u{653}|क|\u{93c}|Å|\u{212b}|\\PC){0,40}"
        ) {
            prop_assert_eq!(fast(&text), naive(&text));
        }
    }
}
