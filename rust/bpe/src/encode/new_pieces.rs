//! The pieces of a chunk that the cache does not have: each becomes ids once, many together.
//!
//! ```text
//! for each miss:         its ids, if a search of its two lines or another miss finds them;
//!                        else number it, with a placeholder in the cache for those that follow
//! for each number:       a token as a whole where the model says so, else to be merged
//! merge them, 16 in turns; put their ids into the cache and in place of the placeholders
//! ```

use lslm_runtime::{Error, Result, Task, TokenId};

use crate::encode::cache::{Ids, Key, PieceCache, Slot};
use crate::encode::chunk::Chunk;
use crate::encode::interleaved::{self, NewPiece};
use crate::encode::model::Model;
use crate::encode::scratch::Scratch;
use crate::vocab::piece_key::{LongKey, PieceKey};

/// The lists of one chunk's new pieces.
#[derive(Debug, Default)]
pub(crate) struct NewPieces {
    short: Vec<NewKey<PieceKey>>,
    long: Vec<NewKey<LongKey>>,
    lists: Lists,
}

/// A new piece.
#[derive(Clone, Copy, Debug)]
struct NewKey<K> {
    key: K,
    slot: Slot,
    /// Where it first is in the chunk.
    index: u32,
}

/// What is known of new pieces, by their number.
#[derive(Debug, Default)]
struct Lists {
    ids: Vec<Ids>,
    /// Those that are to be merged.
    unmerged: Vec<NewPiece>,
    /// The memory of expanded ids.
    expanded: Vec<TokenId>,
}

/// The index of a piece in the chunk, and its error.
type Failure = (u32, Error);

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
        let Self { short, long, lists } = self;
        let misses = chunk.misses();
        let short = lists.resolve(short, misses.short(), cache, misses.ids, merger).err();
        let long = lists.resolve(long, misses.long.iter().copied(), cache, misses.ids, merger);
        let first = short.into_iter().chain(long.err()).min_by_key(|(index, _)| *index);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Lists {
    /// Gives `ids` to the pieces with one kind of key; `new` is the memory of the new ones.
    fn resolve<K: Key>(
        &mut self,
        new: &mut Vec<NewKey<K>>,
        misses: impl Iterator<Item = (u32, K)> + Clone,
        cache: &mut PieceCache,
        ids: &mut [Ids],
        merger: &mut Merger<'_>,
    ) -> Result<(), Failure> {
        new.clear();
        cache.make_room::<K>(misses.clone().count());
        for (index, key) in misses.clone() {
            let (found, slot) = cache.reserve(key, new.len());
            ids[index as usize] = found;
            new.extend(slot.map(|slot| NewKey { key, slot, index }));
        }
        if new.is_empty() {
            return Ok(());
        }
        self.merge(new, cache, merger)?;
        for (index, _) in misses {
            let ids = &mut ids[index as usize];
            if let Some(number) = ids.number() {
                *ids = self.ids[number];
            }
        }
        Ok(())
    }

    /// Finds the ids of `new` pieces and puts them into the cache.
    fn merge<K: Key>(
        &mut self,
        new: &[NewKey<K>],
        cache: &mut PieceCache,
        merger: &mut Merger<'_>,
    ) -> Result<(), Failure> {
        self.ids.clear();
        self.ids.resize(new.len(), Ids::default());
        self.unmerged.clear();
        merger.merged.clear();
        for (number, &NewKey { key, slot, index }) in new.iter().enumerate() {
            let bytes = key.bytes();
            let bytes = &bytes.as_ref()[..key.len()];
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
            let NewKey { key, slot, .. } = new[number];
            self.ids[number] = cache.fill(key, slot, ids);
        }
        Ok(())
    }
}
