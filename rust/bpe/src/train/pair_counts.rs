//! [`PairCounts`]: adjacent pairs with their counts and numbers of positions.
//!
//! ```text
//! up to 512 tokens:  square[left * tokens + right] += count      twice as fast as hashing
//! more:              table[key(left, right)] += count            hashbrown (benches/rust/tables.rs)
//! ```

use hashbrown::HashTable;
use lslm_runtime::{Result, Task, TokenId};

use crate::vocab::hash;

/// Most tokens for which the counts are a square array: 512² entries of 24 bytes are 6 MiB.
const MAX_SQUARE: usize = 512;
/// Entries between two checks of the task, about 100 µs of work.
const CHECK_STRIDE: usize = 1 << 16;

/// Returns the pair as one number, ordered by the left id, then the right one.
pub(super) fn key(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Returns the pair of a [`key`].
pub(super) fn unkey(key: u64) -> (TokenId, TokenId) {
    ((key >> 32) as TokenId, key as TokenId)
}

#[derive(Clone, Copy, Default)]
struct PairEntry {
    key: u64,
    count: u64,
    /// The number of positions of the pair; zero for a pair of the square that does not occur.
    positions: u32,
}

/// Pairs with their counts and numbers of positions.
pub(super) struct PairCounts {
    /// By `left * side + right`; empty if `side` is zero.
    square: Vec<PairEntry>,
    side: usize,
    /// By [`key`], if `side` is zero.
    table: HashTable<PairEntry>,
}

#[inline(always)]
fn hash_of(key: u64) -> u64 {
    hash::fold(key, 0)
}

impl PairCounts {
    /// Returns an empty table for pairs of `tokens` tokens, with room for `expected` distinct
    /// pairs.
    pub(super) fn new(tokens: usize, expected: usize) -> Self {
        if tokens <= MAX_SQUARE {
            let square = vec![PairEntry::default(); tokens * tokens];
            Self { square, side: tokens, table: HashTable::new() }
        } else {
            Self { square: Vec::new(), side: 0, table: HashTable::with_capacity(expected) }
        }
    }

    /// Adds one position with `count` to a pair.
    #[inline(always)]
    pub(super) fn add(&mut self, left: TokenId, right: TokenId, count: u64) {
        let key = key(left, right);
        let entry = if self.side > 0 {
            &mut self.square[left as usize * self.side + right as usize]
        } else {
            let is_pair = |entry: &PairEntry| entry.key == key;
            self.table
                .entry(hash_of(key), is_pair, |entry| hash_of(entry.key))
                .or_insert_with(PairEntry::default)
                .into_mut()
        };
        entry.key = key;
        entry.count += count;
        entry.positions += 1;
    }

    /// Returns the count of a pair and its number of positions; zeros for an unknown pair.
    pub(super) fn get(&self, key: u64) -> (u64, u32) {
        let entry = if self.side > 0 {
            let (left, right) = unkey(key);
            self.square.get(left as usize * self.side + right as usize)
        } else {
            self.table.find(hash_of(key), |entry| entry.key == key)
        };
        entry.map_or((0, 0), |entry| (entry.count, entry.positions))
    }

    fn entries(&self) -> impl Iterator<Item = &PairEntry> {
        self.square.iter().chain(&self.table).filter(|entry| entry.positions > 0)
    }

    /// Returns the number of distinct pairs.
    pub(super) fn len(&self) -> usize {
        if self.side > 0 { self.entries().count() } else { self.table.len() }
    }

    /// Calls `f` with the [`key`] and count of every pair.
    pub(super) fn for_each(&self, task: &Task, mut f: impl FnMut(u64, u64)) -> Result<()> {
        for (n_seen, entry) in self.entries().enumerate() {
            if n_seen.is_multiple_of(CHECK_STRIDE) {
                task.check()?;
            }
            f(entry.key, entry.count);
        }
        Ok(())
    }
}
