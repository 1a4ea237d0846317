//! [`WordTable`]: a hash table of words with their counts.
//!
//! ```text
//! part  = parts[top 6 bits of the hash]
//! entry = linear probing from entries[other bits of the hash]: 16 bytes of key, 8 of count
//! key   = up to 15 bytes: the bytes and their number          compared as one u128
//!         more:           hash, offset in the part's arena    and the bytes compared there
//! ```
//!
//! The parts of several tables are added up independently on several threads, written to a file one
//! by one, and grow one at a time.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::prefetch::prefetch;
use crate::vocab::piece_key::PieceKey;

/// The bits of the hash that select a part.
const PART_BITS: u32 = 6;
/// Parts of a table: several for each of up to a few dozen threads.
pub(super) const PARTS: usize = 1 << PART_BITS;
/// The bit of a key's last byte, the length of a short word, that marks a word in the arena. The
/// key of such a word is its hash, and its offset in the arena with this bit.
const LONG: u64 = 1 << 63;
/// The bits of a long word's key that are its offset in the arena.
const OFFSET: u64 = (1 << 56) - 1;
/// The hash of long words. Any fixed seed does; a fixed one gives the same order of words each
/// time.
const HASHER: FixedState = FixedState::with_seed(0x776f_7264);

/// A word and its count.
#[derive(Clone, Copy)]
pub(super) struct WordEntry {
    pub(super) key: PieceKey,
    /// Zero for an empty entry.
    pub(super) count: u64,
}

/// The empty entry.
pub(super) const EMPTY: WordEntry = WordEntry { key: PieceKey::EMPTY, count: 0 };

/// Returns whether the word of `key` is in the arena.
#[inline(always)]
fn is_long(key: PieceKey) -> bool {
    key.high & LONG != 0
}

/// Returns the hash of the word of `key`.
#[inline(always)]
fn hash_of(key: PieceKey) -> u64 {
    if is_long(key) { key.low } else { key.hash() }
}

/// Returns the hash of a word of more than [`PieceKey::MAX_LEN`] bytes.
#[inline(always)]
pub(super) fn hash_long(word: &[u8]) -> u64 {
    HASHER.hash_one(word)
}

/// Returns the index of the part for `hash`.
#[inline(always)]
fn part_of(hash: u64) -> usize {
    (hash >> (u64::BITS - PART_BITS)) as usize
}

/// The words of a table whose hashes have the same top bits.
#[derive(Clone, Default)]
pub(super) struct TablePart {
    /// A power of two of them, at most three quarters in use; or none.
    entries: Vec<WordEntry>,
    /// The number of words.
    pub(super) used: usize,
    /// The long words: the length in four bytes, then the bytes.
    arena: Vec<u8>,
}

