//! What a piece became the last time it was seen.
//!
//! Most pieces of a text have been seen before, and most are a few bytes and become one to four
//! ids. Those are kept in one flat table of exact keys: no hash is ever trusted, so a hit is right.
//! A piece has four places in the table, next to each other; when all are taken, one of them is
//! given up. So memory is bounded, words that recur stay, and no choice of words makes it slow.
//! Pieces of 16 to 31 bytes have a table of the same kind.

use crate::TokenId;
use crate::encode::merge;
use crate::encode::{backtrack, encoder};
use crate::prefetch::prefetch;
use crate::vocab::piece_key::{LongKey, PieceKey};

/// The ids that have room in an entry of the first table.
const LANES: usize = 4;
/// The most ids of a piece in the table of long ones.
const LONG_LANES: usize = 7;

/// The places of a piece.
const WAYS: usize = 4;
const SMALLEST: usize = 1 << 12;
/// 8 MB: some hundred thousand words, what tens of megabytes of one language have
const LARGEST: usize = 1 << 18;
/// 4 MB
const MOST_LONG: usize = 1 << 16;
/// 4 MB: a hundred thousand words or more, which scripts of few tokens bring soon
const MOST_IDS: usize = 1 << 20;

/// The working memory of one worker: what is remembered between pieces, and scratch space.
///
/// It may be used with any tokenizer, one after the other; it forgets when the tokenizer changes.
#[derive(Debug, Default)]
pub struct Cache {
    owner: u64,
    short: Table<Short>,
    long: Table<Long>,
    /// the ids of entries that have no room for them
    ids: Vec<TokenId>,
    pub(crate) scratch: merge::Scratch,
    pub(crate) search: backtrack::Scratch,
    /// where ids are gathered
    pub(crate) block: Vec<TokenId>,
    /// the ids of the new words among them
    pub(crate) new: Vec<TokenId>,
}

/// The ids of a piece of at most [`PieceKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Short {
    /// the bytes of the piece and, in the highest byte, their number; zero when empty
    key: PieceKey,
    /// The ids, and in the high byte of the first the number of them. When that is more than
    /// [`LANES`], the second is where they begin in the cache's own list.
    ids: [TokenId; LANES],
}

/// The ids of a piece of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Long {
    key: LongKey,
    count: u32,
    ids: [TokenId; LONG_LANES],
}

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

#[derive(Debug)]
struct Table<E> {
    /// a power of two, and one more, so that the last has another behind it, too
    lines: Vec<Line<E>>,
    count: usize,
}

/// What the processor fetches at once, or twice that.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line<E>([E; 2]);

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { lines: Vec::new(), count: 0 }
    }
}

impl<E: Entry> Table<E> {
    /// The four places of a key are in this line and the next one.
    #[inline(always)]
    fn home(&self, key: E::Key) -> usize {
        E::hash(key) as usize & (self.lines.len() - 2)
    }

    #[inline(always)]
    fn find(&self, home: usize, key: E::Key) -> Option<&E> {
        let [one, other] = &self.lines[home].0;
        if one.key() == key {
            return Some(one);
        }
        if other.key() == key {
            return Some(other);
        }
        // places are taken in order, and never left empty again
        if other.is_empty() {
            return None;
        }
        self.lines[home + 1].0.iter().find(|entry| entry.key() == key)
    }

    /// Puts `entry` into the table, which has `most` entries at most.
    fn insert(&mut self, entry: E, most: usize) {
        if self.count >= self.lines.len() && self.lines.len() < most / 2 {
            self.grow();
        }
        self.place(entry);
    }

    fn place(&mut self, entry: E) {
        let hash = E::hash(entry.key());
        let home = self.home(entry.key());
        let ways = &mut self.lines[home..home + 2];
        // the same piece may have been new more than once
        let is_free = |place: &E| place.is_empty() || place.key() == entry.key();
        let free = ways.iter_mut().flat_map(|line| &mut line.0).find(|place| is_free(place));
        if let Some(place) = free {
            self.count += usize::from(place.is_empty());
            *place = entry;
        } else {
            // bits that did not choose the home
            let way = (hash >> 40) as usize % WAYS;
            ways[way / 2].0[way % 2] = entry;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![Line::default(); (self.lines.len() - 1) * 4 + 1];
        let lines = std::mem::replace(&mut self.lines, larger);
        self.count = 0;
        let entries = lines.into_iter().flat_map(|line| line.0);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            self.place(entry);
        }
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.lines.resize(SMALLEST / 2 + 1, Line::default());
        self.count = 0;
    }
}

