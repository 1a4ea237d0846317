//! The ids of pieces seen before.
//!
//! Most pieces of a text have been seen before, and most are a few bytes and one to four ids.
//!
//! ```text
//! probe(key):    one cache line, chosen by hash(key), holds 2 entries: the ids of the one whose key
//!                equals `key`, chosen by masks, not by branches
//! reserve(key):  what the probe did not find: look into the next line too; if it is there, its ids
//!                else a free entry of the two lines, or one of the first in turn, becomes `key`'s
//! fill(key):     the reserved entry gets its ids, unless another key has taken it since
//! ```
//!
//! Keys are the pieces themselves, so a hit is always right. Memory is bounded, and no choice of
//! pieces makes a lookup slow. Pieces of 16 to 31 bytes have a second table of the same kind; longer
//! ones are not cached.

use lslm_runtime::TokenId;

use crate::pages::Pages;
use crate::prefetch::prefetch;
use crate::vocab::piece_key::{LongKey, PieceKey};

/// The ids that fit into an entry of the short table; with the key they fill 32 bytes.
pub(crate) const SHORT_IDS: usize = 4;
/// The ids that fit into an entry of the long table; with the key they fill 64 bytes.
const LONG_IDS: usize = 8;
/// Ids that are copied together from a list, whatever their number: as many as a short piece has
/// bytes, and one more for whole vectors.
pub(crate) const MAX_SHORT_IDS: usize = PieceKey::MAX_LEN + 1;

/// The lines among which a key is looked up: its own and the one after it.
const WAYS: usize = 2;
/// The lines that each table begins with, 128 KB of the short one, so that a cache used for one
/// small text costs little to clear.
const MIN_LINES: usize = 1 << 11;
/// The limit of the short table in lines, 8 MB. Tens of megabytes of one language have some
/// hundred thousand distinct pieces.
const MAX_SHORT_LINES: usize = 1 << 17;
/// The limit of the long table in lines, 4 MB.
const MAX_LONG_LINES: usize = 1 << 15;
/// The number of listed ids from which the cache is cleared, 4 MB: those of a hundred thousand pieces
/// or more. 2^18 were too few for a mix of languages with few tokens (55 → 65 MB/s; docs/log.md).
const MAX_LISTED_IDS: usize = 1 << 20;

/// The ids of one piece.
///
/// ```text
/// 1 to 4 ids:  number (8 bits) ‖ id (24 bits),  id,  id,  id
/// more:        LISTED,  index of the first in a list,  number,  which list
/// no ids yet:  PENDING, the number of a new piece
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(16))]
pub(crate) struct Ids(pub(crate) [TokenId; SHORT_IDS]);

impl Ids {
    const LISTED: u32 = 0xFF << 24;
    const PENDING: u32 = 0xFE << 24;

    /// Returns up to four ids; `None` for more.
    #[inline]
    pub(crate) fn inline(found: &[TokenId]) -> Option<Self> {
        let mut ids = [0; SHORT_IDS];
        ids.get_mut(..found.len())?.copy_from_slice(found);
        ids[0] |= (found.len() as u32) << 24;
        Some(Self(ids))
    }

    /// Returns the ids `first..first + count` of the cache's list, or of the `chunk`'s.
    pub(crate) fn listed(first: usize, count: usize, in_chunk: bool) -> Self {
        Self([Self::LISTED, first as u32, count as u32, u32::from(in_chunk)])
    }

    /// Returns the placeholder of the new piece with the number `number`.
    pub(crate) fn pending(number: usize) -> Self {
        Self([Self::PENDING, number as u32, 0, 0])
    }

    /// Returns the number of the new piece that these ids are the placeholder of.
    #[inline]
    pub(crate) fn number(self) -> Option<usize> {
        (self.0[0] == Self::PENDING).then_some(self.0[1] as usize)
    }

    /// Returns the number of ids if they are not listed; at most four are.
    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        (self.0[0] >> 24) as usize
    }
}

