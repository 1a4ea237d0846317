//! The ids of pieces seen before.
//!
//! Most pieces of a text have been seen before, and most are a few bytes and one to four ids.
//!
//! ```text
//! find(key):      two adjacent cache lines, chosen by hash(key), hold 4 entries: 4-way associative
//!                 return the entry whose key equals `key`, if any
//! insert(entry):  into a free one of the 4, else in place of one chosen by other bits of the hash
//! ```
//!
//! Keys are the pieces themselves, so a hit is always right. Memory is bounded, pieces that recur
//! stay, and no choice of pieces makes a lookup slow. Pieces of 16 to 31 bytes have a second table
//! of the same kind; longer ones are not cached.

use lslm_runtime::TokenId;

use crate::encode::char3::has_char3s;
use crate::prefetch::prefetch;
use crate::vocab::piece_key::{LongKey, PieceKey};

/// The ids that fit into an entry of the short table; with the key they fill 32 bytes.
const SHORT_IDS: usize = 4;
/// The ids that fit into an entry of the long table; with key and count they fill 64 bytes.
const LONG_IDS: usize = 7;

/// The entries among which a key is looked up.
const WAYS: usize = 4;
/// The entries that each table begins with, 128 KB of the short one, so that a cache used for one
/// small text costs little to clear.
const MIN_ENTRIES: usize = 1 << 12;
/// The limit of the short table in entries, 8 MB. Tens of megabytes of one language have some
/// hundred thousand distinct pieces.
const MAX_SHORT_ENTRIES: usize = 1 << 18;
/// The limit of the long table in entries, 4 MB.
const MAX_LONG_ENTRIES: usize = 1 << 16;
/// The limit of the list of ids in ids, 4 MB: those of a hundred thousand pieces or more. 2^18 were
/// too few for a mix of languages with few tokens (55 → 65 MB/s; docs/log.md).
const MAX_LISTED_IDS: usize = 1 << 20;

/// What earlier pieces became: a cache of the ids of pieces of at most [`LongKey::MAX_LEN`] bytes.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    short: Table<Short>,
    long: Table<Long>,
    /// The ids of short pieces that have more than [`SHORT_IDS`].
    ids: Vec<TokenId>,
}

/// The ids of a piece of at most [`PieceKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Short {
    key: PieceKey,
    /// The ids, and in the high byte of the first their number. When that is more than
    /// [`SHORT_IDS`], the second is the index where they begin in the cache's list of ids.
    ids: [TokenId; SHORT_IDS],
}

/// The ids of a piece of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Long {
    key: LongKey,
    count: u32,
    ids: [TokenId; LONG_IDS],
}

const _: () = assert!(size_of::<Short>() == 32 && size_of::<Long>() == 64);

/// An entry of a table; the default one is empty.
trait Entry: Copy + Default {
    type Key: Copy + PartialEq;
    fn key(&self) -> Self::Key;
    fn is_empty(&self) -> bool;
    fn hash(key: Self::Key) -> u64;
}

impl Entry for Short {
    type Key = PieceKey;

    #[inline(always)]
    fn key(&self) -> PieceKey {
        self.key
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.key == PieceKey::EMPTY
    }

    #[inline(always)]
    fn hash(key: PieceKey) -> u64 {
        key.hash()
    }
}

impl Entry for Long {
    type Key = LongKey;

    #[inline(always)]
    fn key(&self) -> LongKey {
        self.key
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline(always)]
    fn hash(key: LongKey) -> u64 {
        key.hash()
    }
}

/// A 4-way associative table.
#[derive(Debug)]
struct Table<E> {
    /// A power of two of them and one more, so that a line always has one after it.
    lines: Vec<Line<E>>,
    count: usize,
}

/// Two entries: one cache line, or two adjacent ones, which are fetched together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line<E>([E; 2]);

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { lines: Vec::new(), count: 0 }
    }
}

impl<E: Entry> Table<E> {
    /// Returns the index of the line that, with the next one, holds the four entries of a key.
    #[inline(always)]
    fn line_of(&self, key: E::Key) -> usize {
        E::hash(key) as usize & (self.lines.len() - 2)
    }

    /// Returns the entry with `key`, whose line is `line`.
    #[inline(always)]
    fn find(&self, line: usize, key: E::Key) -> Option<&E> {
        let [one, other] = &self.lines[line].0;
        if one.key() == key {
            return Some(one);
        }
        if other.key() == key {
            return Some(other);
        }
        // Entries are taken in order and never emptied again.
        if other.is_empty() {
            return None;
        }
        self.lines[line + 1].0.iter().find(|entry| entry.key() == key)
    }

