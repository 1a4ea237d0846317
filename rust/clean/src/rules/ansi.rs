//! Removes the escape sequences of terminals, whole.
//!
//! ```text
//! ESC [ parameters intermediates final       colours, cursor        (ECMA-48, 5.4)
//! ESC ] text (BEL | ESC \)                   titles, links          (and ESC P, X, ^, _)
//! ESC intermediates final                    character sets
//! ESC                                        alone or cut off
//! ```
//!
//! No ESC is left, so that a removal cannot make a new sequence. A text without its end ESC \ is
//! cut at the end of its line.

use std::ops::RangeInclusive;

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};

use crate::chars::{CharacterSummary, Properties};
use crate::edit::Edit;
use crate::rule::{Rewrite, Rule};

pub(super) const RULE: Rule =
    Rule::normaliser::<Ansi>("ansi", 1, "removes the escape sequences of terminals, whole");

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Ansi {}

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const PARAMETERS: RangeInclusive<u8> = 0x30..=0x3f;
const INTERMEDIATES: RangeInclusive<u8> = 0x20..=0x2f;

impl Rewrite for Ansi {
    fn may_change(&self, _: &str, summary: &CharacterSummary) -> bool {
        summary.properties.has(Properties::CONTROL)
    }

    fn apply(&self, edit: &mut Edit<'_>) {
        let bytes = edit.text().as_bytes();
        let mut done = 0;
        for at in memchr_iter(ESCAPE, bytes) {
            if at >= done {
                done = at + 1 + sequence_length(&bytes[at + 1..]);
                edit.replace(at..done, "", (done - at) as u64);
            }
        }
    }
}

/// Returns the bytes of the sequence whose ESC is before `rest`; all of them are ASCII, except the
/// text of a string.
fn sequence_length(rest: &[u8]) -> usize {
    let run = |from: usize, range: &RangeInclusive<u8>| {
        from + rest[from..].iter().take_while(|byte| range.contains(byte)).count()
    };
    match rest.first() {
        Some(b'[') => {
            let end = run(run(1, &PARAMETERS), &INTERMEDIATES);
            end + usize::from(rest.get(end).is_some_and(|byte| (0x40..=0x7e).contains(byte)))
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let line = memchr(b'\n', rest).unwrap_or(rest.len());
            let end = rest[..line].iter().position(|byte| matches!(*byte, BELL | ESCAPE));
            match end {
                Some(end) if rest[end] == BELL => end + 1,
                Some(end) if rest.get(end + 1) == Some(&b'\\') => end + 2,
                Some(end) => end,
                None => line,
            }
        }
        Some(byte) if INTERMEDIATES.contains(byte) => {
            let end = run(0, &INTERMEDIATES);
            end + usize::from(rest.get(end).is_some_and(|byte| (0x30..=0x7e).contains(byte)))
        }
        Some(0x30..=0x7e) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(text: &str) -> String {
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        Ansi {}.apply(&mut edit);
        if edit.finish() == 0 { text.to_owned() } else { out }
    }

    #[test]
    fn sequences_go_whole_and_nothing_else() {
        for (text, expected) in [
            ("\x1b[31;1mred\x1b[0m [31m", "red [31m"),
            ("\x1b[?25l\x1b[2K\x1b[1;1Hx\x1b[38:2::1:2:3mé", "xé"),
            ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "textlink"),
            ("\x1b]0;no end\nnext", "\nnext"),
            ("\x1b(B\x1b=a\x1b7\x1b", "a"),
            ("\x1b\x1b[31m[0m中", "[0m中"),
            ("\x1b[31中", "中"),
            ("\x1bé", "é"),
        ] {
            assert_eq!(without(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_escape_is_left_and_other_lines_stay(text in "(\x1b|\\[|\\]|;|0|m|B|\\(|\x07|\\\\|a|é|\n){0,30}") {
            let clean = without(&text);
            prop_assert!(!clean.contains('\x1b'));
            prop_assert_eq!(without(&clean), clean.clone());
            prop_assert_eq!(clean.matches('\n').count(), text.matches('\n').count());
        }
    }
}
