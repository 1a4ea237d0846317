//! Reads the documents of one partition, one after the other.

use std::sync::Arc;

use lslm_runtime::partition::{Partition, Segment};
use lslm_runtime::{Error, Result, Task};

use crate::corpus::Corpus;
use crate::csv::read::CsvReader;
use crate::document::{Document, Found};
use crate::input::Input;
use crate::options::{Format, OnBadFile};
use crate::parquet::rows::RowReader;
use crate::statistics::{BadDocument, BadFile, Statistics};
use crate::text::TextReader;

impl Corpus {
    /// Returns a reader of one partition. It opens no file before the first document is read.
    pub fn read(&self, partition: &Partition) -> DocumentReader {
        DocumentReader::new(self.clone(), partition)
    }

    /// Returns a reader of all documents in order.
    pub fn read_all(&self) -> DocumentReader {
        let inputs = self.inputs().iter().enumerate();
        let segments = inputs
            .map(|(index, input)| Segment { input: index, range: None, size: input.size() })
            .collect();
        self.read(&Partition { index: 0, segments })
    }
}

/// Reads the documents of one partition in order, with memory for the largest of them and buffers.
///
/// It is an iterator that ends after the first error. Work that must react to cancellation calls
/// [`DocumentReader::next_document`] instead.
///
/// ```
/// use lslm_corpus::{BadReason, Corpus, ReadOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let path = folder.join("a.jsonl");
/// std::fs::write(&path, "{\"text\": \"a\", \"year\": 1999}\n{\"title\": \"no text\"}\n")?;
/// let corpus = Corpus::open(&[path.display().to_string()], ReadOptions::default())?;
///
/// let mut reader = corpus.read_all();
/// let document = reader.next().unwrap()?;
/// assert_eq!(document.text, "a");
/// assert_eq!(document.metadata().unwrap(), "{\"year\":1999}");
/// assert!(reader.next().is_none());
/// assert_eq!(reader.statistics().bad[&BadReason::MissingText].documents, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DocumentReader {
    corpus: Corpus,
    segments: std::vec::IntoIter<Segment>,
    current: Option<(Segment, SegmentReader)>,
    statistics: Statistics,
    /// The stored bytes of the segments before the current one.
    consumed: u64,
    /// The task of the iterator, which is never cancelled.
    task: Arc<Task>,
    /// The documents since the start of the segment.
    segment_documents: u64,
    /// Whether documents have their record.
    keep: bool,
    finished: bool,
}

/// The reader of one segment, by the format of its input.
#[derive(Debug)]
enum SegmentReader {
    Text(Box<TextReader>),
    Csv(Box<CsvReader>),
    Parquet(Box<RowReader>),
}

impl SegmentReader {
    fn open(corpus: &Corpus, segment: &Segment, keep: bool, task: &Task) -> Result<Self> {
        let input = input_of(corpus, segment)?;
        let options = corpus.options();
        let range = segment.range.clone();
        Ok(match input.format() {
            Format::Csv => {
                let stream = input.stream(0, options)?;
                let (path, encoding) = (input.path(), input.encoding);
                Self::Csv(Box::new(CsvReader::of_stream(path, stream, encoding, options, keep)?))
            }
            Format::Parquet => {
                Self::Parquet(Box::new(RowReader::open(input, range, options, keep)?))
            }
            Format::Text | Format::Jsonl => {
                Self::Text(Box::new(TextReader::open(input, range, options, keep, task)?))
            }
        })
    }

    fn next(&mut self, input: &Input, task: &Task) -> Result<Option<Found>> {
        match self {
            Self::Text(reader) => reader.next(task),
            Self::Csv(reader) => reader.next(input.path(), task),
            Self::Parquet(reader) => reader.next(task),
        }
    }

    /// Adds what was skipped without being a document.
    fn count_skipped(&self, statistics: &mut Statistics) {
        match self {
            Self::Text(reader) => {
                statistics.trailing_bytes += reader.trailing_bytes();
                statistics.inner_marks += reader.inner_marks();
            }
            Self::Csv(reader) => statistics.trailing_bytes += reader.trailing_bytes(),
            Self::Parquet(_) => {}
        }
    }

    /// Returns the documents that count before a fault: of a stream all of the segment, of Parquet
    /// those of the row group, so that the number does not depend on partitions.
    fn documents_before_fault(&self, segment_documents: u64) -> u64 {
        match self {
            Self::Text(_) | Self::Csv(_) => segment_documents,
            Self::Parquet(reader) => reader.group_documents(),
        }
    }

    /// Moves after what is broken. Returns whether there is something to read: the next row group
    /// of Parquet; nothing of other formats.
    fn skip_broken(&mut self) -> bool {
        match self {
            Self::Text(_) | Self::Csv(_) => false,
            Self::Parquet(reader) => {
                reader.skip_group();
                true
            }
        }
    }

