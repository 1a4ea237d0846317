//! Writes documents as a Parquet file of three columns: text, id and metadata.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};
use parquet::basic::{Compression as Codec, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::document::Document;
use crate::parquet::footer::METADATA_COLUMN;

/// The zstd level: its default. Fixed, so that the same documents are the same bytes everywhere.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of text and metadata that complete a row group. It is the memory of the writer, and the
/// unit in which a reader splits the file.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Bytes that a row counts besides text and metadata, so that empty rows fill a group too.
const ROW_OVERHEAD: usize = 64;

/// Values between two checks of the page size: few, since one text may be larger than a page.
const WRITE_BATCH: usize = 16;

/// Writes a Parquet file, a row group at a time.
pub(crate) struct ParquetWriter {
    path: PathBuf,
    writer: SerializedFileWriter<AtomicFile>,
    texts: Vec<ByteArray>,
    ids: OptionalColumn,
    metadata: OptionalColumn,
    /// The size of the open row group in bytes.
    size: usize,
}

/// The values of a column with nulls, and the definition level of each row.
#[derive(Default)]
struct OptionalColumn {
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl OptionalColumn {
    fn push(&mut self, value: Option<Vec<u8>>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value.map(ByteArray::from));
    }
}

impl ParquetWriter {
    /// Creates the file `path` with these names of columns.
    pub(crate) fn create(path: &Path, text_key: &str, id_key: &str) -> Result<Self> {
        let invalid = |error: ParquetError| Error::invalid(error.to_string());
        let schema = schema(text_key, id_key).map_err(invalid)?;
        let properties = properties().map_err(invalid)?;
        let file = AtomicFile::create(path)?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
            .map_err(|error| write_error(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            texts: Vec::new(),
            ids: OptionalColumn::default(),
            metadata: OptionalColumn::default(),
            size: 0,
        })
    }

    /// Adds a document, with `metadata` instead of its own.
    pub(crate) fn push(&mut self, document: &Document, metadata: Option<String>) -> Result<()> {
        let metadata_len = metadata.as_ref().map_or(0, String::len);
        self.size += document.text.len() + metadata_len + ROW_OVERHEAD;
        self.texts.push(ByteArray::from(document.text.as_bytes().to_vec()));
        self.ids.push(document.id.as_ref().map(|id| id.as_bytes().to_vec()));
        self.metadata.push(metadata.map(String::into_bytes));
        if self.size >= ROW_GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    /// Writes the last row group and the footer, and renames the file to its final name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write_group()?;
        let file = self.writer.into_inner().map_err(|error| write_error(&self.path, error))?;
        file.commit()
    }

    fn write_group(&mut self) -> Result<()> {
        self.try_write_group().map_err(|error| write_error(&self.path, error))
    }

    fn try_write_group(&mut self) -> parquet::errors::Result<()> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let columns = [
            (&self.texts, None),
            (&self.ids.values, Some(&self.ids.levels)),
            (&self.metadata.values, Some(&self.metadata.levels)),
        ];
        for (values, levels) in columns {
            let Some(mut column) = group.next_column()? else { break };
            let levels = levels.map(Vec::as_slice);
            column.typed::<ByteArrayType>().write_batch(values, levels, None)?;
            column.close()?;
        }
        group.close()?;
        self.texts.clear();
        (self.ids, self.metadata) = (OptionalColumn::default(), OptionalColumn::default());
        self.size = 0;
        Ok(())
    }
}

fn schema(text_key: &str, id_key: &str) -> parquet::errors::Result<Type> {
    let column = |name: &str, repetition, logical| {
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(repetition)
            .with_logical_type(Some(logical))
            .build()
            .map(Arc::new)
    };
    let fields = vec![
        column(text_key, Repetition::REQUIRED, LogicalType::String)?,
        column(id_key, Repetition::OPTIONAL, LogicalType::String)?,
        column(METADATA_COLUMN, Repetition::OPTIONAL, LogicalType::Json)?,
    ];
    Type::group_type_builder("documents").with_fields(fields).build()
}

fn properties() -> parquet::errors::Result<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_created_by("lslm".into())
        .set_compression(Codec::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        // values seldom repeat, and the least and greatest text of a page are of no use
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_write_batch_size(WRITE_BATCH)
        .build())
}

/// Returns an error of the parquet crate while writing as an [`Error::Io`]: the file's own error,
/// where it is one.
fn write_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast() {
            Ok(source) => Error::io(path)(*source),
            Err(other) => Error::io(path)(std::io::Error::other(other)),
        },
        other => Error::io(path)(std::io::Error::other(other)),
    }
}
