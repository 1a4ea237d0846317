//! Repairs mojibake: text that was decoded with the wrong charset, such as `â€™` for `’`.
//!
//! ```text
//! while the text looks bad:                                                   (badness.rs)
//!     for each charset that has all its characters:
//!         bytes = encode(text), spaces restored to 0xa0, lost bytes to U+FFFD    (bytes.rs)
//!         if bytes is UTF-8: text = decode(bytes); start again
//!     repair the parts that look like UTF-8 by themselves, or read C1 controls as Windows-1252
//! ```
//!
//! The heuristic is that of ftfy 6.3.1 (Robyn Speer, Apache-2.0): its classes of characters are data
//! (`tables.rs`), its sequences are [`badness::is_bad_at`], and `testdata/clean/ftfy.json` holds both
//! equal. Each line is repaired by itself, so that a sound line never becomes the victim of another.

mod badness;
mod bytes;
mod classes;
mod entities;
#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod tables;

pub(crate) use badness::find_bad;

use std::borrow::Cow;

use lslm_unicode::{GeneralCategory, general_category};

use badness::is_bad;
use bytes::{CHARSETS, decode_windows_1252, is_latin_1};
use classes::Classes;
use entities::unescape;

/// Returns `text`, one line, with its mojibake repaired, or `None` if nothing changes.
pub(crate) fn fix_encoding(text: &str) -> Option<String> {
    let mut fixed: Option<String> = None;
    while let Some(next) = fix_once(fixed.as_deref().unwrap_or(text)) {
        fixed = Some(next);
    }
    fixed
}

/// Returns the result of the first repair that changes `text`, or `None` if there is none.
fn fix_once(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    for charset in &CHARSETS {
        if let Some(fixed) = charset.encode(text).and_then(|bytes| bytes::decode(&bytes, charset)) {
            return (fixed != text).then_some(fixed);
        }
    }
    if let Some(fixed) = fix_parts(text) {
        return Some(fixed);
    }
    // C1 controls have no use in text: they are Windows-1252 that was read as Latin-1
    if is_latin_1(text)
        && let Some(fixed) = decode_windows_1252(text)
        && fixed != text
    {
        return Some(fixed);
    }
    fix_c1(text)
}

/// Returns `text` with C1 controls read as Windows-1252, or `None` if nothing changes. Five of them
/// are unassigned there and stay.
pub(crate) fn fix_c1(text: &str) -> Option<String> {
    let fixed = |char| match char {
        '\u{80}'..='\u{9f}' => bytes::windows_1252(char as u8),
        _ => char,
    };
    let is_changed = text.chars().any(|char| fixed(char) != char);
    is_changed.then(|| text.chars().map(fixed).collect())
}

/// Returns `text` with each part repaired that looks like UTF-8 by itself, or `None` if nothing
/// changes.
fn fix_parts(text: &str) -> Option<String> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let classes: Vec<Classes> = chars.iter().map(|(_, char)| Classes::of(*char)).collect();
    let byte = |index: usize| chars.get(index).map_or(text.len(), |(at, _)| *at);
    let (mut out, mut done, mut is_changed) = (String::new(), 0, false);
    let mut at = 0;
    while at < chars.len() {
        let is_inside = at > 0 && classes[at - 1].has(Classes::CONTINUATION_STRICT);
        let end = if is_inside { at } else { end_of_sequences(&classes, at) };
        if end == at {
            at += 1;
            continue;
        }
        let part = &text[byte(at)..byte(end)];
        // shorter than the text, or the repair would never end
        if part.len() < text.len()
            && is_bad(part)
            && let Some(fixed) = fix_encoding(part)
        {
            out.push_str(&text[done..byte(at)]);
            out.push_str(&fixed);
            done = byte(end);
            is_changed = true;
        }
        at = end;
    }
    out.push_str(&text[done..]);
    is_changed.then_some(out)
}

/// Returns the index after the sequences of a lead and its continuations that begin at `at`.
fn end_of_sequences(classes: &[Classes], mut at: usize) -> usize {
    let leads = [(Classes::FIRST_OF_2, 1), (Classes::FIRST_OF_3, 2), (Classes::FIRST_OF_4, 3)];
    'sequences: while at < classes.len() {
        for (lead, length) in leads {
            let after = classes.get(at + 1..=at + length);
            let is_whole =
                after.is_some_and(|after| after.iter().all(|of| of.has(Classes::CONTINUATION)));
            if classes[at].has(lead) && is_whole {
                at += 1 + length;
                continue 'sequences;
            }
        }
        break;
    }
    at
}

/// Repairs lines with the settings that datatrove gives to ftfy: entities, mojibake, C1 controls,
/// colours of terminals, control characters.
#[derive(Debug)]
pub(crate) struct LineRepair {
    /// Entities are left alone from the first line with a `<` on, which may be markup.
    is_markup: bool,
}

impl LineRepair {
    pub(crate) fn new() -> Self {
        Self { is_markup: false }
    }

    /// Returns `line` repaired, or `None` if nothing changes.
    pub(crate) fn fix<'t>(&mut self, line: &'t str) -> Option<Cow<'t, str>> {
        self.is_markup |= line.contains('<');
        let mut text = Cow::Borrowed(line);
        loop {
            let mut is_changed = false;
            let mut set = |text: &mut Cow<'t, str>, new: Option<String>| {
                if let Some(new) = new {
                    *text = Cow::Owned(new);
                    is_changed = true;
                }
            };
            if !self.is_markup {
                let new = unescape(&text);
                set(&mut text, new);
            }
            let new = fix_encoding(&text);
            set(&mut text, new);
            let new = fix_c1(&text);
            set(&mut text, new);
            let new = without_colours(&text);
            set(&mut text, new);
            if text.contains(is_unwanted) {
                let new = text.chars().filter(|char| !is_unwanted(*char)).collect();
                set(&mut text, Some(new));
            }
            if !is_changed {
                return (text != line).then_some(text);
            }
        }
    }
}

/// Returns whether ftfy removes `char`: controls that are not white space, deprecated and
/// annotation characters, the object replacement character, the byte order mark.
fn is_unwanted(char: char) -> bool {
    matches!(char,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// Returns `text` without the sequences ESC `[`, digits and semicolons, letter; `None` if there is
/// none.
fn without_colours(text: &str) -> Option<String> {
    let (mut out, mut done) = (String::new(), 0);
    for (at, _) in text.match_indices("\u{1b}[") {
        let rest = &text[at + 2..];
        let is_digit = |char| general_category(char) == GeneralCategory::DecimalNumber;
        let is_parameter = |char: char| char == ';' || is_digit(char);
        let end = rest.trim_start_matches(is_parameter);
        if at >= done && end.starts_with(|char: char| char.is_ascii_alphabetic()) {
            out.push_str(&text[done..at]);
            done = text.len() - end.len() + 1;
        }
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}
