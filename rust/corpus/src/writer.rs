//! Writes documents to one file.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::corpus::Corpus;
use crate::discover::extensions;
use crate::document::{ANNOTATIONS, Annotation, Document, Fields, Record};
use crate::jsonl::members::members;
use crate::jsonl::write::{ObjectBuilder, push_string, without_keys};
use crate::options::{Compression, Format, Split};
use crate::parquet::footer::METADATA_COLUMN;
use crate::parquet::write::{Layout, ParquetWriter};

/// The levels of gzip and zstd: their defaults. They are fixed, so that the same documents are the
/// same bytes everywhere.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// How documents are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// The JSONL field or Parquet column for the text.
    pub text_key: String,
    /// The field or column for the id.
    pub id_key: String,
    /// What separates documents in plain text. A text that could not be read back under this rule
    /// is an error.
    pub split: Split,
    /// The format; by default the file's extension decides.
    pub format: Option<Format>,
    /// The compression; by default the file's extension decides. Parquet has its own.
    pub compression: Option<Compression>,
    /// Whether documents have an [`Annotation`], for which Parquet needs columns.
    pub annotations: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            text_key: "text".into(),
            id_key: "id".into(),
            split: Split::Separator("<|endoftext|>".into()),
            format: None,
            compression: None,
            annotations: false,
        }
    }
}

/// Where the formatted documents go.
enum Sink {
    Plain(AtomicFile),
    Gzip(GzEncoder<AtomicFile>),
    Zstd(zstd::stream::write::Encoder<'static, AtomicFile>),
    Parquet(Box<ParquetWriter>),
}

impl Sink {
    fn create(
        path: &Path,
        format: Format,
        compression: Compression,
        options: &WriteOptions,
        layout: Layout,
    ) -> Result<Self> {
        Ok(match (format, compression) {
            (Format::Parquet, Compression::None) => Self::Parquet(Box::new(ParquetWriter::create(
                path,
                &options.text_key,
                &options.id_key,
                layout,
                options.annotations,
            )?)),
            (Format::Parquet, _) => return Err(parquet_inside(path, compression)),
            (_, Compression::None) => Self::Plain(AtomicFile::create(path)?),
            (_, Compression::Gzip) => {
                let file = AtomicFile::create(path)?;
                // the header has neither time nor name: the same bytes on every run
                let level = flate2::Compression::new(GZIP_LEVEL);
                Self::Gzip(GzBuilder::new().write(file, level))
            }
            (_, Compression::Zstd) => {
                let file = AtomicFile::create(path)?;
                let mut encoder =
                    zstd::stream::write::Encoder::new(file, ZSTD_LEVEL).map_err(Error::io(path))?;
                encoder.include_checksum(true).map_err(Error::io(path))?;
                Self::Zstd(encoder)
            }
        })
    }
}

/// Returns an error for an extension, such as `jsonl.zst`, that a file of documents of `corpus`
/// cannot be written with.
pub fn check_extension(extension: &str, corpus: &Corpus) -> Result<()> {
    if !extension.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
        return Err(Error::invalid(format!(
            "the format {extension:?} is not an extension: use jsonl, txt (each also with .gz or \
             .zst) or parquet"
        )));
    }
    let path = PathBuf::from(format!("documents.{extension}"));
    match format_of(&path, &WriteOptions::default())? {
        (Format::Parquet, Compression::None) => corpus.layout().map(drop),
        (Format::Parquet, compression) => Err(parquet_inside(&path, compression)),
        _ => Ok(()),
    }
}

/// Returns the format and compression of a file with this name.
fn format_of(path: &Path, options: &WriteOptions) -> Result<(Format, Compression)> {
    let (extension, compression) = extensions(path);
    let format = options.format.or(extension.as_deref().and_then(Format::of_extension));
    let Some(format) = format.filter(|format| *format != Format::Csv) else {
        return Err(Error::invalid(format!(
            "{}: the name does not say what to write; use .jsonl, .txt (each also with .gz or \
             .zst) or .parquet",
            path.display()
        )));
    };
    Ok((format, options.compression.or(compression).unwrap_or(Compression::None)))
}

/// Returns the error for Parquet that would be compressed again.
fn parquet_inside(path: &Path, compression: Compression) -> Error {
    Error::invalid(format!(
        "{}: Parquet compresses by itself; leave {} out",
        path.display(),
        compression.name()
    ))
}

