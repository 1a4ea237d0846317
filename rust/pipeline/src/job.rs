//! A resumable job over the partitions of a corpus: what [`clean`](crate::clean()) and
//! [`tokenize`](crate::tokenize()) have in common.
//!
//! ```text
//! job = open(plan)                 checks and locks the output; refuses an unfinished job of
//!                                  another plan
//! for each partition, on all threads:
//!     record = the journal's, if an earlier run finished the partition
//!              else run(partition), then journal it
//! require_documents(records)       an input without any document is an error
//! for each partition again:        with deduplication, which compares all of them in between
//!     record = run_again(partition)
//! …                                the caller writes what concerns all partitions
//! close()                          removes the journal; unlocks the output
//! ```

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lslm_corpus::{Corpus, Statistics};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::journal::{Journal, Pass};
use crate::output::{check_output, partitions};
use crate::reading::{begin, require_documents};

/// What the journal keeps of a finished partition.
pub(crate) trait PartitionRecord: Serialize + DeserializeOwned + Send {
    /// Returns the counts of the partition's reading.
    fn reading(&self) -> &Statistics;
}

/// A job on an output folder, which it holds locked.
pub(crate) struct Job<'a> {
    verb: &'static str,
    corpus: &'a Corpus,
    output: &'a Path,
    partitions: Vec<Partition>,
    journal: Journal,
    task: &'a Task,
}

impl<'a> Job<'a> {
    /// Starts the job `verb` of `corpus` on `output`, or resumes it.
    ///
    /// The plan is the corpus with its options, `options` (an object), the size of the partitions
    /// and the version of lslm. `files` are files that it writes, one of each folder. Errors are
    /// those of [`check_output`], [`partitions`] and [`Journal::open`].
    pub(crate) fn open(
        verb: &'static str,
        corpus: &'a Corpus,
        output: &'a Path,
        files: &[PathBuf],
        options: Value,
        partition_bytes: u64,
        task: &'a Task,
    ) -> Result<Self> {
        check_output(corpus, output, files)?;
        let partitions = partitions(corpus, partition_bytes)?;
        let mut plan = Map::new();
        plan.insert("verb".into(), verb.into());
        plan.insert("inputs".into(), inputs_of(corpus)?);
        plan.insert("reading".into(), json!(corpus.options()));
        if let Value::Object(options) = options {
            plan.extend(options);
        }
        plan.insert("partition_bytes".into(), partition_bytes.into());
        plan.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        let journal = Journal::open(output, &plan.into())?;
        Ok(Self { verb, corpus, output, partitions, journal, task })
    }

    /// Returns a folder for files that are needed until the job ends.
    pub(crate) fn folder(&self) -> &Path {
        self.journal.folder()
    }

    /// Runs `work` for each partition that an earlier run did not finish, and returns the records
    /// of all partitions in order.
    pub(crate) fn run<R: PartitionRecord>(
        &self,
        threads: usize,
        work: impl Fn(&Partition) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        begin(self.task, self.verb, self.corpus);
        self.run_pass(Pass::First, threads, Partition::size, work)
    }

    /// Runs the second pass of a job that has two. `size` is the size of a partition that was
    /// finished earlier, in the unit of the stage that the caller began.
    pub(crate) fn run_again<R: PartitionRecord>(
        &self,
        threads: usize,
        size: impl Fn(&Partition) -> u64 + Sync,
        work: impl Fn(&Partition) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        self.run_pass(Pass::Second, threads, size, work)
    }

    fn run_pass<R: PartitionRecord>(
        &self,
        pass: Pass,
        threads: usize,
        size: impl Fn(&Partition) -> u64 + Sync,
        work: impl Fn(&Partition) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        for_each_index(self.partitions.len(), threads, |index| {
            let partition = &self.partitions[index];
            if let Some(record) = self.journal.load(pass, index)? {
                self.task.advance(size(partition))?;
                return Ok(record);
            }
            let record = work(partition)?;
            self.journal.record(pass, index, &record)?;
            Ok(record)
        })
    }

    /// Ends the job with an error if no partition had a document.
    pub(crate) fn require_documents<R: PartitionRecord>(self, records: &[R]) -> Result<Self> {
        let readings = records.iter().map(PartitionRecord::reading);
        let checked = require_documents(self.corpus, readings);
        self.require(checked)
    }

    /// Ends the job if `checked` is an error, which it returns: a later job may start from nothing.
    pub(crate) fn require(self, checked: Result<()>) -> Result<Self> {
        match checked {
            Ok(()) => Ok(self),
            Err(error) => {
                self.journal.discard(self.output)?;
                Err(error)
            }
        }
    }

    /// Ends the job: removes its folder and unlocks the output.
    pub(crate) fn close(self) -> Result<()> {
        self.journal.close()
    }
}

/// Returns the inputs for the plan: name, size and time of the last change of each.
pub(crate) fn inputs_of(corpus: &Corpus) -> Result<Value> {
    let mut inputs = Vec::new();
    for input in corpus.inputs() {
        let mut changed = None;
        if input.path().is_file() {
            let metadata = std::fs::metadata(input.path()).map_err(Error::io(input.path()))?;
            // `None` on a file system without times, where the size must do
            let since =
                metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            changed = since.map(|since| since.as_nanos() as u64);
        }
        inputs.push(json!([**input.name(), input.size(), changed]));
    }
    Ok(inputs.into())
}
