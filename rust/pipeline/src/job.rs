//! A resumable job over the partitions of a corpus: what [`clean`](crate::clean()) and
//! [`tokenize`](crate::tokenize()) have in common.
//!
//! ```text
//! job = open(plan, scope)          checks and locks the output; refuses an unfinished job of
//!                                  another plan
//! for each partition in the scope, on all threads:
//!     record = the journal's, if an earlier run finished the partition
//!              else run(partition), then journal it
//! a slice ends here                another process runs the others; the journal stays
//! require_documents(records)       an input without any document is an error
//! for each partition again:        with deduplication, which compares all of them in between
//!     record = run_again(partition)
//! …                                the caller writes what concerns all partitions
//! close()                          removes the journal; unlocks the output
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lslm_corpus::{Corpus, Input, Statistics};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::call::{Call, JobOptions};
use crate::inputs::inputs_of;
use crate::journal::{Journal, Pass, Target, call_of};
use crate::output::{check_output, partitions};
use crate::reading::require_documents;
use crate::slice::{Slice, SliceCount};

/// Partitions, and slices, that an error lists.
const MAX_LISTED: usize = 8;

/// What the journal keeps of a finished partition.
pub(crate) trait PartitionRecord: Serialize + DeserializeOwned + Send {
    /// Returns the counts of the partition's reading.
    fn reading(&self) -> &Statistics;
}

/// Which partitions of a job a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that no earlier process finished.
    Whole,
    /// Those of a slice, beside other processes.
    Slice(Slice),
    /// None: all must be finished.
    Finish,
}

/// What a job does, and where it writes.
pub(crate) struct JobPlan<'a> {
    pub(crate) verb: &'static str,
    pub(crate) output: &'a Path,
    /// Files that it writes, one of each folder.
    pub(crate) files: Vec<PathBuf>,
    /// The files of which one exists once the job is finished.
    pub(crate) results: Vec<PathBuf>,
    /// What decides the output besides the corpus: an object.
    pub(crate) decisive: Value,
    pub(crate) options: JobOptions,
    pub(crate) partition_bytes: u64,
}

impl JobPlan<'_> {
    /// Returns what the journal compares: the corpus with its options, what decides the output, the
    /// size of the partitions and the version of lslm.
    fn to_value(&self, corpus: &Corpus) -> Result<Value> {
        let mut plan = Map::new();
        plan.insert("verb".into(), self.verb.into());
        plan.insert("inputs".into(), inputs_of(corpus)?);
        plan.insert("reading".into(), json!(corpus.options()));
        if let Value::Object(decisive) = &self.decisive {
            plan.extend(decisive.clone());
        }
        plan.insert("partition_bytes".into(), self.partition_bytes.into());
        plan.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        Ok(plan.into())
    }
}

/// A job on an output folder, which it holds locked.
pub(crate) struct Job<'a> {
    verb: &'static str,
    corpus: &'a Corpus,
    output: &'a Path,
    scope: Scope,
    partitions: Vec<Partition>,
    journal: Journal,
    task: &'a Task,
}

impl<'a> Job<'a> {
    /// Starts a job on `corpus`, or resumes it.
    ///
    /// Errors are those of [`check_output`], [`partitions`], [`Journal::open`] and
    /// [`Journal::join`], and of a slice of a corpus that only one process can read.
    pub(crate) fn open(
        corpus: &'a Corpus,
        plan: JobPlan<'a>,
        scope: Scope,
        task: &'a Task,
    ) -> Result<Self> {
        check_output(corpus, plan.output, &plan.files)?;
        let partitions = partitions(corpus, plan.partition_bytes)?;
        let value = plan.to_value(corpus)?;
        let JobPlan { verb, output, files, results, options, .. } = plan;
        let folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        let target = Target { output, folders: &folders, results: &results };
        let journal = match scope {
            Scope::Whole | Scope::Finish => Journal::open(target, &value)?,
            Scope::Slice(slice) => {
                check_files(corpus)?;
                let call = Call::new(corpus, options, slice.of())?;
                Journal::join(target, &value, slice, &call, task)?
            }
        };
        Ok(Self { verb, corpus, output, scope, partitions, journal, task })
    }

    /// Returns a folder for files that are needed until the job ends.
    pub(crate) fn folder(&self) -> &Path {
        self.journal.folder()
    }

