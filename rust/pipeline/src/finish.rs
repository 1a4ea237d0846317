//! Ends a job whose partitions were computed in slices.

use std::path::Path;

use lslm_bpe::Tokenizer;
use lslm_corpus::Corpus;
use lslm_dataset::manifest::TOKENIZER;
use lslm_runtime::lock::FolderLock;
use lslm_runtime::{Error, Result, Task};

use crate::call::JobOptions;
use crate::clean::options::CleanOptions;
use crate::clean::{self, Cleaned};
use crate::job::Scope;
use crate::journal::call_of;
use crate::tokenize;
use crate::tokenize::options::TokenizeOptions;
use crate::tokenize::parts::Tokenized;

/// The result of a job that [`finish`] ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// Of [`clean_slice`](crate::clean_slice).
    Clean(Box<Cleaned>),
    /// Of [`tokenize_slice`](crate::tokenize_slice).
    Tokenize(Box<Tokenized>),
}

/// Ends the job in slices on `output`: does what concerns all partitions, and writes the files of the
/// whole job. They are the same bytes as those of one process.
///
/// Returns an [`Error::Invalid`] that names the missing partitions by slice, or that an input changed
/// since; the finished partitions stay.
///
/// ```
/// use lslm_clean::CleanConfig;
/// use lslm_corpus::{Corpus, ReadOptions};
/// use lslm_pipeline::{CleanOptions, DedupOptions, Finished, clean_slice, finish};
/// use lslm_runtime::Task;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// std::fs::write(folder.join("a.jsonl"), "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")?;
/// let input = folder.join("a.jsonl").display().to_string();
/// let corpus = Corpus::open(&[input], ReadOptions::default())?;
/// let options = CleanOptions {
///     clean: CleanConfig::profile("none")?,
///     dedup: DedupOptions::default(),
///     dropped: None,
///     annotate: false,
///     signals: false,
///     extension: "jsonl".into(),
///     partition_bytes: 13,
///     threads: Some(1),
/// };
/// let output = folder.join("clean");
/// let task = Task::default();
/// clean_slice(&corpus, &output, &options, "1/2".parse()?, &task)?;
/// let error = finish(&output, Some(1), &task).unwrap_err().to_string();
/// assert!(error.contains("1 of 2 partitions are missing, by slice: 2/2 (1)"));
/// clean_slice(&corpus, &output, &options, "2/2".parse()?, &task)?;
/// let Finished::Clean(cleaned) = finish(&output, Some(1), &task)? else { panic!() };
/// assert_eq!(cleaned.files, ["part-000000.jsonl", "part-000001.jsonl"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn finish(output: &Path, threads: Option<usize>, task: &Task) -> Result<Finished> {
    let (call, folder) = call_of(output)?;
    if FolderLock::try_acquire(output)?.is_none() {
        return Err(Error::invalid(format!(
            "{}: a process is still writing this folder; run lslm finish when all slices have ended",
            output.display()
        )));
    }
    call.check_folder()?;
    let corpus = Corpus::open(&call.inputs, call.reading)?;
    match call.options {
        JobOptions::Clean(options) => {
            let options = CleanOptions { threads, ..options };
            clean::run(&corpus, output, &options, Scope::Finish, task)
                .map(|made| Finished::Clean(Box::new(made)))
        }
        JobOptions::Tokenize(options) => {
            let options = TokenizeOptions { threads, ..options };
            let tokenizer = Tokenizer::load(folder.join(TOKENIZER))?;
            tokenize::run(&corpus, output, &tokenizer, &options, Scope::Finish, task)
                .map(|made| Finished::Tokenize(Box::new(made)))
        }
    }
}