/// What earlier pieces became: a cache of the ids of pieces of at most [`LongKey::MAX_LEN`] bytes.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    short: Table<Short>,
    long: Table<Long>,
    /// The ids of short pieces that have more than [`SHORT_IDS`], and [`MAX_SHORT_IDS`] zeros.
    list: Vec<TokenId>,
}

/// The ids of a piece of at most [`PieceKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Short {
    key: PieceKey,
    ids: Ids,
}

/// The ids of a piece of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Long {
    key: LongKey,
    /// The ids, and in the high byte of the first their number.
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
        self.key == LongKey::default()
    }

    #[inline(always)]
    fn hash(key: LongKey) -> u64 {
        key.hash()
    }
}

/// A table of lines of two entries, in two of which a key may be.
#[derive(Debug)]
struct Table<E> {
    /// A power of two of them and one more, so that each has one after it.
    lines: Pages<Line<E>>,
    count: usize,
    /// The number of entries that took the place of another.
    n_evicted: usize,
}

/// Two entries: one cache line, or two adjacent ones, which are fetched together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line<E>([E; 2]);

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { lines: Pages::default(), count: 0, n_evicted: 0 }
    }
}

/// Where an entry is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl<E: Entry> Table<E> {
    /// The lines besides a power of two.
    const SPARE: usize = WAYS - 1;

    fn n_lines(&self) -> usize {
        self.lines.len() - Self::SPARE
    }

    /// Returns the index of the line that, with the next one, may hold a key.
    #[inline(always)]
    fn line_of(&self, key: E::Key) -> usize {
        E::hash(key) as usize & (self.n_lines() - 1)
    }

    #[inline(always)]
    fn entry(&mut self, slot: Slot) -> &mut E {
        &mut self.lines[slot.0 as usize / 2].0[slot.0 as usize % 2]
    }

    /// Returns the slot of `key`, or else the slot that is to have it.
    fn slot_of(&mut self, key: E::Key) -> (Slot, bool) {
        let line = self.line_of(key);
        let entries = self.lines[line..line + WAYS].iter().flat_map(|line| &line.0);
        for (slot, entry) in (2 * line..).zip(entries) {
            if entry.key() == key {
                return (Slot(slot as u32), true);
            }
            // Entries are taken in order and never emptied again.
            if entry.is_empty() {
                self.count += 1;
                return (Slot(slot as u32), false);
            }
        }
        self.n_evicted += 1;
        (Slot((2 * line + self.n_evicted % 2) as u32), false)
    }

    /// Grows so that `count` more keys find room, up to `max_lines`.
    fn make_room(&mut self, count: usize, max_lines: usize) {
        while self.count + count > self.n_lines() && self.n_lines() < max_lines {
            let larger = Self::empty(self.n_lines() * 4);
            let smaller = std::mem::replace(self, larger);
            let entries = smaller.lines.iter().flat_map(|line| &line.0);
            for &entry in entries.filter(|entry| !entry.is_empty()) {
                let (slot, _) = self.slot_of(entry.key());
                *self.entry(slot) = entry;
            }
        }
    }

    fn empty(n_lines: usize) -> Self {
        Self { lines: Pages::new(n_lines + Self::SPARE, Line::default()), ..Self::default() }
    }

    /// Removes all entries, and most of the memory.
    fn clear(&mut self) {
        *self = Self::empty(MIN_LINES);
    }
}

