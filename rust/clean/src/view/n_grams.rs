//! Repeated n-grams of words, for all n in one pass.
//!
//! An n-gram occurs twice only if both (n−1)-grams in it do. So the smallest n is counted at every
//! position, and each larger n only at the positions that may still repeat, which in ordinary text
//! are few:
//!
//! ```text
//! grams = each position, with a key: the hash of the n-gram there      (of the smallest n, keys alone)
//! for n in lengths:
//!     class[key] += 1 for each key                     one byte a class, several keys may share one
//!     report n: bounds from the classes; exact counts, from a table of keys, if a bound is too wide
//!     keep each gram where the classes of it and of the one at position + 1 have two members or more;
//!         key = join(key, hash of word[position + n])
//! ```
//!
//! 1. Keys are 64-bit hashes, so exact counts are exact up to collisions.
//! 2. A class has at least as many members as any key in it occurs: no n-gram that repeats is lost,
//!    and the largest class bounds the most frequent n-gram. Most documents pass their limits by such
//!    bounds, and then no table is filled.
//! 3. Grams are kept without a branch: whether an n-gram repeats cannot be predicted.
//! 4. Of the smallest n all positions have a gram, and few are kept: so their keys are a list of numbers,
//!    counted while they are computed, and only what is kept becomes a gram with a position.

use std::cell::OnceCell;
use std::ops::RangeInclusive;

use crate::measure::Flow;
use crate::view::hash_counts::HashCounts;
use crate::view::unit::WordUnit;
use crate::view::words::Words;

/// The memory that [`for_each`] works in.
#[derive(Debug, Default)]
pub(crate) struct NGramBuffers {
    keys: Vec<u64>,
    kept: Vec<u32>,
    grams: Vec<Gram>,
    longer: Vec<Gram>,
    classes: KeyClasses,
    exact: ExactCounts,
}

/// An n-gram at one position: the index of its first word.
#[derive(Clone, Copy, Debug, Default)]
struct Gram {
    key: u64,
    position: u32,
}

/// The number of keys in each of many classes, up to 255.
#[derive(Debug, Default)]
struct KeyClasses {
    sizes: Vec<u8>,
    shift: u32,
    /// The size of the largest class.
    max: u8,
}

impl KeyClasses {
    /// Makes room for `n_keys` keys. There are four to eight classes a key: one key in eight or fewer
    /// shares its class by chance.
    fn clear(&mut self, n_keys: usize) {
        let count = (n_keys * 4).next_power_of_two().max(2);
        self.shift = 64 - count.trailing_zeros();
        self.sizes.clear();
        self.sizes.resize(count, 0);
    }

    #[inline(always)]
    fn add(&mut self, key: u64) {
        let size = &mut self.sizes[(key >> self.shift) as usize];
        *size = size.saturating_add(1);
    }

    /// Sets the size of the largest class; no keys are added after this.
    fn finish(&mut self) {
        self.max = self.sizes.iter().fold(0, |max, size| max.max(*size));
    }

    /// Counts the keys of `grams`.
    fn fill(&mut self, grams: &[Gram]) {
        self.clear(grams.len());
        for gram in grams {
            self.add(gram.key);
        }
        self.finish();
    }

    /// Returns the size of the class of `key`: at least the number of its occurrences, if below 255.
    #[inline(always)]
    fn size(&self, key: u64) -> u8 {
        self.sizes[(key >> self.shift) as usize]
    }
}

/// The n-grams of one length.
pub struct NGrams<'a> {
    n: usize,
    words: &'a Words,
    grams: Grams<'a>,
    classes: &'a KeyClasses,
    exact: &'a mut ExactCounts,
    counts: &'a mut HashCounts,
    is_exact: bool,
}

/// All n-grams that repeat, and others.
enum Grams<'a> {
    /// The keys of those at all positions, and the grams, which are seldom needed.
    All(&'a [u64], OnceCell<Vec<Gram>>),
    Some(&'a [Gram]),
}

impl Grams<'_> {
    fn list(&self) -> &[Gram] {
        match self {
            Self::Some(grams) => grams,
            Self::All(keys, grams) => grams.get_or_init(|| {
                (0..).zip(*keys).map(|(position, key)| Gram { key: *key, position }).collect()
            }),
        }
    }
}

/// What [`NGrams`] computes when a bound is too wide.
#[derive(Debug, Default)]
struct ExactCounts {
    /// For each gram, whether it occurs more than once.
    repeats: Vec<bool>,
    /// For each gram, its slot in the table, if it repeats.
    slots: Vec<u32>,
    /// The most frequent n-gram, the first among equals: the position of its first occurrence, and
    /// its count.
    top: (usize, usize),
}

