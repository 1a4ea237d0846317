//! Splits one run by spaCy's rules, and remembers the words of recent runs.

use std::ops::Range;

use hashbrown::HashMap;

use crate::chars::Properties;
use crate::view::english::address::is_address;
use crate::view::english::affixes::{infix_length, prefix_length, suffix_length};
use crate::view::english::tables::{MAX_EXCEPTION_BYTES, exception, is_space};
use crate::view::english::word::Word;

/// Runs in the cache, at most: about 1 MB a thread. Of the runs that reach it in English Wikipedia,
/// 41 % are in it; with twice as many, 45 % (docs/log.md).
const MAX_CACHED_RUNS: usize = 8192;
/// Bytes of a run in the cache, at most; 99.5 % are not longer.
const MAX_CACHED_BYTES: usize = 24;

/// The work on one run, with memory that is reused and what it gave for recent runs.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    words: Vec<Range<usize>>,
    suffixes: Vec<Range<usize>>,
    cache: Cache,
}

/// The words of recent runs.
#[derive(Debug, Default)]
struct Cache {
    /// For each run, the indices of its words in `words`.
    runs: HashMap<Box<str>, Range<u32>>,
    words: Vec<CachedWord>,
}

/// A word as in [`Word`], with its bytes in the run instead of its text.
#[derive(Debug)]
struct CachedWord {
    start: u8,
    end: u8,
    chars: u8,
    is_plain: bool,
    properties: Properties,
}

impl Splitter {
    /// Calls `each` with each word of `run`, until it returns false; returns whether it never did.
    pub(super) fn for_each(&mut self, run: &str, mut each: impl FnMut(Word<'_>) -> bool) -> bool {
        if run.len() > MAX_CACHED_BYTES {
            self.split(run);
            return self.words.iter().all(|word| each(Word::new(&run[word.clone()])));
        }
        let range = match self.cache.runs.get(run) {
            Some(range) => range.clone(),
            None => self.add(run),
        };
        let words = &self.cache.words[range.start as usize..range.end as usize];
        words.iter().all(|word| {
            let text = &run[usize::from(word.start)..usize::from(word.end)];
            let (properties, is_plain) = (word.properties, word.is_plain);
            each(Word { text, chars: usize::from(word.chars), properties, is_plain })
        })
    }

    /// Splits `run` and adds its words to the cache, which is emptied if it is full.
    fn add(&mut self, run: &str) -> Range<u32> {
        self.split(run);
        let cache = &mut self.cache;
        if cache.runs.len() == MAX_CACHED_RUNS {
            cache.runs.clear();
            cache.words.clear();
        }
        let first = cache.words.len() as u32;
        cache.words.extend(self.words.iter().map(|range| {
            let Word { chars, properties, is_plain, .. } = Word::new(&run[range.clone()]);
            let (start, end) = (range.start as u8, range.end as u8);
            CachedWord { start, end, chars: chars as u8, is_plain, properties }
        }));
        let range = first..cache.words.len() as u32;
        cache.runs.insert(run.into(), range.clone());
        range
    }

    /// Returns the words of `run`: all steps, which the tests compare with everything faster.
    pub(super) fn split(&mut self, run: &str) -> &[Range<usize>] {
        self.words.clear();
        self.suffixes.clear();
        if run.starts_with(is_space) {
            return &self.words;
        }
        if let Some(parts) = exception(run) {
            self.push_parts(0, parts);
            return &self.words;
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
        &self.words
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
        let bytes = text.as_bytes();
        let (mut start, mut at, mut before) = (0, 0, None);
        while at < text.len() {
            // never an infix
            if bytes[at].is_ascii_alphanumeric() {
                before = Some(char::from(bytes[at]));
                at += 1;
                continue;
            }
            let length = infix_length(&text[at..], before);
            if length > 0 && at > 0 {
                if at > start {
                    self.words.push(offset + start..offset + at);
                }
                self.words.push(offset + at..offset + at + length);
                start = at + length;
            }
            let mut chars = text[at..].chars();
            let size = if length > 0 { length } else { chars.next().map_or(1, char::len_utf8) };
            before = text[at..at + size].chars().next_back();
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