impl TablePart {
    /// Returns the index where probing for `hash` begins, by bits that [`part_of`] does not use.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (hash >> 8) as usize & self.entries.len().wrapping_sub(1)
    }

    #[inline(always)]
    fn add_short(&mut self, key: PieceKey, hash: u64, count: u64) -> u64 {
        if self.entries.is_empty() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(hash);
        loop {
            let entry = &mut self.entries[at];
            if entry.key == key {
                entry.count = entry.count.saturating_add(count);
                return entry.count;
            }
            if entry.count == 0 {
                *entry = WordEntry { key, count };
                self.used += 1;
                if self.used * 4 > self.entries.len() * 3 {
                    self.grow();
                }
                return count;
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds `count` to a word of this part, and returns the sum.
    pub(super) fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.len() > PieceKey::MAX_LEN {
            self.add_long(word, hash_long(word), count)
        } else {
            let key = PieceKey::new(word);
            self.add_short(key, key.hash(), count)
        }
    }

    fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        if self.entries.is_empty() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(hash);
        loop {
            let entry = &mut self.entries[at];
            if entry.key.low == hash
                && is_long(entry.key)
                && in_arena(&self.arena, entry.key) == word
            {
                entry.count = entry.count.saturating_add(count);
                return entry.count;
            }
            if entry.count == 0 {
                let key = PieceKey { low: hash, high: LONG | self.arena.len() as u64 };
                *entry = WordEntry { key, count };
                self.arena.extend_from_slice(&(word.len() as u32).to_le_bytes());
                self.arena.extend_from_slice(word);
                self.used += 1;
                if self.used * 4 > self.entries.len() * 3 {
                    self.grow();
                }
                return count;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let larger = vec![EMPTY; (self.entries.len() * 2).max(16)];
        let old = std::mem::replace(&mut self.entries, larger);
        let mask = self.entries.len() - 1;
        for entry in old {
            if entry.count > 0 {
                let mut at = self.home(hash_of(entry.key));
                while self.entries[at].count > 0 {
                    at = (at + 1) & mask;
                }
                self.entries[at] = entry;
            }
        }
    }

    /// Calls `f` with each word and its count.
    pub(super) fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for entry in self.entries.iter().filter(|entry| entry.count > 0) {
            if is_long(entry.key) {
                f(in_arena(&self.arena, entry.key), entry.count);
            } else {
                f(&entry.key.bytes()[..entry.key.len()], entry.count);
            }
        }
    }

    /// Adds all words of `other`.
    pub(super) fn add_all(&mut self, other: &Self) {
        for entry in other.entries.iter().filter(|entry| entry.count > 0) {
            let hash = hash_of(entry.key);
            if is_long(entry.key) {
                self.add_long(in_arena(&other.arena, entry.key), hash, entry.count);
            } else {
                self.add_short(entry.key, hash, entry.count);
            }
        }
    }

    fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<WordEntry>() + self.arena.capacity()
    }
}

/// Returns the bytes of a long word.
fn in_arena(arena: &[u8], key: PieceKey) -> &[u8] {
    let rest = arena.get((key.high & OFFSET) as usize..).unwrap_or_default();
    match rest.split_first_chunk() {
        Some((length, rest)) => &rest[..u32::from_le_bytes(*length) as usize],
        None => &[],
    }
}

/// Words with their counts.
#[derive(Clone)]
pub(super) struct WordTable {
    /// By the top bits of the hash.
    pub(super) parts: Vec<TablePart>,
}

impl std::fmt::Debug for WordTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordTable").field("words", &self.len()).finish_non_exhaustive()
    }
}

impl Default for WordTable {
    fn default() -> Self {
        Self { parts: vec![TablePart::default(); PARTS] }
    }
}

impl WordTable {
    /// Adds `count` to `word`, and returns the sum, which saturates at `u64::MAX`.
    ///
    /// A word longer than 4 GB is truncated to that.
    pub(super) fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.is_empty() || count == 0 {
            return 0;
        }
        if word.len() > PieceKey::MAX_LEN {
            return self.add_long(word, hash_long(word), count);
        }
        let key = PieceKey::new(word);
        self.add_short(&WordEntry { key, count }, key.hash())
    }

    /// Adds `count` to a word of more than [`PieceKey::MAX_LEN`] bytes with hash `hash`, and
    /// returns the sum.
    #[inline(always)]
    pub(super) fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        let word = &word[..word.len().min(u32::MAX as usize)];
        self.parts[part_of(hash)].add_long(word, hash, count)
    }

    /// Adds the count of a short word with hash `hash`, and returns the sum; 0 for an empty entry.
    #[inline(always)]
    pub(super) fn add_short(&mut self, entry: &WordEntry, hash: u64) -> u64 {
        if entry.count == 0 {
            return 0;
        }
        self.parts[part_of(hash)].add_short(entry.key, hash, entry.count)
    }

    /// Calls `f` with each word and its count.
    pub(super) fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for part in &self.parts {
            part.for_each(&mut f);
        }
    }

    /// Prefetches the entry where probing for `hash` begins.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        let part = &self.parts[part_of(hash)];
        if let Some(entry) = part.entries.get(part.home(hash)) {
            prefetch(entry);
        }
    }

    /// Returns the bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.parts.iter().map(TablePart::memory).sum()
    }

    /// Returns the number of words.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.used).sum()
    }
}