impl NGrams<'_> {
    /// Returns an upper bound of [`NGrams::top_chars`], in steps: `is_enough` ends the search for a
    /// closer one. `None` if there is no bound below the length of the text.
    pub fn top_chars_at_most(&self, is_enough: impl Fn(usize) -> bool) -> Option<usize> {
        if self.words.len() < self.n {
            return Some(0);
        }
        let count = usize::from(self.classes.max.max(1));
        if self.classes.max == u8::MAX {
            return None;
        }
        let bound = (self.words.max_chars() * self.n + self.spaces()) * count;
        if is_enough(bound) {
            return Some(bound);
        }
        // other n-grams occur once
        let mut bound = self.words.max_chars() * self.n + self.spaces();
        for gram in self.grams.list() {
            let chars = self.words.chars(gram.position as usize, self.n) + self.spaces();
            bound = bound.max(chars * usize::from(self.classes.size(gram.key)));
        }
        Some(bound)
    }

    /// Returns an upper bound of [`NGrams::duplicate_chars`]: the code points of all words in n-grams
    /// that may occur more than once.
    pub fn duplicate_chars_at_most(&self) -> usize {
        let (mut chars, mut end) = (0, 0);
        for gram in self.grams.list() {
            if self.classes.size(gram.key) > 1 {
                let from = (gram.position as usize).max(end);
                end = gram.position as usize + self.n;
                chars += self.words.chars(from, end - from);
            }
        }
        chars
    }

    /// Returns the code points in all occurrences of the most frequent n-gram, the first among
    /// equals.
    ///
    /// The spaces between its words count too, unless words are single characters.
    pub fn top_chars(&mut self) -> usize {
        if self.words.len() < self.n {
            return 0;
        }
        self.fill();
        let (first, count) = self.exact.top;
        (self.words.chars(first, self.n) + self.spaces()) * count
    }

    /// Returns the code points in n-grams that occurred before; the search continues after each
    /// one.
    ///
    /// It marks the n-grams it passes, so a second call returns more.
    pub fn duplicate_chars(&mut self) -> usize {
        self.fill();
        let (mut chars, mut next) = (0, 0);
        let grams = self.grams.list();
        for (index, repeats) in self.exact.repeats.iter().enumerate() {
            let position = grams[index].position as usize;
            if *repeats && position >= next && self.counts.mark(self.exact.slots[index]) {
                chars += self.words.chars(position, self.n);
                next = position + self.n;
            }
        }
        chars
    }

    /// Returns the spaces between the words of an n-gram.
    fn spaces(&self) -> usize {
        if self.words.unit() == WordUnit::Char { 0 } else { self.n - 1 }
    }

    /// Fills the table of keys, unless that was done.
    fn fill(&mut self) {
        if std::mem::replace(&mut self.is_exact, true) {
            return;
        }
        let ExactCounts { repeats, slots, top } = &mut *self.exact;
        let grams = self.grams.list();
        let may_repeat = |gram: &&Gram| self.classes.size(gram.key) > 1;
        self.counts.clear(grams.iter().filter(may_repeat).count());
        slots.clear();
        repeats.clear();
        repeats.resize(grams.len(), false);
        *top = (0, 1);
        for (index, gram) in grams.iter().enumerate() {
            if !may_repeat(&gram) {
                slots.push(0);
                continue;
            }
            let found = self.counts.add(gram.key, index as u32);
            slots.push(found.slot);
            if found.count > 1 {
                repeats[index] = true;
                repeats[found.first as usize] = true;
                let first = grams[found.first as usize].position as usize;
                let count = found.count as usize;
                if count > top.1 || (count == top.1 && first < top.0) {
                    *top = (first, count);
                }
            }
        }
    }
}