    /// Inserts `entry` into the table, which grows to at most `max_entries`.
    fn insert(&mut self, entry: E, max_entries: usize) {
        if self.count >= self.lines.len() && self.lines.len() < max_entries / 2 {
            self.grow();
        }
        self.insert_in_place(entry);
    }

    /// Inserts `entry` in place of a free one, or of one chosen by its hash.
    fn insert_in_place(&mut self, entry: E) {
        let hash = E::hash(entry.key());
        let line = self.line_of(entry.key());
        let lines = &mut self.lines[line..line + 2];
        // A piece that is pending twice is inserted twice.
        let is_free = |slot: &E| slot.is_empty() || slot.key() == entry.key();
        let free = lines.iter_mut().flat_map(|line| &mut line.0).find(|slot| is_free(slot));
        if let Some(slot) = free {
            self.count += usize::from(slot.is_empty());
            *slot = entry;
        } else {
            // Bits that did not choose the line.
            let way = (hash >> 40) as usize % WAYS;
            lines[way / 2].0[way % 2] = entry;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![Line::default(); (self.lines.len() - 1) * 4 + 1];
        let lines = std::mem::replace(&mut self.lines, larger);
        self.count = 0;
        let entries = lines.into_iter().flat_map(|line| line.0);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            self.insert_in_place(entry);
        }
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.lines.resize(MIN_ENTRIES / 2 + 1, Line::default());
        self.count = 0;
    }
}

impl PieceCache {
    /// Whether pieces of more than four ids are no longer inserted, so that it is time to clear.
    pub(crate) fn is_full(&self) -> bool {
        self.ids.len() >= MAX_LISTED_IDS
    }

    /// Removes all pieces. Must be called once before the first use.
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.long.clear();
        self.ids.clear();
    }

    /// Writes the table lines of pieces of `text` to `lines` and prefetches them.
    ///
    /// The first piece begins at `start`, and each ends at one of `ends`. Stops when `lines` is full
    /// or at a piece that is not for the short table: one of more than [`PieceKey::MAX_LEN`] bytes,
    /// or, with `SPLIT`, one that [`has_char3s`]. Returns the number of pieces. Their lines are
    /// valid until the next insertion.
    #[inline(never)]
    pub(crate) fn prepare<const SPLIT: bool>(
        &self,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
        lines: &mut [u32],
    ) -> usize {
        let mut count = 0;
        for (&end, line) in ends.iter().zip(lines) {
            let len = end - start;
            if len > PieceKey::MAX_LEN || SPLIT && has_char3s(text, start, len) {
                break;
            }
            let at = self.short.line_of(PieceKey::read(text, start, len));
            prefetch(&self.short.lines[at]);
            *line = at as u32;
            count += 1;
            start = end;
        }
        count
    }

    /// Writes the ids of pieces into `block` from index `at` on, until one is not in the cache.
    ///
    /// The pieces and `lines` are those of [`PieceCache::prepare`]. Returns the number of pieces
    /// that were found and the index after their last id; up to four ids after that are
    /// overwritten.
    #[inline(never)]
    pub(crate) fn write(
        &self,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
        lines: &[u32],
        block: &mut [TokenId],
        mut at: usize,
    ) -> (usize, usize) {
        let mut found = 0;
        for (&end, &line) in ends.iter().zip(lines) {
            let key = PieceKey::read(text, start, end - start);
            let Some(entry) = self.short.find(line as usize, key) else { break };
            at += write(entry, &self.ids, block, at);
            found += 1;
            start = end;
        }
        (found, at)
    }

    /// [`PieceCache::write`] for one long piece; returns the number of its ids.
    #[inline]
    pub(crate) fn write_long(
        &self,
        key: LongKey,
        block: &mut [TokenId],
        at: usize,
    ) -> Option<usize> {
        let entry = self.long.find(self.long.line_of(key), key)?;
        block[at..at + LONG_IDS].copy_from_slice(&entry.ids);
        Some(entry.count as usize)
    }

    /// Inserts the ids of the piece with `key`, unless they are many and the list of ids is full.
    pub(crate) fn insert(&mut self, key: PieceKey, found: &[TokenId]) {
        let mut ids = [0; SHORT_IDS];
        if found.len() <= SHORT_IDS {
            ids[..found.len()].copy_from_slice(found);
        } else if self.ids.len() < MAX_LISTED_IDS {
            ids[1] = self.ids.len() as u32;
            self.ids.extend_from_slice(found);
        } else {
            return;
        }
        // Ids have 24 bits.
        ids[0] |= (found.len() as u32) << 24;
        self.short.insert(Short { key, ids }, MAX_SHORT_ENTRIES);
    }

    /// Inserts the ids of the long piece with `key`, unless they are more than [`LONG_IDS`].
    pub(crate) fn insert_long(&mut self, key: LongKey, found: &[TokenId]) {
        if found.len() <= LONG_IDS {
            let mut ids = [0; LONG_IDS];
            ids[..found.len()].copy_from_slice(found);
            self.long.insert(Long { key, count: found.len() as u32, ids }, MAX_LONG_ENTRIES);
        }
    }
}

