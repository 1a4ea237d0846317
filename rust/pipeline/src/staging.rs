//! Files that wait until the duplicates among their documents are known.

use std::path::{Path, PathBuf};

use lslm_corpus::{Annotation, Corpus, Document, DocumentReader, DocumentWriter, WriteOptions};
use lslm_corpus::{ReadOptions, Split};
use lslm_runtime::{Error, Result, Task};
use serde_json::Value;

/// The files of a job that wait in its folder.
pub(crate) struct StagedFiles {
    folder: PathBuf,
}

/// What a staged document does not hold: a note of it, one for each document of the file.
pub(crate) struct Note {
    /// The text as it was read, if cleaning changed it.
    pub(crate) original: Option<String>,
    pub(crate) annotation: Annotation,
}

/// The id of a note whose text is the original.
const CHANGED: &str = "changed";

/// A file that is created with its first document.
pub(crate) struct LazyWriter<'a> {
    path: PathBuf,
    options: WriteOptions,
    /// The corpus whose keys and columns the file has.
    like: Option<&'a Corpus>,
    writer: Option<DocumentWriter>,
}

impl<'a> LazyWriter<'a> {
    /// Returns the writer of documents of `like`, with annotations or without.
    pub(crate) fn like(path: PathBuf, like: &'a Corpus, annotations: bool) -> Self {
        let options = WriteOptions { annotations, ..WriteOptions::default() };
        Self { path, options, like: Some(like), writer: None }
    }

    /// Returns the writer of documents of text and id alone.
    pub(crate) fn plain(path: PathBuf) -> Self {
        Self { path, options: WriteOptions::default(), like: None, writer: None }
    }

    /// Returns the writer of documents of text, id and annotation: notes, and removed lines.
    pub(crate) fn annotated(path: PathBuf) -> Self {
        let options = WriteOptions { annotations: true, ..WriteOptions::default() };
        Self { path, options, like: None, writer: None }
    }

    pub(crate) fn write(&mut self, document: &Document) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let options = self.options.clone();
                empty.insert(match self.like {
                    Some(corpus) => DocumentWriter::create_like(&self.path, options, corpus)?,
                    None => DocumentWriter::create(&self.path, options)?,
                })
            }
        };
        writer.write(document)
    }

    /// Completes the file, if there was a document.
    pub(crate) fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), DocumentWriter::finish)
    }
}

impl StagedFiles {
    /// Returns the staged files in `folder`, which is removed when the job ends.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of the staged documents of a partition.
    pub(crate) fn path(&self, partition: usize, extension: &str) -> PathBuf {
        self.folder.join(format!("{partition:05}.staged.{extension}"))
    }

    /// Returns the path of the notes of a partition.
    pub(crate) fn notes_path(&self, partition: usize) -> PathBuf {
        self.folder.join(format!("{partition:05}.notes.jsonl.zst"))
    }
}

/// Opens a staged file, whose fields have the names of `reading`.
pub(crate) fn open_staged(path: &Path, reading: &ReadOptions) -> Result<Corpus> {
    let name = path.to_str().ok_or_else(|| {
        Error::invalid(format!("{}: the path is not Unicode; choose another", path.display()))
    })?;
    let options = ReadOptions {
        text_key: reading.text_key.clone(),
        id_key: reading.id_key.clone(),
        split: Split::File,
        ..ReadOptions::default()
    };
    Corpus::open(&[name.to_owned()], options)
}

/// Returns a note as a document.
pub(crate) fn note_document(note: Note) -> Document {
    Document {
        id: note.original.is_some().then(|| CHANGED.to_owned()),
        annotation: Some(Box::new(note.annotation)),
        ..Document::new(note.original.unwrap_or_default())
    }
}

/// Reads the notes of a partition.
pub(crate) struct NoteReader {
    path: PathBuf,
    reader: DocumentReader,
}

impl NoteReader {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let reader = open_staged(&path, &ReadOptions::default())?.read_all();
        Ok(Self { path, reader })
    }

    /// Returns the next note; that there is none is an error.
    pub(crate) fn next(&mut self, task: &Task) -> Result<Note> {
        let broken = |what: &str| Error::format(&self.path, None, what);
        let document = self.reader.next_document(task)?;
        let document = document.ok_or_else(|| broken("a note is missing: start the job again"))?;
        let fields = document.metadata().unwrap_or_default();
        let fields: Value =
            serde_json::from_str(&fields).map_err(|error| broken(&error.to_string()))?;
        let text = |name: &str| fields[name].as_str().map(str::to_owned);
        let number = |name: &str| fields[name].as_u64();
        let measured = fields["lslm_value"].as_f64().zip(fields["lslm_limit"].as_f64());
        let signals =
            fields["lslm_signals"].is_object().then(|| fields["lslm_signals"].to_string());
        let annotation = Annotation {
            is_kept: fields["lslm_kept"].as_bool().unwrap_or(false),
            reason: text("lslm_reason"),
            measured,
            source: text("lslm_source").unwrap_or_default().into(),
            signals,
            span: text("lslm_span"),
            span_chars: number("lslm_span_start").zip(number("lslm_span_end")),
            copies: None,
        };
        let original = (document.id.as_deref() == Some(CHANGED)).then_some(document.text);
        Ok(Note { original, annotation })
    }
}
