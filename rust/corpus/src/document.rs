//! A document, and the outcome of reading one.

use std::sync::Arc;

use serde_json::value::RawValue;

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
    /// A JSON object of the other fields, in their order and spelling; `None` if there are none.
    pub metadata: Option<Box<RawValue>>,
}

impl Document {
    /// Returns a document of a text alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), id: None, source: Arc::from(""), metadata: None }
    }
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
        metadata: Option<Box<RawValue>>,
    },
    /// A bad document. `position` is that of [`BadDocument`](crate::BadDocument).
    Bad { position: u64, reason: BadReason, detail: String },
}
