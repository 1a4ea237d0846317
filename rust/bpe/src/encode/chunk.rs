//! Thousands of pieces at once, in loops without a branch on a piece's length or on its outcome.
//!
//! ```text
//! add:    for each piece:  key ← 16 bytes of text, masked to its length;  line ← hash(key)
//!                          prefetch the line
//! probe:  for each piece:  ids ← those of the entry with the key, or none
//!                          misses[n] ← the piece;  n ← n + 1 if there was none
//! append: for each piece:  write 4 ids;  advance by their number
//! ```
//!
//! A piece's place in the chunk is its *index*. Keys are copies, so no text needs to outlive the call
//! that adds its pieces. What is not a short piece stands for itself at its index: the ids of long
//! pieces and added tokens are put there later, and the end of a text is only a number of pieces.

use lslm_runtime::TokenId;

use crate::encode::cache::{Ids, MAX_SHORT_IDS, PieceCache, SHORT_IDS};
use crate::encode::char3::has_char3;
use crate::vocab::piece_key::{LongKey, PieceKey, window};

/// Pieces in a chunk. Their arrays have 180 KB, a small part of a second-level cache, and some
/// hundred of them are new, enough for sixteen lanes.
const CHUNK: usize = 4096;

/// Ids of long pieces that fill a chunk too, whatever the number of its pieces.
const MAX_LISTED: usize = 1 << 16;

/// Pieces between the text and the output.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    keys: Vec<PieceKey>,
    /// Where each key is looked up.
    lines: Vec<u32>,
    ids: Vec<Ids>,
    /// The number of ids up to the end of each piece.
    ends: Vec<u32>,
    misses: Vec<u32>,
    len: usize,
    n_probed: usize,
    n_misses: usize,
    /// The pieces of more than [`PieceKey::MAX_LEN`] bytes.
    long: Vec<LongPiece>,
    /// Ids that do not fit into [`Ids`].
    list: Vec<TokenId>,
    /// The number of pieces before each mark.
    marks: Vec<u32>,
    /// The output on its way.
    block: Vec<TokenId>,
}

/// A piece of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongPiece {
    pub(crate) index: usize,
    pub(crate) key: LongKey,
}

impl Chunk {
    /// Makes room for the pieces, and removes what an earlier text has left.
    pub(crate) fn prepare(&mut self) {
        self.clear();
        self.keys.resize(CHUNK, PieceKey::EMPTY);
        self.lines.resize(CHUNK, 0);
        self.ids.resize(CHUNK, Ids::default());
        self.ends.resize(CHUNK, 0);
        self.misses.resize(CHUNK, 0);
        self.block.resize((CHUNK + 1) * MAX_SHORT_IDS, 0);
    }