    fn consumed(&self) -> u64 {
        match self {
            Self::Text(reader) => reader.consumed(),
            Self::Csv(reader) => reader.consumed(),
            Self::Parquet(reader) => reader.consumed(),
        }
    }
}

impl DocumentReader {
    fn new(corpus: Corpus, partition: &Partition) -> Self {
        Self {
            corpus,
            segments: partition.segments.clone().into_iter(),
            current: None,
            statistics: Statistics::default(),
            consumed: 0,
            task: Arc::new(Task::default()),
            segment_documents: 0,
            keep: true,
            finished: false,
        }
    }

    /// Returns the reader without the records of documents, which takes less time and memory: they
    /// have text and id alone.
    #[must_use]
    pub fn without_records(mut self) -> Self {
        self.keep = false;
        self
    }

    /// Returns the counts of the documents so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Returns the counts, and ends the reading.
    pub fn into_statistics(self) -> Statistics {
        self.statistics
    }

    /// Returns the stored bytes of the partition that are done; at its end the partition's size.
    /// For a stream, whose size is unknown, the bytes that were read.
    pub fn bytes_consumed(&self) -> u64 {
        let open = self.current.as_ref().map_or(0, |(segment, reader)| {
            let consumed = reader.consumed();
            if segment.size > 0 { consumed.min(segment.size) } else { consumed }
        });
        self.consumed + open
    }

    /// Returns the next document, or `None` after the last; fails soon after `task` is cancelled.
    ///
    /// Bad documents are counted and skipped; with [`strict`](crate::ReadOptions::strict) they are
    /// errors. Broken files are errors or skipped, by [`OnBadFile`].
    pub fn next_document(&mut self, task: &Task) -> Result<Option<Document>> {
        if self.finished {
            return Ok(None);
        }
        let result = self.read_document(task);
        self.finished = !matches!(result, Ok(Some(_)));
        result
    }

    fn read_document(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            let Some((segment, reader)) = &mut self.current else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                self.segment_documents = 0;
                match SegmentReader::open(&self.corpus, &segment, self.keep, task) {
                    Ok(reader) => self.current = Some((segment, reader)),
                    Err(error) => {
                        self.skip_bad(&segment, 0, error)?;
                        self.consumed += segment.size;
                    }
                }
                continue;
            };
            let input = input_of(&self.corpus, segment)?;
            let found = match reader.next(input, task) {
                Ok(found) => found,
                Err(error) => {
                    let documents = reader.documents_before_fault(self.segment_documents);
                    let (segment, has_more) = (segment.clone(), reader.skip_broken());
                    self.skip_bad(&segment, documents, error)?;
                    if !has_more {
                        self.end_segment()?;
                    }
                    continue;
                }
            };
            let source = input.name();
            match found {
                Some(Found::Document { text, replaced, surplus, id, record }) => {
                    self.segment_documents += 1;
                    self.statistics.count(&text, replaced);
                    if !input.encoding.is_utf8() {
                        self.statistics.count_converted(input.encoding());
                    }
                    let source = Arc::clone(source);
                    let annotation = None;
                    return Ok(Some(Document { text, id, source, record, annotation, surplus }));
                }
                Some(Found::Bad { position, detail, .. }) if self.corpus.options().strict => {
                    return Err(Error::format(&**source, position, detail));
                }
                Some(Found::Bad { position, reason, detail }) => {
                    let source = || source.to_string();
                    self.statistics.count_bad(reason, || BadDocument {
                        source: source(),
                        position,
                        detail,
                    });
                    task.check()?;
                }
                None => self.end_segment()?,
            }
        }
    }

    /// Ends the current segment.
    fn end_segment(&mut self) -> Result<()> {
        // of a stream, what was read is the size
        let read = self.bytes_consumed() - self.consumed;
        let Some((segment, reader)) = self.current.take() else { return Ok(()) };
        input_of(&self.corpus, &segment)?.check_unchanged()?;
        reader.count_skipped(&mut self.statistics);
        self.consumed += if segment.size > 0 { segment.size } else { read };
        Ok(())
    }

    /// Lists the file of a segment as broken by `error`, which is returned unless bad files are
    /// skipped.
    fn skip_bad(&mut self, segment: &Segment, documents: u64, error: Error) -> Result<()> {
        if self.corpus.options().on_bad_file == OnBadFile::Error {
            return Err(error);
        }
        let source = input_of(&self.corpus, segment)?.name();
        self.statistics.bad_files.push(BadFile::of_error(source, documents, error)?);
        Ok(())
    }
}

fn input_of<'c>(corpus: &'c Corpus, segment: &Segment) -> Result<&'c Input> {
    corpus.inputs().get(segment.input).ok_or_else(|| {
        Error::invalid(format!(
            "the partition names input {}, but the corpus has {}: it belongs to another corpus",
            segment.input,
            corpus.inputs().len()
        ))
    })
}

impl Iterator for DocumentReader {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        let task = Arc::clone(&self.task);
        self.next_document(&task).transpose()
    }
}
