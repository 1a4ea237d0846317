//! The journal of a resumable job: its plan, and a record of each finished partition.
//!
//! While a job runs, its output folder has a folder `.progress/`: `plan.json` with the inputs and
//! options, and `00012.json` once partition 12 is finished and on the disk. A later run with the
//! same plan resumes after the finished partitions, and so does one that skips broken files after
//! one that ended at such a file. One with another plan is refused, since the output would mix
//! both. The folder is removed when the job ends.
//!
//! A job in slices has several processes at a time:
//!
//! ```text
//! join(plan, slice):
//!     alone in the folder?      compare or write plan.json and call.json; remove what a kill left
//!     lock the folder, shared   excludes a run of the whole job, and finish
//!     compare plan.json         again, for those who were never alone
//!     lock slice-3/             a second process with this slice is refused
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lslm_runtime::files::{remove_leftovers, write_atomically};
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::Call;
use crate::slice::Slice;

/// The name of the journal's folder in the output folder.
const FOLDER: &str = ".progress";
const PLAN: &str = "plan.json";
const CALL: &str = "call.json";
/// Time that a slice waits for others that begin. Comparing the plans of 100,000 inputs takes less
/// than a second on a local disk; a network file system may be several times slower.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Time between two attempts to lock the folder.
const RETRY: Duration = Duration::from_millis(20);

/// Which pass over the partitions a record belongs to: a job that deduplicates has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    First,
    Second,
}

/// Where a job writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) output: &'a Path,
    /// The folders of its files.
    pub(crate) folders: &'a [&'a Path],
    /// The files of which one exists once the job is finished.
    pub(crate) results: &'a [PathBuf],
}

/// The journal of a job on an output folder, which it holds locked.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    lock: FolderLock,
    /// The lock of the slice, if it is of one.
    _slice: Option<FolderLock>,
}

impl Journal {
    /// Starts the job `plan`, or resumes it.
    ///
    /// Returns an [`Error::Invalid`] when another process holds the folder, or when it has an
    /// unfinished job with another plan; the message names the first part of the plan that differs.
    pub(crate) fn open(target: Target<'_>, plan: &Value) -> Result<Self> {
        let lock = FolderLock::acquire(target.output)?;
        begin(target, plan)?;
        Ok(Self { folder: target.output.join(FOLDER), lock, _slice: None })
    }

    /// Starts the job `plan` in slices, or joins the processes that compute the others.
    ///
    /// Returns an [`Error::Invalid`] as [`Journal::open`] does, and when the job has another number
    /// of slices or another process computes this one.
    pub(crate) fn join(
        target: Target<'_>,
        plan: &Value,
        slice: Slice,
        call: &Call,
        task: &Task,
    ) -> Result<Self> {
        let output = target.output;
        let folder = output.join(FOLDER);
        let lock = share(target, plan, slice, call, task)?;
        compare(output, &read_json(&folder.join(PLAN))?, plan)?;
        let n_slices = read_json::<Call>(&folder.join(CALL))?.slices;
        if n_slices != slice.of() {
            return Err(Error::invalid(format!(
                "{}: has an unfinished job of {n_slices} slices, not {}: compute its slices, or all \
                 that is left by the same command without --partitions",
                output.display(),
                slice.of()
            )));
        }
        let Some(own) = FolderLock::try_acquire(&folder.join(format!("slice-{}", slice.index())))?
        else {
            return Err(Error::invalid(format!(
                "{}: another process is computing slice {slice}; wait for it or choose another \
                 slice",
                output.display()
            )));
        };
        Ok(Self { folder, lock, _slice: Some(own) })
    }

    /// Returns the partitions that are finished in the first pass.
    pub(crate) fn finished(&self) -> Result<BTreeSet<usize>> {
        let mut finished = BTreeSet::new();
        for entry in fs::read_dir(&self.folder).map_err(Error::io(&self.folder))? {
            let name = entry.map_err(Error::io(&self.folder))?.file_name();
            let index = name.to_str().and_then(|name| name.strip_suffix(".json"));
            finished.extend(index.and_then(|index| index.parse::<usize>().ok()));
        }
        Ok(finished)
    }

