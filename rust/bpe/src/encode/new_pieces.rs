//! The pieces of a chunk that the cache does not have: each becomes ids once, many together.
//!
//! ```text
//! for each miss:         its ids, if an earlier search of its two lines or another miss found them;
//!                        else number it, with a placeholder in the cache for those that follow
//! for each number:       a token as a whole where the model says so, else to be merged
//! merge them, 16 in turns; put their ids into the cache and in place of the placeholders
//! ```

use lslm_runtime::{Error, Result, Task, TokenId};

use crate::encode::cache::{Ids, PieceCache, Slot};
use crate::encode::chunk::{Chunk, LongPiece};
use crate::encode::interleaved::{self, NewPiece};
use crate::encode::model::Model;
use crate::encode::scratch::Scratch;
use crate::vocab::piece_key::PieceKey;

/// The lists of one chunk's new pieces.
#[derive(Debug, Default)]
pub(crate) struct NewPieces {
    /// By number: the key of a short piece, its slot in the cache, and its first index.
    short: Vec<(PieceKey, Slot, usize)>,
    /// By number: its ids.
    ids: Vec<Ids>,
    /// By number: the long pieces.
    long: Vec<LongPiece>,
    /// Those that are to be merged.
    unmerged: Vec<NewPiece>,
    /// The memory of expanded ids.
    expanded: Vec<TokenId>,
}

/// The index of a piece in the chunk, and its error.
type Failure = (usize, Error);

/// What merging needs besides the pieces.
pub(crate) struct Merger<'a> {
    pub(crate) model: &'a Model,
    pub(crate) task: &'a Task,
    pub(crate) scratch: &'a mut Scratch,
    /// The ids of all pieces, end to end.
    pub(crate) merged: &'a mut Vec<TokenId>,
}

impl Merger<'_> {
    /// Appends the ids of a piece that is not to be merged along with others and returns where they
    /// begin; `None` for one that is.
    fn apart(&mut self, bytes: &[u8], is_part: bool) -> Result<Option<usize>> {
        let Self { model, task, scratch, merged } = self;
        let first = merged.len();
        if !model.rules.whole_first && !model.table.has_unknown_bytes {
            return Ok(None);
        }
        let whole = model.whole(bytes).filter(|&id| !(is_part && model.is_unmade(id)));
        if let Some(id) = whole {
            merged.push(id);
        } else if model.table.has_unknown_bytes {
            model.merge(bytes, scratch, task, merged)?;
        } else {
            return Ok(None);
        }
        Ok(Some(first))
    }
}

impl NewPieces {
    /// Gives ids to all pieces of the chunk that have none yet.
    ///
    /// [`Error::Invalid`] when a byte has no token and the vocabulary has no unknown token; then the
    /// cache must be cleared.
    pub(crate) fn resolve(
        &mut self,
        cache: &mut PieceCache,
        chunk: &mut Chunk,
        merger: &mut Merger<'_>,
    ) -> Result<()> {
        let short = self.short(cache, chunk, merger).err();
        let long = self.long(cache, chunk, merger).err();
        let first = [short, long].into_iter().flatten().min_by_key(|(index, _)| *index);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Gives ids to the short pieces.
    fn short(
        &mut self,
        cache: &mut PieceCache,
        chunk: &mut Chunk,
        merger: &mut Merger<'_>,
    ) -> Result<(), Failure> {
        if chunk.n_misses() == 0 {
            return Ok(());
        }
        self.short.clear();
        cache.make_room(chunk.n_misses());
        for miss in 0..chunk.n_misses() {
            let index = chunk.miss(miss);
            let key = chunk.key(index);
            let (ids, slot) = cache.reserve(key, self.short.len());
            *chunk.ids_mut(index) = ids;
            self.short.extend(slot.map(|slot| (key, slot, index)));
        }
        self.ids.clear();
        self.ids.resize(self.short.len(), Ids::default());
        self.unmerged.clear();
        merger.merged.clear();
        for (number, &(key, slot, index)) in self.short.iter().enumerate() {
            let bytes = &key.bytes()[..key.len()];
            let apart = merger.apart(bytes, key.is_part());
            match apart.map_err(|error| (index, error))? {
                Some(first) => {
                    let ids = &merger.merged[first..];
                    let ids = merger.model.expanded(ids, &mut self.expanded);
                    self.ids[number] = cache.fill(key, slot, ids);
                }
                None => self.unmerged.push(NewPiece::new(bytes, number)),
            }
        }
        interleaved::merge(&merger.model.table, &mut self.unmerged, merger.merged);
        for piece in &self.unmerged {
            let number = piece.number as usize;
            let ids = merger.model.expanded(piece.ids(merger.merged), &mut self.expanded);
            let (key, slot, _) = self.short[number];
            self.ids[number] = cache.fill(key, slot, ids);
        }
        for miss in 0..chunk.n_misses() {
            let ids = chunk.ids_mut(chunk.miss(miss));
            if let Some(number) = ids.number() {
                *ids = self.ids[number];
            }
        }
        Ok(())
    }

    /// Gives ids to the long pieces.
    fn long(
        &mut self,
        cache: &mut PieceCache,
        chunk: &mut Chunk,
        merger: &mut Merger<'_>,
    ) -> Result<(), Failure> {
        self.long.clear();
        self.unmerged.clear();
        merger.merged.clear();
        for i in 0..chunk.long().len() {
            let piece = chunk.long()[i];
            let LongPiece { index, key } = piece;
            let bytes = &key.bytes()[..key.len()];
            if let Some((ids, count)) = cache.find_long(key) {
                chunk.set_ids(index, &ids[..count]);
                continue;
            }
            let apart = merger.apart(bytes, key.is_part());
            if let Some(first) = apart.map_err(|error| (index, error))? {
                let ids = &merger.merged[first..];
                let ids = merger.model.expanded(ids, &mut self.expanded);
                chunk.set_ids(index, ids);
                cache.insert_long(key, ids);
            } else {
                self.unmerged.push(NewPiece::new(bytes, self.long.len()));
                self.long.push(piece);
            }
        }
        interleaved::merge(&merger.model.table, &mut self.unmerged, merger.merged);
        for piece in &self.unmerged {
            let LongPiece { index, key } = self.long[piece.number as usize];
            let ids = merger.model.expanded(piece.ids(merger.merged), &mut self.expanded);
            chunk.set_ids(index, ids);
            cache.insert_long(key, ids);
        }
        Ok(())
    }
}
