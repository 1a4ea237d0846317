//! Documents to a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};
use parquet::basic::{Compression as Codec, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};

use crate::find::extensions;
use crate::json;
use crate::options::{Compression, Format, Split};
use crate::reader::Document;
use crate::table::METADATA;

/// Levels are fixed, so that the same documents are the same bytes wherever they are written.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A row group is written when it has this many bytes of text and metadata.
const ROW_GROUP: usize = 32 << 20;

/// How documents are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// The JSONL field or Parquet column for the text.
    pub text_key: String,
    /// The field or column for the id.
    pub id_key: String,
    /// What lies between documents in plain text; a text that cannot be told from its
    /// neighbours under this rule is an error.
    pub split: Split,
    /// The format; by default the file's extension decides.
    pub format: Option<Format>,
    /// The compression; by default the file's extension decides. Parquet compresses inside.
    pub compression: Option<Compression>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            text_key: "text".into(),
            id_key: "id".into(),
            split: Split::Separator("<|endoftext|>".into()),
            format: None,
            compression: None,
        }
    }
}

enum Sink {
    Plain(AtomicFile),
    Gzip(GzEncoder<AtomicFile>),
    Zstd(zstd::stream::write::Encoder<'static, AtomicFile>),
    Parquet(Box<Table>),
}

/// Writes documents to one file, which takes its name in [`DocumentWriter::finish`] and not before.
///
/// JSONL keeps text, id and metadata; Parquet too, the metadata in one column of JSON, which
/// reading takes apart again; plain text keeps the texts alone, and no empty ones. The bytes
/// depend on the documents alone.
pub struct DocumentWriter {
    path: PathBuf,
    options: WriteOptions,
    format: Format,
    sink: Sink,
    buffer: Vec<u8>,
    documents: u64,
    text_bytes: u64,
}

impl std::fmt::Debug for DocumentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentWriter")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("documents", &self.documents)
            .finish_non_exhaustive()
    }
}

