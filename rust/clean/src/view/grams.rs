//! n-grams of words that come again, for all n in one sweep.
//!
//! An n-gram occurs twice only if both (n−1)-grams in it do. So the first table holds every
//! position, and each longer table only the positions that may still repeat, which in ordinary text
//! are few. The results are exact up to collisions of 64-bit hashes.

use std::ops::RangeInclusive;

use crate::rule::Flow;
use crate::view::WordUnit;
use crate::view::table::Table;
use crate::view::words::Words;

/// The working space of [`for_each`].
#[derive(Debug, Default)]
pub(crate) struct GramBuffers {
    keys: Vec<u64>,
    positions: Vec<u32>,
    places: Vec<u32>,
    repeats: Vec<bool>,
}

/// The n-grams of one length.
pub struct Grams<'a> {
    n: usize,
    /// The first of the most frequent n-grams, as a place in the text, and how often it occurs.
    top: (usize, usize),
    /// Where n-grams begin that may occur more than once; all that do are among them.
    positions: &'a [u32],
    /// Whether each does.
    repeats: &'a [bool],
    /// The place of each in the table.
    places: &'a [u32],
    table: &'a mut Table,
}

impl Grams<'_> {
    /// The code points in all occurrences of the most frequent n-gram, the first among equals, with
    /// the spaces between its words if words are what is between spaces.
    pub fn top_chars(&self, words: &Words) -> usize {
        if words.len() < self.n {
            return 0;
        }
        let (first, count) = self.top;
        let spaces = if words.unit() == WordUnit::Word { self.n - 1 } else { 0 };
        (words.chars(first, self.n) + spaces) * count
    }

    /// The code points in n-grams that were met before, going on behind each that is found.
    ///
    /// It uses the table up: a second call finds more.
    pub fn duplicate_chars(&mut self, words: &Words) -> usize {
        let (mut chars, mut next) = (0, 0);
        for (index, repeats) in self.repeats.iter().enumerate() {
            let position = self.positions[index] as usize;
            if *repeats && position >= next && self.table.mark(self.places[index]) {
                chars += words.chars(position, self.n);
                next = position + self.n;
            }
        }
        chars
    }
}

/// Joins the hash of an n-gram with that of the word behind it. Each word's hash is well mixed, and
/// a multiplication by an odd number keeps what was there before apart.
#[inline]
fn join(gram: u64, word: u64) -> u64 {
    let mixed = (gram.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Calls `each` with the n-grams of each n in `lengths`, until it breaks.
pub(crate) fn for_each(
    words: &[u64],
    lengths: RangeInclusive<usize>,
    table: &mut Table,
    buffers: &mut GramBuffers,
    mut each: impl FnMut(usize, &mut Grams<'_>) -> Flow,
) -> Flow {
    let GramBuffers { keys, positions, places, repeats } = buffers;
    keys.clear();
    let shortest = (*lengths.start()).max(1);
    let gram = |words: &[u64]| words.iter().copied().reduce(join).unwrap_or(0);
    keys.extend(words.windows(shortest).map(gram));
    positions.clear();
    positions.extend(0..keys.len() as u32);
    for n in shortest..=*lengths.end() {
        table.clear(keys.len());
        places.clear();
        repeats.clear();
        repeats.resize(keys.len(), false);
        let mut top = (0, 1);
        for (index, key) in keys.iter().enumerate() {
            let (place, first, count) = table.add(*key, index as u32);
            places.push(place);
            if count > 1 {
                repeats[index] = true;
                repeats[first as usize] = true;
                let (first, count) = (positions[first as usize] as usize, count as usize);
                if count > top.1 || (count == top.1 && first < top.0) {
                    top = (first, count);
                }
            }
        }
        each(n, &mut Grams { n, top, positions, repeats, places, table })?;
        // the next candidates: two neighbours that both repeat
        let mut kept = 0;
        for index in 1..positions.len() {
            let (left, right) = (positions[index - 1], positions[index]);
            let behind = left as usize + n;
            if repeats[index - 1] && repeats[index] && right == left + 1 && behind < words.len() {
                keys[kept] = join(keys[index - 1], words[behind]);
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
    use crate::view::words::naive;

    /// The definitions, with lists of words as keys.
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
        let mut met = HashSet::new();
        let (mut chars, mut at) = (0, 0);
        while at + n <= words.len() {
            let gram = &words[at..at + n];
            if met.insert(gram) {
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
        fn one_sweep_equals_a_table_per_length(
            text in "(a |b |b c |a b |a b a b |dd |中文 ){0,40}",
            first in 1..5_usize,
        ) {
            let expected = naive::words(&text, WordUnit::Word);
            let mut words = Words::default();
            words.fill(&text, WordUnit::Word);
            let mut buffers = GramBuffers::default();
            let mut sizes = Vec::new();
            let mut table = Table::default();
            let _ = for_each(words.hashes(), first..=8, &mut table, &mut buffers, |n, grams| {
                assert_eq!(grams.top_chars(&words), naive_top(&expected, n), "top {n} of {text:?}");
                let duplicates = grams.duplicate_chars(&words);
                assert_eq!(duplicates, naive_duplicates(&expected, n), "duplicate {n} of {text:?}");
                sizes.push(n);
                Flow::Continue(())
            });
            prop_assert_eq!(sizes, (first..=8).collect::<Vec<_>>());
        }
    }
}
