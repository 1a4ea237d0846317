//! The call of a job in slices, which [`finish`](crate::finish()) repeats.

use std::path::{Path, PathBuf};

use lslm_corpus::{Corpus, ReadOptions};
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::clean::options::CleanOptions;
use crate::tokenize::options::TokenizeOptions;

/// The options of a job, by its verb.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobOptions {
    Clean(CleanOptions),
    Tokenize(TokenizeOptions),
}

/// What decided the plan of a job in slices, as it was given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) inputs: Vec<String>,
    /// The working directory, which relative paths begin at.
    folder: PathBuf,
    pub(crate) reading: ReadOptions,
    pub(crate) options: JobOptions,
    /// The number of slices.
    pub(crate) slices: usize,
}

impl Call {
    /// Returns the call of a job on `corpus` in so many slices.
    pub(crate) fn new(corpus: &Corpus, options: JobOptions, slices: usize) -> Result<Self> {
        Ok(Self {
            inputs: corpus.arguments().to_vec(),
            folder: working_directory()?,
            reading: corpus.options().clone(),
            options,
            slices,
        })
    }

    /// Returns an error if it has a relative path and was made in another working directory.
    pub(crate) fn check_folder(&self) -> Result<()> {
        let (dropped, dedup) = match &self.options {
            JobOptions::Clean(options) => (options.dropped.as_deref(), &options.dedup),
            JobOptions::Tokenize(options) => (None, &options.dedup),
        };
        let mut paths =
            self.inputs.iter().map(Path::new).chain(dropped).chain(dedup.against.as_deref());
        let here = working_directory()?;
        match paths.find(|path| path.is_relative()) {
            Some(path) if here != self.folder => Err(Error::invalid(format!(
                "{}: the job named this path in {}, and this is {}: run lslm finish there",
                path.display(),
                self.folder.display(),
                here.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().map_err(Error::io("."))
}
