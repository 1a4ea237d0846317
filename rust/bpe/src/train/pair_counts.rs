//! Counting pairs of neighbouring tokens over a whole corpus.

use lslm_runtime::{Result, Task};

use crate::TokenId;

/// With at most this many tokens, a square of counters is smaller than a table.
const SQUARE: usize = 512;
/// How many additions wait for memory together.
const BATCH: usize = 64;
/// How many entries are looked at between two looks at the task.
const STRIDE: usize = 1 << 16;

pub(super) fn key(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

pub(super) fn unkey(key: u64) -> (TokenId, TokenId) {
    ((key >> 32) as TokenId, key as TokenId)
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    count: u64,
    /// How many positions the count comes from; zero: the entry is empty.
    positions: u32,
}

/// Pairs with their counts.
pub(super) struct PairTable {
    /// By hash; or, if `side` is given, by left times side plus right.
    entries: Vec<Entry>,
    side: Option<usize>,
    used: usize,
    waiting: Vec<(u64, u64)>,
}

impl PairTable {
    /// A table for pairs of `tokens` tokens, of which `expected` different ones may come.
    pub(super) fn new(tokens: usize, expected: usize) -> Self {
        let side = (tokens <= SQUARE).then_some(tokens);
        let size = side.map_or((expected * 2).next_power_of_two().max(1024), |side| side * side);
        Self {
            entries: vec![Entry::default(); size],
            side,
            used: 0,
            waiting: Vec::with_capacity(BATCH),
        }
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        let mixed = u128::from(key ^ 0x9E37_79B9_7F4A_7C15) * 0xD1B5_4A32_D192_ED03;
        ((mixed >> 64) as u64 ^ mixed as u64) as usize & (self.entries.len() - 1)
    }

    /// Adds `count` at one position to a pair; in effect after [`Self::settle`].
    #[inline(always)]
    pub(super) fn add(&mut self, left: TokenId, right: TokenId, count: u64) {
        if let Some(side) = self.side {
            let entry = &mut self.entries[left as usize * side + right as usize];
            entry.key = key(left, right);
            entry.count += count;
            entry.positions += 1;
            return;
        }
        self.waiting.push((key(left, right), count));
        if self.waiting.len() == BATCH {
            self.settle();
        }
    }

    /// Carries out what is waiting.
    pub(super) fn settle(&mut self) {
        if (self.used + BATCH) * 3 > self.entries.len() * 2 && self.side.is_none() {
            self.grow();
        }
        let waiting = std::mem::take(&mut self.waiting);
        // all the loads are under way before the first is needed
        let mut homes = [0; BATCH];
        let mut touched = 0;
        for (home, &(key, _)) in homes.iter_mut().zip(&waiting) {
            *home = self.home(key);
            touched ^= self.entries[*home].positions;
        }
        std::hint::black_box(touched);
        for (&home, &(key, count)) in homes.iter().zip(&waiting) {
            let at = self.find(key, home);
            let entry = &mut self.entries[at];
            self.used += usize::from(entry.positions == 0);
            entry.key = key;
            entry.count += count;
            entry.positions += 1;
        }
        self.waiting = waiting;
        self.waiting.clear();
    }

    /// Where `key` is, or where it belongs.
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
        let larger = vec![Entry::default(); self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, larger) {
            if entry.positions > 0 {
                let at = self.find(entry.key, self.home(entry.key));
                self.entries[at] = entry;
            }
        }
    }

    /// The count of a pair and from how many positions it comes.
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

    /// How many different pairs there are.
    pub(super) fn len(&self) -> usize {
        match self.side {
            Some(_) => self.entries.iter().filter(|entry| entry.positions > 0).count(),
            None => self.used,
        }
    }

    /// Calls `f` with every pair and its count.
    pub(super) fn for_each(&self, task: &Task, mut f: impl FnMut(u64, u64)) -> Result<()> {
        for entries in self.entries.chunks(STRIDE) {
            task.check()?;
            for entry in entries.iter().filter(|entry| entry.positions > 0) {
                f(entry.key, entry.count);
            }
        }
        Ok(())
    }
}
