//! The journal of a resumable job: its plan, and a record of each finished partition.
//!
//! While a job runs, its output folder has a folder `.progress/`: `plan.json` with the inputs and
//! options, and `00012.json` once partition 12 is finished and on the disk. A later run with the
//! same plan resumes after the finished partitions, and so does one that skips broken files after
//! one that ended at such a file. One with another plan is refused, since the output would mix
//! both. The folder is removed when the job ends.

use std::fs;
use std::path::{Path, PathBuf};

use lslm_runtime::files::{remove_leftovers, write_atomically};
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The name of the journal's folder in the output folder.
const FOLDER: &str = ".progress";

/// Which pass over the partitions a record belongs to: a job that deduplicates has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    First,
    Second,
}

/// The journal of a job on an output folder, which it holds locked.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    lock: FolderLock,
}

impl Journal {
    /// Starts the job `plan` on `output`, or resumes it.
    ///
    /// Returns an [`Error::Invalid`] when another process holds the folder, or when it has an
    /// unfinished job with another plan; the message names the first part of the plan that differs.
    pub(crate) fn open(output: &Path, plan: &Value) -> Result<Self> {
        let lock = FolderLock::acquire(output)?;
        let folder = output.join(FOLDER);
        let path = folder.join("plan.json");
        if path.exists() {
            let mut earlier: Value = read_json(&path)?;
            // the partitions that are finished had no broken file
            if plan["reading"]["on_bad_file"] == "skip"
                && let Some(on_bad_file) = earlier.pointer_mut("/reading/on_bad_file")
            {
                *on_bad_file = "skip".into();
            }
            if let Some(part) = first_difference(&earlier, plan) {
                return Err(Error::invalid(format!(
                    "{}: has an unfinished job with another {part}; \
                     repeat that command to finish it, or remove the folder to start again",
                    output.display()
                )));
            }
        } else if folder.exists() {
            // records of a job that was killed in `close`
            fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        write_json(&path, plan)?;
        remove_leftovers(output)?;
        remove_leftovers(&folder)?;
        Ok(Self { folder, lock })
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
        let plan = self.folder.join("plan.json");
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

/// Returns whether `output` has a job that is not finished.
pub(crate) fn is_unfinished(output: &Path) -> bool {
    output.join(FOLDER).join("plan.json").exists()
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

    #[test]
    fn a_job_that_ended_at_a_broken_file_resumes_without_it_but_not_back() {
        let folder = tempfile::tempdir().unwrap();
        let plan = |on_bad_file, inputs| json!({"inputs": inputs, "reading": {"on_bad_file": on_bad_file}});
        let open = |plan| Journal::open(folder.path(), &plan);
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
        let journal = Journal::open(folder.path(), &plan).unwrap();
        journal.record(Pass::First, 3, &"done").unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), &plan).unwrap();
        let load = |pass, index| journal.load::<String>(pass, index).unwrap();
        assert_eq!(load(Pass::First, 3).as_deref(), Some("done"));
        assert_eq!((load(Pass::First, 4), load(Pass::Second, 3)), (None, None));
        journal.close().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn records_without_a_plan_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), &json!({"seed": 1})).unwrap();
        journal.record(Pass::First, 0, &"old").unwrap();
        fs::remove_file(journal.folder().join("plan.json")).unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), &json!({"seed": 2})).unwrap();
        assert_eq!(journal.load::<String>(Pass::First, 0).unwrap(), None);
    }

    #[test]
    fn another_plan_is_refused_with_the_part_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        drop(Journal::open(folder.path(), &json!({"inputs": ["a"], "seed": 1})).unwrap());
        let error = Journal::open(folder.path(), &json!({"inputs": ["a"], "seed": 2})).unwrap_err();
        assert!(error.to_string().contains("another seed"), "{error}");
    }
}
