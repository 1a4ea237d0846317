//! Splits English text into words as spaCy's tokenizer for English does.
//!
//! ```text
//! for each run without white space:
//!     until it is an exception or nothing is left to split off:
//!         split off one prefix (quotes, brackets, currencies …) and one suffix (those, 's, units …)
//!     an exception ("don't", "U.S.", "a.m.")  its parts
//!     an address of a page                    one word
//!     anything else                           split at infixes (hyphens between letters …)
//!     parts that together are an exception    that exception
//! ```
//!
//! 1. Most runs are letters or digits, alone or with one mark after them: [`for_each`] finds these
//!    byte by byte, without the steps above.
//! 2. The rules are spaCy's (3.8, MIT licence), written by hand over character classes; the classes
//!    and exceptions are data that `testdata/clean/spacy_words.py` writes, with 9,000 cases in which
//!    a test compares the result.
//! 3. spaCy finds an exception of several parts by its parts, also across white space; here they
//!    must be side by side.

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod classes;

use std::ops::Range;
use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::chars::{Properties, property_table};
use crate::view::english::classes::RUNS;

/// Bits of [`RUNS`], in the order in which the script writes them.
mod class {
    pub(super) const LOWER: u16 = 1;
    pub(super) const UPPER: u16 = 1 << 1;
    pub(super) const LETTER: u16 = 1 << 2;
    pub(super) const QUOTE: u16 = 1 << 3;
    pub(super) const MARK: u16 = 1 << 4;
    pub(super) const ICON: u16 = 1 << 5;
    pub(super) const CURRENCY: u16 = 1 << 6;
    pub(super) const SENTENCE_END: u16 = 1 << 7;
    pub(super) const PUNCTUATION: u16 = 1 << 8;
}

/// Bytes of an exception, at most; the longest are `(╯°□°）╯︵┻━┻` and `shouldn't've`.
const MAX_EXCEPTION_BYTES: usize = 32;

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

struct Tables {
    ascii: [u16; 128],
    /// For each exception, the lengths of its parts.
    exceptions: HashMap<&'static str, Vec<u8>>,
    /// A bit for each exception, at [`filter_bit`]; most other words have theirs unset.
    filter: [u64; FILTER_BITS / 64],
}

/// Bits of the filter before the table of exceptions: three for each of its 1,343 entries.
const FILTER_BITS: usize = 4096;

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut exceptions = HashMap::new();
    let mut filter = [0; FILTER_BITS / 64];
    for line in include_str!("english/exceptions.txt").lines() {
        let text: &'static str = line.replace(' ', "").leak();
        exceptions.insert(text, line.split(' ').map(|part| part.len() as u8).collect());
        let bit = filter_bit(text.as_bytes());
        filter[bit / 64] |= 1 << (bit % 64);
    }
    let ascii = std::array::from_fn(|byte| found_class(byte as u32));
    Tables { ascii, exceptions, filter }
});

