//! The memory of a resumable job: which partitions are done, and what the job was.
//!
//! While a job runs its output folder holds `.progress/`: `plan.json` says what is being made from
//! what, and `00012.json` says that partition 12 is finished and on the disk. A later run with the
//! same plan goes on after the finished partitions; one with another plan is refused, since the
//! two would mix. When the job ends the folder goes away.

use std::fs;
use std::path::{Path, PathBuf};

use lslm_runtime::files::{remove_leftovers, write_atomically};
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FOLDER: &str = ".progress";

/// A job on an output folder, which it holds locked.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    lock: FolderLock,
}

impl Journal {
    /// Begins the job `plan` on `output`, or goes on with it.
    ///
    /// [`Error::Invalid`] when another process holds the folder or an unfinished job with another
    /// plan lies there; the message names the first part of the plan that differs.
    pub(crate) fn open(output: &Path, plan: &Value) -> Result<Self> {
        let lock = FolderLock::acquire(output)?;
        let folder = output.join(FOLDER);
        let path = folder.join("plan.json");
        if path.exists() {
            let earlier: Value = read_json(&path)?;
            if let Some(part) = first_difference(&earlier, plan) {
                return Err(Error::invalid(format!(
                    "{}: an unfinished job with another {part} lies there; \
                     repeat that command to finish it, or remove the folder to begin anew",
                    output.display()
                )));
            }
        } else {
            write_json(&path, plan)?;
        }
        remove_leftovers(output)?;
        remove_leftovers(&folder)?;
        Ok(Self { folder, lock })
    }

    /// Where the job may put files that are gone when it ends.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What [`Journal::record`] kept of partition `index`, if it is finished.
    pub(crate) fn load<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>> {
        let path = self.record_path(index);
        if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
    }

    /// Partition `index` is finished and all its files are on the disk.
    pub(crate) fn record<T: Serialize>(&self, index: usize, record: &T) -> Result<()> {
        write_json(&self.record_path(index), record)
    }

    /// The job is finished: takes its folder away and gives the output free.
    pub(crate) fn close(self) -> Result<()> {
        // a record without its plan is ignored, so the plan goes first
        let plan = self.folder.join("plan.json");
        fs::remove_file(&plan).map_err(Error::io(&plan))?;
        fs::remove_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        self.lock.release()
    }

    /// Ends a job that has made nothing: as [`Journal::close`], and an output without anything in
    /// it goes away too.
    pub(crate) fn discard(self, output: &Path) -> Result<()> {
        self.close()?;
        // a folder with something in it stays, and that is no error
        let _ = fs::remove_dir(output);
        Ok(())
    }

    fn record_path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index:05}.json"))
    }
}

/// The first key, in the order of `new`, whose value is not the same in both.
fn first_difference(old: &Value, new: &Value) -> Option<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| "plan".to_owned());
    };
    new.iter()
        .find(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .or_else(|| old.keys().find(|key| !new.contains_key(*key)).cloned())
}

/// Reads a JSON file of ours.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::format(path, None, format!("not the JSON that was expected: {error}"))
    })
}

/// Writes `value` as a JSON file, indented, with a line end, atomically.
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
    fn a_job_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let plan = json!({"inputs": ["a"], "vocab_size": 10});
        let journal = Journal::open(folder.path(), &plan).unwrap();
        journal.record(3, &"done").unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), &plan).unwrap();
        assert_eq!(journal.load::<String>(3).unwrap().as_deref(), Some("done"));
        assert_eq!(journal.load::<String>(4).unwrap(), None);
        journal.close().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_plan_is_refused_by_the_part_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        drop(Journal::open(folder.path(), &json!({"inputs": ["a"], "seed": 1})).unwrap());
        let error = Journal::open(folder.path(), &json!({"inputs": ["a"], "seed": 2})).unwrap_err();
        assert!(error.to_string().contains("another seed"), "{error}");
    }
}
