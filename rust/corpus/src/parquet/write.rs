//! Writes documents as a Parquet file: with the columns of the files that they come from, or with
//! text, id and metadata.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};
use parquet::basic::{Compression as Codec, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::document::{ANNOTATIONS, Annotation, Document, Fields, Record};
use crate::jsonl::write::without_keys;
use crate::parquet::column::{Leaf, LeafBatch, Values};
use crate::parquet::footer::METADATA_COLUMN;
use crate::parquet::schema::RowLayout;

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
    layout: Layout,
    leaves: Vec<Leaf>,
    /// The entries of the open row group, by leaf.
    columns: Vec<OpenColumn>,
    /// The size of the open row group in bytes.
    size: usize,
}

/// The columns of a file.
#[derive(Debug)]
pub(crate) enum Layout {
    /// Text, id, and the other fields as a JSON object.
    Documents,
    /// The columns of the Parquet files from which the rows come.
    Rows(RowLayout),
}

/// The entries of a leaf in the open row group.
struct OpenColumn {
    values: Values,
    defs: Vec<i16>,
    reps: Vec<i16>,
}

impl OpenColumn {
    fn new(leaf: &Leaf) -> Self {
        Self { values: Values::new(leaf.physical), defs: Vec::new(), reps: Vec::new() }
    }

    /// Appends one entry of a leaf that is in no list; without `bytes` it is null, from the top.
    fn push(&mut self, leaf: &Leaf, bytes: Option<&[u8]>) {
        if leaf.max_def > 0 {
            self.defs.push(if bytes.is_some() { leaf.max_def } else { 0 });
        }
        if leaf.max_rep > 0 {
            self.reps.push(0);
        }
        if let (Values::Bytes(values), Some(bytes)) = (&mut self.values, bytes) {
            values.push(ByteArray::from(bytes.to_vec()));
        }
    }

    /// Appends the entries of one row; returns the size of their values.
    fn extend(&mut self, from: &LeafBatch, row: usize) -> usize {
        let (entries, values) = from.row(row);
        self.defs.extend_from_slice(from.defs.get(entries.clone()).unwrap_or_default());
        self.reps.extend_from_slice(from.reps.get(entries).unwrap_or_default());
        self.values.extend(&from.values, values)
    }
}

impl ParquetWriter {
    /// Creates the file `path` with this layout; the names are those of the columns of documents.
    pub(crate) fn create(
        path: &Path,
        text_key: &str,
        id_key: &str,
        layout: Layout,
        annotations: bool,
    ) -> Result<Self> {
        let invalid = |error: ParquetError| Error::invalid(error.to_string());
        let (root, text, key_values) = match &layout {
            Layout::Documents => (Arc::new(schema(text_key, id_key).map_err(invalid)?), None, None),
            // Arrow's form of the schema does not have the columns of annotations
            Layout::Rows(rows) => {
                (Arc::clone(&rows.root), Some(rows.text), rows.key_values(!annotations))
            }
        };
        let root = if annotations { annotated(path, &root)? } else { root };
        let descriptor = SchemaDescriptor::new(Arc::clone(&root));
        let leaves: Vec<Leaf> = descriptor.columns().iter().map(|c| Leaf::new(c)).collect();
        let mut properties = properties().map_err(invalid)?.set_key_value_metadata(key_values);
        if let Some(text) = text {
            let columns = descriptor.columns().iter().enumerate();
            for (_, column) in columns.filter(|(index, _)| *index != text) {
                properties = properties.set_column_dictionary_enabled(column.path().clone(), true);
            }
        }
        let file = AtomicFile::create(path)?;
        let writer = SerializedFileWriter::new(file, root, Arc::new(properties.build()))
            .map_err(|error| write_error(path, error))?;
        let columns = leaves.iter().map(OpenColumn::new).collect();
        Ok(Self { path: path.to_owned(), writer, layout, leaves, columns, size: 0 })
    }

