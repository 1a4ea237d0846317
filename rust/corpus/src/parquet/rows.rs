//! Reads the rows of Parquet row groups as documents.
//!
//! The columns are read without Arrow, so a text is copied once, from its page. The others are read
//! only where a record is kept.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use lslm_runtime::{Error, Result, Task};
use parquet::column::reader::ColumnReader;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::document::{Fields, Found, Record};
use crate::input::Input;
use crate::options::{ReadOptions, Utf8Policy};
use crate::parquet::column::LeafBatch;
use crate::parquet::footer::{self, catch_broken};
use crate::parquet::row::{ParquetRow, RowBatch};
use crate::parquet::schema::RowSchema;
use crate::statistics::BadReason;
use crate::utf8;

/// Rows that are decoded at a time; their bytes stay in the pages until they are copied, so a batch
/// costs little memory, and 256 spread the cost of a call.
const BATCH_ROWS: usize = 256;

/// Reads the rows of some row groups of one file.
pub(crate) struct RowReader {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    schema: Arc<RowSchema>,
    /// Whether documents have records.
    keep: bool,
    utf8: Utf8Policy,
    groups: Range<usize>,
    /// The readers of the open row group, by leaf: of the text, and of the others that are read.
    text_reader: Option<ColumnReader>,
    readers: Vec<Option<ColumnReader>>,
    /// The texts and the other values of the batch.
    texts: LeafBatch,
    batch: Arc<RowBatch>,
    /// Rows of the open row group that are not decoded yet.
    n_undecoded: usize,
    /// Rows of the batch, and the index of the next.
    batch_len: usize,
    next_row: usize,
    /// The number of the next row in the file, and of the first after the open row group.
    position: u64,
    group_end: u64,
    /// The documents of the open row group that were returned.
    group_documents: u64,
    progress: GroupProgress,
}

/// The progress in stored bytes, by row groups and by rows of the open one.
#[derive(Default)]
struct GroupProgress {
    /// Stored bytes of the row groups that are done.
    bytes_before: u64,
    /// Stored bytes and rows of the open row group.
    bytes: u64,
    rows: u64,
}