    /// Runs `work` for each partition of the scope that an earlier run did not finish, and returns the
    /// records of all partitions of the scope with their indices, in order.
    ///
    /// In a slice, a broken input costs the partitions that read it; the error comes after the others.
    pub(crate) fn run<R: PartitionRecord>(
        &self,
        threads: usize,
        work: impl Fn(&Partition) -> Result<R> + Sync,
    ) -> Result<Vec<(usize, R)>> {
        let own = |partition: &&Partition| match self.scope {
            Scope::Whole | Scope::Finish => true,
            Scope::Slice(slice) => slice.contains(partition.index),
        };
        let own: Vec<&Partition> = self.partitions.iter().filter(own).collect();
        if self.scope == Scope::Finish {
            self.require_all()?;
        }
        let total: u64 = own.iter().map(|partition| partition.size()).sum();
        self.task.begin(self.verb, "bytes", (total > 0).then_some(total));
        let faults = Mutex::new(BTreeMap::new());
        let records = for_each_index(own.len(), threads, |at| {
            let partition = own[at];
            match self.run_one(Pass::First, partition, Partition::size, &work) {
                Err(fault @ Error::Format { .. }) if matches!(self.scope, Scope::Slice(_)) => {
                    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
                    faults.insert(partition.index, fault);
                    Ok(None)
                }
                result => result.map(|record| Some((partition.index, record))),
            }
        })?;
        let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        match faults.pop_first() {
            Some((first, fault)) => {
                let missing: Vec<usize> = [first].into_iter().chain(faults.into_keys()).collect();
                Err(with_count(fault, &missing, own.len()))
            }
            None => Ok(records.into_iter().flatten().collect()),
        }
    }

    /// Returns an error that names the slices with partitions that are missing, if there are any.
    fn require_all(&self) -> Result<()> {
        let finished = self.journal.finished()?;
        let of = call_of(self.output)?.0.slices;
        let mut missing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let indices = 0..self.partitions.len();
        for partition in indices.filter(|partition| !finished.contains(partition)) {
            let slice = Slice::of_partition(partition, of);
            missing.entry(slice.index()).or_default().push(partition);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let n_missing: usize = missing.values().map(Vec::len).sum();
        let slices = missing
            .iter()
            .map(|(index, partitions)| format!("{index}/{of} ({})", listed(partitions)));
        Err(Error::invalid(format!(
            "{}: {n_missing} of {} partitions are missing, by slice: {}; run these slices again, or \
             all that is left by the same command without --partitions",
            self.output.display(),
            self.partitions.len(),
            listed(&slices.collect::<Vec<_>>()),
        )))
    }

    /// Returns how much of the job this process was, if it is a slice.
    pub(crate) fn slice_count(&self) -> Result<Option<SliceCount>> {
        let Scope::Slice(slice) = self.scope else { return Ok(None) };
        let finished = self.journal.finished()?;
        let n_partitions_total = self.partitions.len();
        let indices = 0..n_partitions_total;
        Ok(Some(SliceCount {
            slice,
            n_partitions: indices.clone().filter(|index| slice.contains(*index)).count(),
            n_partitions_total,
            n_partitions_left: indices.filter(|index| !finished.contains(index)).count(),
        }))
    }

    /// Runs the second pass of a job that has two. `size` is the size of a partition that was
    /// finished earlier, in the unit of the stage that the caller began.
    pub(crate) fn run_again<R: PartitionRecord>(
        &self,
        threads: usize,
        size: impl Fn(&Partition) -> u64 + Sync,
        work: impl Fn(&Partition) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        for_each_index(self.partitions.len(), threads, |index| {
            self.run_one(Pass::Second, &self.partitions[index], &size, &work)
        })
    }

    /// Returns the record of a partition: the journal's, or else that of `work`, which it journals.
    fn run_one<R: PartitionRecord>(
        &self,
        pass: Pass,
        partition: &Partition,
        size: impl Fn(&Partition) -> u64,
        work: impl Fn(&Partition) -> Result<R>,
    ) -> Result<R> {
        if let Some(record) = self.journal.load(pass, partition.index)? {
            self.task.advance(size(partition))?;
            return Ok(record);
        }
        let record = work(partition)?;
        self.journal.record(pass, partition.index, &record)?;
        Ok(record)
    }

    /// Ends the job with an error if no partition had a document.
    pub(crate) fn require_documents<R: PartitionRecord>(
        self,
        records: &[(usize, R)],
    ) -> Result<Self> {
        let readings = records.iter().map(|(_, record)| record.reading());
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

/// Returns an error if `corpus` has an input that only one process can read.
fn check_files(corpus: &Corpus) -> Result<()> {
    let is_once = |input: &&Input| input.is_stream() || input.path() == Path::new("-");
    let what = match corpus.inputs().iter().find(is_once) {
        _ if corpus.arguments().is_empty() => "texts in memory".to_owned(),
        Some(input) if input.path() == Path::new("-") => "standard input".to_owned(),
        Some(input) => input.path().display().to_string(),
        None => return Ok(()),
    };
    Err(Error::invalid(format!(
        "{what}: one process alone can read it, and slices are several; write it to a file first, or \
         leave partitions (--partitions) out"
    )))
}

/// Returns `fault` with the partitions of a slice that are missing because of it and of others like it.
fn with_count(fault: Error, missing: &[usize], n_partitions: usize) -> Error {
    let Error::Format { path, offset, reason } = fault else { return fault };
    let which = if missing.len() == 1 { "partition" } else { "partitions" };
    let reason = format!(
        "{which} {} not written, {} of this slice finished: {reason}",
        listed(missing),
        n_partitions - missing.len()
    );
    Error::Format { path, offset, reason }
}

/// Returns values as text, the first few if there are many.
fn listed(values: &[impl ToString]) -> String {
    let mut shown: Vec<String> = values.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    if values.len() > MAX_LISTED {
        shown.push(format!("… {} in all", values.len()));
    }
    shown.join(", ")
}
