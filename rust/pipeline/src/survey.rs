//! What documents there are, before anything is done with them.

use lslm_corpus::{Corpus, ReadOptions, Statistics};
use lslm_runtime::{Result, Task};
use serde::Serialize;

use crate::reading::begin;

/// What [`survey`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Survey {
    /// Documents that can be read.
    pub n_documents: u64,
    /// Bytes of their text.
    pub n_bytes: u64,
    /// What was read, with the bad documents.
    pub reading: Statistics,
    /// The first documents.
    pub samples: Vec<Sample>,
}

/// One of the first documents.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Its text.
    pub text: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// The file that it is from.
    pub source: String,
}

/// Reads all documents of `inputs`, counts them, and keeps the first `limit`.
pub fn survey(
    inputs: &[String],
    options: ReadOptions,
    limit: usize,
    task: &Task,
) -> Result<Survey> {
    let corpus = Corpus::open(inputs, options)?;
    begin(task, "read", &corpus);
    let mut reader = corpus.read_all();
    let mut samples = Vec::new();
    let mut counted = 0;
    while let Some(document) = reader.next_document(task)? {
        if samples.len() < limit {
            samples.push(Sample {
                text: document.text,
                id: document.id,
                source: document.source.to_string(),
            });
        }
        let consumed = reader.bytes_consumed();
        task.advance(consumed - counted)?;
        counted = consumed;
    }
    let reading = reader.into_statistics();
    Ok(Survey { n_documents: reading.documents, n_bytes: reading.bytes, reading, samples })
}
