//! The loop that all text runs through: from pieces to ids.
//!
//! ```text
//! for each 64 pieces of a text:
//!     prefetch their lines of the cache
//!     for each piece: copy its ids from the cache to the id block, or add it to the pending pieces
//! when the id block or the list of pending pieces is full:
//!     merge all pending pieces, 16 in turns; insert them into the cache
//!     append the id block to the output, the ids of pending pieces where they belong
//! ```
//!
//! 1. Pieces are given by where they end in the text, not as slices: most are read as a window of
//!    16 bytes, whatever their length, which takes no branch.
//! 2. The cache is megabytes, so the lines of many pieces are fetched at the same time.
//! 3. One piece merged alone waits for memory at each step; see [`super::interleaved`].
//! 4. Pieces of three-byte characters are split at boundaries first; see [`super::boundary`].
//! 5. Where a piece that is a token is taken whole, no boundary lies in such a piece, since the token
//!    spans all of it. Only a part must not be taken whole: one that equals a token which merging does
//!    not make is merged each time, and neither it nor the token is in the cache.

use lslm_runtime::{Error, Result, Task, TokenId};

use crate::encode::boundary::BoundaryFilter;
use crate::encode::char3::has_char3s;
use crate::encode::interleaved::{self, PieceRef};
use crate::encode::model::Model;
use crate::encode::workspace::Workspace;
use crate::vocab::piece_key::{LongKey, PieceKey};

/// Pieces whose cache lines are fetched at the same time.
const QUEUE: usize = 64;
/// Ids in the block that trigger a flush.
const MAX_GATHERED: usize = 4096;
/// Parts of split pieces that are looked up together.
const MAX_PARTS: usize = 256;
/// Pending pieces that trigger a flush, which merges them together.
const MAX_PENDING: usize = 128;
/// The size of the id block: besides a full one, the ids of one queue, at most one a byte, and of
/// one piece more, since whole cache entries are copied.
const BLOCK_IDS: usize = MAX_GATHERED + (QUEUE + 1) * (PieceKey::MAX_LEN + 1);

/// One pass over texts that follow each other.
pub(crate) struct Encoder<'a, 't> {
    model: &'a Model,
    /// Where pieces may be split.
    boundaries: Option<&'a BoundaryFilter>,
    workspace: &'a mut Workspace,
    task: &'a Task,
    out: &'a mut Vec<TokenId>,
    /// The indexes in `out` of the marks.
    marks: Vec<usize>,
    text: &'t [u8],
    /// The offset in `text` of the next piece.
    start: usize,
    /// The ids in the workspace's block.
    gathered: usize,
    pending: Vec<PendingPiece<'t>>,
    /// Whether ids are counted and dropped instead of kept in `out`.
    is_counting: bool,
    /// The ids that were dropped.
    n_counted: usize,
    /// The first error.
    failure: Option<Error>,
}

/// A piece that is not in the cache; without bytes, a mark.
#[derive(Clone, Copy, Debug)]
struct PendingPiece<'t> {
    /// The number of ids in the block before it.
    at: usize,
    piece: PieceRef<'t>,
    /// Whether it is a part of a split piece.
    is_part: bool,
    /// Whether the cache may return its ids for the same bytes, as a piece or as a part.
    is_cached: bool,
}

/// Pieces that were split, to tell a part from a whole piece.
#[derive(Clone, Copy)]
struct SplitPieces<'e> {
    start: usize,
    ends: &'e [usize],
}

impl SplitPieces<'_> {
    /// No piece was split.
    const NONE: Self = Self { start: 0, ends: &[] };

    /// Whether `start..end` is less than a piece.
    fn is_part(&self, start: usize, end: usize) -> bool {
        let is_end = |at: usize| self.ends.binary_search(&at).is_ok();
        !self.ends.is_empty() && !((start == self.start || is_end(start)) && is_end(end))
    }
}

impl<'a, 't> Encoder<'a, 't> {
    /// Returns an encoder that appends to `out`.
    pub(crate) fn new(
        model: &'a Model,
        workspace: &'a mut Workspace,
        task: &'a Task,
        out: &'a mut Vec<TokenId>,
    ) -> Self {
        workspace.block.resize(BLOCK_IDS, 0);
        Self {
            model,
            boundaries: model.backtrack.as_ref().map(|backtrack| &backtrack.boundaries),
            workspace,
            task,
            out,
            marks: Vec::new(),
            text: &[],
            start: 0,
            gathered: 0,
            pending: Vec::new(),
            is_counting: false,
            n_counted: 0,
            failure: None,
        }
    }

    /// Counts ids from now on instead of keeping them: `out` never holds more than a few thousand.
    pub(crate) fn counting(mut self) -> Self {
        self.is_counting = true;
        self
    }

