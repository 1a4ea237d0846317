//! Unicode normalisation form C.
//!
//! A text can be normalised in spans that begin at stable characters: those of combining class 0
//! whose `NFC_Quick_Check` is Yes. Text without any other character is skipped 64 bytes at a time.
//!
//! ```text
//! while there is an unstable character at or after `from`:
//!     span = the stable character before it, up to the next stable character
//!     if the span has one unstable character, and that only has a combining class: it is normal
//!     otherwise replace it by its NFC (ICU4X), if that differs
//!     from = end of the span
//! ```
//!
//! A *singleton* is a character whose NFC is one other character, such as the compatibility
//! ideographs of Korean and Japanese names, the Kelvin sign or the angle brackets U+2329. NFC merges
//! them for good. `keep_singletons` leaves them, and normalises the text between them.

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties, PropertyTable, find, property_table};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule =
    Rule::normaliser::<Nfc>("nfc", 2, "Unicode normalisation form C, by ICU4X");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Nfc {
    /// Whether a character stays that NFC would replace by one other character.
    keep_singletons: bool,
}

impl Rewrite for Nfc {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::UNSTABLE)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let normaliser = ComposingNormalizerBorrowed::new_nfc();
        let text = edit.text();
        let table = property_table();
        let mut from = 0;
        while let Some(found) = find(text, from, Properties::UNSTABLE) {
            // the character before `found` is stable, or it begins the part that is left
            let base = text[from..found].chars().next_back().map_or(0, char::len_utf8);
            let start = found - base;
            let span = Span::of(&text[start..], base, table);
            from = start + span.length;
            if span.is_normal {
                continue;
            }
            if self.keep_singletons {
                replace_between_singletons(edit, start, span.length, &normaliser);
            } else {
                let old = &text[start..from];
                let new = normaliser.normalize(old);
                if new != old {
                    let singletons = old.chars().filter(|char| is_singleton(*char, &normaliser));
                    match singletons.count() as u64 {
                        0 => {}
                        count => edit.count("nfc.singletons", count),
                    }
                    edit.replace(start..from, &new, difference(old, &new));
                }
            }
        }
    }
}

/// A stable character and the unstable ones after it.
struct Span {
    length: usize,
    /// Whether it is in NFC for certain.
    is_normal: bool,
}

impl Span {
    /// Returns the span at the start of `text`, whose first unstable character is at byte `base`.
    fn of(text: &str, base: usize, table: &PropertyTable) -> Self {
        let (mut unstable, mut recomposes) = (0, false);
        for (at, char) in text[base..].char_indices() {
            let properties = table.of(char);
            if !properties.has(Properties::UNSTABLE) {
                return Self { length: base + at, is_normal: unstable == 1 && !recomposes };
            }
            unstable += 1;
            recomposes |= properties.has(Properties::RECOMPOSES);
        }
        Self { length: text.len(), is_normal: unstable == 1 && !recomposes }
    }
}

/// Normalises the parts of a span that singletons separate.
fn replace_between_singletons(
    edit: &mut Edit<'_>,
    start: usize,
    length: usize,
    normaliser: &ComposingNormalizerBorrowed<'static>,
) {
    let span = &edit.text()[start..start + length];
    let mut part = 0;
    let ends = span.char_indices().filter(|(_, char)| is_singleton(*char, normaliser));
    let ends = ends.map(|(at, char)| (at, char.len_utf8())).chain([(length, 0)]);
    for (end, singleton) in ends {
        let old = &span[part..end];
        let new = normaliser.normalize(old);
        if new != old {
            edit.replace(start + part..start + end, &new, difference(old, &new));
        }
        part = end + singleton;
    }
}

/// Returns whether the NFC of `char` is one other character.
fn is_singleton(char: char, normaliser: &ComposingNormalizerBorrowed<'static>) -> bool {
    if !property_table().of(char).has(Properties::RECOMPOSES) {
        return false;
    }
    let mut normal = normaliser.normalize_iter([char].into_iter());
    normal.next().is_some_and(|first| first != char) && normal.next().is_none()
}

/// Returns how many characters of `old` are neither in its common prefix nor in its common suffix
/// with `new`; at least 1, so that an insertion counts.
pub(super) fn difference(old: &str, new: &str) -> u64 {
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
        let rule = Nfc::default();
        let mut out = String::new();
        if !rule.may_change(text, &CharacterSummary::of(text)) {
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
            for text in [
                char.to_string(),
                format!("a{char}b"),
                format!("{char}\u{301}\u{323}"),
                format!("\u{1100}{char}\u{316}"),
            ] {
                assert_eq!(fast(&text), naive(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn singletons_are_counted_or_kept() {
        let text = "樂 \u{f914}\u{212b}\u{301} e\u{301} \u{1d15e} \u{2329}";
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        Nfc::default().apply(&mut edit);
        assert_eq!(edit.take_details(), [("nfc.singletons", 3)]);
        edit.finish();
        assert_eq!(out, naive(text));
        let mut edit = Edit::new(text, &mut out);
        let keeping = Nfc { keep_singletons: true };
        keeping.apply(&mut edit);
        edit.finish();
        assert_eq!(out, "樂 \u{f914}\u{212b}\u{301} é \u{1d157}\u{1d165} \u{2329}");
    }

    proptest! {
        #[test]
        fn keeping_singletons_is_idempotent(
            text in "(a|e|\u{212b}|\u{f914}|\u{301}|\u{323}|\u{308}|\u{340}|\u{1100}|\u{1161}|\\PC){0,20}"
        ) {
            let keeping = Nfc { keep_singletons: true };
            let (mut once, mut twice) = (String::new(), String::new());
            let mut edit = Edit::new(&text, &mut once);
            keeping.apply(&mut edit);
            if edit.finish() > 0 {
                let mut edit = Edit::new(&once, &mut twice);
                keeping.apply(&mut edit);
                prop_assert_eq!(edit.finish(), 0);
            }
        }

        #[test]
        fn normalising_spans_equals_normalising_the_whole(
            text in "(a|e|o|中|문|\u{1100}|\u{1161}|\u{11a8}|가|\u{301}|\u{323}|\u{308}|ا|\u{653}|क|\u{93c}|Å|\u{212b}|\\PC){0,40}"
        ) {
            prop_assert_eq!(fast(&text), naive(&text));
        }
    }
}
