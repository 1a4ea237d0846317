//! Documents in a Parquet file: one a row, row groups as units of work.
//!
//! The columns are read as they are, without Arrow: a text is copied once, from its page.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result, Task, panics};
use parquet::basic::Type as Physical;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::input::Input;
use crate::json::{self, Metadata};
use crate::options::{ReadOptions, Utf8Policy};
use crate::reader::Found;
use crate::statistics::BadReason;
use crate::utf8;

mod column;
mod value;

use column::{Column, Meaning};

/// How many rows are decoded at a time; their bytes stay in the pages until they are used.
const BATCH: usize = 256;

/// The name of the column in which a writer of ours keeps the other fields.
pub(crate) const METADATA: &str = "metadata";

/// Calls the parquet crate, which answers some broken files with a panic.
fn guarded<T>(path: &Path, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let broken =
        |what: String| Error::format(path, None, format!("broken Parquet ({what}): get it again"));
    match panics::catch(call) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(broken(error.to_string())),
        None => Err(broken("its pages contradict each other".into())),
    }
}

fn open(path: &Path, file: File) -> Result<SerializedFileReader<File>> {
    guarded(path, || SerializedFileReader::new(file))
}

/// The stored bytes of each row group; an error if the text column is not there.
pub(crate) fn row_group_sizes(path: &Path, file: &File, options: &ReadOptions) -> Result<Vec<u64>> {
    let file = file.try_clone().map_err(Error::io(path))?;
    let reader = open(path, file)?;
    text_column(path, reader.metadata().file_metadata().schema_descr(), &options.text_key)?;
    let size = |group: &parquet::file::metadata::RowGroupMetaData| {
        u64::try_from(group.compressed_size()).unwrap_or(0).max(1)
    };
    guarded(path, || Ok(reader.metadata().row_groups().iter().map(size).collect()))
}

fn text_column(path: &Path, schema: &SchemaDescriptor, key: &str) -> Result<usize> {
    let name = |column: &ColumnDescriptor| column.path().string();
    let Some(place) = schema.columns().iter().position(|column| name(column) == key) else {
        let names: Vec<String> = schema.columns().iter().map(|column| name(column)).collect();
        return Err(Error::format(
            path,
            None,
            format!("no column {key:?}; name one of {} as the text key", names.join(", ")),
        ));
    };
    let column = &schema.columns()[place];
    let is_text = matches!(column.physical_type(), Physical::BYTE_ARRAY);
    if column.max_rep_level() > 0 || !is_text {
        return Err(Error::format(
            path,
            None,
            format!("the column {key:?} holds no strings; name another text key"),
        ));
    }
    Ok(place)
}

