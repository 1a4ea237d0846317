//! [`PairCounts`]: a hash table of adjacent pairs with their counts.
//!
//! ```text
//! up to 512 tokens:  entries[left * tokens + right] += count         no hashing
//! more:              append (pair, count) to a queue; when it has 64:
//!                        load the home slots of all 64               the cache misses overlap
//!                        then find each pair by linear probing and add its count
//! ```

use lslm_runtime::{Result, Task, TokenId};

use crate::vocab::hash;

/// Most tokens for which the counts are a square array: 512² entries of 24 bytes are 6 MiB.
const MAX_SQUARE: usize = 512;
/// Additions whose loads overlap; more than the loads a core can have under way.
const QUEUE: usize = 64;
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
    /// The number of positions of the pair; zero for an empty entry.
    positions: u32,
}

/// Pairs with their counts and numbers of positions.
pub(super) struct PairCounts {
    /// By hash, a power of two of them, at most two thirds in use; or with `side` by
    /// `left * side + right`.
    entries: Vec<PairEntry>,
    side: Option<usize>,
    n_used: usize,
    /// Additions not yet in `entries`.
    queue: Vec<(u64, u64)>,
}

impl PairCounts {
    /// Returns an empty table for pairs of `tokens` tokens, with room for `expected` distinct
    /// pairs.
    pub(super) fn new(tokens: usize, expected: usize) -> Self {
        let side = (tokens <= MAX_SQUARE).then_some(tokens);
        let size = side.map_or((expected * 2).next_power_of_two().max(1024), |side| side * side);
        Self {
            entries: vec![PairEntry::default(); size],
            side,
            n_used: 0,
            queue: Vec::with_capacity(QUEUE),
        }
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        hash::fold(key, 0) as usize & (self.entries.len() - 1)
    }

    /// Adds one position with `count` to a pair; visible after [`Self::flush`].
    #[inline(always)]
    pub(super) fn add(&mut self, left: TokenId, right: TokenId, count: u64) {
        if let Some(side) = self.side {
            let entry = &mut self.entries[left as usize * side + right as usize];
            entry.key = key(left, right);
            entry.count += count;
            entry.positions += 1;
            return;
        }
        self.queue.push((key(left, right), count));
        if self.queue.len() == QUEUE {
            self.flush();
        }
    }

    /// Makes all additions visible.
    pub(super) fn flush(&mut self) {
        if (self.n_used + QUEUE) * 3 > self.entries.len() * 2 && self.side.is_none() {
            self.grow();
        }
        let queue = std::mem::take(&mut self.queue);
        // All loads start before the first is needed.
        let mut homes = [0; QUEUE];
        let mut touched = 0;
        for (home, &(key, _)) in homes.iter_mut().zip(&queue) {
            *home = self.home(key);
            touched ^= self.entries[*home].positions;
        }
        std::hint::black_box(touched);
        for (&home, &(key, count)) in homes.iter().zip(&queue) {
            let at = self.find(key, home);
            let entry = &mut self.entries[at];
            self.n_used += usize::from(entry.positions == 0);
            entry.key = key;
            entry.count += count;
            entry.positions += 1;
        }
        self.queue = queue;
        self.queue.clear();
    }

    /// Returns the index of `key`, or of the empty entry for it, from the slot `home` on.
    #[inline(always)]
    fn find(&self, key: u64, home: usize) -> usize {
        let mut at = home;
        loop {
            let entry = &self.entries[at];
            if entry.key == key || entry.positions == 0 {
                return at;
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let larger = vec![PairEntry::default(); self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, larger) {
            if entry.positions > 0 {
                let at = self.find(entry.key, self.home(entry.key));
                self.entries[at] = entry;
            }
        }
    }

    /// Returns the count of a pair and its number of positions; zeros for an unknown pair.
    pub(super) fn get(&self, key: u64) -> (u64, u32) {
        let at = match self.side {
            Some(side) => {
                let (left, right) = unkey(key);
                left as usize * side + right as usize
            }
            None => self.find(key, self.home(key)),
        };
        (self.entries[at].count, self.entries[at].positions)
    }

    /// Returns the number of distinct pairs.
    pub(super) fn len(&self) -> usize {
        match self.side {
            Some(_) => self.entries.iter().filter(|entry| entry.positions > 0).count(),
            None => self.n_used,
        }
    }

    /// Calls `f` with the [`key`] and count of every pair.
    pub(super) fn for_each(&self, task: &Task, mut f: impl FnMut(u64, u64)) -> Result<()> {
        for entries in self.entries.chunks(CHECK_STRIDE) {
            task.check()?;
            for entry in entries.iter().filter(|entry| entry.positions > 0) {
                f(entry.key, entry.count);
            }
        }
        Ok(())
    }
}
