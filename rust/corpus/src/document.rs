//! A document, and the outcome of reading one.

use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::csv::row::CsvRow;
use crate::jsonl::record::JsonRecord;
use crate::jsonl::write::push_string;
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
    /// What a job found, which is written after the fields.
    pub annotation: Option<Box<Annotation>>,
    /// The bytes that the text has more than as it came: U+FFFD has 3, and replaced ill-formed
    /// sequences of 1 to 3. A text that is changed has none.
    pub surplus: i64,
}

impl Document {
    /// Returns a document of a text alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            id: None,
            source: Arc::from(""),
            record: Record::default(),
            annotation: None,
            surplus: 0,
        }
    }

    /// Returns the bytes of the text as it came, in UTF-8; an ill-formed sequence has its own.
    pub fn n_bytes(&self) -> u64 {
        self.text.len().saturating_add_signed(-self.surplus as isize) as u64
    }

    /// Returns the bytes of a part of the text as it came. Those of consecutive parts add up: the
    /// surplus is spread over all U+FFFD, also over those that the text had itself.
    pub fn n_bytes_of(&self, part: Range<usize>) -> u64 {
        if self.surplus == 0 {
            return part.len() as u64;
        }
        let n_before = |end: usize| self.text[..end].matches(char::REPLACEMENT_CHARACTER).count();
        let total = n_before(self.text.len()).max(1) as i64;
        let surplus_before = |end: usize| self.surplus * n_before(end) as i64 / total;
        let surplus = surplus_before(part.end) - surplus_before(part.start);
        (part.len() as u64).saturating_add_signed(-surplus)
    }

    /// Returns the other fields as a JSON object; see [`Record::metadata`].
    pub fn metadata(&self) -> Option<String> {
        self.record.metadata()
    }
}

/// What a job found about a document: further fields, whose names begin with `lslm_`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Whether it is kept: `lslm_kept`.
    pub is_kept: bool,
    /// Why it is dropped, null for one that is kept: `lslm_reason`.
    pub reason: Option<String>,
    /// What was measured and its limit, where a measure decided: `lslm_value`, `lslm_limit`.
    pub measured: Option<(f64, f64)>,
    /// The input, and the number of the document in its partition: `lslm_source`.
    pub source: Arc<str>,
    /// Every signal by its name, as a JSON object: `lslm_signals`.
    pub signals: Option<String>,
    /// The place that decided, or the entry of a list: `lslm_span`.
    pub span: Option<String>,
    /// The characters of the text that are the place, from and to: `lslm_span_start`,
    /// `lslm_span_end`.
    pub span_chars: Option<(u64, u64)>,
    /// How many equal documents there are, if that was counted: `lslm_copies`.
    pub copies: Option<u64>,
}

/// The names of the fields of an [`Annotation`], in the order in which they are written.
pub(crate) const ANNOTATIONS: [&str; 10] = [
    "lslm_kept",
    "lslm_reason",
    "lslm_value",
    "lslm_limit",
    "lslm_source",
    "lslm_signals",
    "lslm_span",
    "lslm_span_start",
    "lslm_span_end",
    "lslm_copies",
];

impl Annotation {
    /// Returns the values as JSON, in the order of [`ANNOTATIONS`].
    pub(crate) fn values(&self) -> [String; ANNOTATIONS.len()] {
        let string = |text: &str| {
            let mut out = String::new();
            push_string(&mut out, text);
            out
        };
        let null = || "null".to_owned();
        let number = |value: f64| serde_json::to_string(&value).unwrap_or_else(|_| null());
        let integers = self.integers().map(|value| value.map_or_else(null, |n| n.to_string()));
        let [start, end, copies] = integers;
        [
            self.is_kept.to_string(),
            self.reason.as_deref().map_or_else(null, string),
            self.measured.map_or_else(null, |(value, _)| number(value)),
            self.measured.map_or_else(null, |(_, limit)| number(limit)),
            string(&self.source),
            self.signals.clone().unwrap_or_else(null),
            self.span.as_deref().map_or_else(null, string),
            start,
            end,
            copies,
        ]
    }

    /// Returns the values of the last three fields.
    pub(crate) fn integers(&self) -> [Option<u64>; 3] {
        let (start, end) = self.span_chars.unzip();
        [start, end, self.copies]
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
    // boxed, so that documents without records, which are moved often, stay small
    Line(Box<JsonRecord>),
    Row(ParquetRow),
    Csv(Box<CsvRow>),
}

/// The outcome of reading one document.
#[derive(Debug)]
pub(crate) enum Found {
    /// A document of the open input.
    Document {
        text: String,
        /// The ill-formed sequences that became U+FFFD.
        replaced: u64,
        /// That of [`Document`].
        surplus: i64,
        id: Option<String>,
        record: Record,
    },
    /// A bad document. `position` is that of [`BadDocument`](crate::BadDocument).
    Bad { position: u64, reason: BadReason, detail: String },
}
