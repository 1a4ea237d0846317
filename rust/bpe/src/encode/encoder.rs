//! The loop that all text runs through: from the pieces of a text to ids.

use lslm_runtime::{Error, Result, Task};

use crate::TokenId;
use crate::encode::boundary::Cuts;
use crate::encode::cache::{self, Cache};
use crate::encode::interleaved::{self, Word};
use crate::encode::merge;
use crate::encode::model::{Model, NONE};
use crate::vocab::piece_key::{LongKey, PieceKey};

/// How many pieces are looked up at once.
const QUEUE: usize = 64;
/// Ids are appended to the output when there are more than these.
const FULL: usize = 4096;
/// Pieces that are cut are looked up when they have more parts than these.
const PARTS: usize = 256;
/// New words are encoded when there are more than these.
const MANY: usize = 128;
/// The size of the memory in which ids are gathered: what a queue may bring, and a little more,
/// since ids are written four, seven or sixteen at a time.
pub(crate) const ROOM: usize = FULL + (QUEUE + 1) * (PieceKey::MAX_LEN + 1);

/// One pass over texts that follow each other.
///
/// Pieces are handed over by where they end in the text, not as slices: most are read as a window
/// of 16 bytes, whatever their length, which takes no branch. Some of them at a time are prepared,
/// so that their places in the cache, which are spread over megabytes, are there when they are
/// looked up. What is new leaves a gap in the ids; many gaps are filled at once.
pub(crate) struct Run<'a, 't> {
    model: &'a Model,
    /// where pieces are cut; not when a piece that is a token goes before merging
    cuts: Option<&'a Cuts>,
    cache: &'a mut Cache,
    task: &'a Task,
    out: &'a mut Vec<TokenId>,
    /// where texts end in `out`
    ends: Vec<usize>,
    text: &'t [u8],
    /// where the next piece begins
    start: usize,
    /// ids in the cache's block
    gathered: usize,
    gaps: Vec<Gap<'t>>,
    failure: Option<Error>,
}

/// A new word among the ids that are gathered; without bytes, the end of a text.
#[derive(Clone, Copy, Debug)]
struct Gap<'t> {
    /// the ids before it
    at: usize,
    word: Word<'t>,
}

impl<'a, 't> Run<'a, 't> {
    pub(crate) fn new(
        model: &'a Model,
        cache: &'a mut Cache,
        task: &'a Task,
        out: &'a mut Vec<TokenId>,
    ) -> Self {
        let backtrack = model.backtrack.as_ref().filter(|_| !model.rules.whole_first);
        let cuts = backtrack.map(|backtrack| &backtrack.cuts);
        let (ends, gaps) = (Vec::new(), Vec::new());
        let (text, start, gathered) = (&[][..], 0, 0);
        Self { model, cuts, cache, task, out, ends, text, start, gathered, gaps, failure: None }
    }

    /// Begins a text, which pieces are of from now on.
    pub(crate) fn text(&mut self, text: &'t [u8]) {
        if self.cache.is_full() {
            self.flush();
            self.cache.clear();
        }
        (self.text, self.start) = (text, 0);
    }

    /// Adds an id.
    pub(crate) fn push(&mut self, id: TokenId) {
        if self.gathered >= FULL {
            self.flush();
        }
        self.cache.block[self.gathered] = id;
        self.gathered += 1;
    }

    /// Ends a text, with all ids that belong to it.
    pub(crate) fn end(&mut self) {
        self.gaps.push(Gap { at: self.gathered, word: Word::default() });
        if self.gaps.len() > MANY {
            self.flush();
        }
    }

    /// Has `f` add ids by itself.
    pub(crate) fn apart(
        &mut self,
        f: impl FnOnce(&mut Cache, &mut Vec<TokenId>) -> Result<()>,
    ) -> Result<()> {
        self.flush();
        f(self.cache, self.out)
    }

    /// Encodes the pieces that end at `ends`, the first of which begins where the last one ended.
    pub(crate) fn pieces(&mut self, ends: &[usize]) {
        let Some(cuts) = self.cuts else {
            self.parts::<false>(ends);
            return;
        };
        let whole = self.parts::<true>(ends);
        let mut parts = [0; PARTS];
        let mut count = 0;
        let mut start = self.start;
        for &end in &ends[whole..] {
            while start < end {
                if count == PARTS {
                    self.parts::<false>(&parts);
                    count = 0;
                }
                if cache::is_wide(self.text, start, end - start) {
                    (start, count) = cuts.ends(self.text, start, end, &mut parts, count);
                } else {
                    parts[count] = end;
                    count += 1;
                    start = end;
                }
            }
        }
        self.parts::<false>(&parts[..count]);
    }

