//! Counts of what was read, and of the documents that could not be.

use std::collections::BTreeMap;

use lslm_runtime::Error;
use serde::{Deserialize, Serialize};

/// Examples that are kept per [`BadReason`]: enough to see the cause, few enough to print.
pub const MAX_EXAMPLES: usize = 5;

/// Why a document could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReason {
    /// The line is not one JSON value.
    MalformedJson,
    /// The line is JSON, but not an object.
    NotAnObject,
    /// The object has no field with the name of the text key.
    MissingText,
    /// The text is null.
    NullText,
    /// The text is a number, a list or another value that is not a string.
    TextNotString,
    /// The text is not UTF-8, and the policy is [`Refuse`](crate::Utf8Policy::Refuse).
    IllFormedUtf8,
    /// A row of CSV has more or fewer fields than there are columns.
    UnevenRow,
}

impl BadReason {
    /// Returns the name in reports, such as `malformed_json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingText => "missing_text",
            Self::NullText => "null_text",
            Self::TextNotString => "text_not_string",
            Self::IllFormedUtf8 => "ill_formed_utf8",
            Self::UnevenRow => "uneven_row",
        }
    }
}

/// A bad document, as an example in reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDocument {
    /// The name of the input, as in [`Document::source`](crate::Document).
    pub source: String,
    /// The offset in the decompressed file, in bytes; for Parquet the row number.
    pub position: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// The bad documents of one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDocuments {
    /// Their number.
    pub documents: u64,
    /// The first [`MAX_EXAMPLES`] of them, in reading order.
    pub examples: Vec<BadDocument>,
}

/// A file that could not be read, or not beyond a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFile {
    /// The name of the input, as in [`Document::source`](crate::Document).
    pub source: String,
    /// The offset of the fault in the stored file, in bytes, if it is known.
    pub position: Option<u64>,
    /// What is wrong with it.
    pub detail: String,
    /// The documents before the fault, which count; of Parquet those of its row group.
    pub documents: u64,
}

impl BadFile {
    /// Returns the file `source` that `error` is about; other errors than those about one file are
    /// returned.
    pub(crate) fn of_error(source: &str, documents: u64, error: Error) -> Result<Self, Error> {
        let (position, detail) = match error {
            Error::Io { source, .. } => (None, source.to_string()),
            Error::Format { offset, reason, .. } => (offset, reason),
            other => return Err(other),
        };
        Ok(Self { source: source.to_owned(), position, detail, documents })
    }
}

/// Counts of one reading; those of several readers can be merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Documents that were returned.
    pub documents: u64,
    /// The bytes of their texts, as UTF-8.
    pub bytes: u64,
    /// Ill-formed sequences that became U+FFFD in those texts.
    pub replaced_sequences: u64,
    /// Documents with at least one such sequence.
    pub replaced_documents: u64,
    /// Bytes after the end of gzip data, such as zero padding, which were skipped.
    #[serde(default)]
    pub trailing_bytes: u64,
    /// Byte order marks before a line of JSONL other than the first, as joining files leaves them,
    /// which were skipped.
    #[serde(default)]
    pub inner_marks: u64,
    /// Documents that were converted to UTF-8, by the encoding of their file.
    #[serde(default)]
    pub converted: BTreeMap<String, u64>,
    /// Documents that could not be read, by reason.
    pub bad: BTreeMap<BadReason, BadDocuments>,
    /// The files that are broken, with [`OnBadFile::Skip`](crate::OnBadFile), in reading order.
    #[serde(default)]
    pub bad_files: Vec<BadFile>,
}

impl Statistics {
    /// Returns the number of documents that could not be read.
    pub fn bad_documents(&self) -> u64 {
        self.bad.values().map(|bad| bad.documents).sum()
    }

    /// Adds the counts of a reading that came after this one. Merged in the order of partitions,
    /// the result is the same for any size of partitions.
    pub fn merge(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.replaced_sequences += other.replaced_sequences;
        self.replaced_documents += other.replaced_documents;
        self.trailing_bytes += other.trailing_bytes;
        self.inner_marks += other.inner_marks;
        for (encoding, documents) in &other.converted {
            *self.converted.entry(encoding.clone()).or_default() += documents;
        }
        self.bad_files.extend_from_slice(&other.bad_files);
        for (reason, theirs) in &other.bad {
            let ours = self.bad.entry(*reason).or_default();
            ours.documents += theirs.documents;
            let room = MAX_EXAMPLES.saturating_sub(ours.examples.len());
            ours.examples.extend(theirs.examples.iter().take(room).cloned());
        }
    }

    /// Counts a document that is returned, with `replaced` ill-formed sequences in `text`.
    pub(crate) fn count(&mut self, text: &str, replaced: u64) {
        self.documents += 1;
        self.bytes += text.len() as u64;
        self.replaced_sequences += replaced;
        self.replaced_documents += u64::from(replaced > 0);
    }

    /// Counts a document that was converted from an encoding.
    pub(crate) fn count_converted(&mut self, encoding: &str) {
        match self.converted.get_mut(encoding) {
            Some(documents) => *documents += 1,
            None => drop(self.converted.insert(encoding.to_owned(), 1)),
        }
    }

    /// Counts a bad document; `example` is called only for the first few.
    pub(crate) fn count_bad(&mut self, reason: BadReason, example: impl FnOnce() -> BadDocument) {
        let bad = self.bad.entry(reason).or_default();
        bad.documents += 1;
        if bad.examples.len() < MAX_EXAMPLES {
            bad.examples.push(example());
        }
    }
}
