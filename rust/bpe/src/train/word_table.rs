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

const PART_BITS: u32 = 6;
/// Parts of a table: 64, some for each thread.
pub(super) const PARTS: usize = 1 << PART_BITS;
/// Most bytes of a word that is its own key.
pub(super) const SHORT: usize = 15;
/// The bit of a key's last byte that marks a word in the arena.
const LONG: u64 = 1 << 63;
const OFFSET: u64 = (1 << 56) - 1;
const HASHER: FixedState = FixedState::with_seed(0x776f_7264);

/// A short word: its bytes, padded with zeros, and its length in the last byte. A long one: its
/// hash, and its offset in the arena with [`LONG`] set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    low: u64,
    high: u64,
}

/// A word and its count.
#[derive(Clone, Copy)]
pub(super) struct WordEntry {
    pub(super) key: Key,
    /// Zero for an empty entry.
    pub(super) count: u64,
}

/// The bits of the first n bytes.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        masks[length] = masks[length - 1] << 8 | 0xFF;
        length += 1;
    }
    masks
};

impl PartialEq for Key {
    /// Compares both halves at once: two branches are mispredicted more often than one.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.low ^ other.low) | (self.high ^ other.high) == 0
    }
}

/// The empty entry.
pub(super) const EMPTY: WordEntry = WordEntry { key: Key { low: 0, high: 0 }, count: 0 };

impl Key {
    /// Returns the key of a word of 1 to 15 bytes.
    #[inline(always)]
    pub(super) fn short(word: &[u8]) -> Self {
        let length = word.len();
        let tag = (length as u64) << 56;
        if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let rest = u64::from_le_bytes(*last).checked_shr(128 - 8 * length as u32).unwrap_or(0);
            return Self { low: u64::from_le_bytes(*first), high: rest | tag };
        }
        // The two halves may overlap; the same bytes then have the same bits.
        let low = if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (length - 4))
        } else {
            let byte = |at: usize| u64::from(word[at]) << (8 * at);
            byte(0) | byte(length / 2) | byte(length - 1)
        };
        Self { low, high: tag }
    }

    /// Returns the key of the first `length` bytes of a window of text, without branches.
    #[inline(always)]
    pub(super) fn window(window: [u8; 16], length: usize) -> Self {
        let bits = u128::from_le_bytes(window) & MASKS[length];
        Self { low: bits as u64, high: (bits >> 64) as u64 | (length as u64) << 56 }
    }

    #[inline(always)]
    fn is_long(self) -> bool {
        self.high & LONG != 0
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        if self.is_long() { self.low } else { self.hash_short() }
    }

    /// Returns the hash of a short word, or of the empty key.
    #[inline(always)]
    pub(super) fn hash_short(self) -> u64 {
        let product = u128::from(self.low ^ 0x9E37_79B9_7F4A_7C15)
            * u128::from(self.high ^ 0xD1B5_4A32_D192_ED03);
        (product >> 64) as u64 ^ product as u64
    }
}

/// Returns the hash of a word of more than [`SHORT`] bytes.
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
    fn add_short(&mut self, key: Key, hash: u64, count: u64) -> u64 {
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
        if word.len() > SHORT {
            self.add_long(word, hash_long(word), count)
        } else {
            let key = Key::short(word);
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
                && entry.key.is_long()
                && in_arena(&self.arena, entry.key) == word
            {
                entry.count = entry.count.saturating_add(count);
                return entry.count;
            }
            if entry.count == 0 {
                let key = Key { low: hash, high: LONG | self.arena.len() as u64 };
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
                let mut at = self.home(entry.key.hash());
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
            if entry.key.is_long() {
                f(in_arena(&self.arena, entry.key), entry.count);
            } else {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&entry.key.low.to_le_bytes());
                bytes[8..].copy_from_slice(&entry.key.high.to_le_bytes());
                f(&bytes[..usize::from(bytes[SHORT])], entry.count);
            }
        }
    }

    /// Adds all words of `other`.
    pub(super) fn add_all(&mut self, other: &Self) {
        for entry in other.entries.iter().filter(|entry| entry.count > 0) {
            let hash = entry.key.hash();
            if entry.key.is_long() {
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
fn in_arena(arena: &[u8], key: Key) -> &[u8] {
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
        if word.len() > SHORT {
            return self.add_long(word, hash_long(word), count);
        }
        let key = Key::short(word);
        self.add_short(&WordEntry { key, count }, key.hash_short())
    }

    /// Adds `count` to a word of more than [`SHORT`] bytes with hash `hash`, and returns the sum.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_have_the_bytes_and_the_length() {
        let text = b"0123456789abcdef";
        for length in 1..=SHORT {
            let key = Key::short(&text[..length]);
            assert!(key == Key::window(*text, length));
            let bytes = [key.low.to_le_bytes(), key.high.to_le_bytes()].concat();
            assert_eq!(&bytes[..length], &text[..length]);
            assert!(bytes[length..SHORT].iter().all(|&byte| byte == 0));
            assert_eq!(usize::from(bytes[SHORT]), length);
        }
    }
}