impl PieceCache {
    /// Whether it is time to clear, since many pieces of more than four ids have come.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_LISTED_IDS
    }

    /// Removes all pieces. Must be called once before the first use.
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.long.clear();
        self.list.clear();
    }

    /// Returns the listed ids, and zeros after them.
    pub(crate) fn list(&self) -> &[TokenId] {
        &self.list
    }

    /// Returns the line of `key` for [`Self::probe`], and prefetches it. Valid until
    /// [`Self::make_room`].
    #[inline(always)]
    pub(crate) fn prefetch(&self, key: PieceKey) -> u32 {
        let line = self.short.line_of(key);
        prefetch(&self.short.lines[line]);
        line as u32
    }

    /// Returns the ids of `key` if they are in its `line`, else none, and whether they are.
    #[inline(always)]
    pub(crate) fn probe(&self, line: u32, key: PieceKey) -> (Ids, bool) {
        let [one, other] = &self.short.lines[line as usize].0;
        let (is_one, is_other) = (one.key == key, other.key == key);
        let mask = |is: bool| u32::from(is).wrapping_neg();
        let (of_one, of_other) = (mask(is_one), mask(is_other));
        let ids = |i: usize| one.ids.0[i] & of_one | other.ids.0[i] & of_other;
        (Ids([ids(0), ids(1), ids(2), ids(3)]), is_one | is_other)
    }

    /// Grows so that `n_short` pieces more find room, up to a limit.
    pub(crate) fn make_room(&mut self, n_short: usize) {
        self.short.make_room(n_short, MAX_SHORT_LINES);
    }

    /// Returns the ids of a piece; for a new one, the placeholder that from now on stands for them,
    /// and the slot in which it does.
    #[inline]
    pub(crate) fn reserve(&mut self, key: PieceKey, number: usize) -> (Ids, Option<Slot>) {
        let (slot, is_found) = self.short.slot_of(key);
        let entry = self.short.entry(slot);
        if is_found {
            return (entry.ids, None);
        }
        *entry = Short { key, ids: Ids::pending(number) };
        (entry.ids, Some(slot))
    }

    /// Replaces the placeholder of a piece by its ids and returns them.
    pub(crate) fn fill(&mut self, key: PieceKey, slot: Slot, found: &[TokenId]) -> Ids {
        let ids = Ids::inline(found).unwrap_or_else(|| {
            let first = self.list.len().saturating_sub(MAX_SHORT_IDS);
            self.list.truncate(first);
            self.list.extend_from_slice(found);
            self.list.resize(first + found.len() + MAX_SHORT_IDS, 0);
            Ids::listed(first, found.len(), false)
        });
        let entry = self.short.entry(slot);
        if entry.key == key {
            entry.ids = ids;
        }
        ids
    }

    /// Returns the line of a long piece for [`Self::find_long`], and prefetches it.
    #[inline]
    pub(crate) fn prefetch_long(&self, key: LongKey) -> u32 {
        let line = self.long.line_of(key);
        prefetch(&self.long.lines[line].0[0]);
        prefetch(&self.long.lines[line].0[1]);
        line as u32
    }

    /// Returns the ids of a long piece.
    #[inline]
    pub(crate) fn find_long(&self, key: LongKey) -> Option<([TokenId; LONG_IDS], usize)> {
        let line = self.long.line_of(key);
        let mut entries = self.long.lines[line..line + WAYS].iter().flat_map(|line| &line.0);
        let entry = entries.find(|entry| entry.key == key)?;
        let mut ids = entry.ids;
        let count = (ids[0] >> 24) as usize;
        ids[0] &= 0xFF_FFFF;
        Some((ids, count))
    }

    /// Inserts the ids of the long piece with `key`, unless they are more than [`LONG_IDS`].
    pub(crate) fn insert_long(&mut self, key: LongKey, found: &[TokenId]) {
        let mut ids = [0; LONG_IDS];
        let Some(room) = ids.get_mut(..found.len()) else { return };
        room.copy_from_slice(found);
        ids[0] |= (found.len() as u32) << 24;
        self.long.make_room(1, MAX_LONG_LINES);
        let (slot, _) = self.long.slot_of(key);
        *self.long.entry(slot) = Long { key, ids };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> PieceCache {
        let mut cache = PieceCache::default();
        cache.clear();
        cache
    }

    fn insert(cache: &mut PieceCache, key: PieceKey, found: &[TokenId]) {
        cache.make_room(1);
        let (ids, slot) = cache.reserve(key, 5);
        assert_eq!(ids.number(), Some(5));
        assert_eq!(cache.reserve(key, 6), (ids, None));
        cache.fill(key, slot.unwrap(), found);
    }

    fn find(cache: &PieceCache, key: PieceKey) -> Option<Vec<TokenId>> {
        let line = cache.short.line_of(key) as u32;
        let (ids, is_found) = (line..line + WAYS as u32)
            .map(|line| cache.probe(line, key))
            .find(|(_, is_found)| *is_found)?;
        assert!(is_found && ids.number().is_none());
        let [first, start, count, _] = ids.0;
        if ids.count() > SHORT_IDS {
            assert!(cache.list().len() >= (start + count) as usize + MAX_SHORT_IDS);
            return Some(cache.list()[start as usize..][..count as usize].to_vec());
        }
        let mut ids = [ids.0[..1].to_vec(), ids.0[1..].to_vec()].concat();
        ids[0] = first & 0xFF_FFFF;
        ids.truncate((first >> 24) as usize);
        Some(ids)
    }

    #[test]
    fn a_full_table_evicts_and_keeps_its_size() {
        let mut cache = new();
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let n_entries = MAX_SHORT_LINES as u32 * 2;
        let count = n_entries * 2;
        for i in 0..count {
            insert(&mut cache, piece(i), &[i & 0xFFFF, 7][..=(i % 2) as usize]);
        }
        assert_eq!(cache.short.n_lines(), MAX_SHORT_LINES);
        assert_eq!(find(&cache, piece(count - 1)), Some(vec![0xFFFF, 7]));
        let kept = (0..count).filter(|&i| find(&cache, piece(i)).is_some()).count();
        assert!(kept > n_entries as usize / 2 && kept <= n_entries as usize + 2, "{kept}");
        cache.clear();
        assert!(find(&cache, piece(count - 1)).is_none());
    }

    #[test]
    fn pieces_of_many_ids_are_listed_until_the_cache_is_full() {
        let mut cache = new();
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let ids = |i: u32| (i..i + 15).collect::<Vec<_>>();
        let count = MAX_LISTED_IDS as u32 / 15 + 10;
        for i in 0..count {
            insert(&mut cache, piece(i), &ids(i));
        }
        assert!(cache.is_full());
        assert_eq!(find(&cache, piece(5)), Some(ids(5)));
        assert_eq!(find(&cache, piece(count - 1)), Some(ids(count - 1)));
        cache.clear();
        assert_eq!(find(&cache, piece(5)), None);
    }

    #[test]
    fn a_placeholder_that_was_replaced_is_not_filled() {
        let mut cache = new();
        let keys: Vec<_> = (0..1_000_000_u32).map(|i| PieceKey::new(&i.to_le_bytes())).collect();
        let slots: Vec<_> = keys.iter().map(|&key| cache.reserve(key, 1).1.unwrap()).collect();
        for (i, (&key, &slot)) in (0..).zip(keys.iter().zip(&slots)) {
            cache.fill(key, slot, &[i]);
        }
        let found = (0..).zip(&keys).filter(|(i, key)| {
            let found = find(&cache, **key);
            assert!(found.is_none() || found == Some(vec![*i]));
            found.is_some()
        });
        assert!((1..10_000).contains(&found.count()));
    }

    #[test]
    fn long_pieces_of_up_to_eight_ids_are_inserted() {
        let mut cache = new();
        let keys: Vec<_> = (0..100_000_u32)
            .map(|i| LongKey::read(&[&i.to_le_bytes()[..], &[b'x'; 16]].concat(), 0, 20))
            .collect();
        for (i, &key) in keys.iter().enumerate() {
            cache.insert_long(key, &[i as u32; 9][..i % 10]);
        }
        assert_eq!(cache.long.n_lines(), MAX_LONG_LINES);
        let last = keys.len() - 4;
        let (ids, count) = cache.find_long(keys[last]).unwrap();
        assert_eq!(count, last % 10);
        assert!(ids[..count].iter().all(|&id| id as usize == last));
        assert!(cache.find_long(keys[9]).is_none());
    }
}
