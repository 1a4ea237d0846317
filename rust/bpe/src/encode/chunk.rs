//! Thousands of pieces at once, in loops without a branch on a piece's length or on its outcome.
//!
//! ```text
//! add:    for each piece:  key ← 16 bytes of text, masked to its length
//!                          line ← hash(key); prefetch the line
//! probe:  for each piece:  ids ← those of the entry with the key, or none
//!                          misses[n] ← the piece;  n ← n + 1 if there was none
//! append: for each piece:  write 4 ids;  advance by their number
//! ```
//!
//! A piece's place in the chunk is its *index*. Keys are copies, so no text needs to outlive the call
//! that adds its pieces. Pieces of 16 to 31 bytes are noted by the way and looked up after the others.
//! Still longer ones and added tokens are ids from the start, and the end of a text is only a number of
//! pieces.

use lslm_runtime::TokenId;

use crate::encode::char3::has_char3;
use crate::vocab::piece_key::{LongKey, PieceKey, window};

// By `super`, since a benchmark compiles this file beside another cache.
use super::cache::{Ids, MAX_SHORT_IDS, PieceCache, SHORT_IDS};

/// Pieces in a chunk. Their arrays have 180 KB, a small part of a second-level cache, and some
/// hundred of them are new, enough for sixteen lanes.
const CHUNK: usize = 4096;

/// Ids of the longest pieces that fill a chunk too, whatever the number of its pieces.
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
    /// The first `n_misses` are those of short pieces.
    misses: Vec<u32>,
    len: usize,
    n_probed: usize,
    n_misses: usize,
    /// The long pieces that were not looked up.
    long: Vec<LongPiece>,
    /// The long pieces that were not found.
    long_misses: Vec<(u32, LongKey)>,
    /// Ids that do not fit into [`Ids`].
    list: Vec<TokenId>,
    /// The number of pieces before each mark.
    marks: Vec<u32>,
    /// The output on its way.
    block: Vec<TokenId>,
}

/// A piece of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
struct LongPiece {
    index: u32,
    key: LongKey,
    line: u32,
}

/// The pieces that were not found in the cache.
pub(crate) struct Misses<'a> {
    keys: &'a [PieceKey],
    short: &'a [u32],
    /// The index and the key of each long one.
    pub(crate) long: &'a [(u32, LongKey)],
    /// The ids of all pieces of the chunk.
    pub(crate) ids: &'a mut [Ids],
}

impl<'a> Misses<'a> {
    /// Returns the index and the key of each short one.
    pub(crate) fn short(&self) -> impl Iterator<Item = (u32, PieceKey)> + Clone + use<'a> {
        let keys = self.keys;
        self.short.iter().map(|&index| (index, keys[index as usize]))
    }
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

    /// Returns the pieces that were not found.
    pub(crate) fn misses(&mut self) -> Misses<'_> {
        Misses {
            keys: &self.keys,
            short: &self.misses[..self.n_misses],
            long: &self.long_misses,
            ids: &mut self.ids,
        }
    }

    /// Adds the pieces of `text` that end at `ends`, the first of which begins at `start`, and returns
    /// their number.
    ///
    /// Stops when the chunk is full or at a piece of more than [`LongKey::MAX_LEN`] bytes, or, with
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
        let first_start = start;
        let (mut count, mut max_len) = (0, 0);
        for ((key, line), &end) in keys.zip(lines).zip(ends) {
            let len = end - start;
            let window = window(text, start);
            if len > LongKey::MAX_LEN || SPLIT && has_char3(window) && len > 3 {
                break;
            }
            *key = PieceKey::from_window(window, len);
            *line = cache.prefetch(*key);
            max_len = max_len.max(len);
            count += 1;
            start = end;
        }
        if max_len > PieceKey::MAX_LEN {
            self.add_long(cache, text, first_start, &ends[..count]);
        }
        self.len += count;
        count
    }

    /// Sets the keys of the long ones among the pieces that end at `ends` and were added last.
    fn add_long(&mut self, cache: &PieceCache, text: &[u8], mut start: usize, ends: &[usize]) {
        for (index, &end) in (self.len..).zip(ends) {
            let len = end - start;
            if len > PieceKey::MAX_LEN {
                let key = LongKey::read(text, start, len);
                self.long.push(LongPiece { index: index as u32, key, line: cache.prefetch(key) });
                // Found, so that it is no miss of a short piece.
                self.keys[index] = PieceKey::EMPTY;
                self.lines[index] = cache.line_of_none::<PieceKey>();
            }
            start = end;
        }
    }

    /// Makes the piece with the number `i` among those that were not looked up a part of another.
    pub(crate) fn set_part(&mut self, cache: &PieceCache, i: usize) {
        let index = self.n_probed + i;
        if self.keys[index] != PieceKey::EMPTY {
            self.keys[index] = self.keys[index].of_part();
            self.lines[index] = cache.prefetch(self.keys[index]);
            return;
        }
        for piece in self.long.iter_mut().filter(|piece| piece.index as usize == index) {
            piece.key = piece.key.of_part();
            piece.line = cache.prefetch(piece.key);
        }
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
        for LongPiece { index, key, line } in self.long.drain(..) {
            let (found, is_found) = cache.probe(line, key);
            self.ids[index as usize] = found;
            if !is_found {
                self.long_misses.push((index, key));
            }
        }
    }

    /// Adds ids as a piece; [`Self::is_full`] must be false, and all pieces looked up.
    pub(crate) fn add_ids(&mut self, ids: &[TokenId]) {
        self.ids[self.len] = self.ids_of(ids);
        self.len += 1;
        self.n_probed = self.len;
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
        self.long_misses.clear();
        self.list.clear();
        self.marks.clear();
    }
}
