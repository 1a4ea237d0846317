//! Reads and writes documents: plain text, JSONL and Parquet; gzip and zstd; standard input. CSV and
//! legacy character encodings are read.
//!
//! [`Corpus::open`] turns paths, folders and globs into a list of inputs, [`Corpus::partitions`]
//! divides it into units of work, and a [`DocumentReader`] returns the documents of one of them,
//! with memory for one document at a time. [`DocumentWriter`] writes documents to a file.
//!
//! A bad document is counted in [`Statistics`], with its place and the reason. A bad file is an
//! error that names it, unless [`OnBadFile::Skip`] lists it instead: [`Io`](lslm_runtime::Error::Io) when it cannot be read,
//! [`Format`](lslm_runtime::Error::Format) when its content breaks its format,
//! [`Invalid`](lslm_runtime::Error::Invalid) when an argument is unusable.
//!
//! ```
//! use lslm_corpus::{Corpus, Document, DocumentWriter, ReadOptions, WriteOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let path = folder.join("documents.jsonl.zst");
//! let mut writer = DocumentWriter::create(&path, WriteOptions::default())?;
//! writer.write(&Document::new("first"))?;
//! writer.write(&Document::new("second"))?;
//! writer.finish()?;
//!
//! let corpus = Corpus::open(&[path.display().to_string()], ReadOptions::default())?;
//! let mut texts = Vec::new();
//! for document in corpus.read_all() {
//!     texts.push(document?.text);
//! }
//! assert_eq!(texts, ["first", "second"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod corpus;
mod csv;
mod discover;
mod document;
mod encoding;
mod gzip;
mod input;
mod jsonl;
mod options;
mod parquet;
mod reader;
mod sniff;
mod statistics;
mod stream;
mod text;
mod utf8;
mod writer;

pub use corpus::Corpus;
pub use discover::{SkipReason, Skipped};
pub use document::{Annotation, Document, Record};
pub use input::Input;
pub use options::{Compression, Format, OnBadFile, ReadOptions, Split, Utf8Policy};
pub use reader::DocumentReader;
pub use statistics::{BadDocument, BadDocuments, BadFile, BadReason, MAX_EXAMPLES, Statistics};
pub use writer::{DocumentWriter, WriteOptions, check_extension};
