//! The documents of one partition, one after the other.

use std::sync::Arc;

use lslm_runtime::partition::{Partition, Segment};
use lslm_runtime::{Error, Result, Task};
use serde_json::value::RawValue;

use crate::corpus::Corpus;
use crate::documents::Documents;
use crate::input::Input;
use crate::options::Format;
use crate::statistics::{BadReason, Example, Statistics};
use crate::table::Rows;

/// One text with what is known about it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The text, well-formed after the policy of the reading.
    pub text: String,
    /// Its id, if its file gives one; a number as it is written there.
    pub id: Option<String>,
    /// The input that it comes from, as it was named or found.
    pub source: Arc<str>,
    /// A JSON object with the other fields, in their order and as they are written, if any.
    pub metadata: Option<Box<RawValue>>,
}

impl Document {
    /// A document with nothing but a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), id: None, source: Arc::from(""), metadata: None }
    }
}

/// What one step of reading finds.
#[derive(Debug)]
pub(crate) enum Found {
    Document { text: String, replaced: u64, id: Option<String>, metadata: Option<Box<RawValue>> },
    Bad { position: u64, reason: BadReason, detail: String },
}

#[derive(Debug)]
enum Source {
    Documents(Box<Documents>),
    Rows(Box<Rows>),
}

/// Reads the documents of one partition in order, with memory for the largest of them and buffers.
///
/// An iterator; after an error it has ended. Long work that must be stoppable calls
/// [`Reader::next_document`] instead.
#[derive(Debug)]
pub struct Reader {
    corpus: Corpus,
    segments: std::vec::IntoIter<Segment>,
    current: Option<(Segment, Source)>,
    statistics: Statistics,
    consumed: u64,
    task: Arc<Task>,
    finished: bool,
}

impl Reader {
    pub(crate) fn new(corpus: Corpus, partition: &Partition) -> Self {
        Self {
            corpus,
            segments: partition.segments.clone().into_iter(),
            current: None,
            statistics: Statistics::default(),
            consumed: 0,
            task: Arc::new(Task::default()),
            finished: false,
        }
    }

    /// What was met so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What was met, when nothing more is wanted.
    pub fn into_statistics(self) -> Statistics {
        self.statistics
    }

    /// How many bytes of the partition, as stored, are behind; at its end the partition's size.
    /// For a stream, whose size is not known, the bytes that were read.
    pub fn bytes_consumed(&self) -> u64 {
        let open = self.current.as_ref().map_or(0, |(segment, source)| {
            let consumed = match source {
                Source::Documents(documents) => documents.consumed(),
                Source::Rows(rows) => rows.consumed(),
            };
            if segment.size > 0 { consumed.min(segment.size) } else { consumed }
        });
        self.consumed + open
    }

    /// The next document, `None` after the last; stops soon when `task` is cancelled.
    ///
    /// Bad documents are counted and passed by; with [`strict`](crate::ReadOptions::strict) they
    /// are errors, as broken files always are.
    pub fn next_document(&mut self, task: &Task) -> Result<Option<Document>> {
        if self.finished {
            return Ok(None);
        }
        let result = self.step(task);
        self.finished = !matches!(result, Ok(Some(_)));
        result
    }

    fn step(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            let Some((segment, source)) = &mut self.current else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                let source = self.open(&segment, task)?;
                self.current = Some((segment, source));
                continue;
            };
            let found = match source {
                Source::Documents(documents) => documents.next(task)?,
                Source::Rows(rows) => rows.next(task)?,
            };
            let name = &input(&self.corpus, segment)?.name;
            match found {
                Some(Found::Document { text, replaced, id, metadata }) => {
                    self.statistics.count(&text, replaced);
                    return Ok(Some(Document { text, id, source: Arc::clone(name), metadata }));
                }
                Some(Found::Bad { position, detail, .. }) if self.corpus.options().strict => {
                    return Err(Error::format(&**name, position, detail));
                }
                Some(Found::Bad { position, reason, detail }) => {
                    let source = || name.to_string();
                    self.statistics.count_bad(reason, || Example {
                        source: source(),
                        position,
                        detail,
                    });
                    task.check()?;
                }
                None => {
                    // a stream has no size of its own
                    let size = self.bytes_consumed() - self.consumed;
                    if let Some((segment, _)) = self.current.take() {
                        self.consumed += if segment.size > 0 { segment.size } else { size };
                    }
                }
            }
        }
    }

    fn open(&self, segment: &Segment, task: &Task) -> Result<Source> {
        let input = input(&self.corpus, segment)?;
        let options = self.corpus.options();
        let range = segment.range.clone();
        Ok(match input.format {
            Format::Parquet => Source::Rows(Box::new(Rows::open(input, range, options)?)),
            Format::Text | Format::Jsonl => {
                Source::Documents(Box::new(Documents::open(input, range, options, task)?))
            }
        })
    }
}

fn input<'c>(corpus: &'c Corpus, segment: &Segment) -> Result<&'c Input> {
    corpus.inputs().get(segment.input).ok_or_else(|| {
        Error::invalid(format!(
            "the partition asks for input {}, but the corpus has {}: it belongs to another corpus",
            segment.input,
            corpus.inputs().len()
        ))
    })
}

impl Iterator for Reader {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        let task = Arc::clone(&self.task);
        self.next_document(&task).transpose()
    }
}
