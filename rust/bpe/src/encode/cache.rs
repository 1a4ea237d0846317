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

/// The ids that fit into an entry; with a short key they fill 32 bytes.
pub(crate) const SHORT_IDS: usize = 4;
/// Ids that are copied together from a list, whatever their number: as many as a short piece has
/// bytes, and one more for whole vectors.
pub(crate) const MAX_SHORT_IDS: usize = PieceKey::MAX_LEN + 1;

/// The bytes of a cache line of common processors.
const CACHE_LINE: usize = 64;
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
    short: Table<PieceKey>,
    long: Table<LongKey>,
    /// The ids of pieces that have more than [`SHORT_IDS`], and [`MAX_SHORT_IDS`] zeros.
    list: Vec<TokenId>,
}

/// A piece as a key of the cache; the default one is no piece's.
pub(crate) trait Key: Copy + Default + PartialEq {
    /// The limit of the key's table in lines.
    const MAX_LINES: usize;
    /// The bytes of the piece, padded.
    type Bytes: AsRef<[u8]>;

    fn hash(self) -> u64;
    fn bytes(self) -> Self::Bytes;
    fn len(self) -> usize;
    fn is_part(self) -> bool;
    fn table(cache: &PieceCache) -> &Table<Self>;
    fn table_mut(cache: &mut PieceCache) -> &mut Table<Self>;
}

/// Implements [`Key`] by the methods of the same names.
macro_rules! key {
    ($key:ty, $table:ident, $bytes:ty, $max_lines:expr) => {
        impl Key for $key {
            const MAX_LINES: usize = $max_lines;
            type Bytes = $bytes;

            #[inline(always)]
            fn hash(self) -> u64 {
                self.hash()
            }

            #[inline(always)]
            fn bytes(self) -> Self::Bytes {
                self.bytes()
            }

            #[inline(always)]
            fn len(self) -> usize {
                self.len()
            }

            #[inline(always)]
            fn is_part(self) -> bool {
                self.is_part()
            }

            #[inline(always)]
            fn table(cache: &PieceCache) -> &Table<Self> {
                &cache.$table
            }

            #[inline(always)]
            fn table_mut(cache: &mut PieceCache) -> &mut Table<Self> {
                &mut cache.$table
            }
        }
    };
}

key!(PieceKey, short, [u8; 16], MAX_SHORT_LINES);
key!(LongKey, long, [u8; 32], MAX_LONG_LINES);

/// The ids of one piece; the default one is empty.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Entry<K> {
    key: K,
    ids: Ids,
}

const _: () = assert!(size_of::<Entry<PieceKey>>() == 32 && size_of::<Entry<LongKey>>() == 64);

impl<K: Key> Entry<K> {
    fn is_empty(&self) -> bool {
        self.key == K::default()
    }
}

/// A table of lines of two entries, in two of which a key may be.
#[derive(Debug)]
pub(crate) struct Table<K> {
    /// A power of two of them, one more so that each has one after it, and one that stays empty.
    lines: Pages<Line<K>>,
    count: usize,
    /// The number of entries that took the place of another.
    n_evicted: usize,
}

/// Two entries: one cache line, or two adjacent ones, which are fetched together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line<K>([Entry<K>; 2]);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { lines: Pages::default(), count: 0, n_evicted: 0 }
    }
}