impl Cache {
    /// An empty cache; it grows with use, to 17 MB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this the cache of the tokenizer with the number `owner`, before a text.
    pub(crate) fn claim(&mut self, owner: u64) {
        if self.owner != owner {
            self.owner = owner;
            self.search = backtrack::Scratch::default();
            self.block.resize(encoder::ROOM, 0);
            self.clear();
        } else if self.is_full() {
            self.clear();
        }
    }

    /// Whether words of many ids are remembered no more.
    pub(crate) fn is_full(&self) -> bool {
        self.ids.len() >= MOST_IDS
    }

    /// Forgets all words.
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.long.clear();
        self.ids.clear();
    }

    /// The first places of pieces of `text`, which are being fetched from now on.
    ///
    /// The first piece begins at `start`, each ends at one of `ends`. It goes on as long as `homes`
    /// has room and pieces belong into the first table: they have at most [`PieceKey::MAX_LEN`] bytes, and with
    /// `CUT` are not [`is_wide`]. Returns the number of those. Their places hold until something is
    /// inserted.
    #[inline(never)]
    pub(crate) fn prepare<const CUT: bool>(
        &self,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
        homes: &mut [u32],
    ) -> usize {
        let mut count = 0;
        for (&end, home) in ends.iter().zip(homes) {
            let length = end - start;
            if length > PieceKey::MAX_LEN || CUT && is_wide(text, start, length) {
                break;
            }
            let at = self.short.home(PieceKey::read(text, start, length));
            prefetch(&self.short.lines[at]);
            *home = at as u32;
            count += 1;
            start = end;
        }
        count
    }

    /// Writes the ids of pieces, as they were given to [`Cache::prepare`] with what it found, into
    /// the block from `at` on, until one is not known. Returns the number of those that were, and
    /// where in the block they end. What is written behind that is of no meaning.
    #[inline(never)]
    pub(crate) fn write(
        &mut self,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
        homes: &[u32],
        mut at: usize,
    ) -> (usize, usize) {
        let Self { short, ids, block, .. } = self;
        let mut known = 0;
        for (&end, &home) in ends.iter().zip(homes) {
            let Some(entry) = short.find(home as usize, PieceKey::read(text, start, end - start))
            else {
                break;
            };
            at += write(entry, ids, block, at);
            known += 1;
            start = end;
        }
        (known, at)
    }

    /// [`Cache::write`] for a single long piece.
    #[inline]
    pub(crate) fn write_long(&mut self, key: LongKey, at: usize) -> Option<usize> {
        let entry = self.long.find(self.long.home(key), key)?;
        self.block[at..at + LONG_LANES].copy_from_slice(&entry.ids);
        Some(entry.count as usize)
    }

    /// Remembers the ids of the piece with `key`.
    pub(crate) fn insert(&mut self, key: PieceKey, ids: &[TokenId]) {
        if let Some(entry) = self.entry(key, ids) {
            self.short.insert(entry, LARGEST);
        }
    }

    /// Remembers the ids of the long piece with `key`, if they are not too many.
    pub(crate) fn insert_long(&mut self, key: LongKey, found: &[TokenId]) {
        if found.len() <= LONG_LANES {
            let mut ids = [0; LONG_LANES];
            ids[..found.len()].copy_from_slice(found);
            self.long.insert(Long { key, count: found.len() as u32, ids }, MOST_LONG);
        }
    }

    /// The entry of a piece; none when it has many ids and the list of those is full.
    fn entry(&mut self, key: PieceKey, found: &[TokenId]) -> Option<Short> {
        let mut ids = [0; LANES];
        if found.len() <= LANES {
            ids[..found.len()].copy_from_slice(found);
        } else if self.ids.len() < MOST_IDS {
            ids[1] = self.ids.len() as u32;
            self.ids.extend_from_slice(found);
        } else {
            return None;
        }
        ids[0] |= (found.len() as u32) << 24;
        Some(Short { key, ids })
    }
}

