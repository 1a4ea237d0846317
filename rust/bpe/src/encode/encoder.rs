//! The loop that all text runs through: from pieces to ids.
//!
//! ```text
//! pieces of a text, as they are found:
//!     add them to the chunk; look them up in the cache                      (chunk.rs, cache.rs)
//! when the chunk is full, or at the end of the last text:
//!     misses: make them unique, merge them 16 in turns, insert them into the cache  (new_pieces.rs)
//!     append the ids of all pieces to the output
//! ```
//!
//! 1. Pieces are given by where they end in the text, not as slices: most are read as a window of
//!    16 bytes, whatever their length, which takes no branch.
//! 2. The cache is megabytes, so the lines of many pieces are fetched at the same time.
//! 3. One piece merged alone waits for memory at each step; see [`super::interleaved`].
//! 4. Pieces of three-byte characters are split at boundaries first; see [`super::boundary`].
//! 5. Where a piece that is a token is taken whole, no boundary lies in such a piece, since the token
//!    spans all of it. Only a part must not be taken whole: where some token is not what merging makes
//!    of its bytes, the key of a part is not that of a piece.

use lslm_runtime::{Error, Result, Task, TokenId};

use crate::encode::boundary::BoundaryFilter;
use crate::encode::char3::has_char3s;
use crate::encode::model::Model;
use crate::encode::new_pieces::Merger;
use crate::encode::workspace::Workspace;

/// Parts of split pieces that are looked up together.
const MAX_PARTS: usize = 256;

/// One pass over texts that follow each other.
pub(crate) struct Encoder<'a> {
    model: &'a Model,
    /// Where pieces may be split.
    boundaries: Option<&'a BoundaryFilter>,
    /// Whether the keys of parts are not those of pieces.
    has_part_keys: bool,
    workspace: &'a mut Workspace,
    task: &'a Task,
    out: &'a mut Vec<TokenId>,
    /// The indexes in `out` of the marks.
    marks: Vec<usize>,
    /// The offset of the next piece in its text.
    start: usize,
    /// Whether ids are counted and dropped instead of kept in `out`.
    is_counting: bool,
    /// The ids that were dropped.
    n_counted: usize,
    /// The first error.
    failure: Option<Error>,
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

impl<'a> Encoder<'a> {
    /// Returns an encoder that appends to `out`.
    pub(crate) fn new(
        model: &'a Model,
        workspace: &'a mut Workspace,
        task: &'a Task,
        out: &'a mut Vec<TokenId>,
    ) -> Self {
        workspace.chunk.prepare();
        let boundaries = model.backtrack.as_ref().map(|backtrack| &backtrack.boundaries);
        Self {
            model,
            boundaries,
            has_part_keys: boundaries.is_some() && model.has_unmade(),
            workspace,
            task,
            out,
            marks: Vec::new(),
            start: 0,
            is_counting: false,
            n_counted: 0,
            failure: None,
        }
    }

    /// Counts ids from now on instead of keeping them: `out` stays empty.
    pub(crate) fn counting(mut self) -> Self {
        self.is_counting = true;
        self
    }

    /// Starts a new text: the next piece begins at offset 0.
    pub(crate) fn start_text(&mut self) {
        self.start = 0;
    }

    /// Appends one id.
    pub(crate) fn push(&mut self, id: TokenId) {
        self.make_room();
        let Workspace { chunk, .. } = &mut *self.workspace;
        chunk.add_ids(&[id]);
    }

    /// Records how many ids the output has after all that was encoded so far.
    pub(crate) fn mark(&mut self) {
        self.workspace.chunk.mark();
    }

