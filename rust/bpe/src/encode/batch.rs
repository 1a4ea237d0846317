//! Many texts in one call: on all threads, with the new pieces of one text merged along with those
//! of the next.

use std::ops::Range;

use lslm_runtime::parallel::in_order;
use lslm_runtime::{Result, Task, TokenId, threads};

use crate::added_tokens::Special;
use crate::encode::encoder::Encoder;
use crate::encode::workspace::Workspace;
use crate::post_processor::Template;
use crate::tokenizer::Tokenizer;

/// A batch of fewer bytes is encoded by the calling thread; starting others takes longer.
const MIN_PARALLEL_BYTES: usize = 1 << 16;

impl Tokenizer {
    /// Returns the ids of all `texts`, end to end, and the offsets where those of each text begin;
    /// the last offset is the number of ids.
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
        if threads == 1 || total < MIN_PARALLEL_BYTES {
            let (ids, ends) = self.encode_run(texts, special, task)?;
            offsets.extend(ends.into_iter().map(|end| end as i64));
            return Ok((ids, offsets));
        }
        // Several runs a thread, so that one long text at the end does not leave the others idle.
        let target = (total / (threads * 16)).max(MIN_PARALLEL_BYTES / 4);
        let runs = runs(texts, target);
        let mut ids = Vec::with_capacity(total / 4 + 8);
        let encode = |run: usize| self.encode_run(&texts[runs[run].clone()], special, task);
        in_order(runs.len(), threads, encode, |(part, ends): (Vec<TokenId>, Vec<usize>)| {
            offsets.extend(ends.iter().map(|end| (ids.len() + end) as i64));
            ids.extend_from_slice(&part);
        })?;
        Ok((ids, offsets))
    }

    /// Returns the ids of `texts`, and the index where those of each text end.
    fn encode_run<T: AsRef<[u8]>>(
        &self,
        texts: &[T],
        special: &Special,
        task: &Task,
    ) -> Result<(Vec<TokenId>, Vec<usize>)> {
        let total: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let mut ids = Vec::with_capacity(total / 4 + 8);
        let texts = texts.iter().map(AsRef::as_ref).inspect(|text: &&[u8]| {
            // The encoder checks for cancellation.
            let _ = task.advance(text.len() as u64);
        });
        let ends = self.with_workspace(|workspace| {
            let template = Template::default();
            self.encode_texts_into(texts, &template, special, workspace, task, &mut ids)
        })?;
        Ok((ids, ends))
    }

    /// Appends the ids of all `texts`, each with `template` around it, to `out`, and returns the
    /// index in `out` where those of each text end. `task` counts nothing, but can cancel.
    pub fn encode_texts_into<'t>(
        &self,
        texts: impl Iterator<Item = &'t [u8]>,
        template: &Template,
        special: &Special,
        workspace: &mut Workspace,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<Vec<usize>> {
        workspace.claim(self.0.number);
        let walk = self.walk(special);
        let mut encoder = Encoder::new(&self.0.model, workspace, task, out);
        for text in texts {
            template.before().iter().for_each(|&id| encoder.push(id));
            if let Err(error) = walk.encode(text, &mut encoder, None) {
                encoder.finish()?;
                return Err(error);
            }
            template.after().iter().for_each(|&id| encoder.push(id));
            encoder.mark();
            task.check()?;
        }
        encoder.finish()
    }
}

/// Returns ranges of `texts` of about `target` bytes each.
fn runs<T: AsRef<[u8]>>(texts: &[T], target: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, text) in texts.iter().enumerate() {
        size += text.as_ref().len();
        if size >= target {
            runs.push(start..i + 1);
            (start, size) = (i + 1, 0);
        }
    }
    if start < texts.len() {
        runs.push(start..texts.len());
    }
    runs
}