    /// Whether [`Self::append`] must come before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.len == CHUNK || self.list.len() >= MAX_LISTED
    }

    /// Whether there are neither pieces nor marks.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && self.marks.is_empty()
    }

    /// Returns the key of a short piece.
    pub(crate) fn key(&self, index: usize) -> PieceKey {
        self.keys[index]
    }

    /// Returns the ids of a piece.
    pub(crate) fn ids_mut(&mut self, index: usize) -> &mut Ids {
        &mut self.ids[index]
    }

    /// Returns the long pieces.
    pub(crate) fn long(&self) -> &[LongPiece] {
        &self.long
    }

    /// Returns the number of short pieces that were not found.
    pub(crate) fn n_misses(&self) -> usize {
        self.n_misses
    }

    /// Returns the index of one of these.
    pub(crate) fn miss(&self, i: usize) -> usize {
        self.misses[i] as usize
    }

    /// Adds the pieces of `text` that end at `ends`, the first of which begins at `start`, and returns
    /// their number.
    ///
    /// Stops when the chunk is full or at a piece of more than [`PieceKey::MAX_LEN`] bytes, or, with
    /// `SPLIT`, at one that may have boundaries in it.
    #[inline(never)]
    pub(crate) fn add<const SPLIT: bool>(
        &mut self,
        cache: &PieceCache,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
    ) -> usize {
        let keys = self.keys[self.len..].iter_mut();
        let lines = self.lines[self.len..].iter_mut();
        let mut count = 0;
        for ((key, line), &end) in keys.zip(lines).zip(ends) {
            let len = end - start;
            let window = window(text, start);
            if len > PieceKey::MAX_LEN || SPLIT && has_char3(window) && len > 3 {
                break;
            }
            *key = PieceKey::from_window(window, len);
            *line = cache.prefetch(*key);
            count += 1;
            start = end;
        }
        self.len += count;
        count
    }

    /// Makes the piece with the number `i` among those that were not looked up a part of another.
    pub(crate) fn set_part(&mut self, cache: &PieceCache, i: usize) {
        let index = self.n_probed + i;
        self.keys[index] = self.keys[index].of_part();
        self.lines[index] = cache.prefetch(self.keys[index]);
    }

    /// Looks up the pieces that were added since the last call.
    #[inline(never)]
    pub(crate) fn probe(&mut self, cache: &PieceCache) {
        let range = self.n_probed..self.len;
        let keys = self.keys[range.clone()].iter().zip(&self.lines[range.clone()]);
        let mut n_misses = self.n_misses;
        for ((index, (&key, &line)), ids) in
            (self.n_probed as u32..).zip(keys).zip(&mut self.ids[range])
        {
            let (found, is_found) = cache.probe(line, key);
            *ids = found;
            // Write always, advance only at a miss.
            self.misses[n_misses] = index;
            n_misses += usize::from(!is_found);
        }
        self.n_misses = n_misses;
        self.n_probed = self.len;
    }

    /// Adds a long piece; [`Self::is_full`] must be false, and all pieces looked up.
    pub(crate) fn add_long(&mut self, cache: &PieceCache, key: LongKey) {
        cache.prefetch_long(key);
        self.long.push(LongPiece { index: self.len, key });
        self.add_ids(&[]);
    }

    /// Adds ids as a piece; [`Self::is_full`] must be false, and all pieces looked up.
    pub(crate) fn add_ids(&mut self, ids: &[TokenId]) {
        self.ids[self.len] = self.ids_of(ids);
        self.len += 1;
        self.n_probed = self.len;
    }

    /// Sets the ids of a piece.
    pub(crate) fn set_ids(&mut self, index: usize, ids: &[TokenId]) {
        self.ids[index] = self.ids_of(ids);
    }

    /// Returns `ids`, listed in the chunk if they are many.
    fn ids_of(&mut self, ids: &[TokenId]) -> Ids {
        Ids::inline(ids).unwrap_or_else(|| {
            let first = self.list.len();
            self.list.extend_from_slice(ids);
            Ids::listed(first, ids.len(), true)
        })
    }

    /// Sets a mark after the pieces that were added so far.
    pub(crate) fn mark(&mut self) {
        self.marks.push(self.len as u32);
    }

    /// Appends the ids of all pieces to `out`, the length of `out` at each mark to `marks`, and
    /// removes the pieces.
    #[inline(never)]
    pub(crate) fn append(
        &mut self,
        cache: &PieceCache,
        out: &mut Vec<TokenId>,
        marks: &mut Vec<usize>,
    ) {
        let first = out.len();
        // The number of ids in `out`, of this chunk, and in the block.
        let (mut n_out, mut at) = (0, 0);
        for (ids, end) in self.ids[..self.len].iter().zip(&mut self.ends) {
            let count = ids.count();
            if count > SHORT_IDS {
                let [_, start, count, in_chunk] = ids.0.map(|number| number as usize);
                if in_chunk == 0 && count <= MAX_SHORT_IDS {
                    let ids = &cache.list()[start..start + MAX_SHORT_IDS];
                    self.block[at..at + MAX_SHORT_IDS].copy_from_slice(ids);
                    at += count;
                } else {
                    let list = if in_chunk == 1 { &self.list } else { cache.list() };
                    out.extend_from_slice(&self.block[..at]);
                    out.extend_from_slice(&list[start..start + count]);
                    (n_out, at) = (out.len() - first, 0);
                }
            } else {
                let mut ids = ids.0;
                ids[0] &= 0xFF_FFFF;
                self.block[at..at + SHORT_IDS].copy_from_slice(&ids);
                at += count;
            }
            *end = (n_out + at) as u32;
        }
        out.extend_from_slice(&self.block[..at]);
        marks.extend(self.marks.iter().map(|&mark| {
            let before = (mark as usize).checked_sub(1);
            first + before.map_or(0, |last| self.ends[last] as usize)
        }));
        self.clear();
    }

    /// Returns the number of ids of all pieces, and removes them.
    pub(crate) fn count(&mut self) -> usize {
        let count =
            |ids: &Ids| if ids.count() > SHORT_IDS { ids.0[2] as usize } else { ids.count() };
        let total = self.ids[..self.len].iter().map(count).sum();
        self.clear();
        total
    }

    /// Removes all pieces and marks.
    pub(crate) fn clear(&mut self) {
        (self.len, self.n_probed, self.n_misses) = (0, 0, 0);
        self.long.clear();
        self.list.clear();
        self.marks.clear();
    }
}
