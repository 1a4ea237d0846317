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
//! 1. Most runs are letters or digits, alone or between a few marks: [`PlainRun`] finds these byte
//!    by byte, without the steps above. The words of recent other runs are in a cache.
//! 2. The rules are spaCy's (3.8, MIT licence), written by hand over character classes; the classes
//!    and exceptions are data that `testdata/clean/spacy_words.py` writes, with 9,000 cases in which
//!    a test compares the result.
//! 3. spaCy finds an exception of several parts by its parts, also across white space; here they
//!    must be side by side.

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod classes;

mod address;
mod affixes;
mod splitter;
mod tables;
mod word;

use std::ops::Range;

use crate::chars::{Properties, property_table};
pub(crate) use crate::view::english::splitter::Splitter;
use crate::view::english::tables::{TABLES, Tables};
pub(crate) use crate::view::english::word::Word;

/// Returns the number of sentences of `text`, at most `enough`: a mark that ends a sentence ends it
/// together with all punctuation after it.
pub(crate) fn count_sentences(text: &str, enough: usize, splitter: &mut Splitter) -> usize {
    let (mut count, mut is_ended, mut any) = (0, false, false);
    for_each(text, splitter, |word| {
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

/// Returns the number of words of `text`.
pub(crate) fn count_words(text: &str, splitter: &mut Splitter) -> usize {
    let mut count = 0;
    for_each(text, splitter, |_| {
        count += 1;
        true
    });
    count
}

/// Calls `each` with each word of `text`, until it returns false.
pub(crate) fn for_each(
    text: &str,
    splitter: &mut Splitter,
    mut each: impl FnMut(Word<'_>) -> bool,
) {
    let tables = &*TABLES;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if kind(bytes, at) == SPACE {
            at += 1;
            continue;
        }
        let plain = PlainRun::at(bytes, at).filter(|run| !run.has_exception(bytes, tables));
        let go_on = if let Some(run) = plain {
            at = run.end;
            run.for_each(text, &mut each)
        } else {
            let start = at;
            at = run_end(text, start);
            splitter.for_each(&text[start..at], &mut each)
        };
        if !go_on {
            return;
        }
    }
}

/// A run of which each character outside the core is a word, unless a part of it is an exception.
struct PlainRun {
    start: usize,
    /// Letters or digits, after at most one mark.
    core: Range<usize>,
    /// The end of the run, at most [`MAX_MARKS`] marks after the core.
    end: usize,
}

/// Marks after the core, at most.
const MAX_MARKS: usize = 3;

impl PlainRun {
    /// Returns the run that starts at `start`, if it has this form.
    #[inline(always)]
    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let first = start + usize::from(kind(bytes, start) & OPENING != 0);
        let (mut core_end, mut kinds) = (first, 0);
        while kind(bytes, core_end) & (LETTER | DIGIT) != 0 {
            kinds |= kind(bytes, core_end);
            core_end += 1;
        }
        if kinds != LETTER && kinds != DIGIT {
            return None;
        }
        let mut end = core_end;
        while kind(bytes, end) != SPACE {
            // U.S. and the like, and several full stops, need the whole work
            let is_mark = kind(bytes, end) & CLOSING != 0
                || (bytes[end] == b'.'
                    && bytes[end - 1] != b'.'
                    && !bytes[end - 1].is_ascii_uppercase());
            end += 1;
            if !is_mark || end - core_end > MAX_MARKS {
                return None;
            }
        }
        Some(Self { start, core: first..core_end, end })
    }

    /// Returns whether words of the run that are side by side are an exception.
    #[inline(always)]
    fn has_exception(&self, bytes: &[u8], tables: &Tables) -> bool {
        let is_alone = self.end - self.start == self.core.len();
        tables.is_exception(&bytes[self.core.clone()])
            || (!is_alone && self.has_exception_with_marks(bytes, tables))
    }

    /// The same for more words than the core alone.
    fn has_exception_with_marks(&self, bytes: &[u8], tables: &Tables) -> bool {
        let Range { start: core, end: marks } = self.core;
        let has_prefix = self.start < core;
        for end in marks..=self.end {
            let is_exception = (end > marks && tables.is_exception(&bytes[core..end]))
                || (has_prefix && tables.is_exception(&bytes[self.start..end]))
                || (marks + 1..end).any(|next| tables.is_exception(&bytes[next - 1..end]));
            if is_exception {
                return true;
            }
        }
        false
    }

    #[inline]
    fn for_each(&self, text: &str, mut each: impl FnMut(Word<'_>) -> bool) -> bool {
        let table = property_table();
        let mut word = |range: Range<usize>, is_plain| {
            let properties = table.of_byte(text.as_bytes()[range.start]);
            each(Word { text: &text[range.clone()], chars: range.len(), properties, is_plain })
        };
        (self.start == self.core.start || word(self.start..self.core.start, false))
            && word(self.core.clone(), true)
            && (self.core.end..self.end).all(|at| word(at..at + 1, false))
    }
}

/// Kinds of bytes, as bits.
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
/// A mark that is a suffix after any letter, digit or mark.
const CLOSING: u8 = 4;
/// A mark that is a prefix.
const OPENING: u8 = 8;
const SPACE: u8 = 16;

/// The kind of each byte; 0 for those that need the whole work.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b',' | b';' | b':' | b'!' | b'?' | b')' => CLOSING,
            b'(' => OPENING,
            b'"' => OPENING | CLOSING,
            b'\t'..=b'\r' | 0x1c..=b' ' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// Returns the kind of the byte at `at`; the end of the text counts as white space.
#[inline(always)]
fn kind(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).map_or(SPACE, |byte| KINDS[usize::from(*byte)])
}

/// Calls `each` with the bytes of each word, its number of code points, the union of its
/// characters' properties, and whether it is plain: not only punctuation.
#[inline]
pub(crate) fn for_each_traits(
    text: &str,
    splitter: &mut Splitter,
    mut each: impl FnMut(&[u8], usize, Properties, bool),
) {
    for_each(text, splitter, |word| {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::view::english::tables::is_space;

    /// A word and its traits.
    type Found = (String, usize, Properties, bool);

    fn found(word: &Word<'_>) -> Found {
        (word.text.to_owned(), word.chars, word.properties, word.is_plain)
    }

    /// All steps for each run, without the fast path and the cache.
    fn naive(text: &str) -> Vec<Found> {
        let mut splitter = Splitter::default();
        let runs = text.split(is_space).filter(|run| !run.is_empty());
        runs.flat_map(|run| {
            let words = splitter.split(run).iter();
            words.map(|word| found(&Word::new(&run[word.clone()]))).collect::<Vec<_>>()
        })
        .collect()
    }

    fn fast(text: &str, splitter: &mut Splitter) -> Vec<Found> {
        let mut words = Vec::new();
        for_each(text, splitter, |word| {
            words.push(found(&word));
            true
        });
        words
    }

    fn stored_cases() -> Vec<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/clean/spacy_words.json");
        let facts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = facts["cases"].as_array().unwrap();
        cases.iter().map(|case| case.as_str().unwrap().to_owned()).collect()
    }

    /// Returns a strategy for an exception, or a stored run, between marks.
    fn marked_runs() -> impl Strategy<Value = String> {
        let exceptions = include_str!("english/exceptions.txt").lines().map(str::to_owned);
        let runs: Vec<String> = exceptions.chain(stored_cases()).collect();
        let run = proptest::sample::select(runs).prop_map(|run| run.replace(' ', ""));
        ("[(\"]{0,2}", run, "[,;:!?)\".]{0,4}").prop_map(|(a, b, c)| a + &b + &c)
    }

    /// The cases were written by `testdata/clean/spacy_words.py`.
    #[test]
    fn words_equal_those_of_spacy() {
        let cases = stored_cases();
        let (mut differing, mut splitter) = (Vec::new(), Splitter::default());
        for expected in &cases {
            let words = fast(&expected.replace(' ', ""), &mut splitter);
            let found: Vec<String> = words.into_iter().map(|(text, ..)| text).collect();
            let found = found.join(" ");
            if found != *expected {
                differing.push(format!("{found:?} {expected:?}"));
            }
        }
        assert!(differing.is_empty(), "{} of {}: {differing:#?}", differing.len(), cases.len());
    }

    #[test]
    fn the_cache_is_emptied_when_it_is_full() {
        let mut splitter = Splitter::default();
        for n in 0..20_000 {
            let run = format!("x-{n}.5");
            assert_eq!(fast(&run, &mut splitter), naive(&run));
        }
        for n in (0..20_000).rev().step_by(7) {
            let run = format!("x-{n}.5");
            assert_eq!(fast(&run, &mut splitter), naive(&run));
        }
    }

    #[test]
    fn stored_runs_equal_the_naive_twin() {
        let mut splitter = Splitter::default();
        for run in stored_cases().iter().map(|case| case.replace(' ', "")) {
            for mark in ["", ".", ",", ")", "\"", ").", ".)", "..", "?!\""] {
                for text in [format!("{run}{mark}"), format!("({run}{mark} \"{run}{mark}")] {
                    let expected = naive(&text);
                    assert_eq!(fast(&text, &mut splitter), expected, "{text:?}");
                    assert_eq!(fast(&text, &mut splitter), expected, "{text:?}, from the cache");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn random_runs_equal_the_naive_twin(
            text in "([a-z]{1,4}|[A-Z]|[A-Z][a-z]|[0-9]|[,;:!?).(\"]|[-'’/…\\[\\]%°]|é|中|\u{a0}| |\n|\\PC){0,20}",
            marked in proptest::collection::vec(marked_runs(), 1..8)
        ) {
            let mut splitter = Splitter::default();
            for text in [text, marked.join(" ")] {
                let expected = naive(&text);
                prop_assert_eq!(fast(&text, &mut splitter), expected.clone());
                prop_assert_eq!(count_words(&text, &mut splitter), expected.len());
                prop_assert_eq!(fast(&text, &mut splitter), expected);
            }
        }
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
            assert_eq!(count_sentences(text, 100, &mut Splitter::default()), expected, "{text:?}");
        }
        assert_eq!(count_sentences("A! B? C. D", 2, &mut Splitter::default()), 2);
    }
}
