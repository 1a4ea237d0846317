//! The merge rank of each pair of symbols.
//!
//! Most lookups are of pairs that do not merge. A table of our own with four pairs in half a cache
//! line was level with hashbrown's in the whole encoder and slower to build (docs/log.md).

use hashbrown::HashTable;

use crate::vocab::hash;
use crate::vocab::symbol::{NONE, Symbol};

/// A number of 21 bits that is not a symbol: what stands on either side of a piece.
pub(crate) const NO_SYMBOL: Symbol = (1 << 21) - 1;

/// The rank of each pair that merges.
#[derive(Clone, Debug)]
pub(crate) struct PairRanks {
    /// The left symbol in the high bits, then the right one, then the rank, 21 bits each.
    table: HashTable<u64>,
}

impl PairRanks {
    /// Returns an empty table that is sized for `count` pairs.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { table: HashTable::with_capacity(count) }
    }

    /// Sets the rank of a pair; a later rank replaces an earlier one, as in Hugging Face's library.
    pub(crate) fn insert(&mut self, left: Symbol, right: Symbol, rank: u32) {
        let pair = pair_of(left, right);
        let number = pair << 21 | u64::from(rank);
        let entry = self.table.entry(
            hash::fold(pair, 0),
            |other| other >> 21 == pair,
            |other| hash::fold(other >> 21, 0),
        );
        entry.insert(number);
    }

    /// Returns the rank of a pair; [`NONE`] when it does not merge.
    #[inline(always)]
    pub(crate) fn get(&self, left: Symbol, right: Symbol) -> u32 {
        if left == NO_SYMBOL || right == NO_SYMBOL {
            return NONE; // at either end of a piece, as many lookups are
        }
        let pair = pair_of(left, right);
        let found = self.table.find(hash::fold(pair, 0), |number| number >> 21 == pair);
        found.map_or(NONE, |number| (number & 0x1F_FFFF) as u32)
    }
}

#[inline(always)]
fn pair_of(left: Symbol, right: Symbol) -> u64 {
    u64::from(left) << 21 | u64::from(right)
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
