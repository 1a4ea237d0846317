//! [`WordCounter`]: splits documents and counts the distinct pieces.

use std::path::{Path, PathBuf};

use lslm_runtime::{Result, Task, threads};

use super::hot_words::HotWords;
use super::spill::SpillFile;
use super::word_counts::WordCounts;
use super::word_table::WordTable;
use crate::pretokenize::Pattern;

/// Bytes of text between two checks of the task and of the memory limit: some milliseconds of work.
const CHECK_STRIDE: usize = if cfg!(test) { 1 << 10 } else { 1 << 21 };

/// Splits documents and counts their pieces; one for each thread.
///
/// ```
/// use lslm_bpe::pretokenize::Pattern;
/// use lslm_bpe::train::WordCounter;
/// use lslm_runtime::Task;
///
/// let task = Task::default();
/// let mut counter = WordCounter::new(&Pattern::named("gpt2").unwrap());
/// counter.add(b"the cat and the hat", &task)?;
/// let words = WordCounter::finish(vec![counter], 1, &task)?;
/// // "the", " cat", " and", " the", " hat"
/// assert_eq!(words.len(), 5);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct WordCounter {
    pattern: Pattern,
    table: WordTable,
    hot_words: HotWords,
    limit: Option<MemoryLimit>,
    spill: Option<SpillFile>,
}

/// The most bytes of a table, and the folder of the file that takes the rest.
#[derive(Debug)]
struct MemoryLimit {
    bytes: usize,
    folder: PathBuf,
}

impl WordCounter {
    /// Returns a counter without words.
    pub fn new(pattern: &Pattern) -> Self {
        Self {
            pattern: pattern.clone(),
            table: WordTable::default(),
            hot_words: HotWords::default(),
            limit: None,
            spill: None,
        }
    }

    /// Returns a counter that keeps about `bytes` bytes of words in memory, and the rest in
    /// temporary files in `folder`. The files have no names, so nothing remains of them after a
    /// crash.
    pub fn bounded(pattern: &Pattern, bytes: usize, folder: &Path) -> Self {
        Self { limit: Some(MemoryLimit { bytes, folder: folder.to_owned() }), ..Self::new(pattern) }
    }

    /// Counts the words of one document; no word crosses its ends.
    ///
    /// `task` is checked for cancellation only; the reader reports progress. After an error (the
    /// task is cancelled, or a file cannot be written) the counter must not be used.
    pub fn add(&mut self, document: &[u8], task: &Task) -> Result<()> {
        let mut start = 0;
        let mut next_check = CHECK_STRIDE;
        let mut result = task.check();
        self.pattern.for_each_batch(document, |ends| {
            if result.is_err() {
                return;
            }
            self.hot_words.add(&mut self.table, document, start, ends);
            start = ends.last().copied().unwrap_or(start);
            if start >= next_check {
                next_check = start + CHECK_STRIDE;
                result = task.check().and_then(|()| {
                    spill_if_full(self.limit.as_ref(), &mut self.table, &mut self.spill)
                });
            }
        });
        result?;
        spill_if_full(self.limit.as_ref(), &mut self.table, &mut self.spill)
    }

    /// Returns the bytes of memory that the words use.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Returns the sum of several counters, added up with `threads` threads.
    pub fn finish(mut counters: Vec<Self>, threads: usize, task: &Task) -> Result<WordCounts> {
        for counter in &mut counters {
            counter.hot_words.flush(&mut counter.table);
        }
        let Some(folder) = counters.iter().find(|counter| counter.spill.is_some()) else {
            let tables = counters.into_iter().map(|counter| counter.table).collect();
            return threads::pool(threads)?.install(|| WordCounts::sum(tables, task));
        };
        let folder = folder.limit.as_ref().map_or_else(PathBuf::new, |limit| limit.folder.clone());
        let mut files = Vec::with_capacity(counters.len());
        for mut counter in counters {
            task.check()?;
            let mut file = match counter.spill.take() {
                Some(file) => file,
                None => SpillFile::create(&folder)?,
            };
            file.take(&mut counter.table)?;
            files.push(file);
        }
        WordCounts::sum_files(files, &folder, task)
    }
}

/// Writes the table to the file and empties it, if it uses half of its limit or more: all its parts
/// double at about the same time.
fn spill_if_full(
    limit: Option<&MemoryLimit>,
    table: &mut WordTable,
    file: &mut Option<SpillFile>,
) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    if table.memory() <= limit.bytes / 2 {
        return Ok(());
    }
    let file = match file {
        Some(file) => file,
        None => file.insert(SpillFile::create(&limit.folder)?),
    };
    file.take(table)
}