    /// Encodes pieces, or parts of such, that end at `ends`; with `CUT` until one is to be cut.
    /// Returns how many.
    fn parts<const CUT: bool>(&mut self, ends: &[usize]) -> usize {
        let mut homes = [0; QUEUE];
        let mut done = 0;
        while done < ends.len() {
            let rest = &ends[done..];
            let count = self.cache.prepare::<CUT>(self.text, self.start, rest, &mut homes);
            if count > 0 {
                self.look_up(&rest[..count], &homes);
                done += count;
            }
            if count < QUEUE
                && let Some(&end) = ends.get(done)
            {
                let length = end - self.start;
                if CUT && cache::is_wide(self.text, self.start, length) {
                    break;
                }
                self.long(self.start, length);
                self.start = end;
                done += 1;
            }
            if self.gathered > FULL || self.gaps.len() > MANY {
                self.flush();
            }
        }
        done
    }

    /// Appends what is still gathered, and returns where texts ended; the first error, if there was
    /// one.
    pub(crate) fn finish(mut self) -> Result<Vec<usize>> {
        self.flush();
        self.failure.map_or(Ok(self.ends), Err)
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
            self.leave_gap(self.start, end - self.start);
            self.start = end;
            (ends, homes) = (&ends[known + 1..], &homes[known + 1..]);
        }
    }

    #[inline(always)]
    fn leave_gap(&mut self, start: usize, length: usize) {
        let word = Word { text: self.text, start, length, ..Word::default() };
        self.gaps.push(Gap { at: self.gathered, word });
    }

    /// Appends all that is gathered, with the new words in their gaps.
    fn fill_gaps(&mut self) {
        let mut gaps = std::mem::take(&mut self.gaps);
        let mut new = std::mem::take(&mut self.cache.new);
        for Gap { word, .. } in gaps.iter_mut().filter(|gap| gap.word.length > 0) {
            let piece = word.bytes();
            let first = new.len();
            if self.model.incomplete {
                self.merge(piece, &mut new);
            } else if self.model.rules.whole_first {
                new.extend(self.model.vocabulary.find(piece));
            } else {
                break;
            }
            (word.first, word.count) = (first, new.len() - first);
        }
        if !self.model.incomplete {
            let words = gaps.iter_mut().map(|gap| &mut gap.word);
            let words = words.filter(|word| word.length > 0 && word.count == 0);
            interleaved::merge(self.model, words, &mut new);
        }
        let mut first = 0;
        for gap in &gaps {
            let Word { text, start, length, .. } = gap.word;
            let ids = &new[gap.word.first..][..gap.word.count];
            self.out.extend_from_slice(&self.cache.block[first..gap.at]);
            self.out.extend_from_slice(ids);
            first = gap.at;
            if length == 0 {
                self.ends.push(self.out.len());
            } else if self.failure.is_none() && length > PieceKey::MAX_LEN {
                self.cache.insert_long(LongKey::read(text, start, length), ids);
            } else if self.failure.is_none() {
                self.cache.insert(PieceKey::read(text, start, length), ids);
            }
        }
        self.out.extend_from_slice(&self.cache.block[first..self.gathered]);
        gaps.clear();
        self.gaps = gaps;
        new.clear();
        self.cache.new = new;
    }

    /// Encodes a piece that does not belong into the first table.
    fn long(&mut self, start: usize, length: usize) {
        if length > LongKey::MAX_LEN {
            self.flush();
            let mut out = std::mem::take(self.out);
            self.merge(&self.text[start..start + length], &mut out);
            *self.out = out;
            return;
        }
        let key = LongKey::read(self.text, start, length);
        match self.cache.write_long(key, self.gathered) {
            Some(count) => self.gathered += count,
            None => self.leave_gap(start, length),
        }
    }

    fn flush(&mut self) {
        self.fill_gaps();
        self.gathered = 0;
        if self.failure.is_none() {
            self.failure = self.task.check().err();
        }
    }

    /// Appends the ids of `piece` to `out`, unless an error, now or before, ends the work.
    #[inline(never)]
    fn merge(&mut self, piece: &[u8], out: &mut Vec<TokenId>) {
        if self.failure.is_none() {
            let done = merge_piece(self.model, piece, self.cache, self.task, out);
            self.failure = done.err();
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
