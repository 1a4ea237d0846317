//! Words and how often each occurs.
//!
//! A word of up to 15 bytes is its own key, so most are compared in two instructions and nothing
//! is allocated for them; longer ones lie in an arena and are found by a 64-bit hash and their
//! bytes. The table is cut into parts by the first bits of the hash: parts of several tables are
//! added up independently of each other, and only one part at a time is copied when it grows.

use foldhash::fast::FixedState;
use lslm_runtime::{Error, Result};
use rayon::prelude::*;
use std::hash::BuildHasher;

const PART_BITS: u32 = 6;
const PARTS: usize = 1 << PART_BITS;
/// The longest word that is its own key.
const SHORT: usize = 15;
/// In the last byte of a key: the word lies in the arena.
const LONG: u64 = 1 << 63;
const OFFSET: u64 = (1 << 56) - 1;
const HASHER: FixedState = FixedState::with_seed(0x776f_7264);

/// A short word: its bytes, padded with zeros, and its length in the last byte.
/// A long one: its hash, and its place in the arena with [`LONG`] set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    low: u64,
    high: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    /// Zero: the entry is empty.
    count: u64,
}

const EMPTY: Entry = Entry { key: Key { low: 0, high: 0 }, count: 0 };

impl Key {
    /// The key of a word of 1 to 15 bytes.
    #[inline(always)]
    fn short(word: &[u8]) -> Self {
        let length = word.len();
        let tag = (length as u64) << 56;
        if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let rest = u64::from_le_bytes(*last).checked_shr(128 - 8 * length as u32).unwrap_or(0);
            return Self { low: u64::from_le_bytes(*first), high: rest | tag };
        }
        // the two halves may overlap: the same bytes then meet in the same place
        let low = if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (length - 4))
        } else {
            let byte = |at: usize| u64::from(word[at]) << (8 * at);
            byte(0) | byte(length / 2) | byte(length - 1)
        };
        Self { low, high: tag }
    }

    #[inline(always)]
    fn is_long(self) -> bool {
        self.high & LONG != 0
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        if self.is_long() {
            return self.low;
        }
        let product = u128::from(self.low ^ 0x9E37_79B9_7F4A_7C15)
            * u128::from(self.high ^ 0xD1B5_4A32_D192_ED03);
        (product >> 64) as u64 ^ product as u64
    }
}

#[inline(always)]
fn part_of(hash: u64) -> usize {
    (hash >> (u64::BITS - PART_BITS)) as usize
}

/// One part of a table.
#[derive(Clone, Default)]
struct Part {
    /// A power of two of them, at most three quarters in use; or none.
    entries: Vec<Entry>,
    used: usize,
    /// Long words: the length in four bytes, then the bytes.
    arena: Vec<u8>,
}

impl Part {
    /// Where the search for `hash` begins; bits that [`part_of`] does not use.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (hash >> 8) as usize & (self.entries.len() - 1)
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
                *entry = Entry { key, count };
                self.used += 1;
                if self.used * 4 > self.entries.len() * 3 {
                    self.grow();
                }
                return count;
            }
            at = (at + 1) & mask;
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
                *entry = Entry { key, count };
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

    fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
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
    fn add_all(&mut self, other: &Self) {
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
        self.entries.capacity() * size_of::<Entry>() + self.arena.capacity()
    }
}

fn in_arena(arena: &[u8], key: Key) -> &[u8] {
    let rest = arena.get((key.high & OFFSET) as usize..).unwrap_or_default();
    match rest.split_first_chunk() {
        Some((length, rest)) => &rest[..u32::from_le_bytes(*length) as usize],
        None => &[],
    }
}

/// Distinct words, each with the number of its occurrences.
#[derive(Clone)]
pub struct WordCounts {
    parts: Vec<Part>,
}

impl Default for WordCounts {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS] }
    }
}

impl std::fmt::Debug for WordCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        self.for_each(|word, count| {
            map.entry(&String::from_utf8_lossy(word), &count);
        });
        map.finish()
    }
}

