//! A table of hashbrown's with the interface of lslm-bpe's cache of pieces, for short pieces only. It
//! cannot prefetch: where an entry is, only a search finds out.

use hashbrown::HashTable;
use lslm_runtime::TokenId;

pub(crate) use crate::encode::cache::{Ids, MAX_SHORT_IDS, SHORT_IDS};
use crate::vocab::piece_key::{LongKey, PieceKey};

#[derive(Default)]
pub(crate) struct PieceCache {
    table: HashTable<(PieceKey, Ids)>,
}

/// A key, if it is a short one.
pub(crate) trait Key: Copy {
    fn short(self) -> Option<PieceKey>;
}

impl Key for PieceKey {
    #[inline(always)]
    fn short(self) -> Option<PieceKey> {
        Some(self)
    }
}

impl Key for LongKey {
    fn short(self) -> Option<PieceKey> {
        None
    }
}

impl PieceCache {
    pub(crate) fn clear(&mut self) {
        self.table = HashTable::new();
        let none = (PieceKey::EMPTY, Ids::default());
        self.table.insert_unique(none.0.hash(), none, |(key, _)| key.hash());
    }

    pub(crate) fn list(&self) -> &[TokenId] {
        &[]
    }

    #[inline(always)]
    pub(crate) fn prefetch<K: Key>(&self, _: K) -> u32 {
        0
    }

    #[inline(always)]
    pub(crate) fn probe<K: Key>(&self, _: u32, key: K) -> (Ids, bool) {
        let find = |key: PieceKey| self.table.find(key.hash(), |(other, _)| *other == key);
        key.short().and_then(find).map_or((Ids::default(), false), |(_, ids)| (*ids, true))
    }

    /// Where long pieces are: the default key is found there.
    pub(crate) fn line_of_none<K: Key>(&self) -> u32 {
        0
    }

    pub(crate) fn make_room<K: Key>(&mut self, _: usize) {}

    #[inline]
    pub(crate) fn reserve(&mut self, key: PieceKey, number: usize) -> (Ids, Option<()>) {
        let (ids, is_found) = self.probe(0, key);
        if is_found {
            return (ids, None);
        }
        let ids = Ids::pending(number);
        self.table.insert_unique(key.hash(), (key, ids), |(key, _)| key.hash());
        (ids, Some(()))
    }

    pub(crate) fn fill(&mut self, key: PieceKey, (): (), found: &[TokenId]) -> Ids {
        let ids = Ids::inline(found).expect("up to four");
        if let Some((_, old)) = self.table.find_mut(key.hash(), |(other, _)| *other == key) {
            *old = ids;
        }
        ids
    }
}
