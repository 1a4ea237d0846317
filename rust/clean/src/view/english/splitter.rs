//! Splits one run by spaCy's rules, and remembers the words of recent runs.

use std::ops::Range;

use crate::chars::Properties;
use crate::view::english::address::is_address;
use crate::view::english::affixes::{infix_length, prefix_length, suffix_length};
use crate::view::english::masks::Masks;
use crate::view::english::tables::{MAX_EXCEPTION_BYTES, exception, is_space};
use crate::view::english::word::Word;
use crate::view::word_hash::word_hash_at;

/// Runs in the cache: 0.5 MB a thread. Of the runs that reach it in English Wikipedia, 41 % were in
/// a cache of so many; in one of twice as many, 45 % (docs/log.md).
const CACHED_RUNS: usize = 1 << 13;
/// Bytes of a run in the cache, at most; 99.5 % are not longer.
const MAX_CACHED_BYTES: usize = 24;
/// Words of a run in the cache, at most.
const MAX_CACHED_WORDS: usize = 5;

/// The work on one run, with memory that is reused and what it gave for recent runs.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    words: Vec<Range<usize>>,
    suffixes: Vec<Range<usize>>,
    masks: Masks,
    /// The words of recent runs: each at the slot of its hash, where the last one stays. Empty before
    /// the first run.
    cache: Vec<CachedRun>,
}

/// A run and its words, which stand side by side in it; one line of the processor's cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct CachedRun {
    run: [u8; MAX_CACHED_BYTES],
    /// Bytes of the run; 0 in an empty slot.
    length: u8,
    n_words: u8,
    words: [CachedWord; MAX_CACHED_WORDS],
}

/// A word as in [`Word`], with its end in the run.
#[derive(Clone, Copy, Debug, Default)]
struct CachedWord {
    properties: Properties,
    end: u8,
    chars: u8,
    is_plain: bool,
}

impl Splitter {
    /// Returns the masks of `text`, in memory that [`Splitter::keep_masks`] takes back.
    pub(super) fn masks_of(&mut self, text: &[u8]) -> Masks {
        let mut masks = std::mem::take(&mut self.masks);
        masks.fill(text);
        masks
    }

    /// Keeps the memory of masks.
    pub(super) fn keep_masks(&mut self, masks: Masks) {
        self.masks = masks;
    }

    /// Calls `each` with each word of the run at the bytes `range` of `text`, until it returns false;
    /// returns whether it never did.
    pub(super) fn for_each(
        &mut self,
        text: &str,
        range: Range<usize>,
        each: &mut impl FnMut(Word) -> bool,
    ) -> bool {
        let bytes = &text.as_bytes()[range.clone()];
        let hash = word_hash_at(text.as_bytes(), range.start, range.end);
        let slot = hash as usize % CACHED_RUNS;
        if let Some(cached) = self.cache.get(slot)
            && cached.run.get(..usize::from(cached.length)) == Some(bytes)
        {
            let mut start = range.start;
            return cached.words[..usize::from(cached.n_words)].iter().all(|word| {
                let end = range.start + usize::from(word.end);
                let hash = word_hash_at(text.as_bytes(), start, end);
                let CachedWord { properties, is_plain, .. } = *word;
                let chars = usize::from(word.chars);
                let word = Word { start, end, hash, chars, properties, is_plain };
                start = end;
                each(word)
            });
        }
        self.split(&text[range.clone()]);
        let is_short = bytes.len() <= MAX_CACHED_BYTES && self.words.len() <= MAX_CACHED_WORDS;
        let mut cached = CachedRun { n_words: self.words.len() as u8, ..CachedRun::default() };
        let mut go_on = true;
        for (index, own) in self.words.iter().enumerate() {
            let word = Word::new(text, range.start + own.start..range.start + own.end);
            if is_short {
                let Word { chars, properties, is_plain, .. } = word;
                let (end, chars) = (own.end as u8, chars as u8);
                cached.words[index] = CachedWord { properties, end, chars, is_plain };
            }
            go_on = go_on && each(word);
        }
        if is_short {
            cached.run[..bytes.len()].copy_from_slice(bytes);
            cached.length = bytes.len() as u8;
            self.cache.resize(CACHED_RUNS, CachedRun::default());
            self.cache[slot] = cached;
        }
        go_on
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
