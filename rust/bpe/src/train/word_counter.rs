//! From documents to counted words.

use std::path::{Path, PathBuf};

use lslm_runtime::{Result, Task, threads};

use super::WordCounts;
use super::hot_words::Recent;
use super::spill::Runs;
use super::word_table::Table;
use crate::pretokenize::Pattern;

/// How many bytes of words are counted between two looks at the task and at the memory.
const STRIDE: usize = if cfg!(test) { 1 << 10 } else { 1 << 21 };

/// Splits documents and counts their pieces; one for each thread.
#[derive(Debug)]
pub struct WordCounter {
    pattern: Pattern,
    table: Table,
    recent: Recent,
    limit: Option<Limit>,
    runs: Option<Runs>,
}

#[derive(Debug)]
struct Limit {
    bytes: usize,
    folder: PathBuf,
}

impl WordCounter {
    /// A counter that has seen nothing.
    pub fn new(pattern: &Pattern) -> Self {
        Self {
            pattern: pattern.clone(),
            table: Table::default(),
            recent: Recent::default(),
            limit: None,
            runs: None,
        }
    }

    /// A counter that keeps its words in about `bytes` bytes of memory, and those that do not fit
    /// in files in `folder`. The files have no names, so nothing is left of them after a crash.
    pub fn bounded(pattern: &Pattern, bytes: usize, folder: &Path) -> Self {
        Self { limit: Some(Limit { bytes, folder: folder.to_owned() }), ..Self::new(pattern) }
    }

    /// Counts the words of one document; nothing is joined across its ends.
    ///
    /// Progress is the reader's to tell; `task` is only asked whether to stop. Fails when it is, or
    /// when a file cannot be written; the counter is of no use then.
    pub fn add(&mut self, document: &[u8], task: &Task) -> Result<()> {
        let mut start = 0;
        let mut look = STRIDE;
        let mut result = task.check();
        self.pattern.for_each_batch(document, |ends| {
            if result.is_err() {
                return;
            }
            self.recent.add(&mut self.table, document, start, ends);
            start = ends.last().copied().unwrap_or(start);
            if start >= look {
                look = start + STRIDE;
                result = task
                    .check()
                    .and_then(|()| spill(self.limit.as_ref(), &mut self.table, &mut self.runs));
            }
        });
        result?;
        spill(self.limit.as_ref(), &mut self.table, &mut self.runs)
    }

    /// The bytes of memory that the words use.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// What several counters have counted together.
    pub fn finish(mut counters: Vec<Self>, threads: usize, task: &Task) -> Result<WordCounts> {
        for counter in &mut counters {
            counter.recent.flush(&mut counter.table);
        }
        let Some(folder) = counters.iter().find(|counter| counter.runs.is_some()) else {
            let tables = counters.into_iter().map(|counter| counter.table).collect();
            return threads::pool(threads)?.install(|| WordCounts::sum(tables, task));
        };
        let folder = folder.limit.as_ref().map_or_else(PathBuf::new, |limit| limit.folder.clone());
        let mut runs = Vec::with_capacity(counters.len());
        for mut counter in counters {
            task.check()?;
            let mut run = match counter.runs.take() {
                Some(runs) => runs,
                None => Runs::create(&folder)?,
            };
            run.take(&mut counter.table)?;
            runs.push(run);
        }
        WordCounts::sum_runs(runs, &folder, task)
    }
}

/// Empties the table into a file when it has reached its limit.
fn spill(limit: Option<&Limit>, table: &mut Table, runs: &mut Option<Runs>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    // its parts are all about to double at about the same time
    if table.memory() <= limit.bytes / 2 {
        return Ok(());
    }
    let runs = match runs {
        Some(runs) => runs,
        None => runs.insert(Runs::create(&limit.folder)?),
    };
    runs.take(table)
}
