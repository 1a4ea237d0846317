//! Reads the rows of Parquet row groups as documents.
//!
//! The columns are read without Arrow, so a text is copied once, from its page.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result, Task};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use crate::document::Found;
use crate::input::Input;
use crate::jsonl::read::members;
use crate::jsonl::write::ObjectBuilder;
use crate::options::{ReadOptions, Utf8Policy};
use crate::parquet::column::{ParquetColumn, ValueKind};
use crate::parquet::footer::{self, METADATA_COLUMN, catch_broken};
use crate::statistics::BadReason;
use crate::utf8;

/// Rows that are decoded at a time; their bytes stay in the pages until they are copied, so a batch
/// costs little memory, and 256 spread the cost of a call.
const BATCH_ROWS: usize = 256;

/// Reads the rows of some row groups of one file.
pub(crate) struct RowReader {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    columns: DocumentColumns,
    utf8: Utf8Policy,
    groups: Range<usize>,
    /// Rows of the open row group that are not decoded yet.
    n_undecoded: usize,
    /// Rows of the batch, and the index of the next.
    batch_len: usize,
    next_row: usize,
    /// The number of the next row in the file.
    position: u64,
    progress: GroupProgress,
}

/// The columns of a document.
struct DocumentColumns {
    text: ParquetColumn,
    id: Option<ParquetColumn>,
    metadata: Vec<ParquetColumn>,
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
    /// Returns a reader of the row groups `range` of `input`, or of all of them.
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
    ) -> Result<Self> {
        let path = input.path();
        let reader = footer::open(path, input.file()?)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = DocumentColumns::new(path, schema, options)?;
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
            columns,
            utf8: options.utf8,
            groups,
            n_undecoded: 0,
            batch_len: 0,
            next_row: 0,
            position,
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
        Ok(Some(self.columns.document(row, position, self.utf8)))
    }

    fn open_group(&mut self, group: usize) -> Result<()> {
        let metadata = self.reader.metadata().row_group(group);
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        self.progress = GroupProgress {
            bytes_before: self.progress.bytes_before + self.progress.bytes,
            bytes: footer::stored_bytes(metadata),
            rows,
        };
        catch_broken(&self.path, || {
            let group = self.reader.get_row_group(group)?;
            for column in self.columns.iter_mut() {
                column.reader = Some(group.get_column_reader(column.index)?);
            }
            Ok(())
        })?;
        self.n_undecoded = rows as usize;
        Ok(())
    }

    fn load_batch(&mut self) -> Result<()> {
        let rows = self.n_undecoded.min(BATCH_ROWS);
        let is_complete = catch_broken(&self.path, || {
            let mut is_complete = true;
            for column in self.columns.iter_mut() {
                is_complete &= column.load(rows)? == rows;
            }
            Ok(is_complete)
        })?;
        if !is_complete {
            let reason =
                "broken Parquet (a column has fewer rows than its row group): get it again";
            return Err(Error::format(&self.path, None, reason));
        }
        self.n_undecoded -= rows;
        (self.batch_len, self.next_row) = (rows, 0);
        Ok(())
    }
}

impl DocumentColumns {
    fn new(path: &Path, schema: &SchemaDescriptor, options: &ReadOptions) -> Result<Self> {
        let text_index = footer::text_column(path, schema, &options.text_key)?;
        let (mut text, mut id, mut metadata) = (None, None, Vec::new());
        for (index, descriptor) in schema.columns().iter().enumerate() {
            let Some(mut column) = ParquetColumn::new(index, descriptor) else { continue };
            if index == text_index {
                column.kind = ValueKind::Text;
                text = Some(column);
            } else if column.name == options.id_key && column.is_id() {
                id = Some(column);
            } else {
                metadata.push(column);
            }
        }
        // a column of strings whose logical type is not supported
        let text = text.ok_or_else(|| footer::no_strings(path, &options.text_key))?;
        Ok(Self { text, id, metadata })
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut ParquetColumn> {
        std::iter::once(&mut self.text).chain(&mut self.id).chain(&mut self.metadata)
    }

    /// Returns the document of row `row` of the batch, which is row `position` of the file.
    fn document(&mut self, row: usize, position: u64, policy: Utf8Policy) -> Found {
        let mut id = None;
        if let Some(column) = &mut self.id
            && let Some(index) = column.value_index(row)
        {
            id = match column.bytes(index) {
                Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                None => column.json(index),
            };
        }
        let mut metadata = ObjectBuilder::default();
        for column in &mut self.metadata {
            push_metadata(&mut metadata, column, row);
        }
        let Some(index) = self.text.value_index(row) else {
            let detail = format!("the column {:?} is null", self.text.name);
            return Found::Bad { position, reason: BadReason::NullText, detail };
        };
        match utf8::decode(self.text.bytes(index).unwrap_or_default(), policy) {
            Err(offset) => Found::Bad {
                position,
                reason: BadReason::IllFormedUtf8,
                detail: format!("not UTF-8, {offset} bytes into the text"),
            },
            Ok((text, replaced)) => Found::Document {
                text: text.into_owned(),
                replaced,
                id,
                metadata: metadata.finish(),
            },
        }
    }
}

/// Appends the value of a row to the metadata, if it can be JSON. An object of [`METADATA_COLUMN`]
/// is not nested: its members are appended.
fn push_metadata(metadata: &mut ObjectBuilder, column: &mut ParquetColumn, row: usize) {
    let value = match column.value_index(row) {
        None => Some("null".to_owned()),
        Some(index) => column.json(index),
    };
    let Some(value) = value else { return };
    if column.name == METADATA_COLUMN && column.kind == ValueKind::Json {
        match members(&value) {
            Ok(members) => {
                for (name, value) in members {
                    metadata.push(&name, value);
                }
                return;
            }
            Err(_) if value == "null" => return,
            Err(_) => {}
        }
    }
    metadata.push(&column.name, &value);
}

#[cfg(test)]
mod tests {
    use std::io;

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
            let mut rows = RowReader::open(&input, None, &options).unwrap();
            let mut count = 0;
            while rows.next(&Task::default()).unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 4);
        }
    }
}
