//! [`WordTable`]: words with their counts, in hash tables by parts of the hash.
//!
//! ```text
//! part  = parts[6 bits of the hash]        not its low bits nor its top 7, which hashbrown uses
//! word of up to 15 bytes:   part.short[key] += count         the key is the word
//! longer word:              part.long[hash] += count         with its offset in the part's arena
//! ```
//!
//! The parts of several tables are added up independently on several threads, written to a file one
//! by one, and grow one at a time.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::prefetch::prefetch;
use crate::vocab::piece_key::PieceKey;

/// The lowest of the bits of the hash that select a part.
const PART_SHIFT: u32 = 40;
/// Parts of a table, a power of two: several for each of up to a few dozen threads.
pub(super) const PARTS: usize = 64;
/// The hash of long words. Any fixed seed does; a fixed one gives the same order of words each
/// time.
const HASHER: FixedState = FixedState::with_seed(0x776f_7264);

/// A word of up to [`PieceKey::MAX_LEN`] bytes and its count.
#[derive(Clone, Copy)]
pub(super) struct WordEntry {
    pub(super) key: PieceKey,
    pub(super) count: u64,
}

/// The entry of no word.
pub(super) const EMPTY: WordEntry = WordEntry { key: PieceKey::EMPTY, count: 0 };

/// A word of more than [`PieceKey::MAX_LEN`] bytes and its count.
#[derive(Clone, Copy)]
struct LongWord {
    hash: u64,
    /// Where the arena has its length in four bytes, then its bytes.
    offset: usize,
    count: u64,
}

/// Returns the hash of a word of more than [`PieceKey::MAX_LEN`] bytes.
#[inline(always)]
pub(super) fn hash_long(word: &[u8]) -> u64 {
    HASHER.hash_one(word)
}

/// Returns the index of the part for `hash`.
#[inline(always)]
fn part_of(hash: u64) -> usize {
    (hash >> PART_SHIFT) as usize % PARTS
}

/// The words of a table whose hashes have the same bits.
#[derive(Clone, Default)]
pub(super) struct TablePart {
    short: HashTable<WordEntry>,
    long: HashTable<LongWord>,
    /// The bytes of the long words.
    arena: Vec<u8>,
}

impl TablePart {
    #[inline(always)]
    fn add_short(&mut self, &WordEntry { key, count }: &WordEntry, hash: u64) -> u64 {
        // Most words are there already, and a lookup alone is faster than one that may make room.
        if let Some(entry) = self.short.find_mut(hash, |entry| entry.key == key) {
            entry.count = entry.count.saturating_add(count);
            return entry.count;
        }
        self.short.insert_unique(hash, WordEntry { key, count }, |entry| entry.key.hash());
        count
    }

    fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        let Self { long, arena, .. } = self;
        let is_word = |entry: &LongWord| entry.hash == hash && in_arena(arena, entry) == word;
        if let Some(entry) = long.find_mut(hash, is_word) {
            entry.count = entry.count.saturating_add(count);
            return entry.count;
        }
        long.insert_unique(hash, LongWord { hash, offset: arena.len(), count }, |entry| entry.hash);
        arena.extend_from_slice(&(word.len() as u32).to_le_bytes());
        arena.extend_from_slice(word);
        count
    }

    /// Adds `count` to a word of this part, and returns the sum.
    pub(super) fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.len() > PieceKey::MAX_LEN {
            return self.add_long(word, hash_long(word), count);
        }
        let key = PieceKey::new(word);
        self.add_short(&WordEntry { key, count }, key.hash())
    }

    /// Calls `f` with each word and its count.
    pub(super) fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for WordEntry { key, count } in &self.short {
            f(&key.bytes()[..key.len()], *count);
        }
        for entry in &self.long {
            f(in_arena(&self.arena, entry), entry.count);
        }
    }

    /// Adds all words of `other`.
    pub(super) fn add_all(&mut self, other: &Self) {
        for entry in &other.short {
            self.add_short(entry, entry.key.hash());
        }
        for entry in &other.long {
            self.add_long(in_arena(&other.arena, entry), entry.hash, entry.count);
        }
    }

    /// Returns the number of words.
    pub(super) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    fn memory(&self) -> usize {
        self.short.allocation_size() + self.long.allocation_size() + self.arena.capacity()
    }
}

/// Returns the bytes of a long word.
fn in_arena<'a>(arena: &'a [u8], word: &LongWord) -> &'a [u8] {
    let rest = arena.get(word.offset..).unwrap_or_default();
    match rest.split_first_chunk() {
        Some((length, rest)) => &rest[..u32::from_le_bytes(*length) as usize],
        None => &[],
    }
}

/// Words with their counts.
#[derive(Clone)]
pub(super) struct WordTable {
    /// By bits of the hash.
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

    /// Adds `count` to a word of more than [`PieceKey::MAX_LEN`] bytes with hash `hash`, and returns
    /// the sum.
    #[inline(always)]
    pub(super) fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        let word = &word[..word.len().min(u32::MAX as usize)];
        self.parts[part_of(hash)].add_long(word, hash, count)
    }

    /// Looks a short word up without adding it, so that the memory of many words is fetched at the same
    /// time.
    #[inline(always)]
    pub(super) fn prefetch_short(&self, entry: &WordEntry, hash: u64) {
        let part = &self.parts[part_of(hash)];
        if let Some(found) = part.short.find(hash, |other| other.key == entry.key) {
            prefetch(found);
        }
    }

    /// The same for the hash of a long word and its bytes.
    #[inline(always)]
    pub(super) fn prefetch_long(&self, hash: u64) {
        let part = &self.parts[part_of(hash)];
        if let Some(entry) = part.long.find(hash, |entry| entry.hash == hash)
            && let Some(byte) = part.arena.get(entry.offset)
        {
            prefetch(byte);
        }
    }

    /// Adds the count of a short word with hash `hash`, and returns the sum; 0 for [`EMPTY`].
    #[inline(always)]
    pub(super) fn add_short(&mut self, entry: &WordEntry, hash: u64) -> u64 {
        if entry.count == 0 {
            return 0;
        }
        self.parts[part_of(hash)].add_short(entry, hash)
    }

    /// Calls `f` with each word and its count.
    pub(super) fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for part in &self.parts {
            part.for_each(&mut f);
        }
    }

    /// Returns the bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.parts.iter().map(TablePart::memory).sum()
    }

    /// Returns the number of words.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(TablePart::len).sum()
    }
}