/// Returns the bit of a word in the filter: from its length, first, second and last byte.
#[inline]
fn filter_bit(word: &[u8]) -> usize {
    let (first, last) = (word[0], word[word.len() - 1]);
    let second = word[word.len().min(2) - 1];
    let key = u32::from_le_bytes([first, second, last, word.len() as u8]);
    (key.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

fn found_class(code: u32) -> u16 {
    RUNS[RUNS.partition_point(|(start, _)| *start <= code) - 1].1
}

#[inline]
fn class_of(char: char) -> u16 {
    match TABLES.ascii.get(char as usize) {
        Some(class) => *class,
        None => found_class(char as u32),
    }
}

fn has(char: Option<char>, class: u16) -> bool {
    char.is_some_and(|char| class_of(char) & class != 0)
}

fn is_digit(char: Option<char>) -> bool {
    char.is_some_and(|char| char.is_ascii_digit())
}

/// A word: its text, the union of its characters' properties, and whether one is not a symbol.
pub(crate) struct Word<'t> {
    pub(crate) text: &'t str,
    pub(crate) chars: usize,
    pub(crate) properties: Properties,
    pub(crate) is_plain: bool,
}

impl<'t> Word<'t> {
    /// A mark such as a comma, without its text.
    const MARK: Self = Self { text: "", chars: 1, properties: Properties::NONE, is_plain: false };

    pub(crate) fn new(text: &'t str) -> Self {
        let table = property_table();
        let mut word = Self { text, chars: 0, properties: Properties::NONE, is_plain: false };
        for char in text.chars() {
            let properties = table.of(char);
            word.chars += 1;
            word.properties = word.properties.or(properties);
            word.is_plain |= !properties.has(Properties::SYMBOL);
        }
        word
    }

    /// Returns whether the word is a mark that ends a sentence.
    fn ends_sentence(&self) -> bool {
        self.chars == 1 && has(self.text.chars().next(), class::SENTENCE_END)
    }

    fn is_punctuation(&self) -> bool {
        self.text.chars().all(|char| has(Some(char), class::PUNCTUATION))
    }
}

/// Returns the number of sentences of `text`, at most `enough`: a mark that ends a sentence ends it
/// together with all punctuation after it.
pub(crate) fn count_sentences(text: &str, enough: usize) -> usize {
    let (mut count, mut is_ended, mut any) = (0, false, false);
    for_each(text, |word| {
        any = true;
        if word.ends_sentence() {
            is_ended = true;
        } else if is_ended && !word.is_punctuation() {
            count += 1;
            is_ended = false;
        }
        count + 1 < enough
    });
    count + usize::from(any)
}

/// Calls `each` with each word of `text`, until it returns false.
pub(crate) fn for_each(text: &str, mut each: impl FnMut(Word<'_>) -> bool) {
    let mut splitter = Splitter::default();
    let bytes = text.as_bytes();
    let kind = |at: usize| bytes.get(at).map_or(SPACE, |byte| KINDS[usize::from(*byte)]);
    let mut at = 0;
    while at < bytes.len() {
        if kind(at) == SPACE {
            at += 1;
            continue;
        }
        let (start, mut kinds) = (at, 0);
        while matches!(kind(at), LETTER | DIGIT) {
            kinds |= kind(at);
            at += 1;
        }
        // letters or digits only, alone or with one mark after them
        let ends = if kind(at) == SPACE { at } else { at + 1 };
        let is_plain = kinds != 0
            && kinds != LETTER | DIGIT
            && match kind(at) {
                SPACE => true,
                MARK => kind(at + 1) == SPACE,
                // U.S. and the like need the whole work
                DOT => kind(at + 1) == SPACE && !bytes[at - 1].is_ascii_uppercase(),
                _ => false,
            }
            && !may_be_exception(&bytes[start..at])
            && (ends == at || !may_be_exception(&bytes[start..ends]));
        let go_on = if is_plain {
            let properties = if kinds == LETTER { Properties::LETTER } else { Properties::NONE };
            let word =
                Word { text: &text[start..at], chars: at - start, properties, is_plain: true };
            let mark = Word { text: &text[at..ends], ..Word::MARK };
            at = ends;
            each(word) && (mark.text.is_empty() || each(mark))
        } else {
            let end = run_end(text, start);
            let run = &text[start..end];
            at = end;
            splitter.split(run);
            splitter.words.iter().all(|word| each(Word::new(&run[word.clone()])))
        };
        if !go_on {
            return;
        }
    }
}

/// Kinds of bytes, as bits.
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
/// A mark that is a suffix after any letter or digit.
const MARK: u8 = 4;
const DOT: u8 = 8;
const SPACE: u8 = 16;

/// The kind of each byte; 0 for those that need the whole work.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b',' | b';' | b':' | b'!' | b'?' | b')' => MARK,
            b'.' => DOT,
            b'\t'..=b'\r' | 0x1c..=b' ' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// Calls `each` with the bytes of each word, its number of code points, the union of its
/// characters' properties, and whether it is plain: not only punctuation.
#[inline]
pub(crate) fn for_each_traits(text: &str, mut each: impl FnMut(&[u8], usize, Properties, bool)) {
    for_each(text, |word| {
        each(word.text.as_bytes(), word.chars, word.properties, word.is_plain);
        true
    });
}

/// Returns the end of the run without white space that starts at `start`.
///
/// White space beyond ASCII at `start` is a run of its own, which has no words.
fn run_end(text: &str, start: usize) -> usize {
    let table = property_table();
    let bytes = text.as_bytes();
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        let (properties, size) =
            if byte < 0x80 { (table.of_byte(byte), 1) } else { table.at(bytes, at) };
        if properties.has(Properties::SPACE) {
            return if at == start { at + size } else { at };
        }
        at += size;
    }
    at
}

/// Returns whether `text` may be an exception; false is certain.
#[inline]
fn may_be_exception(text: &[u8]) -> bool {
    let bit = filter_bit(text);
    text.len() <= MAX_EXCEPTION_BYTES && TABLES.filter[bit / 64] >> (bit % 64) & 1 == 1
}

/// Returns the lengths of the parts of the exception that `text` is.
fn exception(text: &str) -> Option<&'static [u8]> {
    if text.is_empty() || !may_be_exception(text.as_bytes()) {
        return None;
    }
    TABLES.exceptions.get(text).map(Vec::as_slice)
}

