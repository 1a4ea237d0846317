//! From documents to counted words.

use lslm_runtime::{Result, Task, threads};

use super::WordCounts;
use crate::split::Pattern;

/// How many bytes of words are counted between two looks at the task.
const STRIDE: usize = 1 << 22;

/// Splits documents and counts their pieces; one for each thread.
#[derive(Clone, Debug)]
pub struct WordCounter {
    pattern: Pattern,
    counts: WordCounts,
}

impl WordCounter {
    /// A counter that has seen nothing.
    pub fn new(pattern: &Pattern) -> Self {
        Self { pattern: pattern.clone(), counts: WordCounts::default() }
    }

    /// Counts the words of one document; nothing is joined across its ends.
    pub fn add(&mut self, document: &[u8]) {
        let counts = &mut self.counts;
        self.pattern.for_each(document, |word| {
            counts.add(word, 1);
        });
    }

    /// As [`Self::add`], and `task` hears of the bytes while they are done.
    pub fn add_watched(&mut self, document: &[u8], task: &Task) -> Result<()> {
        let counts = &mut self.counts;
        let (mut done, mut told) = (0, 0);
        let mut alive = task.check();
        self.pattern.for_each(document, |word| {
            done += word.len();
            if alive.is_ok() {
                counts.add(word, 1);
                if done - told >= STRIDE {
                    alive = task.advance((done - told) as u64);
                    told = done;
                }
            }
        });
        alive?;
        task.advance((document.len() - told) as u64)
    }

    /// The bytes of memory that the words use.
    pub fn memory(&self) -> usize {
        self.counts.memory()
    }

    /// What several counters have counted together.
    pub fn finish(counters: Vec<Self>, threads: usize) -> Result<WordCounts> {
        let tables = counters.into_iter().map(|counter| counter.counts).collect();
        Ok(threads::pool(threads)?.install(|| WordCounts::sum(tables)))
    }
}
