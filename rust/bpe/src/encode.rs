//! The loop that all text runs through: from the pieces of a text to ids.

use lslm_runtime::{Error, Result, Task};

use crate::TokenId;
use crate::backtrack::Backtrack;
use crate::cache::{self, Cache, SHORT};
use crate::merge;
use crate::model::{Model, NONE};

/// How many pieces are looked up at once.
const QUEUE: usize = 64;
/// Ids are appended to the output when there are more than these.
const FULL: usize = 1024;
/// The size of the memory in which ids are gathered: what a queue may bring, and a little more,
/// since ids are written four, seven or sixteen at a time.
pub(crate) const ROOM: usize = FULL + (QUEUE + 1) * (SHORT + 1);

/// One pass over one text.
///
/// Pieces are handed over by where they end in the text, not as slices: most are read as a window
/// of 16 bytes, whatever their length, which takes no branch. Some of them at a time are prepared,
/// so that their places in the cache, which are spread over megabytes, are there when they are
/// looked up.
pub(crate) struct Run<'a> {
    model: &'a Model,
    /// unless whole pieces come first
    backtrack: Option<&'a Backtrack>,
    cache: &'a mut Cache,
    task: &'a Task,
    out: &'a mut Vec<TokenId>,
    text: &'a [u8],
    /// where the next piece begins
    start: usize,
    /// ids in the cache's block
    gathered: usize,
    failure: Option<Error>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        model: &'a Model,
        text: &'a [u8],
        cache: &'a mut Cache,
        task: &'a Task,
        out: &'a mut Vec<TokenId>,
    ) -> Self {
        let backtrack = model.backtrack.as_ref().filter(|_| !model.rules.whole_first);
        Self { model, backtrack, cache, task, out, text, start: 0, gathered: 0, failure: None }
    }

    /// Encodes the pieces that end at `ends`, the first of which begins where the last one ended.
    pub(crate) fn pieces(&mut self, ends: &[usize]) {
        let mut homes = [0; QUEUE];
        let mut rest = ends;
        while !rest.is_empty() {
            let count = self.cache.prepare(self.text, self.start, rest, &mut homes);
            let (short, others) = rest.split_at(count);
            if count > 0 {
                self.look_up(short, &homes);
            }
            rest = others;
            if count < QUEUE
                && let Some((&end, behind)) = rest.split_first()
            {
                self.large(self.start, end - self.start);
                self.start = end;
                rest = behind;
            }
            if self.gathered > FULL {
                self.flush();
            }
        }
    }

    /// Appends what is still gathered; the first error, if there was one.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush();
        self.failure.map_or(Ok(()), Err)
    }

    /// Encodes short pieces whose places have been prepared.
    fn look_up(&mut self, mut ends: &[usize], homes: &[u32; QUEUE]) {
        let mut homes = &homes[..ends.len()];
        loop {
            let (known, gathered) =
                self.cache.write(self.text, self.start, ends, homes, self.gathered);
            self.gathered = gathered;
            if known > 0 {
                self.start = ends[known - 1];
            }
            let Some(&end) = ends.get(known) else { return };
            self.new_short(self.start, end - self.start);
            self.start = end;
            (ends, homes) = (&ends[known + 1..], &homes[known + 1..]);
        }
    }

    /// Encodes a piece that was not known when its place was looked at.
    fn new_short(&mut self, start: usize, length: usize) {
        let key = cache::key(self.text, start, length);
        // the same piece may have come in between, or the table may have grown
        if let Some(count) = self.cache.write_one(key, self.gathered) {
            self.gathered += count;
            return;
        }
        let (ids, count) = self.encode_short(key, start, length);
        self.write(&ids, count);
        self.cache.insert(key, &ids[..count]);
    }

    fn new_long(&mut self, key: (u128, u128), start: usize, length: usize) {
        self.flush();
        if let Some(first) = self.merge(start, length) {
            self.cache.insert_long(key, &self.out[first..]);
        }
    }

    #[inline(always)]
    fn write(&mut self, ids: &[TokenId; SHORT + 1], count: usize) {
        self.cache.block[self.gathered..self.gathered + ids.len()].copy_from_slice(ids);
        self.gathered += count;
    }

    /// The ids of a piece of at most [`SHORT`] bytes, or of a part of one, and their number.
    #[inline(always)]
    fn encode_short(
        &mut self,
        key: u128,
        start: usize,
        length: usize,
    ) -> ([TokenId; SHORT + 1], usize) {
        let found = self.backtrack.and_then(|backtrack| {
            backtrack.short(self.model, key & cache::BYTES, length, &mut self.cache.search)
        });
        found.unwrap_or_else(|| {
            let mut ids = [0; SHORT + 1];
            let mut count = 0;
            // behind the last id, where they are taken away from again
            if let Some(first) = self.merge(start, length) {
                count = self.out.len() - first;
                ids[..count].copy_from_slice(&self.out[first..]);
                self.out.truncate(first);
            }
            (ids, count)
        })
    }

    fn large(&mut self, start: usize, length: usize) {
        match self.backtrack {
            Some(backtrack) if cache::is_wide(self.text, start, length) => {
                self.wide(backtrack, start, length);
            }
            _ => self.part(start, length),
        }
    }

    /// Encodes a piece with characters of three bytes, which is often a sentence and new, by the
    /// parts that no token joins, which are few and often single characters.
    fn wide(&mut self, backtrack: &Backtrack, start: usize, length: usize) {
        backtrack.cuts.for_each(&self.text[start..start + length], |from, to, character| {
            if self.gathered > FULL {
                self.flush();
            }
            if let Some(symbol) = backtrack.longest.character(character) {
                self.cache.block[self.gathered] = backtrack.tokens.id(symbol);
                self.gathered += 1;
            } else {
                self.part(start + from, to - from);
            }
        });
    }

    /// Encodes a part of a piece, or one that does not belong into the first table.
    fn part(&mut self, start: usize, length: usize) {
        if length <= SHORT {
            let key = cache::key(self.text, start, length);
            if let Some(count) = self.cache.write_part(key, self.gathered) {
                self.gathered += count;
            } else {
                let (ids, count) = self.encode_short(key, start, length);
                self.write(&ids, count);
                self.cache.insert_part(key, &ids[..count]);
            }
        } else if length <= cache::LONG {
            let key = cache::long_key(self.text, start, length);
            if let Some(count) = self.cache.write_long(key, self.gathered) {
                self.gathered += count;
            } else {
                self.new_long(key, start, length);
            }
        } else {
            self.flush();
            self.merge(start, length);
        }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.cache.block[..self.gathered]);
        self.gathered = 0;
        if self.failure.is_none() {
            self.failure = self.task.check().err();
        }
    }

    /// Appends the ids of a piece to the output; returns where they begin, or nothing when an error,
    /// now or before, ends the work.
    #[inline(never)]
    fn merge(&mut self, start: usize, length: usize) -> Option<usize> {
        if self.failure.is_some() {
            return None;
        }
        let first = self.out.len();
        let piece = &self.text[start..start + length];
        match merge_piece(self.model, piece, self.cache, self.task, self.out) {
            Ok(()) => Some(first),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }
}

/// Appends the ids of `piece`.
fn merge_piece(
    model: &Model,
    piece: &[u8],
    cache: &mut Cache,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    if model.rules.whole_first
        && let Some(id) = model.vocabulary.find(piece)
    {
        out.push(id);
        return Ok(());
    }
    if let Some(backtrack) = &model.backtrack
        && backtrack.any(model, piece, &mut cache.search, task, out)?
    {
        return Ok(());
    }
    let scratch = &mut cache.scratch;
    if !model.incomplete {
        return merge::merge(model, piece, scratch, task, out);
    }
    if let Some(byte) = piece.iter().find(|&&byte| model.starts[usize::from(byte)] == NONE) {
        return Err(Error::invalid(format!(
            "the vocabulary has no token for the byte 0x{byte:02X}: it was made without it"
        )));
    }
    let start = out.len();
    merge::merge(model, piece, scratch, task, out)?;
    if model.rules.fuse_unknown
        && let Some(unknown) = model.rules.unknown
    {
        let mut kept = start;
        for place in start..out.len() {
            let again = place > start && out[place] == unknown && out[kept - 1] == unknown;
            if !again {
                out[kept] = out[place];
                kept += 1;
            }
        }
        out.truncate(kept);
    }
    Ok(())
}