/// Writes the ids of `entry` into `block` from index `at` on and returns their number.
#[inline(always)]
fn write(entry: &Short, listed: &[TokenId], block: &mut [TokenId], at: usize) -> usize {
    let mut ids = entry.ids;
    let count = (ids[0] >> 24) as usize;
    if count > SHORT_IDS {
        let first = ids[1] as usize;
        block[at..at + count].copy_from_slice(&listed[first..first + count]);
    } else {
        ids[0] &= 0xFF_FFFF;
        block[at..at + SHORT_IDS].copy_from_slice(&ids);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> PieceCache {
        let mut cache = PieceCache::default();
        cache.clear();
        cache
    }

    fn find(cache: &PieceCache, key: PieceKey) -> Option<Vec<TokenId>> {
        let text = [&key.bytes()[..key.len()], &[0; 16]].concat();
        let (mut lines, mut block) = ([0], [0; 32]);
        let ends = [key.len()];
        assert_eq!(cache.prepare::<false>(&text, 0, &ends, &mut lines), 1);
        let (found, count) = cache.write(&text, 0, &ends, &lines, &mut block, 0);
        (found == 1).then(|| block[..count].to_vec())
    }

    #[test]
    fn a_full_table_evicts_and_keeps_its_size() {
        let mut cache = new();
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let count = MAX_SHORT_ENTRIES as u32 * 2;
        for i in 0..count {
            cache.insert(piece(i), &[i & 0xFFFF, 7][..=(i % 2) as usize]);
        }
        assert_eq!(cache.short.lines.len(), MAX_SHORT_ENTRIES / 2 + 1);
        assert_eq!(find(&cache, piece(count - 1)), Some(vec![0xFFFF, 7]));
        let kept = (0..count).filter(|&i| find(&cache, piece(i)).is_some()).count();
        assert!(kept > MAX_SHORT_ENTRIES / 2 && kept <= MAX_SHORT_ENTRIES + 2, "{kept}");
        cache.clear();
        assert!(find(&cache, piece(count - 1)).is_none());
    }

    #[test]
    fn pieces_of_many_ids_are_inserted_until_the_list_is_full() {
        let mut cache = new();
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let ids = |i: u32| (i..i + 15).collect::<Vec<_>>();
        let count = MAX_LISTED_IDS as u32 / 15 + 10;
        for i in 0..count {
            cache.insert(piece(i), &ids(i));
        }
        assert!(cache.is_full() && cache.ids.len() < MAX_LISTED_IDS + 15);
        assert_eq!(find(&cache, piece(5)), Some(ids(5)));
        assert_eq!(find(&cache, piece(count - 1)), None);
        cache.clear();
        assert_eq!(find(&cache, piece(5)), None);
    }

    #[test]
    fn long_pieces_of_up_to_seven_ids_are_inserted() {
        let mut cache = new();
        let keys: Vec<_> = (0..100_000_u32)
            .map(|i| LongKey::read(&[&i.to_le_bytes()[..], &[b'x'; 16]].concat(), 0, 20))
            .collect();
        for (i, &key) in keys.iter().enumerate() {
            cache.insert_long(key, &[i as u32; 8][..i % 9]);
        }
        assert_eq!(cache.long.lines.len(), MAX_LONG_ENTRIES / 2 + 1);
        let last = keys.len() - 3;
        let mut block = [0; LONG_IDS];
        let count = cache.write_long(keys[last], &mut block, 0).unwrap();
        assert_eq!(count, last % 9);
        assert!(block[..count].iter().all(|&id| id as usize == last));
    }
}