#[inline(always)]
fn write(entry: &Short, all: &[TokenId], block: &mut [TokenId], at: usize) -> usize {
    let mut ids = entry.ids;
    let count = (ids[0] >> 24) as usize;
    if count > LANES {
        let first = ids[1] as usize;
        block[at..at + count].copy_from_slice(&all[first..first + count]);
    } else {
        ids[0] &= 0xFF_FFFF;
        block[at..at + LANES].copy_from_slice(&ids);
    }
    count
}

/// Whether a piece is one with characters of three bytes, often behind a blank, and more than one
/// character. Such pieces are cut before they are looked up.
#[inline(always)]
pub(crate) fn is_wide(text: &[u8], start: usize, length: usize) -> bool {
    let lead = |at: usize| text.get(at).map_or(0, |byte| byte & 0xF0) == 0xE0;
    // in this order, since no processor can guess which pieces are short
    (lead(start) | lead(start + 1)) && length > 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(cache: &mut Cache, key: PieceKey) -> Option<Vec<TokenId>> {
        let text = [&key.bytes()[..key.len()], &[0; 16]].concat();
        let mut homes = [0];
        let ends = [key.len()];
        assert_eq!(cache.prepare::<false>(&text, 0, &ends, &mut homes), 1);
        let (known, count) = cache.write(&text, 0, &ends, &homes, 0);
        (known == 1).then(|| cache.block[..count].to_vec())
    }

    #[test]
    fn a_full_cache_gives_up_old_pieces() {
        let mut cache = Cache::new();
        cache.claim(1);
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let count = LARGEST as u32 * 2;
        for i in 0..count {
            cache.insert(piece(i), &[i & 0xFFFF, 7][..=(i % 2) as usize]);
        }
        assert_eq!(cache.short.lines.len(), LARGEST / 2 + 1);
        assert_eq!(find(&mut cache, piece(count - 1)), Some(vec![0xFFFF, 7]));
        let kept = (0..count).filter(|&i| find(&mut cache, piece(i)).is_some()).count();
        assert!(kept > LARGEST / 2 && kept <= LARGEST + 2, "{kept}");
        cache.claim(2);
        assert!(find(&mut cache, piece(count - 1)).is_none());
    }

    #[test]
    fn pieces_of_many_ids_are_kept_until_their_list_is_full() {
        let mut cache = Cache::new();
        cache.claim(1);
        let piece = |i: u32| PieceKey::new(&i.to_le_bytes());
        let ids = |i: u32| (i..i + 15).collect::<Vec<_>>();
        let count = MOST_IDS as u32 / 15 + 10;
        for i in 0..count {
            cache.insert(piece(i), &ids(i));
        }
        assert!(cache.ids.len() < MOST_IDS + 15);
        assert_eq!(find(&mut cache, piece(5)), Some(ids(5)));
        assert_eq!(find(&mut cache, piece(count - 1)), None);
        cache.claim(1);
        assert_eq!(find(&mut cache, piece(5)), None);
    }

    #[test]
    fn long_pieces_are_kept_too() {
        let mut cache = Cache::new();
        cache.claim(1);
        let keys: Vec<_> = (0..100_000_u32)
            .map(|i| LongKey::read(&[&i.to_le_bytes()[..], &[b'x'; 16]].concat(), 0, 20))
            .collect();
        for (i, &key) in keys.iter().enumerate() {
            cache.insert_long(key, &[i as u32; 8][..i % 9]);
        }
        assert_eq!(cache.long.lines.len(), MOST_LONG / 2 + 1);
        let last = keys.len() - 3;
        let count = cache.write_long(keys[last], 0).unwrap();
        assert_eq!(count, last % 9);
        assert!(cache.block[..count].iter().all(|&id| id as usize == last));
    }
}