impl std::fmt::Debug for RowReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RowReader {
    /// Returns a reader of the row groups `range` of `input`, or of all of them. With `keep`, its
    /// documents have records.
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
        keep: bool,
    ) -> Result<Self> {
        let path = input.path();
        let reader = footer::open(path, input.file()?)?;
        let schema = match &input.schema {
            Some(schema) => Arc::clone(schema),
            None => Arc::new(RowSchema::new(path, reader.metadata().file_metadata(), options)?),
        };
        if schema.leaves.len() != reader.metadata().file_metadata().schema_descr().num_columns() {
            input.check_unchanged()?;
        }
        let n_groups = reader.metadata().num_row_groups();
        let groups = match range {
            None => 0..n_groups,
            Some(range) => (range.start as usize).min(n_groups)..(range.end as usize).min(n_groups),
        };
        let before = reader.metadata().row_groups()[..groups.start].iter();
        let position = before.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
        Ok(Self {
            path: path.to_owned(),
            reader,
            keep,
            utf8: options.utf8,
            groups,
            text_reader: None,
            readers: Vec::new(),
            texts: LeafBatch::new(&schema.leaves[schema.text]),
            batch: Arc::new(RowBatch::new(&schema)),
            schema,
            n_undecoded: 0,
            batch_len: 0,
            next_row: 0,
            position,
            group_end: position,
            group_documents: 0,
            progress: GroupProgress::default(),
        })
    }

    /// Returns the stored bytes that were read, in proportion to the rows.
    pub(crate) fn consumed(&self) -> u64 {
        let GroupProgress { bytes_before, bytes, rows } = self.progress;
        let left = (self.n_undecoded + self.batch_len - self.next_row) as u64;
        let done = u128::from(rows.saturating_sub(left));
        bytes_before + (u128::from(bytes) * done / u128::from(rows.max(1))) as u64
    }

    /// Returns the next document or bad document, or `None` after the last row.
    pub(crate) fn next(&mut self, task: &Task) -> Result<Option<Found>> {
        while self.next_row == self.batch_len {
            task.check()?;
            if self.n_undecoded > 0 {
                self.load_batch()?;
            } else if let Some(group) = self.groups.next() {
                self.open_group(group)?;
            } else {
                return Ok(None);
            }
        }
        let row = self.next_row;
        self.next_row += 1;
        let position = self.position;
        self.position += 1;
        let found = self.document(row, position);
        self.group_documents += u64::from(matches!(found, Found::Document { .. }));
        Ok(Some(found))
    }

    /// Returns the documents of the open row group that were returned.
    pub(crate) fn group_documents(&self) -> u64 {
        self.group_documents
    }

    /// Ends the open row group, whose other rows cannot be read.
    pub(crate) fn skip_group(&mut self) {
        (self.n_undecoded, self.batch_len, self.next_row) = (0, 0, 0);
        self.position = self.group_end;
    }

    fn open_group(&mut self, group: usize) -> Result<()> {
        let metadata = self.reader.metadata().row_group(group);
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        self.group_end += rows;
        self.group_documents = 0;
        self.progress = GroupProgress {
            bytes_before: self.progress.bytes_before + self.progress.bytes,
            bytes: footer::stored_bytes(metadata),
            rows,
        };
        let schema = &self.schema;
        (self.text_reader, self.readers) = catch_broken(&self.path, || {
            let group = self.reader.get_row_group(group)?;
            let mut readers = Vec::new();
            for index in 0..schema.leaves.len() {
                let is_read = index != schema.text && (self.keep || schema.id == Some(index));
                readers.push(is_read.then(|| group.get_column_reader(index)).transpose()?);
            }
            Ok((Some(group.get_column_reader(schema.text)?), readers))
        })?;
        self.n_undecoded = rows as usize;
        Ok(())
    }

    fn load_batch(&mut self) -> Result<()> {
        let rows = self.n_undecoded.min(BATCH_ROWS);
        let text = &self.schema.leaves[self.schema.text];
        let (batch, is_complete) = catch_broken(&self.path, || {
            let (batch, is_complete) = RowBatch::load(&self.schema, &mut self.readers, rows)?;
            let loaded = match &mut self.text_reader {
                Some(reader) => self.texts.load(text, reader, rows)?,
                None => 0,
            };
            Ok((batch, is_complete && loaded == rows))
        })?;
        if !is_complete {
            let reason =
                "broken Parquet (a column has fewer rows than its row group): get it again";
            return Err(Error::format(&self.path, None, reason));
        }
        self.batch = Arc::new(batch);
        self.n_undecoded -= rows;
        (self.batch_len, self.next_row) = (rows, 0);
        Ok(())
    }

    /// Returns the document of row `row` of the batch, which is row `position` of the file.
    fn document(&self, row: usize, position: u64) -> Found {
        let (_, values) = self.texts.row(row);
        if values.is_empty() {
            let detail = format!("the column {:?} is null", self.schema.text_key);
            return Found::Bad { position, reason: BadReason::NullText, detail };
        }
        match utf8::decode(self.texts.values.bytes(values.start).unwrap_or_default(), self.utf8) {
            Err(offset) => Found::Bad {
                position,
                reason: BadReason::IllFormedUtf8,
                detail: format!("not UTF-8, {offset} bytes into the text"),
            },
            Ok((text, replaced)) => Found::Document {
                replaced: replaced.count(),
                surplus: replaced.surplus(0..text.len()),
                text: text.into_owned(),
                id: self.batch.id(row),
                record: if self.keep {
                    Record(Fields::Row(ParquetRow { batch: Arc::clone(&self.batch), row }))
                } else {
                    Record::default()
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use lslm_runtime::partition::SplitPoints;

    use super::*;
    use crate::input::open_stream;

    #[test]
    fn parquet_from_a_stream_is_spooled_and_can_be_read_twice() {
        let bytes = include_bytes!("../../tests/data/foreign.parquet");
        let options = ReadOptions { text_key: "content".into(), ..ReadOptions::default() };
        let input = open_stream(Path::new("-"), io::Cursor::new(bytes), &options).unwrap();
        let split_points = &input.extent.split_points;
        assert!(matches!(split_points, SplitPoints::Units(units) if units.len() == 2));
        for _ in 0..2 {
            let mut rows = RowReader::open(&input, None, &options, true).unwrap();
            let mut count = 0;
            while rows.next(&Task::default()).unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 4);
        }
    }
}