/// The work on one run, with memory that is reused.
#[derive(Default)]
struct Splitter {
    words: Vec<Range<usize>>,
    suffixes: Vec<Range<usize>>,
}

impl Splitter {
    /// Sets `words` to those of `run`.
    fn split(&mut self, run: &str) {
        self.words.clear();
        self.suffixes.clear();
        if run.starts_with(is_space) {
            return;
        }
        if let Some(parts) = exception(run) {
            self.push_parts(0, parts);
            return;
        }
        let inner = self.split_affixes(run);
        let text = &run[inner.clone()];
        if let Some(parts) = exception(text) {
            self.push_parts(inner.start, parts);
        } else if is_address(text) {
            self.words.push(inner);
        } else {
            self.split_infixes(text, inner.start);
        }
        self.words.extend(self.suffixes.drain(..).rev());
        if self.words.len() > 1 {
            self.join_exceptions(run);
        }
    }

    fn push_parts(&mut self, start: usize, parts: &[u8]) {
        let mut at = start;
        for length in parts {
            self.words.push(at..at + usize::from(*length));
            at += usize::from(*length);
        }
    }

    /// Splits off prefixes, which become words, and suffixes; returns what is left.
    fn split_affixes(&mut self, run: &str) -> Range<usize> {
        let mut rest = 0..run.len();
        while !rest.is_empty() && exception(&run[rest.clone()]).is_none() {
            let text = &run[rest.clone()];
            let prefix = prefix_length(text);
            if prefix > 0 && exception(&text[prefix..]).is_some() {
                self.words.push(rest.start..rest.start + prefix);
                return rest.start + prefix..rest.end;
            }
            let suffix = suffix_length(&text[prefix..]);
            if suffix > 0 && exception(&text[..text.len() - suffix]).is_some() {
                self.suffixes.push(rest.end - suffix..rest.end);
                return rest.start..rest.end - suffix;
            }
            if prefix + suffix == 0 {
                break;
            }
            if prefix > 0 {
                self.words.push(rest.start..rest.start + prefix);
            }
            if suffix > 0 {
                self.suffixes.push(rest.end - suffix..rest.end);
            }
            rest = rest.start + prefix..rest.end - suffix;
        }
        rest
    }

    /// Splits `text`, which starts at byte `offset` of the run, at its infixes.
    fn split_infixes(&mut self, text: &str, offset: usize) {
        let mut start = 0;
        let mut at = 0;
        let mut before: [Option<char>; 2] = [None, None];
        while at < text.len() {
            let length = infix_length(&text[at..], before[1]);
            if length > 0 && at > 0 {
                if at > start {
                    self.words.push(offset + start..offset + at);
                }
                self.words.push(offset + at..offset + at + length);
                start = at + length;
            }
            let mut chars = text[at..].chars();
            let size = if length > 0 { length } else { chars.next().map_or(1, char::len_utf8) };
            before = [before[1], text[at..at + size].chars().next_back()];
            at += size;
        }
        if start < text.len() {
            self.words.push(offset + start..offset + text.len());
        }
    }

    /// Joins words side by side that together are an exception, the longest first.
    fn join_exceptions(&mut self, run: &str) {
        let mut first = 0;
        while first + 1 < self.words.len() {
            let limit = self.words.len();
            let joined = (first + 2..=limit).rev().find_map(|end| {
                let range = self.words[first].start..self.words[end - 1].end;
                let text = &run[range.clone()];
                // only exceptions with a sign that the rules would split off
                let is_split = || {
                    prefix_length(text) + suffix_length(text) > 0 || text.contains(['.', '-', '/'])
                };
                let parts =
                    (text.len() <= MAX_EXCEPTION_BYTES).then(|| exception(text)).flatten()?;
                is_split().then_some((end, range, parts))
            });
            if let Some((end, range, parts)) = joined {
                let mut at = range.start;
                let parts = parts.iter().map(|length| {
                    at += usize::from(*length);
                    at - usize::from(*length)..at
                });
                self.words.splice(first..end, parts.collect::<Vec<_>>());
            }
            first += 1;
        }
    }
}

fn is_space(char: char) -> bool {
    property_table().of(char).has(Properties::SPACE)
}

