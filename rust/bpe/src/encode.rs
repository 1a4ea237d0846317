//! The loop that all text runs through: from the pieces of a text to ids.

use lslm_runtime::{Error, Result, Task};

use crate::TokenId;
use crate::cache::{self, Cache, LANES, LONG_LANES, Waiting};
use crate::merge;
use crate::model::{Model, NONE};

/// How many ids are gathered before they are appended to the output.
const BLOCK: usize = 1024;
/// The size of the memory in which they are gathered: ids are always written four, or seven, at a
/// time.
pub(crate) const ROOM: usize = BLOCK + LONG_LANES;

/// How many pieces are looked up at once.
pub(crate) const QUEUE: usize = 32;

/// One pass over one text.
///
/// Pieces are handed over by where they lie in the text, not as slices: most are read as a window
/// of 16 bytes, whatever their length, which takes no branch. They wait in a queue while their
/// places in the cache are fetched, since those are spread over megabytes.
pub(crate) struct Run<'a> {
    model: &'a Model,
    cache: &'a mut Cache,
    task: &'a Task,
    out: &'a mut Vec<TokenId>,
    text: &'a [u8],
    /// ids in the cache's block
    gathered: usize,
    /// pieces in the cache's queue
    waiting: usize,
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
        Self { model, cache, task, out, text, gathered: 0, waiting: 0, failure: None }
    }

    /// Encodes the piece of `length` bytes from `start` on.
    #[inline]
    pub(crate) fn piece(&mut self, start: usize, length: usize) {
        // a sentence of Han or kana is new nearly every time: its parts are looked up, not it
        let sentence = matches!(self.text[start], 0xE3..=0xE9) && length > 3;
        if length <= cache::SHORT && !sentence {
            self.short(start, length, false);
        } else {
            self.large(start, length);
        }
    }

    /// Appends what is still gathered; the first error, if there was one.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.look_up();
        self.flush();
        self.failure.map_or(Ok(()), Err)
    }

    #[inline(always)]
    fn short(&mut self, start: usize, length: usize, inner: bool) {
        let key = cache::key(self.text, start, length, inner);
        self.wait(Waiting { start, home: self.cache.prepare(key), length: length as u16, inner });
    }

    #[inline(always)]
    fn wait(&mut self, waiting: Waiting) {
        self.cache.queue[self.waiting] = waiting;
        self.waiting += 1;
        if self.waiting == QUEUE {
            self.look_up();
        }
    }

    /// Encodes the pieces that wait.
    #[inline(never)]
    fn look_up(&mut self) {
        let count = std::mem::take(&mut self.waiting);
        // room for the ids of all of them, so that nothing in the loop asks
        if self.gathered > BLOCK - QUEUE * LONG_LANES {
            self.flush();
        }
        for place in 0..count {
            let Waiting { start, home, length, inner } = self.cache.queue[place];
            let length = usize::from(length);
            if length <= cache::SHORT {
                let key = cache::key(self.text, start, length, inner);
                if let Some((ids, count)) = self.cache.find(home, key) {
                    self.cache.block[self.gathered..self.gathered + LANES].copy_from_slice(&ids);
                    self.gathered += count;
                } else {
                    self.new_short(key, start, length, inner);
                }
            } else {
                let key = cache::long_key(self.text, start, length, inner);
                if let Some((ids, count)) = self.cache.find_long(home, key) {
                    let block = &mut self.cache.block[self.gathered..self.gathered + LONG_LANES];
                    block.copy_from_slice(&ids);
                    self.gathered += count;
                } else if let Some(first) = self.merge(start, length, inner) {
                    self.cache.insert_long(key, &self.out[first..]);
                }
            }
        }
    }

    /// Encodes a piece that was not known when its place was looked at.
    fn new_short(&mut self, key: u128, start: usize, length: usize, inner: bool) {
        // the same piece may have come in between, or the table may have grown
        if let Some((ids, count)) = self.cache.find(self.cache.prepare(key), key) {
            self.cache.block[self.gathered..self.gathered + LANES].copy_from_slice(&ids);
            self.gathered += count;
        } else if let Some(first) = self.merge(start, length, inner) {
            self.cache.insert(key, &self.out[first..]);
        }
    }

    #[inline(never)]
    fn large(&mut self, start: usize, length: usize) {
        let piece = &self.text[start..start + length];
        // behind a blank, often
        let wide = piece.iter().take(2).any(|&byte| byte & 0xF0 == 0xE0);
        match &self.model.cuts {
            Some(cuts) if wide => {
                // ids of single characters are written at once, behind those that wait
                self.look_up();
                cuts.for_each(piece, |from, to, id| {
                    if id == NONE {
                        let inner = self.model.rules.whole_first && to - from < length;
                        self.part(start + from, to - from, inner);
                    } else {
                        self.cache.block[self.gathered] = id;
                        self.gathered += 1;
                        if self.gathered >= BLOCK {
                            self.flush();
                        }
                    }
                });
            }
            _ if length > cache::LONG => {
                self.look_up();
                self.merge(start, length, false);
            }
            _ if length > cache::SHORT => {
                let key = cache::long_key(self.text, start, length, false);
                let home = self.cache.prepare_long(key);
                self.wait(Waiting { start, home, length: length as u16, inner: false });
            }
            _ => self.short(start, length, false),
        }
    }

    /// Encodes a part of a piece, not by way of the queue: those before it are written already.
    fn part(&mut self, start: usize, length: usize, inner: bool) {
        if length <= cache::SHORT {
            let key = cache::key(self.text, start, length, inner);
            self.new_short(key, start, length, inner);
            if self.gathered >= BLOCK {
                self.flush();
            }
        } else {
            self.merge(start, length, inner);
        }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.cache.block[..self.gathered]);
        self.gathered = 0;
        if self.failure.is_none() {
            self.failure = self.task.check().err();
        }
    }

    /// Appends the ids of a part that is not known; returns where they begin, or nothing when an
    /// error, now or before, ends the work.
    #[inline(never)]
    fn merge(&mut self, start: usize, length: usize, inner: bool) -> Option<usize> {
        self.flush();
        if self.failure.is_some() {
            return None;
        }
        let first = self.out.len();
        let piece = &self.text[start..start + length];
        let scratch = &mut self.cache.scratch;
        match merge_piece(self.model, piece, inner, scratch, self.task, self.out) {
            Ok(()) => Some(first),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }
}

/// Appends the ids of `piece`, which is a part of a piece when `inner`.
fn merge_piece(
    model: &Model,
    piece: &[u8],
    inner: bool,
    scratch: &mut merge::Scratch,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    // a token that merging would make of it anyway is found faster
    if ((model.rules.whole_first && !inner) || model.sound)
        && let Some(id) = model.vocabulary.find(piece)
    {
        out.push(id);
        return Ok(());
    }
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
