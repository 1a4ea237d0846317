//! Documents in and out: text, JSONL and Parquet; plain, gzip and zstd; standard input.
//!
//! [`Corpus::open`] turns paths, folders and globs into a list of inputs, [`Corpus::partitions`]
//! cuts it into units of work, and a [`Reader`] gives the documents of one of them with memory for
//! one document at a time. [`DocumentWriter`] is the way back.
//!
//! A bad document is counted in [`Statistics`], with where it is and why. A bad file is an error
//! that names it: [`Io`](lslm_runtime::Error::Io) when it cannot be read,
//! [`Format`](lslm_runtime::Error::Format) when its content is not what it should be,
//! [`Invalid`](lslm_runtime::Error::Invalid) when the arguments make no sense.

mod corpus;
mod documents;
mod find;
mod input;
mod json;
mod options;
mod reader;
mod recognise;
mod statistics;
mod stream;
mod table;
mod utf8;
mod writer;

pub use corpus::Corpus;
pub use find::{SkipReason, Skipped};
pub use input::Input;
pub use options::{Compression, Format, ReadOptions, Split, Utf8Policy};
pub use reader::{Document, Reader};
pub use statistics::{Bad, BadReason, EXAMPLES, Example, Statistics};
pub use writer::{DocumentWriter, WriteOptions};