/// Where an entry is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl<K: Key> Table<K> {
    /// The lines besides a power of two.
    const SPARE: usize = WAYS;

    fn n_lines(&self) -> usize {
        self.lines.len() - Self::SPARE
    }

    /// Returns the index of the line that, with the next one, may hold a key.
    #[inline(always)]
    fn line_of(&self, key: K) -> usize {
        key.hash() as usize & (self.n_lines() - 1)
    }

    fn entry(&mut self, slot: Slot) -> &mut Entry<K> {
        &mut self.lines[slot.0 as usize / 2].0[slot.0 as usize % 2]
    }

    /// Returns the slot of `key`, or else the slot that is to have it.
    fn slot_of(&mut self, key: K) -> (Slot, bool) {
        let line = self.line_of(key);
        let entries = self.lines[line..line + WAYS].iter().flat_map(|line| &line.0);
        for (slot, entry) in (2 * line..).zip(entries) {
            if entry.key == key {
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

    /// Grows so that `count` more keys find room, up to a limit.
    fn make_room(&mut self, count: usize) {
        while self.count + count > self.n_lines() && self.n_lines() < K::MAX_LINES {
            let larger = Self::empty(self.n_lines() * 4);
            let smaller = std::mem::replace(self, larger);
            let entries = smaller.lines.iter().flat_map(|line| &line.0);
            for &entry in entries.filter(|entry| !entry.is_empty()) {
                let (slot, _) = self.slot_of(entry.key);
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
    pub(crate) fn prefetch<K: Key>(&self, key: K) -> u32 {
        let table = K::table(self);
        let line = table.line_of(key);
        let [one, other] = &table.lines[line].0;
        prefetch(one);
        if size_of_val(other) == CACHE_LINE {
            prefetch(other);
        }
        line as u32
    }

    /// Returns a line in which [`Self::probe`] finds the default key, without ids.
    pub(crate) fn line_of_none<K: Key>(&self) -> u32 {
        K::table(self).lines.len() as u32 - 1
    }

    /// Returns the ids of `key` if they are in its `line`, else none, and whether they are.
    #[inline(always)]
    pub(crate) fn probe<K: Key>(&self, line: u32, key: K) -> (Ids, bool) {
        let [one, other] = &K::table(self).lines[line as usize].0;
        let (is_one, is_other) = (one.key == key, other.key == key);
        // To choose the entry first and read its ids then was 4 % slower: one read after another.
        let mask = |is: bool| u32::from(is).wrapping_neg();
        let (of_one, of_other) = (mask(is_one), mask(is_other));
        let ids = |i: usize| one.ids.0[i] & of_one | other.ids.0[i] & of_other;
        (Ids([ids(0), ids(1), ids(2), ids(3)]), is_one | is_other)
    }

    /// Grows so that `count` pieces more find room, up to a limit.
    pub(crate) fn make_room<K: Key>(&mut self, count: usize) {
        K::table_mut(self).make_room(count);
    }

    /// Returns the ids of a piece; for a new one, the placeholder that from now on stands for them,
    /// and the slot in which it does.
    #[inline]
    pub(crate) fn reserve<K: Key>(&mut self, key: K, number: usize) -> (Ids, Option<Slot>) {
        let table = K::table_mut(self);
        let (slot, is_found) = table.slot_of(key);
        let entry = table.entry(slot);
        if is_found {
            return (entry.ids, None);
        }
        *entry = Entry { key, ids: Ids::pending(number) };
        (entry.ids, Some(slot))
    }

    /// Replaces the placeholder of a piece by its ids and returns them.
    pub(crate) fn fill<K: Key>(&mut self, key: K, slot: Slot, found: &[TokenId]) -> Ids {
        let ids = Ids::inline(found).unwrap_or_else(|| {
            let first = self.list.len().saturating_sub(MAX_SHORT_IDS);
            self.list.truncate(first);
            self.list.extend_from_slice(found);
            self.list.resize(first + found.len() + MAX_SHORT_IDS, 0);
            Ids::listed(first, found.len(), false)
        });
        let entry = K::table_mut(self).entry(slot);
        if entry.key == key {
            entry.ids = ids;
        }
        ids
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

    fn insert<K: Key>(cache: &mut PieceCache, key: K, found: &[TokenId]) {
        cache.make_room::<K>(1);
        let (ids, slot) = cache.reserve(key, 5);
        assert_eq!(ids.number(), Some(5));
        assert_eq!(cache.reserve(key, 6), (ids, None));
        cache.fill(key, slot.unwrap(), found);
    }

    fn find<K: Key>(cache: &PieceCache, key: K) -> Option<Vec<TokenId>> {
        let line = cache.prefetch(key);
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

    fn short(i: u32) -> PieceKey {
        PieceKey::new(&i.to_le_bytes())
    }

    fn long(i: u32) -> LongKey {
        LongKey::read(&[&i.to_le_bytes()[..], &[b'x'; 16]].concat(), 0, 20)
    }

    /// Inserts twice as many keys as there are entries.
    fn check_eviction<K: Key>(key: impl Fn(u32) -> K) {
        let mut cache = new();
        let n_entries = K::MAX_LINES * 2;
        let count = n_entries as u32 * 2;
        for i in 0..count {
            insert(&mut cache, key(i), &[i & 0xFFFF, 7][..=(i % 2) as usize]);
        }
        assert_eq!(K::table(&cache).n_lines(), K::MAX_LINES);
        assert_eq!(find(&cache, key(count - 1)), Some(vec![(count - 1) & 0xFFFF, 7]));
        let kept = (0..count).filter(|&i| find(&cache, key(i)).is_some()).count();
        assert!(kept > n_entries / 2 && kept <= n_entries + 2, "{kept}");
        cache.clear();
        assert!(find(&cache, key(count - 1)).is_none());
    }

    #[test]
    fn a_full_table_evicts_and_keeps_its_size() {
        check_eviction(short);
        check_eviction(long);
    }

    #[test]
    fn pieces_of_many_ids_are_listed_until_the_cache_is_full() {
        let mut cache = new();
        let ids = |i: u32| (i..i + 15).collect::<Vec<_>>();
        let count = MAX_LISTED_IDS as u32 / 15 + 10;
        for i in 0..count {
            insert(&mut cache, short(i), &ids(i));
        }
        assert!(cache.is_full());
        assert_eq!(find(&cache, short(5)), Some(ids(5)));
        assert_eq!(find(&cache, short(count - 1)), Some(ids(count - 1)));
        cache.clear();
        assert_eq!(find(&cache, short(5)), None);
        insert(&mut cache, long(5), &[5; 31]);
        assert_eq!(find(&cache, long(5)), Some(vec![5; 31]));
    }

    #[test]
    fn a_placeholder_that_was_replaced_is_not_filled() {
        let mut cache = new();
        let keys: Vec<_> = (0..1_000_000).map(short).collect();
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
}
