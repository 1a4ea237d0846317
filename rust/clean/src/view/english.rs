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
//! 1. Most runs are letters or digits, alone or between a few marks: [`PlainRun`] finds these from
//!    masks of the text, one bit a byte, without the steps above. The words of recent other runs are
//!    in a cache.
//! 2. The rules are spaCy's (3.8, MIT licence), written by hand over character classes; the classes
//!    and exceptions are data that `testdata/clean/spacy_words.py` writes, with 9,000 cases in which
//!    a test compares the result.
//! 3. spaCy finds an exception of several parts by its parts, also across white space; here they
//!    must be side by side.

#[allow(clippy::unreadable_literal)] // code points are written without separators everywhere
mod classes;

mod address;
mod affixes;
mod masks;
mod splitter;
mod tables;
mod word;

use std::ops::Range;

use crate::chars::{Properties, property_table};
use crate::view::english::masks::Masks;
pub(crate) use crate::view::english::splitter::Splitter;
use crate::view::english::tables::{TABLES, Tables};
pub(crate) use crate::view::english::word::Word;
use crate::view::english::word::{ends_sentence, is_punctuation};
use crate::view::word_hash::word_hash_at;

/// Counts sentences word by word: a mark that ends a sentence ends it together with all punctuation
/// after it.
#[derive(Debug, Default)]
pub(crate) struct SentenceCounter {
    ended: usize,
    is_ended: bool,
    any: bool,
}

impl SentenceCounter {
    /// Adds the next word; returns the number of sentences so far.
    pub(crate) fn add(&mut self, word: &str) -> usize {
        self.any = true;
        if ends_sentence(word) {
            self.is_ended = true;
        } else if self.is_ended && !is_punctuation(word) {
            self.ended += 1;
            self.is_ended = false;
        }
        self.count()
    }

    /// Returns the number of sentences.
    pub(crate) fn count(&self) -> usize {
        self.ended + usize::from(self.any)
    }
}

