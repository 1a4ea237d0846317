//! Reads the documents of a partition in batches, with progress.

use lslm_clean::{Cleaner, StageRange};
use lslm_corpus::{Corpus, Document, DocumentReader, Format, Input, Statistics};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task};

/// Bytes of text in a chunk: enough that handing it to a thread costs nothing beside encoding it,
/// few enough that a helping thread finishes it in a few milliseconds.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks in a batch. A batch, with the largest document, bounds the text in memory per thread.
const BATCH_CHUNKS: usize = 16;
/// Bytes that a document counts at least, so that a chunk of empty ones is full at some point.
const MIN_DOCUMENT_BYTES: usize = 64;

/// Consecutive documents of a partition.
pub(crate) struct Chunk {
    /// The number of the partition.
    pub(crate) partition: u64,
    /// The number of the first document in the partition.
    pub(crate) first: u64,
    pub(crate) documents: Vec<Document>,
}

/// Reads the documents of a partition in batches of chunks.
pub(crate) struct Batches<'a> {
    reader: DocumentReader,
    task: &'a Task,
    partition: u64,
    /// The documents read so far.
    n_documents: u64,
    /// The bytes that the task counts as done.
    n_reported: u64,
}

impl<'a> Batches<'a> {
    /// Returns the batches of a partition; documents have text and id alone.
    pub(crate) fn new(corpus: &Corpus, partition: &Partition, task: &'a Task) -> Self {
        Self::of_reader(corpus.read(partition).without_records(), partition, task)
    }

    /// Returns the batches of a partition; documents have all fields of their records.
    pub(crate) fn with_records(corpus: &Corpus, partition: &Partition, task: &'a Task) -> Self {
        Self::of_reader(corpus.read(partition), partition, task)
    }

    /// Returns the batches of a partition; documents have all fields if a stage of `cleaner` compares
    /// one.
    pub(crate) fn for_cleaner(
        cleaner: &Cleaner,
        corpus: &Corpus,
        partition: &Partition,
        task: &'a Task,
    ) -> Self {
        match cleaner.url_key(StageRange::All) {
            Some(_) => Self::with_records(corpus, partition, task),
            None => Self::new(corpus, partition, task),
        }
    }

    /// Returns the batches of all documents of a corpus as those of `partition` of another; documents
    /// have all fields if `records`, else text and id alone.
    pub(crate) fn of_all(
        corpus: &Corpus,
        partition: &Partition,
        records: bool,
        task: &'a Task,
    ) -> Self {
        let reader = corpus.read_all();
        let reader = if records { reader } else { reader.without_records() };
        Self::of_reader(reader, partition, task)
    }

    fn of_reader(reader: DocumentReader, partition: &Partition, task: &'a Task) -> Self {
        Self { reader, task, partition: partition.index as u64, n_documents: 0, n_reported: 0 }
    }

    /// Returns the next batch, which is empty at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<Chunk>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_CHUNKS {
            let mut documents = Vec::new();
            let mut size = 0;
            while size < CHUNK_BYTES {
                let Some(document) = self.reader.next_document(self.task)? else { break };
                size += document.text.len().max(MIN_DOCUMENT_BYTES);
                documents.push(document);
            }
            self.report_progress()?;
            if documents.is_empty() {
                break;
            }
            let first = self.n_documents;
            self.n_documents += documents.len() as u64;
            batch.push(Chunk { partition: self.partition, first, documents });
        }
        Ok(batch)
    }

    /// Returns the counts of the reading.
    pub(crate) fn into_statistics(self) -> Statistics {
        self.reader.into_statistics()
    }

    fn report_progress(&mut self) -> Result<()> {
        let consumed = self.reader.bytes_consumed();
        let new = consumed - self.n_reported;
        self.n_reported = consumed;
        self.task.advance(new)
    }
}

/// Starts a stage that reads all of `corpus`. Its total is unknown if all inputs are streams.
pub(crate) fn begin(task: &Task, stage: &str, corpus: &Corpus) {
    let total = corpus.total_bytes();
    task.begin(stage, "bytes", (total > 0).then_some(total));
}

/// Returns an error if no partition had a document: a wrong text key or an empty file is a mistake,
/// which a result without text would hide. The error has the first bad document, if there is one.
pub(crate) fn require_documents<'s>(
    corpus: &Corpus,
    readings: impl Iterator<Item = &'s Statistics>,
) -> Result<()> {
    let mut all = Statistics::default();
    readings.for_each(|reading| all.merge(reading));
    if all.documents > 0 {
        return Ok(());
    }
    let Some(first) = all.bad.values().find_map(|bad| bad.examples.first()) else {
        let inputs = corpus.inputs();
        let others = match inputs.len() {
            1 => String::new(),
            count => format!(" and {} other inputs", count - 1),
        };
        let name = inputs.first().map_or("-", |input| input.name());
        return Err(Error::invalid(format!("{name}{others}: empty, there is no document to read")));
    };
    let input = corpus.inputs().iter().find(|input| **input.name() == *first.source);
    let n_bad = all.bad_documents();
    let reason = match n_bad {
        1 => format!("{}; the only document cannot be used", first.detail),
        _ => format!("{}; none of {n_bad} documents can be used", first.detail),
    };
    Err(match input.map(Input::format) {
        Some(Format::Parquet) => {
            Error::format(&first.source, None, format!("row {}: {reason}", first.position))
        }
        _ => Error::format(&first.source, first.position, reason),
    })
}