/// Returns the bytes of the prefix of `text`.
fn prefix_length(text: &str) -> usize {
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
fn suffix_length(text: &str) -> usize {
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
    // the longest unit has five characters, and a digit before it
    let Some(digit) = text.rfind(|char: char| char.is_ascii_digit()) else { return 0 };
    let unit = &text[digit + 1..];
    let is_currency = || {
        let mut chars = unit.chars();
        matches!(unit, "US$" | "C$" | "A$")
            || (has(chars.next(), class::CURRENCY) && chars.next().is_none())
    };
    if UNITS.contains(&unit) || is_currency() { unit.len() } else { 0 }
}

/// Returns the bytes of the infix that `text` starts with, after the character `before`.
fn infix_length(text: &str, before: Option<char>) -> usize {
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

/// Returns whether `text` is an address of a page, a mail address, or a host name.
fn is_address(text: &str) -> bool {
    if !text.contains('.') {
        return false;
    }
    let scheme = text.find("://").filter(|at| {
        let is_scheme =
            |char: char| char.is_alphanumeric() || matches!(char, '_' | '+' | '-' | '.');
        text[..*at].chars().count() >= 2 && text[..*at].chars().all(is_scheme)
    });
    let mut starts = vec![0];
    starts.extend(scheme.map(|at| at + 3));
    starts.extend(text.match_indices('@').filter(|(at, _)| *at > 0).map(|(at, _)| at + 1));
    starts.into_iter().any(|start| is_host_and_path(&text[start..]))
}

/// Returns whether `text` is a host, a port if any, and a path if any.
fn is_host_and_path(text: &str) -> bool {
    let is_host = |char: char| {
        char.is_ascii_alphanumeric()
            || matches!(char, '.' | '_' | '-')
            || ('\u{a1}'..='\u{ffff}').contains(&char)
    };
    let end = text.find(|char| !is_host(char)).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            if !(2..=5).contains(&digits) {
                return false;
            }
            &port[digits..]
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && (is_host_name(host) || is_public_quad(host))
}

/// Returns whether `host` is labels and a domain of lower-case letters.
fn is_host_name(host: &str) -> bool {
    let Some((labels, domain)) = host.rsplit_once('.') else { return false };
    let is_domain = (2..=63).contains(&domain.chars().count())
        && domain.chars().all(|char| has(Some(char), class::LOWER));
    let is_edge = |char: Option<char>| char.is_some_and(|char| !matches!(char, '_' | '-'));
    is_domain
        && labels.split('.').all(|label| {
            label.chars().count() <= 64
                && is_edge(label.chars().next())
                && is_edge(label.chars().next_back())
        })
}

/// Returns whether `host` is an IPv4 address that is neither private nor ends in 0 or 255.
fn is_public_quad(host: &str) -> bool {
    let mut octets = [0_u32; 4];
    let mut parts = host.split('.');
    for octet in &mut octets {
        let Some(part) = parts.next().filter(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        }) else {
            return false;
        };
        *octet = part.parse().unwrap_or(256);
    }
    let [a, b, c, d] = octets;
    let is_private = matches!((a, b), (10 | 127, _) | (169, 254) | (192, 168) | (172, 16..=31));
    parts.next().is_none()
        && (1..=223).contains(&a)
        && b < 256
        && c < 256
        && (1..255).contains(&d)
        && !is_private
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for_each(text, |word| {
            words.push(word.text.to_owned());
            true
        });
        words
    }

    /// The cases were written by `testdata/clean/spacy_words.py`.
    #[test]
    fn words_equal_those_of_spacy() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/clean/spacy_words.json");
        let facts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = facts["cases"].as_array().unwrap();
        let mut differing = Vec::new();
        for case in cases {
            let expected = case.as_str().unwrap();
            let found = words(&expected.replace(' ', "")).join(" ");
            if found != expected {
                differing.push(format!("{found:?} {expected:?}"));
            }
        }
        assert!(differing.is_empty(), "{} of {}: {differing:#?}", differing.len(), cases.len());
    }

    #[test]
    fn sentences_end_with_a_mark_and_the_punctuation_after_it() {
        for (text, expected) in [
            ("", 0),
            ("One", 1),
            ("One. Two.", 2),
            ("He said \"no.\" Mr. Smith left U.S. soil... So?!", 2),
            ("A! B? C. D", 3),
        ] {
            assert_eq!(count_sentences(text, 100), expected, "{text:?}");
        }
        assert_eq!(count_sentences("A! B? C. D", 2), 2);
    }
}
