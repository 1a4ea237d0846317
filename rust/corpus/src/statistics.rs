//! What reading met: how much, and what was wrong with the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many examples of each kind of bad document are kept.
pub const EXAMPLES: usize = 5;

/// Why a document could not be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReason {
    /// The line is not one JSON value.
    MalformedJson,
    /// The line is JSON, but not an object.
    NotAnObject,
    /// The object has no field with the text.
    MissingText,
    /// The text is null.
    NullText,
    /// The text is a number, a list or another thing that is not a string.
    TextNotString,
    /// The text is not UTF-8, and the policy is to refuse such.
    IllFormedUtf8,
}

impl BadReason {
    /// The name in reports, such as `malformed_json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingText => "missing_text",
            Self::NullText => "null_text",
            Self::TextNotString => "text_not_string",
            Self::IllFormedUtf8 => "ill_formed_utf8",
        }
    }
}

/// Where one bad document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The input, as in [`Document::source`](crate::Document).
    pub source: String,
    /// Bytes from the start of the decompressed file; in Parquet the row number.
    pub position: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// The bad documents of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// How many there are.
    pub documents: u64,
    /// The first [`EXAMPLES`] of them, in the order of reading.
    pub examples: Vec<Example>,
}

/// What a reader has met so far; those of several readers add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Documents given out.
    pub documents: u64,
    /// The bytes of their texts, as UTF-8.
    pub bytes: u64,
    /// Ill-formed sequences that became U+FFFD in the texts given out.
    pub replaced_sequences: u64,
    /// Documents with at least one of them.
    pub replaced_documents: u64,
    /// Documents that could not be given out, by reason.
    pub bad: BTreeMap<BadReason, Bad>,
}

impl Statistics {
    /// How many documents could not be given out.
    pub fn bad_documents(&self) -> u64 {
        self.bad.values().map(|bad| bad.documents).sum()
    }

    /// Adds what another reader met after this one. Merged in the order of partitions, the result
    /// does not depend on how the corpus was cut.
    pub fn merge(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.replaced_sequences += other.replaced_sequences;
        self.replaced_documents += other.replaced_documents;
        for (reason, theirs) in &other.bad {
            let ours = self.bad.entry(*reason).or_default();
            ours.documents += theirs.documents;
            let room = EXAMPLES.saturating_sub(ours.examples.len());
            ours.examples.extend(theirs.examples.iter().take(room).cloned());
        }
    }

    pub(crate) fn count(&mut self, text: &str, replaced: u64) {
        self.documents += 1;
        self.bytes += text.len() as u64;
        self.replaced_sequences += replaced;
        self.replaced_documents += u64::from(replaced > 0);
    }

    pub(crate) fn count_bad(&mut self, reason: BadReason, example: impl FnOnce() -> Example) {
        let bad = self.bad.entry(reason).or_default();
        bad.documents += 1;
        if bad.examples.len() < EXAMPLES {
            bad.examples.push(example());
        }
    }
}
