//! The rank of each pair of symbols.
//!
//! Most questions are about pairs that do not merge, and whether one does is nothing a processor
//! could guess. So an answer takes one access to memory and no branch: a pair is one of four
//! numbers that lie next to each other, and has its rank in itself.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::encode::model::{NONE, Symbol};
use crate::prefetch::prefetch;
use crate::vocab::hash;

/// Symbols and ranks have 21 bits. This one is no symbol, and merges with none.
pub(crate) const NO_SYMBOL: Symbol = (1 << 21) - 1;

/// The pairs with the same home.
type Bucket = [u64; 4];

/// No pair, since it would be of [`NO_SYMBOL`].
const EMPTY: u64 = u64::MAX >> 1;
/// In the first number of a bucket: there was no room for all.
const MORE: u64 = 1 << 63;

/// The ranks of pairs: where a pair is among the merges.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    /// Each number is a pair, the left symbol in its high bits, then the right one, then the rank.
    buckets: Vec<Bucket>,
    /// the pairs that their bucket had no room for
    more: HashMap<u64, u32, FixedState>,
}

/// A question on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pair: u64,
    home: usize,
}

impl Pairs {
    /// Room for `count` pairs, and more.
    pub(crate) fn with_capacity(count: usize) -> Self {
        // less than half full: one bucket in thirty or less has no room for all
        let size = (count / 2).next_power_of_two();
        Self { buckets: vec![[EMPTY; 4]; size], more: HashMap::default() }
    }

    #[inline(always)]
    fn home(&self, pair: u64) -> usize {
        (hash::fold(pair, 0) >> 32) as usize & (self.buckets.len() - 1)
    }

    /// Gives `left`, `right` the rank `rank`; a later rank replaces an earlier one, as in the
    /// reference.
    pub(crate) fn insert(&mut self, left: Symbol, right: Symbol, rank: u32) {
        let pair = u64::from(left) << 21 | u64::from(right);
        let home = self.home(pair);
        let bucket = &mut self.buckets[home];
        let free = bucket.iter_mut().find(|other| {
            let other = **other & !MORE;
            other == EMPTY || other >> 21 == pair
        });
        if let Some(number) = free {
            *number = *number & MORE | pair << 21 | u64::from(rank);
        } else {
            bucket[0] |= MORE;
            self.more.insert(pair, rank);
        }
    }

    /// The rank of `left`, `right`; [`NONE`] when they do not merge.
    #[inline(always)]
    pub(crate) fn get(&self, left: Symbol, right: Symbol) -> u32 {
        self.rank(self.ask(left, right))
    }

    /// Begins to look for the rank of `left`, `right`: what [`Pairs::rank`] reads is being fetched
    /// from now on.
    #[inline(always)]
    pub(crate) fn ask(&self, left: Symbol, right: Symbol) -> Asked {
        let pair = u64::from(left) << 21 | u64::from(right);
        // all that are at an end of a word ask in one place, which is near
        let end = left == NO_SYMBOL || right == NO_SYMBOL;
        let home = if end { 0 } else { self.home(pair) };
        prefetch(&self.buckets[home]);
        Asked { pair, home }
    }

    /// The rank of the pair that was asked for; [`NONE`] when it does not merge.
    #[inline(always)]
    pub(crate) fn rank(&self, asked: Asked) -> u32 {
        let bucket = &self.buckets[asked.home];
        let mut rank = NONE;
        for number in bucket {
            let differs = (number ^ asked.pair << 21) & !MORE;
            rank = if differs >> 21 == 0 { differs as u32 } else { rank };
        }
        if rank == NONE && bucket[0] & MORE != 0 {
            return self.get_more(asked.pair);
        }
        rank
    }

    #[cold]
    #[inline(never)]
    fn get_more(&self, pair: u64) -> u32 {
        self.more.get(&pair).copied().unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_its_last_rank() {
        for count in [1_u32, 7, 1000, 40_000] {
            let mut pairs = Pairs::with_capacity(count as usize);
            let pair = |i: u32| (i % 311 * 6000, i / 311);
            for round in 0..2 {
                for i in 0..count {
                    pairs.insert(pair(i).0, pair(i).1, i + round);
                }
            }
            for i in 0..count {
                let (left, right) = pair(i);
                assert_eq!(pairs.get(left, right), i + 1);
                assert_eq!(pairs.get(left + 1, right), NONE);
                assert_eq!(pairs.get(left, NO_SYMBOL), NONE);
                assert_eq!(pairs.get(NO_SYMBOL, right), NONE);
            }
        }
    }

    #[test]
    fn pairs_without_room_are_found() {
        let mut pairs = Pairs::with_capacity(1);
        for i in 0..100 {
            pairs.insert(i, 2 * i, i);
        }
        assert_eq!(pairs.more.len(), 96);
        assert!((0..100).all(|i| pairs.get(i, 2 * i) == i && pairs.get(i, 2 * i + 1) == NONE));
    }
}
