//! Repeated n-grams of words, for all n in one pass.
//!
//! An n-gram occurs twice only if both (n−1)-grams in it do. So the table of the smallest n counts
//! every position, and that of each larger n only the positions that may still repeat, which in
//! ordinary text are few:
//!
//! ```text
//! positions = 0, 1, 2, …                       keys = hash of the n-gram at each
//! for n in lengths:
//!     for each position: repeats = its key occurs at another position too
//!     report n: the most frequent key, the positions that repeat
//!     keep each position where it and position + 1 both repeat;
//!         key = join(key, hash of word[position + n])
//! ```
//!
//! 1. Keys are 64-bit hashes, so the results are exact up to collisions.
//! 2. Positions are kept by compaction in place; `keys` and `positions` stay parallel.
//! 3. Each length has a table of its own, cleared and filled again, sized for what is left.

use std::ops::RangeInclusive;

use crate::measure::Flow;
use crate::view::hash_counts::HashCounts;
use crate::view::unit::WordUnit;
use crate::view::words::Words;

/// The memory that [`for_each`] works in.
#[derive(Debug, Default)]
pub(crate) struct NGramBuffers {
    keys: Vec<u64>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    repeats: Vec<bool>,
    candidates: Candidates,
}

/// A filter of keys that may occur more than once: one bit where a key was seen, one where it was
/// seen again.
///
/// In ordinary text most n-grams occur once, and a bit in a kilobyte is cheaper than a slot of 16
/// bytes in a table.
#[derive(Debug, Default)]
struct Candidates {
    /// For each 32 bits of hash, those seen once and those seen again.
    words: Vec<(u32, u32)>,
    shift: u32,
}

impl Candidates {
    /// Fills the filter with `keys`; returns how many of them pass it.
    fn fill(&mut self, keys: &[u64]) -> usize {
        // eight bits a key: one key in eight or fewer passes by chance
        let size = (keys.len() / 4).next_power_of_two().max(2);
        self.shift = 64 - size.trailing_zeros() - 5;
        self.words.clear();
        self.words.resize(size, (0, 0));
        for key in keys {
            let (word, bit) = self.place(*key);
            let (once, again) = &mut self.words[word];
            *again |= *once & bit;
            *once |= bit;
        }
        keys.iter().filter(|key| self.has(**key)).count()
    }

    fn has(&self, key: u64) -> bool {
        let (word, bit) = self.place(key);
        self.words[word].1 & bit != 0
    }

    /// Returns the index and the bit of `key`, from its high bits; tables use the low ones.
    #[inline]
    fn place(&self, key: u64) -> (usize, u32) {
        let place = (key >> self.shift) as usize;
        (place >> 5, 1 << (place & 31))
    }
}

/// The n-grams of one length.
pub struct NGrams<'a> {
    n: usize,
    /// The most frequent n-gram, the first among equals: the position of its first occurrence, and
    /// its count.
    top: (usize, usize),
    /// Positions where n-grams start that may occur more than once; all that do are among them.
    positions: &'a [u32],
    /// For each position, whether its n-gram occurs more than once.
    repeats: &'a [bool],
    /// For each position, the slot of its n-gram in `counts`.
    slots: &'a [u32],
    counts: &'a mut HashCounts,
}

impl NGrams<'_> {
    /// Returns the code points in all occurrences of the most frequent n-gram, the first among
    /// equals.
    ///
    /// The spaces between its words count too, unless words are single characters.
    pub fn top_chars(&self, words: &Words) -> usize {
        if words.len() < self.n {
            return 0;
        }
        let (first, count) = self.top;
        let spaces = if words.unit() == WordUnit::Char { 0 } else { self.n - 1 };
        (words.chars(first, self.n) + spaces) * count
    }

    /// Returns the code points in n-grams that occurred before; the search continues after each
    /// one.
    ///
    /// It marks the n-grams it passes, so a second call returns more.
    pub fn duplicate_chars(&mut self, words: &Words) -> usize {
        let (mut chars, mut next) = (0, 0);
        for (index, repeats) in self.repeats.iter().enumerate() {
            let position = self.positions[index] as usize;
            if *repeats && position >= next && self.counts.mark(self.slots[index]) {
                chars += words.chars(position, self.n);
                next = position + self.n;
            }
        }
        chars
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
    words: &[u64],
    lengths: RangeInclusive<usize>,
    counts: &mut HashCounts,
    buffers: &mut NGramBuffers,
    mut each: impl FnMut(usize, &mut NGrams<'_>) -> Flow,
) -> Flow {
    let NGramBuffers { keys, positions, slots, repeats, candidates } = buffers;
    keys.clear();
    let min_n = (*lengths.start()).max(1);
    let hash = |gram: &[u64]| gram.iter().copied().reduce(join).unwrap_or(0);
    keys.extend(words.windows(min_n).map(hash));
    positions.clear();
    positions.extend(0..keys.len() as u32);
    for n in min_n..=*lengths.end() {
        let n_candidates = candidates.fill(keys);
        counts.clear(n_candidates);
        slots.clear();
        repeats.clear();
        repeats.resize(keys.len(), false);
        let mut top = (0, 1);
        for (index, key) in keys.iter().enumerate() {
            if !candidates.has(*key) {
                slots.push(0);
                continue;
            }
            let found = counts.add(*key, index as u32);
            slots.push(found.slot);
            if found.count > 1 {
                repeats[index] = true;
                repeats[found.first as usize] = true;
                let first = positions[found.first as usize] as usize;
                let count = found.count as usize;
                if count > top.1 || (count == top.1 && first < top.0) {
                    top = (first, count);
                }
            }
        }
        each(n, &mut NGrams { n, top, positions, repeats, slots, counts })?;
        let mut kept = 0;
        for index in 1..positions.len() {
            let (left, right) = (positions[index - 1], positions[index]);
            let next_word = left as usize + n;
            if repeats[index - 1] && repeats[index] && right == left + 1 && next_word < words.len()
            {
                keys[kept] = join(keys[index - 1], words[next_word]);
                positions[kept] = left;
                kept += 1;
            }
        }
        keys.truncate(kept);
        positions.truncate(kept);
    }
    Flow::Continue(())
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
            let _ = for_each(words.hashes(), first..=8, &mut counts, &mut buffers, |n, grams| {
                assert_eq!(grams.top_chars(&words), naive_top(&expected, n), "top {n} of {text:?}");
                let duplicates = grams.duplicate_chars(&words);
                assert_eq!(duplicates, naive_duplicates(&expected, n), "duplicate {n} of {text:?}");
                lengths.push(n);
                Flow::Continue(())
            });
            prop_assert_eq!(lengths, (first..=8).collect::<Vec<_>>());
        }
    }
}
