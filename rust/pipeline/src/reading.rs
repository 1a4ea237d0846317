//! Documents in chunks, with progress, for work that computes on one batch while the next is read.

use std::time::UNIX_EPOCH;

use lslm_corpus::{Corpus, Document, DocumentReader, Format, Statistics};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task};
use serde_json::{Value, json};

/// The text in a chunk, in bytes: enough that handing it to a thread costs nothing beside encoding
/// it, little enough that a thread which helps is done in a few milliseconds.
const CHUNK: usize = 128 << 10;
/// Chunks in a batch; a batch bounds the text in memory a thread, beside the largest document.
const CHUNKS: usize = 16;

/// Some documents of a partition, in order.
pub(crate) struct Chunk {
    /// The number of the first one within its partition.
    pub(crate) first: u64,
    pub(crate) documents: Vec<Document>,
}

/// An error if nothing was read at all: a wrong text key or an empty file is a slip, and a result
/// without any text would hide it.
pub(crate) fn some_document(corpus: &Corpus, parts: &[&Statistics]) -> Result<()> {
    let mut reading = Statistics::default();
    for part in parts {
        reading.merge(part);
    }
    if reading.documents > 0 {
        return Ok(());
    }
    let Some(first) = reading.bad.values().find_map(|bad| bad.examples.first()) else {
        let inputs = corpus.inputs();
        let others = match inputs.len() {
            1 => String::new(),
            count => format!(" and {} other inputs", count - 1),
        };
        let name = inputs.first().map_or("-", |input| input.name());
        return Err(Error::invalid(format!("{name}{others}: empty, there is no document to read")));
    };
    let of = corpus.inputs().iter().find(|input| **input.name() == *first.source);
    let bad = reading.bad_documents();
    let reason = format!("{}; none of {bad} documents can be used", first.detail);
    Err(match of.map(lslm_corpus::Input::format) {
        Some(Format::Parquet) => {
            Error::format(&first.source, None, format!("row {}: {reason}", first.position))
        }
        _ => Error::format(&first.source, first.position, reason),
    })
}

/// Reads the documents of a partition in batches of chunks.
pub(crate) struct Batches<'a> {
    reader: DocumentReader,
    task: &'a Task,
    documents: u64,
    counted: u64,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(corpus: &Corpus, partition: &Partition, task: &'a Task) -> Self {
        Self { reader: corpus.read(partition), task, documents: 0, counted: 0 }
    }

    /// The next batch; none at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<Chunk>> {
        let mut batch = Vec::new();
        while batch.len() < CHUNKS {
            let mut chunk = Chunk { first: self.documents, documents: Vec::new() };
            let mut size = 0;
            while size < CHUNK {
                let Some(document) = self.reader.next_document(self.task)? else { break };
                // an empty document weighs too, or a chunk of them would never be full
                size += document.text.len().max(64);
                chunk.documents.push(document);
            }
            self.count()?;
            if chunk.documents.is_empty() {
                break;
            }
            self.documents += chunk.documents.len() as u64;
            batch.push(chunk);
        }
        Ok(batch)
    }

    /// What was read, once [`Batches::next`] has returned none.
    pub(crate) fn into_statistics(self) -> Statistics {
        self.reader.into_statistics()
    }

    fn count(&mut self) -> Result<()> {
        let consumed = self.reader.bytes_consumed();
        let news = consumed - self.counted;
        self.counted = consumed;
        self.task.advance(news)
    }
}

/// Begins a stage that reads all of `corpus`; of a stream the size is not known.
pub(crate) fn begin(task: &Task, stage: &str, corpus: &Corpus) {
    let total = corpus.total_bytes();
    task.begin(stage, "bytes", (total > 0).then_some(total));
}

/// The inputs as a job's plan has them: name, size and time of the last change of each.
pub(crate) fn inputs_of(corpus: &Corpus) -> Result<Value> {
    let mut facts = Vec::new();
    for input in corpus.inputs() {
        let mut changed = None;
        if input.path().is_file() {
            let metadata = std::fs::metadata(input.path()).map_err(Error::io(input.path()))?;
            // a file system without times: the size alone must do
            let since =
                metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            changed = since.map(|since| since.as_nanos() as u64);
        }
        facts.push(json!([**input.name(), input.size(), changed]));
    }
    Ok(facts.into())
}