impl WordCounts {
    /// From words with counts; a word that comes twice has the sum of both.
    ///
    /// Fails with [`Error::Invalid`] when such a sum passes 2^64.
    pub fn from_words<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Result<Self> {
        let mut counts = Self::default();
        for (word, count) in words {
            if counts.add(word.as_ref(), count) == u64::MAX {
                return Err(too_many());
            }
        }
        Ok(counts)
    }

    /// Counts `word` `count` times more, and returns how often that makes; it stops at `u64::MAX`.
    ///
    /// A word longer than 4 GB is cut there.
    #[inline(always)]
    pub(super) fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.is_empty() || count == 0 {
            return 0;
        }
        if word.len() > SHORT {
            let word = &word[..word.len().min(u32::MAX as usize)];
            let hash = HASHER.hash_one(word);
            return self.parts[part_of(hash)].add_long(word, hash, count);
        }
        let key = Key::short(word);
        let hash = key.hash();
        self.parts[part_of(hash)].add_short(key, hash, count)
    }

    /// The number of distinct words.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.used).sum()
    }

    /// Whether there is no word at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.parts.iter().map(Part::memory).sum()
    }

    /// Calls `f` with each word and its count; in an order without meaning, but always the same.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for part in &self.parts {
            part.for_each(&mut f);
        }
    }

    /// The sum of several counts, made with the threads of the current pool.
    pub(super) fn sum(mut tables: Vec<Self>) -> Self {
        if tables.len() == 1 {
            return tables.swap_remove(0);
        }
        let mut by_part: Vec<Vec<Part>> = (0..PARTS).map(|_| Vec::new()).collect();
        for table in tables {
            for (parts, part) in by_part.iter_mut().zip(table.parts) {
                parts.push(part);
            }
        }
        let parts = by_part
            .into_par_iter()
            .map(|mut parts| {
                parts.sort_by_key(|part| std::cmp::Reverse(part.used));
                let mut parts = parts.into_iter();
                let mut sum = parts.next().unwrap_or_default();
                for part in parts {
                    sum.add_all(&part);
                }
                sum
            })
            .collect();
        Self { parts }
    }

    /// No sum of counts, however the words are cut into pairs, may pass 64 bits.
    pub(super) fn check_sum(&self) -> Result<()> {
        let mut bytes = 0u128;
        self.for_each(|word, count| bytes += word.len() as u128 * u128::from(count));
        u64::try_from(bytes).map(drop).map_err(|_| too_many())
    }
}

fn too_many() -> Error {
    Error::invalid("the words have more than 2^64 bytes in all; divide the counts")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn sorted(counts: &WordCounts) -> Vec<(Vec<u8>, u64)> {
        let mut list = Vec::new();
        counts.for_each(|word, count| list.push((word.to_vec(), count)));
        list.sort();
        list
    }

    proptest! {
        #[test]
        fn counts_as_a_map_does(
            words in proptest::collection::vec(
                (proptest::collection::vec(0..3u8, 0..40), 0..9u64), 0..300),
            cut in 0..300usize,
        ) {
            let mut map: HashMap<&[u8], u64> = HashMap::new();
            for (word, count) in &words {
                if !word.is_empty() && *count > 0 {
                    *map.entry(word).or_default() += count;
                }
            }
            let mut expected: Vec<_> = map.into_iter().map(|(w, c)| (w.to_vec(), c)).collect();
            expected.sort();
            let whole = WordCounts::from_words(words.clone()).unwrap();
            prop_assert_eq!(sorted(&whole), expected.clone());
            prop_assert_eq!(whole.len(), expected.len());
            let (one, two) = words.split_at(cut.min(words.len()));
            let halves = [one, two].map(|half| WordCounts::from_words(half.to_vec()).unwrap());
            prop_assert_eq!(sorted(&WordCounts::sum(halves.into())), expected);
        }
    }

    #[test]
    fn short_keys_are_exact() {
        let text = b"0123456789abcdef";
        for length in 1..=SHORT {
            let key = Key::short(&text[..length]);
            let bytes = [key.low.to_le_bytes(), key.high.to_le_bytes()].concat();
            assert_eq!(&bytes[..length], &text[..length]);
            assert!(bytes[length..SHORT].iter().all(|&byte| byte == 0));
            assert_eq!(usize::from(bytes[SHORT]), length);
        }
    }
}
