//! Applies a cleaner to texts and to chunks of documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lslm_clean::{
    CleanBuffers, CleanedText, Cleaner, DocumentOptions, DocumentPosition, Funnel, Measure,
    RemovedLine, StageRange,
};
use lslm_corpus::{Annotation, Document};
use lslm_runtime::{Result, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::reading::Chunk;

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
    /// The lines that line edits removed, each as a document, if those that are dropped are collected.
    pub(crate) lines: Vec<Document>,
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

    /// Counts a document of `bytes` bytes, which was counted as kept, as dropped.
    pub(crate) fn drop_kept(&mut self, source: &str, bytes: u64) {
        if let Some(count) = self.0.get_mut(source) {
            count.documents_kept -= 1;
            count.bytes_kept -= bytes;
        }
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
    /// The stages to run.
    pub(crate) stages: StageRange,
    /// Whether the values of every measure are collected.
    pub(crate) signals: bool,
}

impl ChunkOptions {
    /// Returns how a document from `url` is cleaned.
    pub(crate) fn of_document(self, url: Option<&str>) -> DocumentOptions<'_> {
        DocumentOptions {
            url,
            stages: self.stages,
            measures: self.signals || self.accounting == Accounting::Annotate,
            removed_lines: self.accounting == Accounting::Collect,
        }
    }
}

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
        lines: Vec::new(),
        funnel: Funnel::default(),
        losses: Losses::default(),
    };
    for (index, mut document) in (chunk.first..).zip(chunk.documents) {
        task.check()?;
        let n_bytes_before = document.text.len() as u64;
        let url = cleaner.url_key(options.stages).and_then(|key| url_of(&document, key));
        let url = url.as_deref();
        let of_document = options.of_document(url);
        let found = cleaner.clean_document(&document.text, of_document, buffers);
        let cleaned = found.cleaned;
        let position = DocumentPosition { partition: chunk.partition, index };
        made.funnel.add_document(position, n_bytes_before, of_document, &cleaned, cleaner);
        let is_kept = cleaned.verdict.is_kept();
        made.losses.add(&document.source, n_bytes_before, is_kept);
        if options.signals {
            made.funnel.add_signals(&found.measures);
        }
        made.lines.extend(found.removed_lines.into_iter().map(|line| line_of(&document, line)));
        document.annotation = match accounting {
            Accounting::Count => None,
            Accounting::Collect if is_kept => None,
            Accounting::Collect => {
                Some(Box::new(annotation(cleaner, &document.text, &document.source, &cleaned, url)))
            }
            Accounting::Annotate => Some(Box::new(Annotation {
                signals: Some(signals(found.measures).to_string()),
                ..annotation(cleaner, &document.text, &document.source, &cleaned, url)
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

/// Returns a removed line as a document with the id and the source of its own.
pub(crate) fn line_of(document: &Document, line: RemovedLine) -> Document {
    removed_part(document.id.clone(), Arc::clone(&document.source), line.reason, line.text)
}

/// Returns a part of a document that was removed for this reason as a document.
pub(crate) fn removed_part(
    id: Option<String>,
    source: Arc<str>,
    reason: &str,
    text: String,
) -> Document {
    let annotation =
        Annotation { reason: Some(reason.to_owned()), source, ..Annotation::default() };
    Document { id, annotation: Some(Box::new(annotation)), ..Document::new(text) }
}

/// Returns the URL in the field `key` of a document.
pub(crate) fn url_of(document: &Document, key: &str) -> Option<String> {
    let fields: Value = serde_json::from_str(&document.metadata()?).ok()?;
    Some(fields.get(key)?.as_str()?.to_owned())
}

/// Characters of a span to write: enough to see what it is.
const MAX_SPAN_CHARS: usize = 200;

/// Returns the verdict on a document that was read as `text` from the input `source`, with the place
/// in it that decided.
pub(crate) fn annotation(
    cleaner: &Cleaner,
    text: &str,
    source: &Arc<str>,
    cleaned: &CleanedText<'_>,
    url: Option<&str>,
) -> Annotation {
    let source = Arc::clone(source);
    let Some(measure) = cleaned.verdict.measure() else {
        return Annotation { is_kept: true, source, ..Annotation::default() };
    };
    let found = cleaner.evidence(&cleaned.text, url, measure);
    let place = found.range.clone().and_then(|range| cleaned.text.get(range));
    // the place in the text that is written, the one that was read
    let range = if cleaned.text.len() == text.len() && cleaned.text == text {
        found.range
    } else {
        place.and_then(|place| text.find(place).map(|at| at..at + place.len()))
    };
    let chars = |end: usize| text[..end].chars().count() as u64;
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
pub(crate) fn signals(measures: Vec<Measure>) -> Value {
    let values = measures.into_iter().map(|measure| (measure.name, measure.value.into()));
    Value::Object(values.collect())
}
