//! Many texts in one call: on all cores, and with the new words of one text merged along with those
//! of the next.

use std::borrow::Cow;
use std::ops::Range;

use lslm_runtime::parallel::in_order;
use lslm_runtime::{Result, Task, threads};

use crate::TokenId;
use crate::added_tokens::Special;
use crate::encode::cache::Cache;
use crate::encode::encoder::Run;
use crate::tokenizer::Tokenizer;

/// Below this many bytes a batch is encoded by the thread that asks; starting others takes longer.
const WORTH_THREADS: usize = 1 << 16;

/// Ids that go before and behind those of each text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// before a text
    pub before: Option<TokenId>,
    /// behind a text
    pub behind: Option<TokenId>,
}

impl Tokenizer {
    /// The ids of all `texts`, one after the other, and where each text's begin; the last offset is
    /// the number of ids.
    ///
    /// The same for any number of `threads`, `None` being all cores. `task` counts bytes.
    pub fn encode_batch<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: &Special,
        threads: Option<usize>,
        task: &Task,
    ) -> Result<(Vec<TokenId>, Vec<i64>)> {
        let threads = threads::resolve(threads)?;
        let total: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        task.begin("encode", "bytes", Some(total as u64));
        let mut offsets = Vec::with_capacity(texts.len() + 1);
        offsets.push(0);
        if threads == 1 || total < WORTH_THREADS {
            let (ids, ends) = self.encode_run(texts, special, task)?;
            offsets.extend(ends.into_iter().map(|end| end as i64));
            return Ok((ids, offsets));
        }
        // several runs a thread, so that one long text at the end does not leave the others idle
        let target = (total / (threads * 16)).max(WORTH_THREADS / 4);
        let runs = runs(texts, target);
        let mut ids = Vec::with_capacity(total / 4 + 8);
        let encode = |run: usize| self.encode_run(&texts[runs[run].clone()], special, task);
        in_order(runs.len(), threads, encode, |(part, ends): (Vec<TokenId>, Vec<usize>)| {
            offsets.extend(ends.iter().map(|end| (ids.len() + end) as i64));
            ids.extend_from_slice(&part);
        })?;
        Ok((ids, offsets))
    }

    /// The ids of `texts`, and where each text's end.
    fn encode_run<T: AsRef<[u8]>>(
        &self,
        texts: &[T],
        special: &Special,
        task: &Task,
    ) -> Result<(Vec<TokenId>, Vec<usize>)> {
        let total: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let mut ids = Vec::with_capacity(total / 4 + 8);
        let texts = texts.iter().map(AsRef::as_ref).inspect(|text: &&[u8]| {
            // whether to stop is asked by the run
            let _ = task.advance(text.len() as u64);
        });
        let ends = self.with_cache(|cache| {
            self.encode_texts_into(texts, Frame::default(), special, cache, task, &mut ids)
        })?;
        Ok((ids, ends))
    }

    /// Appends the ids of all `texts`, each in its `frame`, to `out`, and returns where in `out` each
    /// text's end. `task` counts nothing, but may end it.
    pub fn encode_texts_into<'t>(
        &self,
        texts: impl Iterator<Item = &'t [u8]>,
        frame: Frame,
        special: &Special,
        cache: &mut Cache,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<Vec<usize>> {
        cache.claim(self.0.number);
        // where nothing but the pattern cuts
        let scanners = self.scanners(special);
        let alone = scanners.raw.is_none() && scanners.normalized.is_none();
        let pattern = self.0.pretokenizer.only_pattern().filter(|_| alone);
        let mut run = Run::new(&self.0.model, cache, task, out);
        for text in texts {
            frame.before.into_iter().for_each(|id| run.push(id));
            let normalized = pattern.map(|pattern| Ok((pattern, self.normalized(text)?)));
            match normalized.transpose()? {
                Some((pattern, Cow::Borrowed(text))) => {
                    run.text(text);
                    pattern.for_each_batch(text, |ends| run.pieces(ends));
                }
                Some((_, Cow::Owned(text))) => {
                    run.apart(|cache, out| self.encode_plain(&text, cache, task, out))?;
                }
                None => {
                    run.apart(|cache, out| self.encode_into_task(text, special, cache, task, out))?;
                }
            }
            frame.behind.into_iter().for_each(|id| run.push(id));
            run.end();
            task.check()?;
        }
        run.finish()
    }
}

/// Runs of `texts` of about `target` bytes.
fn runs<T: AsRef<[u8]>>(texts: &[T], target: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (place, text) in texts.iter().enumerate() {
        size += text.as_ref().len();
        if size >= target {
            runs.push(start..place + 1);
            (start, size) = (place + 1, 0);
        }
    }
    if start < texts.len() {
        runs.push(start..texts.len());
    }
    runs
}
