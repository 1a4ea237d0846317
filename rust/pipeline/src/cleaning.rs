//! Applies a cleaner to texts and to chunks of documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lslm_clean::{CleanBuffers, CleanedText, Cleaner, DocumentPosition, Funnel, Measure};
use lslm_corpus::{Annotation, Document};
use lslm_runtime::{Result, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::reading::Chunk;
use crate::validation::is_in_share;

/// Returns the cleaned text, or `None` if it is dropped. Without a cleaner the text is unchanged.
pub(crate) fn clean_text<'t>(
    cleaner: Option<&Cleaner>,
    text: &'t str,
    buffers: &mut CleanBuffers,
) -> Option<Cow<'t, str>> {
    let Some(cleaner) = cleaner else { return Some(Cow::Borrowed(text)) };
    let cleaned = cleaner.clean(text, buffers);
    cleaned.verdict.is_kept().then_some(cleaned.text)
}

/// What happens with the documents that are dropped, besides counting them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounting {
    Count,
    /// They are collected as they were read, with the reason.
    Collect,
    /// They stay among the others; all have every signal.
    Annotate,
}

/// A chunk of documents after cleaning.
pub(crate) struct CleanedChunk {
    /// The documents to write.
    pub(crate) kept: Vec<CleanedDocument>,
    pub(crate) dropped: Vec<Document>,
    pub(crate) funnel: Funnel,
    pub(crate) losses: Losses,
}

/// A document after cleaning.
pub(crate) struct CleanedDocument {
    pub(crate) document: Document,
    /// The bytes of its text before cleaning.
    pub(crate) n_bytes_before: u64,
    /// Its text before cleaning, if that changed it.
    pub(crate) original: Option<String>,
    /// Whether the rules keep it: true unless all documents are annotated.
    pub(crate) is_kept: bool,
}

/// What the rules kept of each source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses(pub BTreeMap<String, SourceCount>);

/// Documents and bytes of a source before cleaning, and those of its documents that were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCount {
    /// Documents read.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Their bytes, before cleaning.
    pub bytes_kept: u64,
}

impl Losses {
    fn add(&mut self, source: &str, bytes: u64, is_kept: bool) {
        if !self.0.contains_key(source) {
            self.0.insert(source.to_owned(), SourceCount::default());
        }
        let Some(count) = self.0.get_mut(source) else { return };
        count.documents += 1;
        count.bytes += bytes;
        count.documents_kept += u64::from(is_kept);
        count.bytes_kept += if is_kept { bytes } else { 0 };
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (source, more) in other.0 {
            let count = self.0.entry(source).or_default();
            count.documents += more.documents;
            count.bytes += more.bytes;
            count.documents_kept += more.documents_kept;
            count.bytes_kept += more.bytes_kept;
        }
    }

    /// Leaves the sources of which more than half of the documents were dropped.
    pub(crate) fn keep_large(&mut self) {
        self.0.retain(|_, count| 2 * count.documents_kept < count.documents);
    }
}

/// How the documents of a job are cleaned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkOptions {
    pub(crate) accounting: Accounting,
    /// Whether the measures of a sample of the documents are collected.
    pub(crate) signals: bool,
}

/// Documents of a partition that are all in the sample of signals, from the first: enough for a
/// histogram of a small corpus.
const MIN_SAMPLED: u64 = 1000;
/// The share of the documents after those. All measures of one cost about as much as its cleaning.
const SAMPLED_SHARE: f64 = 1.0 / 16.0;