    /// Adds a document.
    pub(crate) fn push(&mut self, document: &Document, id_key: &str) -> Result<()> {
        self.size += document.text.len() + ROW_OVERHEAD;
        match &self.layout {
            Layout::Documents => {
                let metadata = metadata_line(document, self.leaves[0].name.as_str(), id_key)?;
                self.size += metadata.as_ref().map_or(0, String::len);
                let id = document.id.as_deref().map(str::as_bytes);
                let values =
                    [Some(document.text.as_bytes()), id, metadata.as_deref().map(str::as_bytes)];
                for ((column, leaf), bytes) in self.columns.iter_mut().zip(&self.leaves).zip(values)
                {
                    column.push(leaf, bytes);
                }
            }
            Layout::Rows(layout) => {
                let Record(Fields::Row(row)) = &document.record else {
                    return Err(other_schema(&self.path));
                };
                let map =
                    layout.map_of(&row.batch.schema).ok_or_else(|| other_schema(&self.path))?;
                let columns = self.columns.iter_mut().zip(&self.leaves).zip(map);
                for (index, ((column, leaf), from)) in columns.enumerate() {
                    let from = from.and_then(|from| row.batch.leaves[from].as_ref());
                    if index == layout.text {
                        column.push(leaf, Some(document.text.as_bytes()));
                    } else if let Some(from) = from {
                        self.size += column.extend(from, row.row);
                    } else {
                        column.push(leaf, None);
                    }
                }
            }
        }
        if let Some(annotation) = &document.annotation {
            self.push_annotation(annotation);
        }
        if self.size >= ROW_GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    /// Appends to the last columns of the row.
    fn push_annotation(&mut self, annotation: &Annotation) {
        let first = self.columns.len().saturating_sub(ANNOTATIONS.len());
        let (value, limit) = annotation.measured.unzip();
        let reason = annotation.reason.as_deref().map(str::as_bytes);
        let signals = annotation.signals.as_deref().map(str::as_bytes);
        let span = annotation.span.as_deref().map(str::as_bytes);
        let integers = annotation.integers();
        let leaves = self.leaves[first..].iter();
        for (index, (column, leaf)) in self.columns[first..].iter_mut().zip(leaves).enumerate() {
            match (&mut column.values, index) {
                (Values::Bool(values), _) => {
                    values.push(annotation.is_kept);
                    column.defs.push(leaf.max_def);
                }
                (Values::Double(values), _) => {
                    let measured = if index == 2 { value } else { limit };
                    values.extend(measured);
                    column.defs.push(i16::from(measured.is_some()));
                }
                (Values::Int64(values), _) => {
                    let value = integers[index + integers.len() - ANNOTATIONS.len()];
                    values.extend(value.map(|value| value as i64));
                    column.defs.push(i16::from(value.is_some()));
                }
                (_, 1) => column.push(leaf, reason),
                (_, 6) => column.push(leaf, span),
                (_, 4) => column.push(leaf, Some(annotation.source.as_bytes())),
                _ => column.push(leaf, signals),
            }
        }
        self.size += annotation.signals.as_ref().map_or(0, String::len);
    }

    /// Writes the last row group and the footer, and renames the file to its final name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write_group()?;
        let file = self.writer.into_inner().map_err(|error| write_error(&self.path, error))?;
        file.commit()
    }

    fn write_group(&mut self) -> Result<()> {
        if self.size == 0 {
            return Ok(());
        }
        self.try_write_group().map_err(|error| write_error(&self.path, error))?;
        self.columns = self.leaves.iter().map(OpenColumn::new).collect();
        self.size = 0;
        Ok(())
    }

    fn try_write_group(&mut self) -> parquet::errors::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for (column, leaf) in self.columns.iter().zip(&self.leaves) {
            let Some(mut writer) = group.next_column()? else { break };
            let defs = (leaf.max_def > 0).then_some(column.defs.as_slice());
            let reps = (leaf.max_rep > 0).then_some(column.reps.as_slice());
            macro_rules! write_values {
                ($($writer:ident => $values:ident),+ $(,)?) => {
                    match (writer.untyped(), &column.values) {
                        $((ColumnWriter::$writer(writer), Values::$values(values)) => {
                            writer.write_batch(values, defs, reps)?;
                        })+
                        // both types come from one schema
                        _ => {}
                    }
                };
            }
            write_values! {
                BoolColumnWriter => Bool,
                Int32ColumnWriter => Int32,
                Int64ColumnWriter => Int64,
                Int96ColumnWriter => Int96,
                FloatColumnWriter => Float,
                DoubleColumnWriter => Double,
                ByteArrayColumnWriter => Bytes,
                FixedLenByteArrayColumnWriter => Fixed,
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// Returns the fields other than text and id as one line of JSON, without members that have the
/// name of a key. An id that is not a string stays, since the column of ids has strings.
fn metadata_line(document: &Document, text_key: &str, id_key: &str) -> Result<Option<String>> {
    match &document.record {
        Record(Fields::None) => Ok(None),
        Record(Fields::Object(object)) => {
            without_keys(object.get(), text_key, document.id.is_some().then_some(id_key))
        }
        Record(Fields::Line(line)) => Ok(line.others(true)),
        Record(Fields::Row(row)) => Ok(row.others(true)),
        Record(Fields::Csv(row)) => Ok(row.others()),
    }
}

/// Returns the columns of `root` and those of annotations.
fn annotated(path: &Path, root: &Type) -> Result<Arc<Type>> {
    let mut fields = root.get_fields().to_vec();
    if let Some(name) = ANNOTATIONS.iter().find(|name| fields.iter().any(|f| f.name() == **name)) {
        return Err(Error::invalid(format!(
            "{}: the inputs have a column {name} already: annotate inputs that were not annotated",
            path.display()
        )));
    }
    let invalid = |error: ParquetError| Error::invalid(error.to_string());
    for name in ANNOTATIONS {
        let (physical, logical) = match name {
            "lslm_kept" => (Physical::BOOLEAN, None),
            "lslm_value" | "lslm_limit" => (Physical::DOUBLE, None),
            "lslm_span_start" | "lslm_span_end" | "lslm_copies" => (Physical::INT64, None),
            "lslm_signals" => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            _ => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        fields.push(Arc::new(field.build().map_err(invalid)?));
    }
    let group = Type::group_type_builder(root.name()).with_fields(fields);
    group.build().map(Arc::new).map_err(invalid)
}

fn other_schema(path: &Path) -> Error {
    Error::invalid(format!(
        "{}: a document that is not a row of the files whose columns are written; write jsonl.zst",
        path.display()
    ))
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

fn properties() -> parquet::errors::Result<WriterPropertiesBuilder> {
    Ok(WriterProperties::builder()
        .set_created_by("lslm".into())
        .set_compression(Codec::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        // texts seldom repeat, and the least and greatest text of a page are of no use
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_write_batch_size(WRITE_BATCH))
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