    /// Returns the journal's folder, for files that are removed when the job ends.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the record of partition `index` in a pass, or `None` if it is not finished.
    pub(crate) fn load<T: DeserializeOwned>(&self, pass: Pass, index: usize) -> Result<Option<T>> {
        let path = self.record_path(pass, index);
        if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
    }

    /// Records partition `index` as finished in a pass. All its files must be on the disk.
    pub(crate) fn record<T: Serialize>(&self, pass: Pass, index: usize, record: &T) -> Result<()> {
        write_json(&self.record_path(pass, index), record)
    }

    /// Ends the job: removes its folder and unlocks the output.
    pub(crate) fn close(self) -> Result<()> {
        // the plan first: after a kill in between, `open` ignores records without a plan
        let plan = self.folder.join(PLAN);
        fs::remove_file(&plan).map_err(Error::io(&plan))?;
        fs::remove_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        self.lock.release()
    }

    /// Ends a job without output: closes the journal, and removes the output folder if it is empty.
    pub(crate) fn discard(self, output: &Path) -> Result<()> {
        self.close()?;
        // refused for a folder that is not empty
        let _ = fs::remove_dir(output);
        Ok(())
    }

    fn record_path(&self, pass: Pass, index: usize) -> PathBuf {
        let name = match pass {
            Pass::First => format!("{index:05}.json"),
            Pass::Second => format!("{index:05}.second.json"),
        };
        self.folder.join(name)
    }
}

/// Locks the folder of a job in slices together with other slices; the first process also begins it.
fn share(
    target: Target<'_>,
    plan: &Value,
    slice: Slice,
    call: &Call,
    task: &Task,
) -> Result<FolderLock> {
    let Target { output, results, .. } = target;
    let call_path = output.join(FOLDER).join(CALL);
    task.begin("wait for the folder", "slices", None);
    let end = Instant::now() + MAX_WAIT;
    loop {
        task.check()?;
        if let Some(alone) = FolderLock::try_acquire(output)? {
            if !is_unfinished(output) && results.iter().any(|path| path.exists()) {
                return Err(is_finished(output));
            }
            begin(target, plan)?;
            let other = call_path.exists() && read_json::<Call>(&call_path)?.slices != slice.of();
            if !other {
                write_json(&call_path, call)?;
            }
            drop(alone);
        }
        // a job may end between both locks
        if let Some(shared) = FolderLock::try_share(output)?
            && is_unfinished(output)
        {
            return Ok(shared);
        }
        if Instant::now() > end {
            return Err(Error::invalid(format!(
                "{}: another process is writing all of this folder; wait for it or choose another \
                 output",
                output.display()
            )));
        }
        std::thread::sleep(RETRY);
    }
}

/// Compares `plan` with that of an unfinished job, or writes it, and removes what a kill left. The
/// caller holds the lock of the folder, and nobody else does.
fn begin(target: Target<'_>, plan: &Value) -> Result<()> {
    let folder = target.output.join(FOLDER);
    let path = folder.join(PLAN);
    if path.exists() {
        let mut earlier: Value = read_json(&path)?;
        // the partitions that are finished had no broken file
        if plan["reading"]["on_bad_file"] == "skip"
            && let Some(on_bad_file) = earlier.pointer_mut("/reading/on_bad_file")
        {
            *on_bad_file = "skip".into();
        }
        compare(target.output, &earlier, plan)?;
    } else if folder.exists() {
        // records of a job that was killed in `close`
        fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    write_json(&path, plan)?;
    let folders = target.folders.iter().filter(|folder| folder.exists());
    folders.copied().chain([target.output, &folder]).try_for_each(remove_leftovers)
}

/// Returns an error that names the first part in which two plans of a job on `output` differ.
fn compare(output: &Path, earlier: &Value, plan: &Value) -> Result<()> {
    let Some(part) = first_difference(earlier, plan) else { return Ok(()) };
    Err(Error::invalid(format!(
        "{}: has an unfinished job with another {part}; \
         repeat that command to finish it, or remove the folder to start again",
        output.display()
    )))
}

/// Returns the error of a job on a folder that has its result.
pub(crate) fn is_finished(output: &Path) -> Error {
    Error::invalid(format!(
        "{}: holds a finished job; choose another output or remove this one",
        output.display()
    ))
}

/// Returns the call of the job in slices that `output` has, and the journal's folder.
pub(crate) fn call_of(output: &Path) -> Result<(Call, PathBuf)> {
    let folder = output.join(FOLDER);
    let nothing = |what: &str| Err(Error::invalid(format!("{}: {what}", output.display())));
    match (is_unfinished(output), folder.join(CALL).exists()) {
        (true, true) => Ok((read_json(&folder.join(CALL))?, folder)),
        (true, false) => nothing(
            "has an unfinished job that was begun without --partitions: repeat that command to \
             finish it",
        ),
        (false, _) if output.exists() => nothing(
            "has no unfinished job, so there is nothing to finish; lslm inspect shows what it holds",
        ),
        (false, _) => nothing("there is no such folder; name the output of the slices"),
    }
}

/// Returns whether `output` has a job that is not finished.
pub(crate) fn is_unfinished(output: &Path) -> bool {
    output.join(FOLDER).join(PLAN).exists()
}

/// Removes what a job on `output` left that was killed after its result was written, before its
/// journal was removed.
pub(crate) fn remove_remains(output: &Path) -> Result<()> {
    let folder = output.join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let lock = FolderLock::acquire(output)?;
    fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    lock.release()
}

/// Returns the first key, in the order of `new`, whose value differs.
fn first_difference(old: &Value, new: &Value) -> Option<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| "plan".to_owned());
    };
    new.iter()
        .find(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .or_else(|| old.keys().find(|key| !new.contains_key(*key)).cloned())
}

