//! Kimi K2: o200k_base in which Chinese is split off.
//!
//! ```text
//! at = 0
//! while at < text.len():
//!     a run of Han characters is a piece
//!     the text up to the next Han letter:
//!         at least 128 bytes: o200k_base's scanner without Chinese   (bitmask)
//!         less:               one piece at a time                    (scalar)
//! ```
//!
//! No piece crosses the start of a run of Han letters: they are in no other class of the expression.
//! Text before such a run ends there for all rules but one: its last blank is a piece of its own, which
//! at the end of a text it is not. Han characters that are no letters (radicals, numerals, two marks)
//! may also be part of punctuation and numbers; next to them pieces are found one by one.

use super::char_class::{CharClass, decode, peek};
use super::scalar;
use super::scheme::is_han;

/// Stretches of fewer bytes are split one piece at a time: starting the scanner takes as long.
const MIN_SCANNED: usize = 128;

/// Calls `flush` with the ends of the pieces of `text`, ascending, in batches. `scan` does the same for
/// text without Han characters by o200k_base's rules.
pub(super) fn ends(
    text: &[u8],
    scan: impl Fn(&[u8], &mut dyn FnMut(&[usize])),
    flush: &mut dyn FnMut(&[usize]),
) {
    let mut at = 0;
    let mut batch = Vec::with_capacity(BATCH);
    while at < text.len() {
        let (stretch_end, is_letter) = next_han(text, at);
        if stretch_end - at >= MIN_SCANNED && is_letter {
            flush_some(&mut batch, flush);
            let stretch = &text[at..stretch_end];
            scan(stretch, &mut |ends| {
                batch.extend(ends.iter().map(|end| at + end));
                // The last piece may have to be split.
                if let Some(last) = batch.pop() {
                    flush_some(&mut batch, flush);
                    batch.push(last);
                }
            });
            if stretch_end < text.len() {
                let last = batch.pop().unwrap_or(stretch_end);
                batch.extend(last_blank(&text[..last], at));
                batch.push(last);
            }
            at = stretch_end;
        } else {
            // Also past the Han character, whose run is found as a piece.
            while at <= stretch_end && at < text.len() {
                at = scalar::kimi_end(text, at);
                batch.push(at);
                if batch.len() >= BATCH {
                    flush_some(&mut batch, flush);
                }
            }
        }
    }
    flush_some(&mut batch, flush);
}

/// Ends in a batch, about.
const BATCH: usize = 256;

fn flush_some(batch: &mut Vec<usize>, flush: &mut dyn FnMut(&[usize])) {
    if !batch.is_empty() {
        flush(batch);
        batch.clear();
    }
}

/// Returns the start of the first Han character from `at` on, or the end of the text; and whether it is
/// a letter, as the end of the text counts too.
fn next_han(text: &[u8], mut at: usize) -> (usize, bool) {
    while let Some(found) = text[at..].iter().position(|&byte| byte >= 0xE2) {
        at += found;
        let (code, length) = decode(text, at);
        if is_han(code) {
            return (at, CharClass::of(code).is_letter());
        }
        at += length;
    }
    (text.len(), true)
}

/// Returns the start of the last character of `text` if that is white space after white space which is
/// no line end of its piece.
fn last_blank(text: &[u8], from: usize) -> Option<usize> {
    let previous = |at: usize| {
        let begin = (1..=4)
            .filter_map(|len| at.checked_sub(len))
            .find(|&begin| text[begin] & 0xC0 != 0x80)?;
        // After an ill-formed byte nothing is white space: it is a character of its own.
        (begin >= from && begin + decode(text, begin).1 == at).then_some(begin)
    };
    let class = |at: usize| peek(text, at).0;
    let start = previous(text.len())?;
    let before = previous(start)?;
    (class(start) == CharClass::Space && class(before) == CharClass::Space).then_some(start)
}