/// Returns the hash of an n-gram followed by a word.
///
/// Each word's hash is well mixed, and multiplication by an odd number is a bijection, so different
/// n-grams with the same last word stay different.
#[inline]
fn join(gram: u64, word: u64) -> u64 {
    let mixed = (gram.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Calls `each` with the n-grams of each n in `lengths`, until it breaks.
pub(crate) fn for_each(
    words: &Words,
    lengths: RangeInclusive<usize>,
    counts: &mut HashCounts,
    buffers: &mut NGramBuffers,
    mut each: impl FnMut(usize, &mut NGrams<'_>) -> Flow,
) -> Flow {
    let NGramBuffers { keys, kept, grams, longer, classes, exact } = buffers;
    let min_n = (*lengths.start()).max(1);
    if lengths.is_empty() {
        return Flow::Continue(());
    }
    fill_keys(words, min_n, keys, classes);
    let all = Grams::All(keys, OnceCell::new());
    let is_exact = false;
    each(min_n, &mut NGrams { n: min_n, words, grams: all, classes, exact, counts, is_exact })?;
    lengthen_all(words, min_n, (keys, classes), kept, grams);
    for n in min_n + 1..=*lengths.end() {
        classes.fill(grams);
        let some = Grams::Some(grams);
        each(n, &mut NGrams { n, words, grams: some, classes, exact, counts, is_exact })?;
        lengthen(words, n, grams, classes, longer);
        std::mem::swap(grams, longer);
    }
    Flow::Continue(())
}

/// Fills `keys` with those of the n-grams at all positions, and counts them.
fn fill_keys(words: &Words, n: usize, keys: &mut Vec<u64>, classes: &mut KeyClasses) {
    keys.clear();
    keys.extend(words.hashes());
    let n_keys = (words.len() + 1).saturating_sub(n);
    classes.clear(n_keys);
    keys.truncate(n_keys);
    // each gram is longer by the next words
    for more in 1..n.max(1) {
        let is_last = more + 1 == n;
        for (key, word) in keys.iter_mut().zip(words.hashes().skip(more)) {
            *key = join(*key, word);
            if is_last {
                classes.add(*key);
            }
        }
    }
    if n == 1 {
        for key in &*keys {
            classes.add(*key);
        }
    }
    classes.finish();
}

/// Fills `longer` with the grams of n + 1 words that may repeat, of those of n words at all positions;
/// `kept` is working memory.
fn lengthen_all(
    words: &Words,
    n: usize,
    (keys, classes): (&[u64], &KeyClasses),
    kept: &mut Vec<u32>,
    longer: &mut Vec<Gram>,
) {
    kept.resize(keys.len(), 0);
    let (mut left_repeats, mut n_kept) = (0, 0);
    for (right, key) in (0_u32..).zip(keys) {
        let right_repeats = usize::from(classes.size(*key) > 1);
        kept[n_kept] = right.wrapping_sub(1);
        n_kept += left_repeats & right_repeats;
        left_repeats = right_repeats;
    }
    longer.clear();
    longer.extend(kept[..n_kept].iter().map(|position| {
        let at = *position as usize;
        Gram { key: join(keys[at], words.hash(at + n)), position: *position }
    }));
}

/// Fills `longer` with the grams of n + 1 words that may repeat.
fn lengthen(words: &Words, n: usize, grams: &[Gram], classes: &KeyClasses, longer: &mut Vec<Gram>) {
    longer.resize(grams.len(), Gram::default());
    let (mut left, mut left_repeats, mut kept) = (Gram::default(), 0, 0);
    for right in grams {
        let right_repeats = usize::from(classes.size(right.key) > 1);
        let next_word = words.hash(left.position as usize + n);
        longer[kept] = Gram { key: join(left.key, next_word), position: left.position };
        let is_pair = usize::from(right.position == left.position + 1);
        kept += left_repeats & right_repeats & is_pair;
        (left, left_repeats) = (*right, right_repeats);
    }
    longer.truncate(kept);
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::view::english::Splitter;
    use crate::view::words::naive;

    /// The definition, with lists of words as keys.
    fn naive_top(words: &[String], n: usize) -> usize {
        let mut counts: HashMap<&[String], usize> = HashMap::new();
        for gram in words.windows(n) {
            *counts.entry(gram).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let top = words.windows(n).find(|gram| counts[gram] == most);
        top.map_or(0, |gram| gram.join(" ").chars().count() * most)
    }

    fn naive_duplicates(words: &[String], n: usize) -> usize {
        let mut seen = HashSet::new();
        let (mut chars, mut at) = (0, 0);
        while at + n <= words.len() {
            let gram = &words[at..at + n];
            if seen.insert(gram) {
                at += 1;
            } else {
                chars += gram.concat().chars().count();
                at += n;
            }
        }
        chars
    }

    #[test]
    fn n_grams_of_a_full_class_are_counted_exactly() {
        let text = "a b ".repeat(300);
        let expected = naive::words(&text, WordUnit::Word);
        let mut words = Words::default();
        words.fill(&text, WordUnit::Word, &mut Splitter::default());
        let (mut counts, mut buffers) = (HashCounts::default(), NGramBuffers::default());
        let _ = for_each(&words, 2..=4, &mut counts, &mut buffers, |n, grams| {
            assert_eq!(grams.top_chars_at_most(|_| true), None);
            assert_eq!(grams.top_chars(), naive_top(&expected, n));
            assert_eq!(grams.duplicate_chars(), naive_duplicates(&expected, n));
            Flow::Continue(())
        });
    }

    proptest! {
        #[test]
        fn one_pass_equals_a_table_per_length(
            text in "(a |b |b c |a b |a b a b |dd |中文 ){0,40}",
            first in 1..5_usize,
        ) {
            let expected = naive::words(&text, WordUnit::Word);
            let mut words = Words::default();
            words.fill(&text, WordUnit::Word, &mut Splitter::default());
            let mut buffers = NGramBuffers::default();
            let mut lengths = Vec::new();
            let mut counts = HashCounts::default();
            let _ = for_each(&words, first..=8, &mut counts, &mut buffers, |n, grams| {
                let top = naive_top(&expected, n);
                for is_enough in [true, false] {
                    let bound = grams.top_chars_at_most(|_| is_enough);
                    assert!(bound.is_none_or(|bound| bound >= top), "top {n} of {text:?}");
                }
                let bound = grams.duplicate_chars_at_most();
                assert_eq!(grams.top_chars(), top, "top {n} of {text:?}");
                let duplicates = grams.duplicate_chars();
                assert!(duplicates <= bound, "duplicate {n} of {text:?}");
                assert_eq!(duplicates, naive_duplicates(&expected, n), "duplicate {n} of {text:?}");
                lengths.push(n);
                Flow::Continue(())
            });
            prop_assert_eq!(lengths, (first..=8).collect::<Vec<_>>());
        }
    }
}
