//! Reads CSV and TSV: the first row has the names of the columns, each other row is a document.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use lslm_runtime::{Error, Result, Task};

use crate::csv::row::{CsvHeader, CsvRow};
use crate::document::{Fields, Found, Record};
use crate::encoding::TextEncoding;
use crate::options::{ReadOptions, Utf8Policy};
use crate::statistics::BadReason;
use crate::stream::Stream;

/// Bytes of a file in which the delimiter is looked for.
const HEAD: usize = 8 << 10;

/// A stream as the csv crate reads it, and the error that ended it.
struct StreamReader {
    stream: Stream,
    error: Option<Error>,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let text = error.to_string();
            self.error = Some(error);
            io::Error::other(text)
        })
    }
}

/// Reads the rows of one file.
pub(crate) struct CsvReader {
    reader: csv::Reader<StreamReader>,
    header: Arc<CsvHeader>,
    row: ByteRecord,
    encoding: TextEncoding,
    utf8: Utf8Policy,
    /// Whether documents have their record.
    keep: bool,
}

impl std::fmt::Debug for CsvReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvReader").field("header", &self.header).finish_non_exhaustive()
    }
}

impl CsvReader {
    /// Returns a reader of a stream, which is at its start.
    pub(crate) fn of_stream(
        path: &Path,
        mut stream: Stream,
        encoding: TextEncoding,
        options: &ReadOptions,
        keep: bool,
    ) -> Result<Self> {
        let delimiter = delimiter(stream.peek(HEAD)?);
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .from_reader(StreamReader { stream, error: None });
        let mut row = ByteRecord::new();
        if !reader.read_byte_record(&mut row).map_err(|error| broken(path, &error))? {
            row.clear();
        }
        let header = Arc::new(CsvHeader::new(path, &row, encoding, options)?);
        Ok(Self { reader, header, row, encoding, utf8: options.utf8, keep })
    }

    /// Returns the stored bytes that were read.
    pub(crate) fn consumed(&self) -> u64 {
        self.reader.get_ref().stream.stored_bytes()
    }

    /// Returns the bytes after the end of gzip data, which are not read.
    pub(crate) fn trailing_bytes(&self) -> u64 {
        self.reader.get_ref().stream.trailing_bytes()
    }

    /// Returns the next document or bad document, or `None` after the last row.
    pub(crate) fn next(&mut self, path: &Path, task: &Task) -> Result<Option<Found>> {
        task.check()?;
        let position = self.reader.position().byte();
        match self.reader.read_byte_record(&mut self.row) {
            Ok(true) => Ok(Some(self.document(position))),
            Ok(false) => Ok(None),
            Err(error) => match error.kind() {
                ErrorKind::UnequalLengths { expected_len, len, .. } => Ok(Some(Found::Bad {
                    position,
                    reason: BadReason::UnevenRow,
                    detail: format!("{len} fields in a row, but {expected_len} columns"),
                })),
                // the stream's own error, or one of the csv crate
                _ => {
                    Err(self.reader.get_mut().error.take().unwrap_or_else(|| broken(path, &error)))
                }
            },
        }
    }

    fn document(&self, position: u64) -> Found {
        let field =
            |index: usize| self.encoding.decode(self.row.get(index).unwrap_or_default(), self.utf8);
        let (text, replaced) = match field(self.header.text) {
            Ok((text, replaced)) => (text.into_owned(), replaced),
            Err(offset) => {
                return Found::Bad {
                    position,
                    reason: BadReason::IllFormedUtf8,
                    detail: format!("not {}, {offset} bytes into the text", self.encoding.name()),
                };
            }
        };
        let value = |bytes: &[u8]| match self.encoding.decode(bytes, Utf8Policy::Replace) {
            Ok((value, _)) => value.into_owned(),
            Err(_) => String::new(),
        };
        let id = self.header.id.map(|index| value(self.row.get(index).unwrap_or_default()));
        let record = if self.keep {
            let text = self.header.text;
            let values = self.row.iter().enumerate();
            let values = values
                .map(|(index, bytes)| if index == text { String::new() } else { value(bytes) });
            let row = CsvRow { header: Arc::clone(&self.header), values: values.collect() };
            Record(Fields::Csv(Box::new(row)))
        } else {
            Record::default()
        };
        let surplus = replaced.surplus(0..text.len());
        Found::Document { text, replaced: replaced.count(), surplus, id, record }
    }
}

/// Returns the delimiter: the one of tab, comma and semicolon that is in the first line most often.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| memchr::memchr_iter(delimiter, line).count();
    // of equal counts the last is taken
    [b';', b'\t', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn broken(path: &Path, error: &csv::Error) -> Error {
    let position = error.position().map(csv::Position::byte);
    Error::format(path, position, format!("broken CSV ({error}): correct it"))
}