/// Reads a JSON file that lslm wrote.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::format(
            path,
            None,
            format!("not the JSON of an lslm job ({error}): remove the folder to start again"),
        )
    })
}

/// Writes `value` atomically as an indented JSON file that ends with a line break.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
    bytes.push(b'\n');
    write_atomically(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open(output: &Path, plan: &Value) -> Result<Journal> {
        Journal::open(Target { output, folders: &[], results: &[] }, plan)
    }

    #[test]
    fn a_job_that_ended_at_a_broken_file_resumes_without_it_but_not_back() {
        let folder = tempfile::tempdir().unwrap();
        let plan = |on_bad_file, inputs| json!({"inputs": inputs, "reading": {"on_bad_file": on_bad_file}});
        let open = |plan| open(folder.path(), &plan);
        open(plan("error", "a")).unwrap().record(Pass::First, 0, &"done").unwrap();
        assert!(open(plan("skip", "b")).unwrap_err().to_string().contains("another inputs"));
        let journal = open(plan("skip", "a")).unwrap();
        assert_eq!(journal.load::<String>(Pass::First, 0).unwrap().as_deref(), Some("done"));
        drop(journal);
        assert!(open(plan("error", "a")).unwrap_err().to_string().contains("another reading"));
    }

    #[test]
    fn a_job_resumes_after_its_finished_partitions() {
        let folder = tempfile::tempdir().unwrap();
        let plan = json!({"inputs": ["a"], "vocab_size": 10});
        let journal = open(folder.path(), &plan).unwrap();
        journal.record(Pass::First, 3, &"done").unwrap();
        drop(journal);
        let journal = open(folder.path(), &plan).unwrap();
        let load = |pass, index| journal.load::<String>(pass, index).unwrap();
        assert_eq!(load(Pass::First, 3).as_deref(), Some("done"));
        assert_eq!((load(Pass::First, 4), load(Pass::Second, 3)), (None, None));
        journal.close().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn records_without_a_plan_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path(), &json!({"seed": 1})).unwrap();
        journal.record(Pass::First, 0, &"old").unwrap();
        fs::remove_file(journal.folder().join("plan.json")).unwrap();
        drop(journal);
        let journal = open(folder.path(), &json!({"seed": 2})).unwrap();
        assert_eq!(journal.load::<String>(Pass::First, 0).unwrap(), None);
    }

    #[test]
    fn another_plan_is_refused_with_the_part_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), &json!({"inputs": ["a"], "seed": 1})).unwrap());
        let error = open(folder.path(), &json!({"inputs": ["a"], "seed": 2})).unwrap_err();
        assert!(error.to_string().contains("another seed"), "{error}");
    }
}
