//! What a piece became the last time it was seen.
//!
//! Most pieces of a text have been seen before, and most are a few bytes and become one to four
//! ids. Those are kept in one flat table: exact keys, no hash is ever trusted, so a hit is right.
//! The table is bounded; when it is full it starts again, which costs one pass over the words that
//! are common, every few million bytes of rare ones.

use crate::TokenId;
use crate::merge::Scratch;

/// The longest piece that is kept, in bytes.
pub(crate) const LONGEST: usize = 15;
/// The most ids of a piece that is kept.
pub(crate) const MOST_IDS: usize = 4;

const SMALLEST: usize = 1 << 12;
const LARGEST: usize = 1 << 18;

/// The working memory of one worker: what is remembered between pieces, and scratch space.
///
/// It may be used with any tokenizer, one after the other; it forgets when the tokenizer changes.
#[derive(Debug, Default)]
pub struct Cache {
    owner: u64,
    entries: Vec<Entry>,
    count: usize,
    pub(crate) scratch: Scratch,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Entry {
    /// the bytes of the piece and, in the highest byte, their number; zero when empty
    key: u128,
    /// the ids; the number of them in the high byte of the first
    ids: [TokenId; MOST_IDS],
}

impl Cache {
    /// An empty cache; it grows with use, to 8 MB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this the cache of the tokenizer with the number `owner`.
    pub(crate) fn claim(&mut self, owner: u64) {
        if self.owner != owner {
            self.entries.clear();
            self.count = 0;
            self.owner = owner;
        }
        if self.entries.is_empty() {
            self.entries = vec![Entry::default(); SMALLEST];
        }
    }

    /// Appends the ids of the piece with `key` to `out`; false when it is not known.
    #[inline]
    pub(crate) fn find(&self, key: u128, out: &mut Vec<TokenId>) -> bool {
        let mask = self.entries.len() - 1;
        let mut place = hash(key) & mask;
        loop {
            let entry = &self.entries[place];
            if entry.key == key {
                let count = (entry.ids[0] >> 24) as usize;
                let mut ids = entry.ids;
                ids[0] &= 0xFF_FFFF;
                out.extend_from_slice(&ids[..count]);
                return true;
            }
            if entry.key == 0 {
                return false;
            }
            place = (place + 1) & mask;
        }
    }

    /// Remembers the ids of the piece with `key`, at most [`MOST_IDS`] of them.
    pub(crate) fn insert(&mut self, key: u128, found: &[TokenId]) {
        if self.count * 2 >= self.entries.len() {
            self.make_room();
        }
        let mut ids = [0; MOST_IDS];
        ids[..found.len()].copy_from_slice(found);
        ids[0] |= (found.len() as u32) << 24;
        self.place(Entry { key, ids });
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut place = hash(entry.key) & mask;
        while self.entries[place].key != 0 {
            place = (place + 1) & mask;
        }
        self.entries[place] = entry;
        self.count += 1;
    }

    #[cold]
    fn make_room(&mut self) {
        self.count = 0;
        if self.entries.len() >= LARGEST {
            self.entries.fill(Entry::default());
            return;
        }
        let larger = vec![Entry::default(); self.entries.len() * 2];
        let entries = std::mem::replace(&mut self.entries, larger);
        entries.into_iter().filter(|entry| entry.key != 0).for_each(|entry| self.place(entry));
    }
}

/// The key of a piece of 1 to [`LONGEST`] bytes; different for different pieces.
#[inline]
pub(crate) fn key(piece: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..piece.len()].copy_from_slice(piece);
    bytes[15] = piece.len() as u8;
    u128::from_le_bytes(bytes)
}

#[inline]
fn hash(key: u128) -> usize {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let product = u128::from(low ^ 0x9E37_79B9_7F4A_7C15)
        .wrapping_mul(u128::from(high ^ 0xD6E8_FEB8_6659_FD93));
    ((product as u64) ^ ((product >> 64) as u64)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_all_pieces_apart() {
        let pieces: [&[u8]; 6] =
            [b"a", b"a\0", b"\0a", b"\0", b"123456789012345", b"12345678901234"];
        for (i, a) in pieces.iter().enumerate() {
            for b in &pieces[i + 1..] {
                assert_ne!(key(a), key(b));
            }
            assert_ne!(key(a), 0);
        }
    }

    #[test]
    fn a_full_cache_starts_again() {
        let mut cache = Cache::new();
        cache.claim(1);
        let piece = |i: u32| key(&i.to_le_bytes());
        for i in 0..LARGEST as u32 * 2 {
            cache.insert(piece(i), &[i & 0xFFFF, 7][..=(i % 2) as usize]);
            assert!(cache.count * 2 <= cache.entries.len() + 1);
        }
        assert_eq!(cache.entries.len(), LARGEST);
        let mut out = Vec::new();
        assert!(cache.find(piece(LARGEST as u32 * 2 - 1), &mut out));
        assert_eq!(out, [0xFFFF, 7]);
        cache.claim(2);
        assert!(!cache.find(piece(LARGEST as u32 * 2 - 1), &mut out));
    }
}
