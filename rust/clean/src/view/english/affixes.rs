//! Prefixes, suffixes and infixes that spaCy's English tokenizer splits off.

use crate::view::english::tables::{class, has, is_digit};

/// Bytes of a unit or currency, at most; the longest is `غرام`.
const MAX_UNIT_BYTES: usize = 8;

/// Units of measurement, which are split off the number before them.
const UNITS: [&str; 99] = [
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²",
    "mm³", "ha", "µm", "nm", "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s",
    "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T",
    "G", "M", "K", "%", "км", "км²", "км³", "м", "м²", "м³", "дм", "дм²", "дм³", "см", "см²",
    "см³", "мм", "мм²", "мм³", "нм", "кг", "г", "мг", "м/с", "км/ч", "кПа", "Па", "мбар", "Кб",
    "КБ", "кб", "Мб", "МБ", "мб", "Гб", "ГБ", "гб", "Тб", "ТБ", "كم²", "كم³", "م", "م²", "م³",
    "سم", "سم²", "سم³", "مم", "مم²", "مم³", "كم", "غرام", "جرام", "جم", "كغ",
];

/// Returns the bytes of the prefix of `text`.
pub(super) fn prefix_length(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let next = chars.next();
    let class = class::MARK | class::QUOTE | class::CURRENCY | class::ICON;
    match first {
        '+' => usize::from(!is_digit(next)),
        '.' => dots(text.bytes()),
        'U' if text.starts_with("US$") => 3,
        'C' | 'A' if next == Some('$') => 2,
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        _ if has(Some(first), class) => first.len_utf8(),
        _ => 0,
    }
}

/// Returns the number of full stops that `bytes` starts with, 0 for a single one.
fn dots(bytes: impl Iterator<Item = u8>) -> usize {
    let count = bytes.take_while(|byte| *byte == b'.').count();
    if count > 1 { count } else { 0 }
}

/// Returns the bytes of the longest suffix of `text`.
pub(super) fn suffix_length(text: &str) -> usize {
    let mut chars = text.chars().rev();
    let Some(last) = chars.next() else { return 0 };
    let (before, second) = (chars.next(), chars.next());
    if text.ends_with("……") {
        return "……".len();
    }
    let measure = measure_length(text);
    if measure > 0 {
        return measure;
    }
    let split_off = match last {
        's' | 'S' if matches!(before, Some('\'' | '’')) => {
            return 1 + before.map_or(0, char::len_utf8);
        }
        '.' => {
            let count = dots(text.bytes().rev());
            if count > 0 {
                return count;
            }
            let is_temperature =
                second == Some('°') && before.is_some_and(|char| "FfCcKk".contains(char));
            let is_acronym = has(before, class::UPPER) && has(second, class::UPPER);
            let ends_word = is_digit(before)
                || has(before, class::LOWER | class::MARK | class::QUOTE)
                || before.is_some_and(|char| "%²-+|".contains(char));
            is_temperature || is_acronym || ends_word
        }
        '+' => is_digit(before),
        '—' | '–' => true,
        _ => has(Some(last), class::MARK | class::QUOTE | class::ICON),
    };
    if split_off { last.len_utf8() } else { 0 }
}

/// Returns the bytes of the unit or currency after a digit that `text` ends with.
fn measure_length(text: &str) -> usize {
    let mut after = text.bytes().rev().take(MAX_UNIT_BYTES + 1);
    let Some(size) = after.position(|byte| byte.is_ascii_digit()) else { return 0 };
    let unit = &text[text.len() - size..];
    if unit.is_empty() {
        return 0;
    }
    let is_currency = || {
        let mut chars = unit.chars();
        matches!(unit, "US$" | "C$" | "A$")
            || (has(chars.next(), class::CURRENCY) && chars.next().is_none())
    };
    if UNITS.contains(&unit) || is_currency() { unit.len() } else { 0 }
}

/// Returns the bytes of the infix that `text` starts with, after the character `before`.
pub(super) fn infix_length(text: &str, before: Option<char>) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    if first.is_ascii_alphanumeric() {
        return 0;
    }
    let next = chars.next();
    let is_letter = |char| has(char, class::LETTER);
    let is_split = match first {
        '.' => {
            let count = dots(text.bytes());
            if count > 0 {
                return count;
            }
            has(before, class::LOWER | class::QUOTE) && has(next, class::UPPER | class::QUOTE)
        }
        '…' => true,
        ',' => is_letter(before) && is_letter(next),
        ':' | '<' | '>' | '=' | '/' => (is_letter(before) || is_digit(before)) && is_letter(next),
        '-' | '–' | '—' | '~' => {
            let is_minus =
                first == '-' && is_digit(before) && (is_digit(next) || next == Some('-'));
            if is_minus {
                return 1;
            }
            let is_after = is_letter(before) || is_digit(before);
            let length = ["---", "--", "——"].iter().find(|hyphens| text.starts_with(**hyphens));
            if is_after && is_letter(next) {
                true
            } else if is_after && let Some(hyphens) = length {
                let after = text[hyphens.len()..].chars().next();
                return if is_letter(after) { hyphens.len() } else { 0 };
            } else {
                false
            }
        }
        '+' | '*' | '^' => is_digit(before) && (is_digit(next) || next == Some('-')),
        _ => has(Some(first), class::ICON),
    };
    if is_split { first.len_utf8() } else { 0 }
}
