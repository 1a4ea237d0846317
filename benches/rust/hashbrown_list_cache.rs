//! A list of entries, and a table of hashbrown's as its index, with the interface of lslm-bpe's cache of
//! pieces, for short pieces only.
//!
//! The entries of frequent pieces are side by side. Prefetching takes the first entry of which the index
//! has seven bits of the hash, nearly always the right one.

use hashbrown::HashTable;
use lslm_runtime::TokenId;

pub(crate) use crate::encode::cache::{Ids, MAX_SHORT_IDS, SHORT_IDS};
use crate::encode_hashbrown::cache::Key;
use crate::pages::Pages;
use crate::prefetch::prefetch;
use crate::vocab::piece_key::PieceKey;

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Entry {
    key: PieceKey,
    ids: Ids,
}

#[derive(Default)]
pub(crate) struct PieceCache {
    /// The first is no piece's.
    entries: Pages<Entry>,
    len: usize,
    index: HashTable<u32>,
}

impl PieceCache {
    pub(crate) fn clear(&mut self) {
        let entries = Pages::new(1 << 12, Entry::default());
        *self = Self { entries, len: 1, index: HashTable::new() };
    }

    pub(crate) fn list(&self) -> &[TokenId] {
        &[]
    }

    #[inline(always)]
    pub(crate) fn prefetch<K: Key>(&self, key: K) -> u32 {
        let find = |key: PieceKey| self.index.find(key.hash(), |_| true).copied();
        let slot = key.short().and_then(find).unwrap_or(0);
        prefetch(&self.entries[slot as usize]);
        slot
    }

    #[inline(always)]
    pub(crate) fn probe<K: Key>(&self, slot: u32, key: K) -> (Ids, bool) {
        let entry = &self.entries[slot as usize];
        (entry.ids, key.short() == Some(entry.key))
    }

    /// Where long pieces are: the default key is found there.
    pub(crate) fn line_of_none<K: Key>(&self) -> u32 {
        0
    }

    pub(crate) fn make_room<K: Key>(&mut self, _: usize) {}

    #[inline]
    pub(crate) fn reserve(&mut self, key: PieceKey, number: usize) -> (Ids, Option<usize>) {
        let Self { entries, len, index } = self;
        if let Some(&slot) = index.find(key.hash(), |&slot| entries[slot as usize].key == key) {
            return (entries[slot as usize].ids, None);
        }
        if *len == entries.len() {
            let mut larger = Pages::new(*len * 4, Entry::default());
            larger[..*len].copy_from_slice(entries);
            *entries = larger;
        }
        let slot = *len;
        *len += 1;
        let ids = Ids::pending(number);
        entries[slot] = Entry { key, ids };
        index.insert_unique(key.hash(), slot as u32, |&slot| entries[slot as usize].key.hash());
        (ids, Some(slot))
    }

    pub(crate) fn fill(&mut self, _: PieceKey, slot: usize, found: &[TokenId]) -> Ids {
        let ids = Ids::inline(found).expect("up to four");
        self.entries[slot].ids = ids;
        ids
    }
}
