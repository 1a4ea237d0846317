//! The merge rank of each pair of symbols, in one cache line.
//!
//! Most lookups are of pairs that do not merge, and whether one does is unpredictable. So a lookup
//! is one memory access and no branch:
//!
//! ```text
//! bucket ← buckets[hash(left, right)]           four numbers, one 32-byte bucket
//! for each number in bucket:                    number = left ‖ right ‖ rank, 21 bits each
//!     if number's pair is (left, right): rank ← number's rank     (a conditional move)
//! if no rank and the bucket has overflowed: look into a hash map  (one bucket in thirty)
//! ```

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::prefetch::prefetch;
use crate::vocab::hash;
use crate::vocab::symbol::{NONE, Symbol};

/// A number of 21 bits that is not a symbol: what stands on either side of a piece.
pub(crate) const NO_SYMBOL: Symbol = (1 << 21) - 1;

/// The pairs with the same hash.
type Bucket = [u64; 4];

/// A free number of a bucket; its left symbol would be [`NO_SYMBOL`].
const EMPTY: u64 = u64::MAX >> 1;
/// The highest bit of a bucket's first number: the bucket has overflowed.
const OVERFLOWED: u64 = 1 << 63;

/// The rank of each pair that merges.
#[derive(Clone, Debug)]
pub(crate) struct PairRanks {
    /// Each number is the left symbol in the high bits, then the right one, then the rank.
    buckets: Vec<Bucket>,
    /// The ranks of the pairs that their bucket has no room for.
    overflow: HashMap<u64, u32, FixedState>,
}

/// A lookup whose memory is being fetched; [`PairRanks::finish`] returns its result.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookup {
    pair: u64,
    bucket: usize,
}

impl PairRanks {
    /// Returns an empty table that is sized for `count` pairs.
    pub(crate) fn with_capacity(count: usize) -> Self {
        // Less than half full: at most one bucket in thirty overflows.
        let size = (count / 2).next_power_of_two();
        Self { buckets: vec![[EMPTY; 4]; size], overflow: HashMap::default() }
    }

    #[inline(always)]
    fn bucket_of(&self, pair: u64) -> usize {
        (hash::fold(pair, 0) >> 32) as usize & (self.buckets.len() - 1)
    }

    /// Sets the rank of a pair; a later rank replaces an earlier one, as in Hugging Face's library.
    pub(crate) fn insert(&mut self, left: Symbol, right: Symbol, rank: u32) {
        let pair = u64::from(left) << 21 | u64::from(right);
        let index = self.bucket_of(pair);
        let bucket = &mut self.buckets[index];
        let free = bucket.iter_mut().find(|other| {
            let other = **other & !OVERFLOWED;
            other == EMPTY || other >> 21 == pair
        });
        if let Some(number) = free {
            *number = *number & OVERFLOWED | pair << 21 | u64::from(rank);
        } else {
            bucket[0] |= OVERFLOWED;
            self.overflow.insert(pair, rank);
        }
    }

    /// Returns the rank of a pair; [`NONE`] when it does not merge.
    #[inline(always)]
    pub(crate) fn get(&self, left: Symbol, right: Symbol) -> u32 {
        self.finish(self.start(left, right))
    }

    /// Starts a lookup: prefetches what [`PairRanks::finish`] reads.
    #[inline(always)]
    pub(crate) fn start(&self, left: Symbol, right: Symbol) -> Lookup {
        let pair = u64::from(left) << 21 | u64::from(right);
        // All pairs at either end of a piece share one bucket, which stays cached.
        let is_end = left == NO_SYMBOL || right == NO_SYMBOL;
        let bucket = if is_end { 0 } else { self.bucket_of(pair) };
        prefetch(&self.buckets[bucket]);
        Lookup { pair, bucket }
    }

    /// Returns the rank of the pair that was looked up; [`NONE`] when it does not merge.
    #[inline(always)]
    pub(crate) fn finish(&self, lookup: Lookup) -> u32 {
        let bucket = &self.buckets[lookup.bucket];
        let mut rank = NONE;
        for number in bucket {
            let differs = (number ^ lookup.pair << 21) & !OVERFLOWED;
            rank = if differs >> 21 == 0 { differs as u32 } else { rank };
        }
        if rank == NONE && bucket[0] & OVERFLOWED != 0 {
            return self.get_overflow(lookup.pair);
        }
        rank
    }

    #[cold]
    #[inline(never)]
    fn get_overflow(&self, pair: u64) -> u32 {
        self.overflow.get(&pair).copied().unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_last_rank_that_was_inserted() {
        for count in [1_u32, 7, 1000, 40_000] {
            let mut pairs = PairRanks::with_capacity(count as usize);
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
    fn pairs_of_an_overflowed_bucket_are_found() {
        let mut pairs = PairRanks::with_capacity(1);
        for i in 0..100 {
            pairs.insert(i, 2 * i, i);
        }
        assert_eq!(pairs.overflow.len(), 96);
        assert!((0..100).all(|i| pairs.get(i, 2 * i) == i && pairs.get(i, 2 * i + 1) == NONE));
    }

    #[test]
    fn pairs_are_found_among_collisions() {
        let mut pairs = PairRanks::with_capacity(1000);
        for i in 0..1000_u32 {
            pairs.insert(i * 7 % 1000, i * 13 % 1000, i);
        }
        for i in 0..1000_u32 {
            assert_eq!(pairs.get(i * 7 % 1000, i * 13 % 1000), i);
            assert_eq!(pairs.get(i, 1000 + i), NONE);
        }
    }
}