impl DocumentWriter {
    /// Begins the file `path`; its folder is made if it is missing.
    ///
    /// # Errors
    /// An extension that is none of `.txt`, `.jsonl`, `.parquet` and their likes when no format is
    /// given; compression around Parquet; keys that are equal or empty.
    pub fn create(path: impl AsRef<Path>, options: WriteOptions) -> Result<Self> {
        let path = path.as_ref();
        let (extension, compression) = extensions(path);
        let format = options.format.or(extension.as_deref().and_then(Format::of_extension));
        let Some(format) = format else {
            return Err(Error::invalid(format!(
                "{}: the name does not say what to write; use .jsonl, .txt (each also with .gz \
                 or .zst) or .parquet",
                path.display()
            )));
        };
        let compression = options.compression.or(compression).unwrap_or(Compression::None);
        let taken =
            [options.id_key.as_str(), "", if format == Format::Parquet { METADATA } else { "" }];
        if taken.contains(&options.text_key.as_str()) || options.id_key.is_empty() {
            return Err(Error::invalid(format!(
                "text key {:?}, id key {:?}: name two different fields",
                options.text_key, options.id_key
            )));
        }
        let sink = match (format, compression) {
            (Format::Parquet, Compression::None) => {
                Sink::Parquet(Box::new(Table::create(path, &options)?))
            }
            (Format::Parquet, other) => {
                return Err(Error::invalid(format!(
                    "{}: Parquet compresses by itself; leave {} out",
                    path.display(),
                    other.name()
                )));
            }
            (_, Compression::None) => Sink::Plain(AtomicFile::create(path)?),
            (_, Compression::Gzip) => {
                let file = AtomicFile::create(path)?;
                // no time and no name in the header: the same bytes on every run
                let level = flate2::Compression::new(GZIP_LEVEL);
                Sink::Gzip(GzBuilder::new().write(file, level))
            }
            (_, Compression::Zstd) => {
                let file = AtomicFile::create(path)?;
                let mut encoder =
                    zstd::stream::write::Encoder::new(file, ZSTD_LEVEL).map_err(Error::io(path))?;
                encoder.include_checksum(true).map_err(Error::io(path))?;
                Sink::Zstd(encoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            options,
            format,
            sink,
            buffer: Vec::new(),
            documents: 0,
            text_bytes: 0,
        })
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many documents were written.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// The bytes of their texts, as UTF-8.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Writes one document.
    ///
    /// Metadata fields with the name of the text key, or of the id key when there is an id, are
    /// left out: the document's own win. Metadata that is no JSON object is an error.
    pub fn write(&mut self, document: &Document) -> Result<()> {
        self.buffer.clear();
        let mut others = None;
        match self.format {
            Format::Jsonl => self.json_line(document)?,
            Format::Text if document.text.is_empty() => return Ok(()),
            Format::Text => self.text_lines(&document.text)?,
            Format::Parquet => others = self.other_fields(document)?,
        }
        let written = match &mut self.sink {
            Sink::Plain(file) => file.write_all(&self.buffer),
            Sink::Gzip(file) => file.write_all(&self.buffer),
            Sink::Zstd(file) => file.write_all(&self.buffer),
            Sink::Parquet(table) => {
                return table.push(document, others).map(|()| self.count(document));
            }
        };
        written.map_err(Error::io(&self.path))?;
        self.count(document);
        Ok(())
    }

    fn count(&mut self, document: &Document) {
        self.documents += 1;
        self.text_bytes += document.text.len() as u64;
    }

    /// Ends the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        let path = &self.path;
        let file = match self.sink {
            Sink::Plain(file) => file,
            Sink::Gzip(file) => file.finish().map_err(Error::io(path))?,
            Sink::Zstd(file) => file.finish().map_err(Error::io(path))?,
            Sink::Parquet(table) => return table.finish(),
        };
        file.commit()
    }

    fn json_line(&mut self, document: &Document) -> Result<()> {
        let mut fields = json::Metadata::default();
        if let Some(id) = &document.id {
            fields.push_with(&self.options.id_key, |out| json::push_string(out, id));
        }
        fields.push_with(&self.options.text_key, |out| json::push_string(out, &document.text));
        let others = self.other_fields(document)?;
        let mut line = fields.into_open_text();
        if let Some(others) = others
            && let Some(members) = others.trim_ascii().strip_prefix('{')
            && members.trim_ascii_start() != "}"
        {
            line.push(',');
            line.push_str(members);
        } else {
            line.push('}');
        }
        line.push('\n');
        self.buffer = line.into_bytes();
        Ok(())
    }

    /// The metadata as one line of JSON, without the fields that are written from elsewhere.
    fn other_fields(&self, document: &Document) -> Result<Option<String>> {
        let Some(metadata) = &document.metadata else { return Ok(None) };
        let raw = metadata.get();
        let fields = json::fields(raw).map_err(|_| {
            Error::invalid(format!("the metadata of a document is no JSON object: {raw:.40}"))
        })?;
        let id_key = document.id.is_some().then_some(&self.options.id_key);
        let own =
            |name: &str| name == self.options.text_key || id_key.is_some_and(|key| name == key);
        let mut line = if fields.iter().any(|(name, _)| own(name)) {
            let mut rest = json::Metadata::default();
            for (name, value) in fields.iter().filter(|(name, _)| !own(name)) {
                rest.push(name, value);
            }
            let Some(rest) = rest.finish() else { return Ok(None) };
            rest.get().to_owned()
        } else {
            raw.to_owned()
        };
        // line breaks in JSON are white space between tokens, never within a string
        if line.contains(['\n', '\r']) {
            line = line.replace(['\n', '\r'], " ");
        }
        Ok(Some(line))
    }

    fn text_lines(&mut self, text: &str) -> Result<()> {
        let first = self.documents == 0;
        let refuse = |what: String| {
            Err(Error::invalid(format!(
                "{}: {what}, and could not be read back; write JSONL instead",
                self.path.display()
            )))
        };
        let end = match &self.options.split {
            Split::File if !first => {
                return refuse("a second document in a file that is one document".into());
            }
            Split::File => String::new(),
            Split::Lines if text.contains('\n') || text.ends_with('\r') => {
                return refuse("a document has more than one line".into());
            }
            Split::Lines => "\n".into(),
            Split::BlankLines(count) => {
                let count = (*count).max(1) as usize;
                let blank = |line: &str| line.is_empty() || line == "\r";
                let mut run = 0;
                let mut longest = 0;
                for line in text.split('\n') {
                    run = if blank(line) { run + 1 } else { 0 };
                    longest = longest.max(run);
                }
                let starts_blank = text.split('\n').next().is_some_and(blank);
                if longest >= count || run > 0 || starts_blank || text.ends_with('\r') {
                    return refuse(
                        "a document has empty lines such as lie between documents".into(),
                    );
                }
                "\n".repeat(count + 1)
            }
            Split::Separator(separator) => {
                if text.split('\n').any(|line| line.strip_suffix('\r').unwrap_or(line) == separator)
                {
                    return refuse(format!("a document has the separator {separator:?} in it"));
                }
                format!("\n{separator}\n")
            }
        };
        // reading takes one mark away at the start of a file
        if first && text.starts_with('\u{feff}') {
            self.buffer.extend_from_slice("\u{feff}".as_bytes());
        }
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(end.as_bytes());
        Ok(())
    }
}

/// A Parquet file of three columns.
struct Table {
    path: PathBuf,
    writer: SerializedFileWriter<AtomicFile>,
    texts: Vec<ByteArray>,
    ids: Optional,
    metadata: Optional,
    size: usize,
}

/// A column that may have nulls: the values that are there, and a level for each row.
#[derive(Default)]
struct Optional {
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl Optional {
    fn push(&mut self, value: Option<Vec<u8>>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value.map(ByteArray::from));
    }
}

impl Table {
    fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        let column = |name: &str, repetition, logical| {
            Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
                .with_repetition(repetition)
                .with_logical_type(Some(logical))
                .build()
                .map(Arc::new)
        };
        let schema = || {
            let fields = vec![
                column(&options.text_key, Repetition::REQUIRED, LogicalType::String)?,
                column(&options.id_key, Repetition::OPTIONAL, LogicalType::String)?,
                column(METADATA, Repetition::OPTIONAL, LogicalType::Json)?,
            ];
            Type::group_type_builder("documents").with_fields(fields).build()
        };
        let properties = || {
            Ok(WriterProperties::builder()
                .set_created_by("lslm".into())
                .set_compression(Codec::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
                // every value is another one, and the least and greatest text say nothing
                .set_dictionary_enabled(false)
                .set_statistics_enabled(EnabledStatistics::None)
                // the size of a page is looked at after so many values
                .set_write_batch_size(16)
                .build())
        };
        let failed = |error: parquet::errors::ParquetError| Error::invalid(error.to_string());
        let (schema, properties) = (schema().map_err(failed)?, properties().map_err(failed)?);
        let file = AtomicFile::create(path)?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
            .map_err(|error| failure(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            texts: Vec::new(),
            ids: Optional::default(),
            metadata: Optional::default(),
            size: 0,
        })
    }

    fn push(&mut self, document: &Document, metadata: Option<String>) -> Result<()> {
        self.size += document.text.len() + metadata.as_ref().map_or(0, String::len) + 64;
        self.texts.push(ByteArray::from(document.text.as_bytes().to_vec()));
        self.ids.push(document.id.as_ref().map(|id| id.as_bytes().to_vec()));
        self.metadata.push(metadata.map(String::into_bytes));
        if self.size >= ROW_GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<()> {
        let path = self.path.clone();
        self.try_write_group().map_err(|error| failure(&path, error))
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
        (self.ids, self.metadata) = (Optional::default(), Optional::default());
        self.size = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.write_group()?;
        let file = self.writer.into_inner().map_err(|error| failure(&self.path, error))?;
        file.commit()
    }
}

/// An error of the parquet crate while writing: the disk's own, where it is one.
fn failure(path: &Path, error: parquet::errors::ParquetError) -> Error {
    match error {
        parquet::errors::ParquetError::External(source) => match source.downcast() {
            Ok(source) => Error::io(path)(*source),
            Err(other) => Error::io(path)(std::io::Error::other(other)),
        },
        other => Error::io(path)(std::io::Error::other(other)),
    }
}