/// Cleans the documents of a chunk.
pub(crate) fn clean_chunk(
    cleaner: &Cleaner,
    chunk: Chunk,
    options: ChunkOptions,
    buffers: &mut CleanBuffers,
    task: &Task,
) -> Result<CleanedChunk> {
    let accounting = options.accounting;
    let mut made = CleanedChunk {
        kept: Vec::with_capacity(chunk.documents.len()),
        dropped: Vec::new(),
        funnel: Funnel::default(),
        losses: Losses::default(),
    };
    for (index, mut document) in (chunk.first..).zip(chunk.documents) {
        task.check()?;
        let n_bytes_before = document.text.len() as u64;
        let url = cleaner.url_key().and_then(|key| url_of(&document, key));
        let cleaned = cleaner.clean_document(&document.text, url.as_deref(), buffers);
        let position = DocumentPosition { partition: chunk.partition, index };
        made.funnel.add_document(position, (n_bytes_before, url.as_deref()), &cleaned, cleaner);
        let is_kept = cleaned.verdict.is_kept();
        made.losses.add(&document.source, n_bytes_before, is_kept);
        let is_sampled = options.signals
            && (index < MIN_SAMPLED || is_in_share(&document.text, SAMPLED_SHARE, 0));
        let measures = (is_sampled || accounting == Accounting::Annotate)
            .then(|| cleaner.explain_document(&document.text, url.as_deref(), buffers));
        if let (true, Some(measures)) = (is_sampled, &measures) {
            made.funnel.add_signals(measures);
        }
        document.annotation = match accounting {
            Accounting::Count => None,
            Accounting::Collect if is_kept => None,
            Accounting::Collect => {
                Some(Box::new(annotation(cleaner, &document, &cleaned, url.as_deref())))
            }
            Accounting::Annotate => Some(Box::new(Annotation {
                signals: measures.map(signals),
                ..annotation(cleaner, &document, &cleaned, url.as_deref())
            })),
        };
        let text = match (is_kept, cleaned.text) {
            (true, Cow::Owned(text)) => Some(text),
            _ => None,
        };
        let original = text.map(|text| {
            document.surplus = 0; // of a text that cleaning made, the bytes are its own
            std::mem::replace(&mut document.text, text)
        });
        if is_kept || accounting == Accounting::Annotate {
            made.kept.push(CleanedDocument { document, n_bytes_before, original, is_kept });
        } else if accounting == Accounting::Collect {
            made.dropped.push(document);
        }
    }
    Ok(made)
}

/// Returns the URL in the field `key` of a document.
fn url_of(document: &Document, key: &str) -> Option<String> {
    let fields: Value = serde_json::from_str(&document.metadata()?).ok()?;
    Some(fields.get(key)?.as_str()?.to_owned())
}

/// Characters of a span to write: enough to see what it is.
const MAX_SPAN_CHARS: usize = 200;

/// Returns the verdict on a document, with the place in its text that decided it.
fn annotation(
    cleaner: &Cleaner,
    document: &Document,
    cleaned: &CleanedText<'_>,
    url: Option<&str>,
) -> Annotation {
    let source = Arc::clone(&document.source);
    let Some(measure) = cleaned.verdict.measure() else {
        return Annotation { is_kept: true, source, ..Annotation::default() };
    };
    let found = cleaner.evidence(&cleaned.text, url, measure);
    let place = found.range.clone().and_then(|range| cleaned.text.get(range));
    // the place in the text that is written, the one that was read
    let range = match &cleaned.text {
        Cow::Borrowed(_) => found.range,
        Cow::Owned(_) => {
            place.and_then(|place| document.text.find(place).map(|at| at..at + place.len()))
        }
    };
    let chars = |end: usize| document.text[..end].chars().count() as u64;
    let entry = found.entry.map(String::from);
    Annotation {
        is_kept: false,
        reason: Some(measure.name.clone()),
        measured: Some((measure.value, measure.limit)),
        source,
        span: entry.or_else(|| place.map(|place| place.chars().take(MAX_SPAN_CHARS).collect())),
        span_chars: range.map(|range| (chars(range.start), chars(range.end))),
        ..Annotation::default()
    }
}

/// Returns measures as a JSON object of values by name.
fn signals(measures: Vec<Measure>) -> String {
    let values = measures.into_iter().map(|measure| (measure.name, measure.value.into()));
    Value::Object(values.collect()).to_string()
}