    /// Encodes the pieces of `text` that end at `ends`, of which the first begins where the last one
    /// ended.
    pub(crate) fn pieces(&mut self, text: &[u8], ends: &[usize]) {
        if self.failure.is_some() {
            return; // A cancelled text of gigabytes ends soon.
        }
        let Some(boundaries) = self.boundaries else {
            self.parts::<false>(text, ends, SplitPieces::NONE);
            return;
        };
        let whole = self.parts::<true>(text, ends, SplitPieces::NONE);
        let pieces = SplitPieces { start: self.start, ends: &ends[whole..] };
        let mut parts = [0; MAX_PARTS];
        let mut count = 0;
        let mut start = self.start;
        for &end in pieces.ends {
            while start < end {
                if count == MAX_PARTS {
                    self.parts::<false>(text, &parts, pieces);
                    count = 0;
                }
                if has_char3s(text, start, end - start) {
                    (start, count) = boundaries.split(text, start, end, &mut parts, count);
                } else {
                    parts[count] = end;
                    count += 1;
                    start = end;
                }
            }
        }
        self.parts::<false>(text, &parts[..count], pieces);
    }

    /// Encodes pieces, or parts of `pieces`, that end at `ends`; with `SPLIT` up to the first that is
    /// to be split. Returns their number.
    fn parts<const SPLIT: bool>(
        &mut self,
        text: &[u8],
        ends: &[usize],
        pieces: SplitPieces<'_>,
    ) -> usize {
        let mut done = 0;
        while let Some(rest) = ends.get(done..).filter(|rest| !rest.is_empty()) {
            self.make_room();
            let Workspace { cache, chunk, .. } = &mut *self.workspace;
            let count = chunk.add::<SPLIT>(cache, text, self.start, rest);
            if self.has_part_keys && !pieces.ends.is_empty() {
                let starts = std::iter::once(&self.start).chain(rest);
                for (i, (&start, &end)) in starts.zip(&rest[..count]).enumerate() {
                    if pieces.is_part(start, end) {
                        chunk.set_part(cache, i);
                    }
                }
            }
            chunk.probe(cache);
            done += count;
            if let Some(&end) = rest[..count].last() {
                self.start = end;
            }
            if chunk.is_full() {
                continue;
            }
            let Some(&end) = rest.get(count) else { break };
            if SPLIT && has_char3s(text, self.start, end - self.start) {
                break;
            }
            self.longest_piece(text, self.start, end, pieces);
            self.start = end;
            done += 1;
        }
        done
    }

    /// Encodes a piece that is too long for the cache.
    fn longest_piece(&mut self, text: &[u8], start: usize, end: usize, pieces: SplitPieces<'_>) {
        if self.model.table.has_unknown_bytes {
            // An error in an earlier piece comes first.
            self.flush();
            if self.failure.is_some() {
                return;
            }
        }
        let piece = &text[start..end];
        let Workspace { chunk, scratch, merged, .. } = &mut *self.workspace;
        merged.clear();
        match self.model.whole(piece).filter(|_| !pieces.is_part(start, end)) {
            Some(id) => chunk.add_ids(&[id]),
            None => match self.model.merge(piece, scratch, self.task, merged) {
                Ok(()) => chunk.add_ids(merged),
                Err(error) => self.failure = Some(error),
            },
        }
    }

    /// Flushes if the chunk is full.
    #[inline]
    fn make_room(&mut self) {
        if self.workspace.chunk.is_full() {
            self.flush();
        }
    }

    /// Appends to `out` all that has been encoded so far, and checks the task.
    pub(crate) fn flush(&mut self) {
        if self.workspace.chunk.is_empty() {
            return;
        }
        if self.failure.is_none() {
            let Workspace { cache, chunk, new_pieces, scratch, merged, .. } = &mut *self.workspace;
            let mut merger = Merger { model: self.model, task: self.task, scratch, merged };
            self.failure = new_pieces.resolve(cache, chunk, &mut merger).err();
        }
        let Workspace { cache, chunk, .. } = &mut *self.workspace;
        if self.failure.is_some() {
            // Pieces without ids are neither in the output nor in the cache.
            chunk.clear();
            cache.clear();
            return;
        }
        if self.is_counting {
            self.n_counted += chunk.count();
        } else {
            chunk.append(cache, self.out, &mut self.marks);
        }
        if cache.is_full() {
            cache.clear();
        }
        self.failure = self.task.check().err();
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