    /// Starts a new text; later calls of [`Self::pieces`] refer to it.
    pub(crate) fn set_text(&mut self, text: &'t [u8]) {
        if self.workspace.cache.is_full() {
            self.flush();
            self.workspace.cache.clear();
        }
        (self.text, self.start) = (text, 0);
    }

    /// Appends one id.
    pub(crate) fn push(&mut self, id: TokenId) {
        if self.gathered >= MAX_GATHERED {
            self.flush();
        }
        self.workspace.block[self.gathered] = id;
        self.gathered += 1;
    }

    /// Records how many ids the output has after all that was encoded so far.
    pub(crate) fn mark(&mut self) {
        let piece = PieceRef::default();
        self.pending.push(PendingPiece {
            at: self.gathered,
            piece,
            is_part: false,
            is_cached: false,
        });
        if self.pending.len() > MAX_PENDING {
            self.flush();
        }
    }

    /// Lets `f` encode texts that do not live as long as those of this encoder.
    pub(crate) fn nested<'s, R>(&mut self, f: impl FnOnce(&mut Encoder<'_, 's>) -> R) -> R {
        self.flush();
        let mut inner = Encoder {
            model: self.model,
            boundaries: self.boundaries,
            workspace: &mut *self.workspace,
            task: self.task,
            out: &mut *self.out,
            marks: std::mem::take(&mut self.marks),
            text: &[],
            start: 0,
            gathered: 0,
            pending: Vec::new(),
            is_counting: self.is_counting,
            n_counted: self.n_counted,
            failure: self.failure.take(),
        };
        let result = f(&mut inner);
        inner.flush();
        let Encoder { marks, n_counted, failure, .. } = inner;
        (self.marks, self.n_counted, self.failure) = (marks, n_counted, failure);
        result
    }

    /// Encodes the pieces that end at `ends`, of which the first begins where the last one ended.
    pub(crate) fn pieces(&mut self, ends: &[usize]) {
        if self.failure.is_some() {
            return; // A cancelled text of gigabytes ends soon.
        }
        let Some(boundaries) = self.boundaries else {
            self.parts::<false>(ends, SplitPieces::NONE);
            return;
        };
        let whole = self.parts::<true>(ends, SplitPieces::NONE);
        let pieces = SplitPieces { start: self.start, ends: &ends[whole..] };
        let mut parts = [0; MAX_PARTS];
        let mut count = 0;
        let mut start = self.start;
        for &end in pieces.ends {
            while start < end {
                if count == MAX_PARTS {
                    self.parts::<false>(&parts, pieces);
                    count = 0;
                }
                if has_char3s(self.text, start, end - start) {
                    (start, count) = boundaries.split(self.text, start, end, &mut parts, count);
                } else {
                    parts[count] = end;
                    count += 1;
                    start = end;
                }
            }
        }
        self.parts::<false>(&parts[..count], pieces);
    }

    /// Encodes pieces, or parts of `pieces`, that end at `ends`; with `SPLIT` up to the first that is
    /// to be split. Returns their number.
    fn parts<const SPLIT: bool>(&mut self, ends: &[usize], pieces: SplitPieces<'_>) -> usize {
        let mut lines = [0; QUEUE];
        let mut done = 0;
        while done < ends.len() {
            let rest = &ends[done..];
            let cache = &self.workspace.cache;
            let count = cache.prepare::<SPLIT>(self.text, self.start, rest, &mut lines);
            if count > 0 {
                self.look_up(&rest[..count], &lines, pieces);
                done += count;
            }
            if count < QUEUE
                && let Some(&end) = ends.get(done)
            {
                let len = end - self.start;
                if SPLIT && has_char3s(self.text, self.start, len) {
                    break;
                }
                self.long_piece(self.start, len, pieces);
                self.start = end;
                done += 1;
            }
            if self.gathered > MAX_GATHERED || self.pending.len() > MAX_PENDING {
                self.flush();
            }
        }
        done
    }

    /// Looks up short pieces whose cache lines are in `lines`.
    fn look_up(&mut self, mut ends: &[usize], lines: &[u32; QUEUE], pieces: SplitPieces<'_>) {
        let mut lines = &lines[..ends.len()];
        loop {
            let Workspace { cache, block, .. } = &mut *self.workspace;
            let (found, gathered) =
                cache.write(self.text, self.start, ends, lines, block, self.gathered);
            self.gathered = gathered;
            if found > 0 {
                self.start = ends[found - 1];
            }
            let Some(&end) = ends.get(found) else { return };
            self.defer(self.start, end - self.start, pieces);
            self.start = end;
            (ends, lines) = (&ends[found + 1..], &lines[found + 1..]);
        }
    }

    /// Appends the ids of those pending pieces to `merged` that are tokens as a whole, and of all if
    /// some byte has no token.
    fn take_whole(&mut self, pending: &mut [PendingPiece<'_>], merged: &mut Vec<TokenId>) {
        let Model { rules, table, .. } = self.model;
        if !rules.whole_first && !table.has_unknown_bytes {
            return;
        }
        for entry in pending.iter_mut().filter(|entry| entry.piece.len > 0) {
            let (bytes, first) = (entry.piece.bytes(), merged.len());
            match self.model.whole(bytes) {
                Some(id) if self.model.is_unmade(id) && self.boundaries.is_some() => {
                    entry.is_cached = false;
                    merged.extend((!entry.is_part).then_some(id));
                }
                Some(id) => merged.push(id),
                None if table.has_unknown_bytes => self.merge(bytes, merged),
                None => {}
            }
            (entry.piece.first_id, entry.piece.n_ids) = (first, merged.len() - first);
        }
    }

    /// Adds a piece to the pending ones.
    #[inline(always)]
    fn defer(&mut self, start: usize, len: usize, pieces: SplitPieces<'_>) {
        let piece = PieceRef { text: self.text, start, len, ..PieceRef::default() };
        let is_part = self.model.rules.whole_first && pieces.is_part(start, start + len);
        self.pending.push(PendingPiece { at: self.gathered, piece, is_part, is_cached: true });
    }

    /// Encodes a piece that is too long for the cache's table of short ones.
    fn long_piece(&mut self, start: usize, len: usize, pieces: SplitPieces<'_>) {
        if len > LongKey::MAX_LEN {
            self.flush();
            let mut out = std::mem::take(self.out);
            let piece = &self.text[start..start + len];
            let whole =
                if pieces.is_part(start, start + len) { None } else { self.model.whole(piece) };
            match whole {
                Some(id) => out.push(id),
                None => self.merge(piece, &mut out),
            }
            *self.out = out;
            return;
        }
        let key = LongKey::read(self.text, start, len);
        let Workspace { cache, block, .. } = &mut *self.workspace;
        match cache.write_long(key, block, self.gathered) {
            Some(count) => self.gathered += count,
            None => self.defer(start, len, pieces),
        }
    }

    /// Appends to `out` all that has been encoded so far, and checks the task.
    pub(crate) fn flush(&mut self) {
        if self.gathered > 0 || !self.pending.is_empty() {
            self.merge_pending();
            self.gathered = 0;
            if self.failure.is_none() {
                self.failure = self.task.check().err();
            }
        }
        if self.is_counting {
            self.n_counted += self.out.len();
            self.out.clear();
        }
    }

    /// Merges the pending pieces, and appends the block to `out` with their ids in between.
    fn merge_pending(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut merged = std::mem::take(&mut self.workspace.merged);
        self.take_whole(&mut pending, &mut merged);
        if !self.model.table.has_unknown_bytes {
            let pieces = pending.iter_mut().map(|entry| &mut entry.piece);
            let pieces = pieces.filter(|piece| piece.len > 0 && piece.n_ids == 0);
            interleaved::merge(&self.model.table, pieces, &mut merged);
        }
        let Workspace { cache, block, .. } = &mut *self.workspace;
        let mut expanded = Vec::new();
        let mut first = 0;
        for PendingPiece { at, piece, is_cached, .. } in &pending {
            let PieceRef { text, start, len, .. } = *piece;
            let ids = &merged[piece.first_id..][..piece.n_ids];
            let ids = self.model.expanded(ids, &mut expanded);
            self.out.extend_from_slice(&block[first..*at]);
            self.out.extend_from_slice(ids);
            first = *at;
            if len == 0 {
                self.marks.push(self.out.len());
            } else if self.failure.is_some() || !is_cached {
                // no ids, or not always these
            } else if len > PieceKey::MAX_LEN {
                cache.insert_long(LongKey::read(text, start, len), ids);
            } else {
                cache.insert(PieceKey::read(text, start, len), ids);
            }
        }
        self.out.extend_from_slice(&block[first..self.gathered]);
        pending.clear();
        self.pending = pending;
        merged.clear();
        self.workspace.merged = merged;
    }

    /// Appends the ids of `piece` to `out`, unless there has been an error.
    #[inline(never)]
    fn merge(&mut self, piece: &[u8], out: &mut Vec<TokenId>) {
        if self.failure.is_none() {
            let scratch = &mut self.workspace.scratch;
            self.failure = self.model.merge(piece, scratch, self.task, out).err();
        }
    }

    /// Flushes, and returns the output and the marks since the last call.
    pub(crate) fn flush_marks(&mut self) -> (&[TokenId], Vec<usize>) {
        self.flush();
        (self.out, std::mem::take(&mut self.marks))
    }

    /// Returns the first error, if there has been one.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Flushes, and returns the marks or the first error.
    pub(crate) fn finish(mut self) -> Result<Vec<usize>> {
        self.flush();
        self.check().map(|()| self.marks)
    }

    /// Flushes, and returns the number of ids that were counted or the first error.
    pub(crate) fn finish_count(mut self) -> Result<usize> {
        self.flush();
        self.check().map(|()| self.n_counted)
    }
}