/// The rows of some row groups of one file.
pub(crate) struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    text: Column,
    id: Option<Column>,
    others: Vec<Column>,
    utf8: Utf8Policy,
    groups: Range<usize>,
    /// Rows of the open row group that are not decoded yet.
    left: usize,
    /// Rows of the batch, and the next of them.
    batch: usize,
    row: usize,
    /// The next row's number in the file.
    position: u64,
    /// For the progress: stored bytes of the groups that are done, and of the open one, with its rows.
    consumed: u64,
    group_bytes: u64,
    in_group: u64,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Rows {
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
    ) -> Result<Self> {
        let path = input.path();
        let reader = open(path, input.file()?)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let place = text_column(path, schema, &options.text_key)?;
        let (mut text, mut id, mut others) = (None, None, Vec::new());
        for (index, descriptor) in schema.columns().iter().enumerate() {
            let Some(mut column) = Column::new(index, descriptor) else {
                if index == place {
                    return Err(Error::format(
                        path,
                        None,
                        format!("the column {:?} holds no strings", options.text_key),
                    ));
                }
                continue;
            };
            if index == place {
                column.meaning = Meaning::Text;
                text = Some(column);
            } else if column.name == options.id_key && column.is_id() {
                id = Some(column);
            } else {
                others.push(column);
            }
        }
        let Some(text) = text else {
            return Err(Error::format(path, None, "no text column; name another text key"));
        };
        let all = reader.metadata().num_row_groups();
        let groups = match range {
            None => 0..all,
            Some(range) => (range.start as usize).min(all)..(range.end as usize).min(all),
        };
        let before = reader.metadata().row_groups()[..groups.start].iter();
        let position = before.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
        Ok(Self {
            path: path.to_owned(),
            reader,
            text,
            id,
            others,
            utf8: options.utf8,
            groups,
            left: 0,
            batch: 0,
            row: 0,
            position,
            consumed: 0,
            group_bytes: 0,
            in_group: 0,
        })
    }

    /// The stored bytes that were read so far, in proportion to the rows.
    pub(crate) fn consumed(&self) -> u64 {
        let left = (self.left + self.batch - self.row) as u64;
        let done = u128::from(self.in_group.saturating_sub(left));
        let share = u128::from(self.group_bytes) * done / u128::from(self.in_group.max(1));
        self.consumed + share as u64
    }

    pub(crate) fn next(&mut self, task: &Task) -> Result<Option<Found>> {
        while self.row == self.batch {
            task.check()?;
            if self.left > 0 {
                self.load_batch()?;
            } else if let Some(group) = self.groups.next() {
                self.open_group(group)?;
            } else {
                return Ok(None);
            }
        }
        let row = self.row;
        self.row += 1;
        let position = self.position;
        self.position += 1;
        Ok(Some(self.document(row, position)))
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut Column> {
        std::iter::once(&mut self.text).chain(&mut self.id).chain(&mut self.others)
    }

    fn open_group(&mut self, group: usize) -> Result<()> {
        let metadata = self.reader.metadata().row_group(group);
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        self.consumed += self.group_bytes;
        self.group_bytes = u64::try_from(metadata.compressed_size()).unwrap_or(0).max(1);
        self.in_group = rows;
        let path = self.path.clone();
        guarded(&path, || {
            let group = self.reader.get_row_group(group)?;
            let columns = std::iter::once(&mut self.text).chain(&mut self.id);
            for column in columns.chain(&mut self.others) {
                column.reader = Some(group.get_column_reader(column.index)?);
            }
            Ok(())
        })?;
        self.left = rows as usize;
        Ok(())
    }

    fn load_batch(&mut self) -> Result<()> {
        let rows = self.left.min(BATCH);
        let path = self.path.clone();
        let whole = guarded(&path, || {
            let mut whole = true;
            for column in self.columns() {
                whole &= column.load(rows)? == rows;
            }
            Ok(whole)
        })?;
        if !whole {
            let reason =
                "broken Parquet (a column has fewer rows than its row group): get it again";
            return Err(Error::format(&self.path, None, reason));
        }
        self.left -= rows;
        (self.batch, self.row) = (rows, 0);
        Ok(())
    }

    fn document(&mut self, row: usize, position: u64) -> Found {
        let mut id = None;
        if let Some(column) = &mut self.id
            && let Some(place) = column.place(row)
        {
            id = match column.bytes(place) {
                Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                None => column.json(place),
            };
        }
        let mut metadata = Metadata::default();
        for column in &mut self.others {
            let value = match column.place(row) {
                None => Some("null".to_owned()),
                Some(place) => column.json(place),
            };
            let Some(value) = value else { continue };
            if column.name == METADATA && column.meaning == Meaning::Json {
                match json::fields(&value) {
                    Ok(fields) => {
                        for (name, value) in fields {
                            metadata.push(&name, value);
                        }
                        continue;
                    }
                    Err(_) if value == "null" => continue,
                    Err(_) => {}
                }
            }
            metadata.push(&column.name, &value);
        }
        let Some(place) = self.text.place(row) else {
            let detail = format!("the column {:?} is null", self.text.name);
            return Found::Bad { position, reason: BadReason::NullText, detail };
        };
        match utf8::decode(self.text.bytes(place).unwrap_or_default(), self.utf8) {
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
