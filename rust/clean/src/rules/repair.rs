//! Repairs mojibake, one line at a time.
//!
//! `repair` leaves a line alone that is spelled with modifier letters which no charset has, such as
//! U+02C8 to U+02CB: languages that write tones so (Chinantec) also have `á` before `ˆ`, which looks
//! like mojibake. There only C1 controls are read as Windows-1252.

use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, NOT_PLAIN};
use crate::edit::Edit;
use crate::repair::{LineRepair, find_bad, fix_c1, fix_encoding};
use crate::rule::{Rewrite, Rule};
use crate::rules::nfc::difference;

pub(super) const RULE: Rule = Rule::normaliser::<Repair>(
    "repair",
    1,
    "repairs text that was decoded with the wrong charset, as ftfy.fix_encoding does",
);

pub(super) const DATATROVE: Rule = Rule::normaliser::<DatatroveRepair>(
    "repair@datatrove",
    1,
    "repairs as datatrove's FTFYFormatter: charsets, entities, terminal colours, controls",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Repair {}

impl Rewrite for Repair {
    fn adds_characters(&self) -> bool {
        true
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let mut from = 0;
        while let Some(at) = find_bad(text, from) {
            let start = text[..at].rfind('\n').map_or(0, |feed| feed + 1);
            let end = text[at..].find('\n').map_or(text.len(), |feed| at + feed + 1);
            let line = &text[start..end];
            let fixed = if has_modifier(line) { fix_c1(line) } else { fix_encoding(line) };
            if let Some(fixed) = fixed {
                edit.replace(start..end, &fixed, difference(line, &fixed));
            }
            from = end;
        }
    }
}

/// Returns whether `line` has a modifier letter that none of the charsets has.
fn has_modifier(line: &str) -> bool {
    let is_modifier = |char: char| {
        matches!(char, '\u{2b0}'..='\u{2ff}') && !matches!(char, 'ˆ' | 'ˇ' | '\u{2d8}'..='\u{2dd}')
    };
    // the first bytes of U+0280 to U+02FF
    let mut places = memchr::memchr2_iter(0xca, 0xcb, line.as_bytes());
    places.any(|at| line[at..].starts_with(is_modifier))
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DatatroveRepair {}

/// Code points of a segment, at most: longer lines are cut, as ftfy does.
const MAX_SEGMENT: usize = 1_000_000;

impl Rewrite for DatatroveRepair {
    fn may_change(&self, text: &str, summary: &CharacterSummary) -> bool {
        // every character that is removed has one of these properties, but U+FFFC
        summary.properties.has(NOT_PLAIN)
            || memchr::memchr(b'&', text.as_bytes()).is_some()
            || text.contains('\u{fffc}')
            || find_bad(text, 0).is_some()
    }

    fn adds_characters(&self) -> bool {
        true
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let mut repair = LineRepair::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let mut rest = line;
            while !rest.is_empty() {
                let cut = rest.char_indices().nth(MAX_SEGMENT).map_or(rest.len(), |(at, _)| at);
                let segment = &rest[..cut];
                if let Some(fixed) = repair.fix(segment) {
                    edit.replace(start..start + cut, &fixed, difference(segment, &fixed));
                }
                start += cut;
                rest = &rest[cut..];
            }
        }
    }
}
