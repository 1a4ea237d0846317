//! A document, and the outcome of reading one.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::csv::CsvRow;
use crate::jsonl::record::JsonRecord;
use crate::parquet::row::ParquetRow;
use crate::statistics::BadReason;

/// A text and the fields of its file that belong to it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The text, well-formed under the [`Utf8Policy`](crate::Utf8Policy) of the reading.
    pub text: String,
    /// The id, if the file has one; a number is spelled as it is there.
    pub id: Option<String>,
    /// The name of the input, as it was given or found.
    pub source: Arc<str>,
    /// The fields as they are in the file, which [`DocumentWriter`](crate::DocumentWriter) writes.
    pub record: Record,
}

impl Document {
    /// Returns a document of a text alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), id: None, source: Arc::from(""), record: Record::default() }
    }

    /// Returns the other fields as a JSON object; see [`Record::metadata`].
    pub fn metadata(&self) -> Option<String> {
        self.record.metadata()
    }
}

/// The fields of a document with their names and types: a line of JSONL, a row of Parquet or CSV.
///
/// Reading keeps them as they are in the file, and writing in the same format gives them back: of
/// JSONL every byte but the text's value, of Parquet every value under the schema of its column.
#[derive(Clone, Debug, Default)]
pub struct Record(pub(crate) Fields);

impl Record {
    /// Returns the record of a document whose other fields are the members of a JSON object.
    pub fn from_object(object: Box<RawValue>) -> Self {
        Self(Fields::Object(object))
    }

    /// Returns the fields other than text and id as a JSON object, in their order and spelling;
    /// `None` if there are none or they were not kept.
    pub fn metadata(&self) -> Option<String> {
        match &self.0 {
            Fields::None => None,
            Fields::Object(object) => Some(object.get().to_owned()),
            Fields::Line(line) => line.others(false),
            Fields::Row(row) => row.others(false),
            Fields::Csv(row) => row.others(),
        }
    }
}

/// What a [`Record`] holds.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fields {
    /// No fields: plain text, or fields that were not kept.
    #[default]
    None,
    /// The members other than text and id.
    Object(Box<RawValue>),
    Line(JsonRecord),
    Row(ParquetRow),
    Csv(CsvRow),
}

/// The outcome of reading one document.
#[derive(Debug)]
pub(crate) enum Found {
    /// A document of the open input.
    Document {
        text: String,
        /// The ill-formed sequences in `text` that became U+FFFD.
        replaced: u64,
        id: Option<String>,
        record: Record,
    },
    /// A bad document. `position` is that of [`BadDocument`](crate::BadDocument).
    Bad { position: u64, reason: BadReason, detail: String },
}