/// Returns the number of sentences of `text`, at most `enough`.
pub(crate) fn count_sentences(text: &str, enough: usize, splitter: &mut Splitter) -> usize {
    let mut sentences = SentenceCounter::default();
    if enough > 0 {
        for_each(text, splitter, |word| sentences.add(word.of(text)) < enough);
    }
    sentences.count()
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
#[inline]
pub(crate) fn for_each(text: &str, splitter: &mut Splitter, mut each: impl FnMut(Word) -> bool) {
    let masks = splitter.masks_of(text.as_bytes());
    for_each_run(text, &masks, splitter, &mut each);
    splitter.keep_masks(masks);
}

#[inline(always)]
fn for_each_run(
    text: &str,
    masks: &Masks,
    splitter: &mut Splitter,
    each: &mut impl FnMut(Word) -> bool,
) {
    let (tables, properties) = (&*TABLES, property_table());
    let bytes = text.as_bytes();
    let letters = properties.of_byte(b'a');
    let mut at = 0;
    while at < bytes.len() {
        let spaces = masks.spaces(at);
        let length = spaces.trailing_zeros() as usize;
        let word = (!masks.letters(at)).trailing_zeros() as usize;
        // the length of the run and the white space after it
        let mut step = length;
        if length < 64 {
            step += (!(spaces >> length)).trailing_zeros() as usize;
        }
        let is_done = if length == 0 {
            false
        } else if word == length
            && length < 64
            && let end = at + length
            && let hash = word_hash_at(bytes, at, end)
            && !(tables.may_be_alone(hash) && tables.is_exception(&bytes[at..end]))
        {
            let (properties, is_plain) = (letters, true);
            !each(Word { start: at, end, hash, chars: length, properties, is_plain })
        } else if let Some(run) = PlainRun::at(bytes, masks, at, length)
            && let hash = word_hash_at(bytes, run.core.start, run.core.end)
            && !run.has_exception(bytes, hash, tables)
        {
            !run.for_each(bytes, hash, each)
        } else {
            let is_ascii = length < 64 && masks.high(at) << (64 - length) == 0;
            let end = if is_ascii { at + length } else { run_end(text, at) };
            step = if is_ascii { step } else { end - at };
            !splitter.for_each(text, at..end, each)
        };
        if is_done {
            return;
        }
        at += step;
    }
}

/// A run of which each character outside the core is a word, unless a part of it is an exception.
struct PlainRun {
    start: usize,
    /// Letters or digits, after at most one mark.
    core: Range<usize>,
    is_number: bool,
    /// The end of the run, at most [`MAX_MARKS`] marks after the core.
    end: usize,
}

/// Marks after the core, at most.
const MAX_MARKS: usize = 3;

impl PlainRun {
    /// Returns the run of `length` bytes that starts at `start`, if it has this form and less than 64
    /// bytes.
    #[inline(always)]
    fn at(bytes: &[u8], masks: &Masks, start: usize, length: usize) -> Option<Self> {
        let opening = usize::from(KINDS[usize::from(bytes[start])] & OPENING != 0);
        let ones = |mask: u64| (!(mask >> opening)).trailing_zeros() as usize;
        let letters = ones(masks.letters(start));
        let size = if letters > 0 { letters } else { ones(masks.digits(start)) };
        let (core, end) = (start + opening..start + opening + size, start + length);
        if size == 0 || length >= 64 || core.end + MAX_MARKS < end {
            return None;
        }
        // U.S. and the like, and several full stops, need the whole work
        let is_mark = |at: usize| {
            KINDS[usize::from(bytes[at])] & CLOSING != 0
                || (bytes[at] == b'.'
                    && bytes[at - 1] != b'.'
                    && !bytes[at - 1].is_ascii_uppercase())
        };
        let is_plain = (core.end..end).all(is_mark);
        is_plain.then_some(Self { start, core, is_number: letters == 0, end })
    }

    /// Returns whether words of the run that are side by side are an exception. `hash` is that of
    /// the core.
    #[inline(always)]
    fn has_exception(&self, bytes: &[u8], hash: u64, tables: &Tables) -> bool {
        let marks = self.end - self.core.end;
        (marks > 1 || tables.may_be_alone(hash) || tables.may_have_marks(hash))
            && self.finds_exception(bytes, tables)
    }

    /// The same by a search for all of them.
    #[inline(never)]
    fn finds_exception(&self, bytes: &[u8], tables: &Tables) -> bool {
        let Range { start: core, end: marks } = self.core;
        let has_prefix = self.start < core;
        (marks..=self.end).any(|end| {
            tables.is_exception(&bytes[core..end])
                || (has_prefix && tables.is_exception(&bytes[self.start..end]))
                || (marks + 1..end).any(|next| tables.is_exception(&bytes[next - 1..end]))
        })
    }

    /// Calls `each` with each word, until it returns false; returns whether it never did. `hash` is
    /// that of the core.
    #[inline(always)]
    fn for_each(&self, bytes: &[u8], hash: u64, each: &mut impl FnMut(Word) -> bool) -> bool {
        let table = property_table();
        let mut start = self.start;
        while start < self.end {
            let is_core = start == self.core.start;
            let word = if is_core {
                let Range { start, end } = self.core;
                let properties = table.of_byte(if self.is_number { b'0' } else { b'a' });
                Word { start, end, hash, chars: end - start, properties, is_plain: true }
            } else {
                let hash = word_hash_at(bytes, start, start + 1);
                let properties = table.of_byte(bytes[start]);
                Word { start, end: start + 1, hash, chars: 1, properties, is_plain: false }
            };
            if !each(word) {
                return false;
            }
            start = word.end;
        }
        true
    }
}

/// A mark that is a suffix after any letter, digit or mark.
const CLOSING: u8 = 1;
/// A mark that is a prefix.
const OPENING: u8 = 2;

/// The kind of each byte; 0 for those that need the whole work.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b',' | b';' | b':' | b'!' | b'?' | b')' => CLOSING,
            b'(' => OPENING,
            b'"' => OPENING | CLOSING,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

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
    use crate::view::word_hash::word_hash;

    /// A word and its traits.
    type Found = (String, usize, Properties, bool);

    fn found(text: &str, word: &Word) -> Found {
        assert_eq!(word.hash, word_hash(word.of(text)));
        (word.of(text).to_owned(), word.chars, word.properties, word.is_plain)
    }

    /// All steps for each run, without the fast path and the cache.
    fn naive(text: &str) -> Vec<Found> {
        let mut splitter = Splitter::default();
        let runs = text.split(is_space).filter(|run| !run.is_empty());
        runs.flat_map(|run| {
            let words = splitter.split(run).iter();
            words.map(|word| found(run, &Word::new(run, word.clone()))).collect::<Vec<_>>()
        })
        .collect()
    }

    fn fast(text: &str, splitter: &mut Splitter) -> Vec<Found> {
        let mut words = Vec::new();
        for_each(text, splitter, |word| {
            words.push(found(text, &word));
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
        assert_eq!(count_sentences("A! B? C. D", 0, &mut Splitter::default()), 0);
    }
}