/// Writes documents to one file, which gets its name in [`DocumentWriter::finish`].
///
/// | documents of | written as JSONL | written as Parquet |
/// |---|---|---|
/// | JSONL | the line, with another text | text, id, and the other members as JSON in `metadata` |
/// | Parquet | an object of the columns | the columns ([`DocumentWriter::create_like`]), else as JSONL |
/// | CSV | an object of the columns, all strings | as JSONL |
/// | plain text | an object of the text | the text |
///
/// Reading merges `metadata` into the document's. An id that is a number is a string in the column
/// of ids, and stays a number in `metadata`. In JSON, binary values are strings in Base64, times
/// ISO 8601, and NaN is null. Plain text keeps only the texts that are not empty. The bytes of the
/// file depend on the documents and the options alone.
///
/// ```
/// use lslm_corpus::{Document, DocumentWriter, WriteOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let path = folder.join("documents.jsonl");
/// let mut writer = DocumentWriter::create(&path, WriteOptions::default())?;
/// writer.write(&Document { id: Some("7".into()), ..Document::new("a text") })?;
/// assert!(!path.exists());
/// writer.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "{\"id\":\"7\",\"text\":\"a text\"}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DocumentWriter {
    path: PathBuf,
    options: WriteOptions,
    format: Format,
    sink: Sink,
    /// The bytes of the document that is being written.
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
    /// Creates a file that will be called `path`, and its folder if that is missing.
    ///
    /// # Errors
    /// An extension that is not one of a known format when none is given; compression around
    /// Parquet; keys that are equal or empty.
    pub fn create(path: impl AsRef<Path>, options: WriteOptions) -> Result<Self> {
        Self::with_layout(path.as_ref(), options, Layout::Documents)
    }

    /// Creates a file as [`DocumentWriter::create`] does, for documents of `corpus`. Keys are those
    /// of its reading; Parquet has the columns of its files where all of them are Parquet.
    ///
    /// # Errors
    /// Those of `create`; columns of several files that one Parquet file cannot hold.
    pub fn create_like(
        path: impl AsRef<Path>,
        options: WriteOptions,
        corpus: &Corpus,
    ) -> Result<Self> {
        let path = path.as_ref();
        let reading = corpus.options();
        let options = WriteOptions {
            text_key: reading.text_key.clone(),
            id_key: reading.id_key.clone(),
            ..options
        };
        let layout = match format_of(path, &options)? {
            (Format::Parquet, _) => corpus.layout()?,
            _ => Layout::Documents,
        };
        Self::with_layout(path, options, layout)
    }

    fn with_layout(path: &Path, options: WriteOptions, layout: Layout) -> Result<Self> {
        let (format, compression) = format_of(path, &options)?;
        let is_new = matches!(layout, Layout::Documents) && format == Format::Parquet;
        let reserved = if is_new { METADATA_COLUMN } else { "" };
        let refused = [options.id_key.as_str(), "", reserved];
        if refused.contains(&options.text_key.as_str()) || options.id_key.is_empty() {
            return Err(Error::invalid(format!(
                "text key {:?}, id key {:?}: name two different fields",
                options.text_key, options.id_key
            )));
        }
        let sink = Sink::create(path, format, compression, &options, layout)?;
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

    /// Returns the final name of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of documents that were written.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Returns the bytes of their texts, as UTF-8.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Writes one document.
    ///
    /// Metadata fields with the name of the text key, or of the id key when there is an id, are
    /// omitted. Metadata that is not a JSON object is an error.
    pub fn write(&mut self, document: &Document) -> Result<()> {
        self.buffer.clear();
        match self.format {
            Format::Jsonl => self.format_json(document)?,
            Format::Text if document.text.is_empty() => return Ok(()),
            Format::Text => self.format_text(&document.text)?,
            Format::Parquet | Format::Csv => {}
        }
        let written = match &mut self.sink {
            Sink::Plain(file) => file.write_all(&self.buffer),
            Sink::Gzip(file) => file.write_all(&self.buffer),
            Sink::Zstd(file) => file.write_all(&self.buffer),
            Sink::Parquet(writer) => {
                return writer.push(document, &self.options.id_key).map(|()| self.count(document));
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

    /// Completes the file, syncs it to the disk, and renames it to its final name.
    pub fn finish(self) -> Result<()> {
        let path = &self.path;
        let file = match self.sink {
            Sink::Plain(file) => file,
            Sink::Gzip(file) => file.finish().map_err(Error::io(path))?,
            Sink::Zstd(file) => file.finish().map_err(Error::io(path))?,
            Sink::Parquet(writer) => return writer.finish(),
        };
        file.commit()
    }

    /// Fills the buffer with the document as a line of JSON.
    fn format_json(&mut self, document: &Document) -> Result<()> {
        let mut line = String::with_capacity(document.text.len() + document.text.len() / 32 + 256);
        match &document.record {
            Record(Fields::Line(record)) => record.write(&document.text, &mut line),
            Record(Fields::Row(row)) => row.write_json(&document.text, &mut line),
            Record(Fields::Csv(row)) => row.write_json(&document.text, &mut line),
            Record(Fields::None) => line = self.new_object(document, None),
            Record(Fields::Object(object)) => {
                let id_key = document.id.is_some().then_some(self.options.id_key.as_str());
                let others = without_keys(object.get(), &self.options.text_key, id_key)?;
                line = self.new_object(document, others.as_deref());
            }
        }
        if let Some(annotation) = &document.annotation {
            annotate(&mut line, annotation)?;
        }
        line.push('\n');
        self.buffer = line.into_bytes();
        Ok(())
    }

    /// Returns an object of id, text and the members of another object.
    fn new_object(&self, document: &Document, others: Option<&str>) -> String {
        let mut fields = ObjectBuilder::default();
        if let Some(id) = &document.id {
            fields.push_with(&self.options.id_key, |out| push_string(out, id));
        }
        fields.push_with(&self.options.text_key, |out| push_string(out, &document.text));
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
        line
    }

    /// Fills the buffer with the text and what separates it from the next.
    fn format_text(&mut self, text: &str) -> Result<()> {
        let is_first = self.documents == 0;
        let separation = separation(text, &self.options.split, is_first).map_err(|what| {
            Error::invalid(format!(
                "{}: {what}, and could not be read back; write JSONL instead",
                self.path.display()
            ))
        })?;
        // reading removes one byte order mark at the start of a file
        if is_first && text.starts_with('\u{feff}') {
            self.buffer.extend_from_slice("\u{feff}".as_bytes());
        }
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(separation.as_bytes());
        Ok(())
    }
}

/// Appends the fields of an annotation to a JSON object.
fn annotate(line: &mut String, annotation: &Annotation) -> Result<()> {
    if let Some(name) = ANNOTATIONS.iter().find(|name| line.contains(&format!("\"{name}\""))) {
        let is_member = members(line).is_ok_and(|all| all.iter().any(|(own, _)| own == name));
        if is_member {
            return Err(Error::invalid(format!(
                "a document has a field {name} already: annotate inputs that were not annotated"
            )));
        }
    }
    line.truncate(line.trim_end().len().saturating_sub(1));
    for (name, value) in ANNOTATIONS.iter().zip(annotation.values()) {
        line.push(',');
        push_string(line, name);
        line.push(':');
        line.push_str(&value);
    }
    line.push('}');
    Ok(())
}

/// Returns what is written after a text so that reading under `split` returns the same text. The
/// error says why that cannot be.
fn separation(text: &str, split: &Split, is_first: bool) -> Result<String, String> {
    match split {
        Split::File if !is_first => Err("a second document in a file that is one document".into()),
        Split::File => Ok(String::new()),
        Split::Lines if text.contains('\n') || text.ends_with('\r') => {
            Err("a document has more than one line".into())
        }
        Split::Lines => Ok("\n".into()),
        Split::BlankLines(count) => {
            let count = (*count).max(1) as usize;
            let is_blank = |line: &str| line.is_empty() || line == "\r";
            let mut run = 0;
            let mut longest = 0;
            for line in text.split('\n') {
                run = if is_blank(line) { run + 1 } else { 0 };
                longest = longest.max(run);
            }
            let starts_blank = text.split('\n').next().is_some_and(is_blank);
            if longest >= count || run > 0 || starts_blank || text.ends_with('\r') {
                return Err("a document has empty lines like those between documents".into());
            }
            Ok("\n".repeat(count + 1))
        }
        Split::Separator(separator) => {
            let is_separator =
                |line: &str| line.strip_suffix('\r').unwrap_or(line) == separator.as_str();
            if text.split('\n').any(is_separator) {
                return Err(format!("a document contains the separator {separator:?}"));
            }
            Ok(format!("\n{separator}\n"))
        }
    }
}
