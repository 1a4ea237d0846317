//! Unicode normalisation form C.
//!
//! Most characters neither change nor compose with their neighbours, in any version of Unicode.
//! Text of such inert characters is skipped; ICU4X normalises the rest:
//!
//! ```text
//! at = 0
//! while at < length:
//!     start = end of the longest normalised prefix of text[at..]        (ICU4X)
//!     end   = the next inert character after the one at start
//!     replace text[start..end] by its NFC, if that differs
//!     at = end
//! ```
//!
//! Normalising `text[start..end]` alone equals normalising the whole text: a span starts at a
//! boundary that ICU4X found and ends before a character that composes with nothing.

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule =
    Rule::normaliser::<Nfc>("nfc", 1, "Unicode normalisation form C, by ICU4X");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Nfc {}

impl Rewrite for Nfc {
    fn may_change(&self, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::COMPOSES)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let normaliser = ComposingNormalizerBorrowed::new_nfc();
        let text = edit.text();
        let table = property_table();
        let mut at = 0;
        while at < text.len() {
            let (normal, rest) = normaliser.split_normalized(&text[at..]);
            if rest.is_empty() {
                break;
            }
            let start = at + normal.len();
            let end = rest
                .char_indices()
                .skip(1)
                .find(|(_, char)| !table.of(*char).has(Properties::COMPOSES))
                .map_or(text.len(), |(offset, _)| start + offset);
            let old = &text[start..end];
            let new = normaliser.normalize(old);
            if new != old {
                edit.replace(start..end, &new, difference(old, &new));
            }
            at = end;
        }
    }
}

/// Returns how many characters of `old` are neither in its common prefix nor in its common suffix
/// with `new`; at least 1, so that an insertion counts.
fn difference(old: &str, new: &str) -> u64 {
    let equal = |(a, b): &(char, char)| a == b;
    let count = old.chars().count();
    let front = old.chars().zip(new.chars()).take_while(equal).count();
    let back = old.chars().rev().zip(new.chars().rev()).take_while(equal).count();
    (count - (front + back).min(count)).max(1) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fast(text: &str) -> String {
        let rule = Nfc {};
        let mut out = String::new();
        if !rule.may_change(&CharacterSummary::of(text)) {
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
    fn every_code_point_is_normalised_alone_and_between_letters() {
        for char in '\0'..=char::MAX {
            for text in [char.to_string(), format!("a{char}b"), format!("{char}\u{301}\u{323}")] {
                assert_eq!(fast(&text), naive(&text), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn normalising_spans_equals_normalising_the_whole(
            text in "(a|e|o|中|문|\u{1100}|\u{1161}|\u{11a8}|가|\u{301}|\u{323}|\u{308}|ا|\u{653}|क|\u{93c}|Å|\u{212b}|\\PC){0,40}"
        ) {
            prop_assert_eq!(fast(&text), naive(&text));
        }
    }
}
