//! Applies a cleaner to texts and to chunks of documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lslm_clean::{CleanBuffers, Cleaner, DocumentPosition, Funnel, Verdict};
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

/// Cleans the documents of a chunk.
pub(crate) fn clean_chunk(
    cleaner: &Cleaner,
    chunk: Chunk,
    accounting: Accounting,
    buffers: &mut CleanBuffers,
    task: &Task,
) -> Result<CleanedChunk> {
    let mut made = CleanedChunk {
        kept: Vec::with_capacity(chunk.documents.len()),
        dropped: Vec::new(),
        funnel: Funnel::default(),
        losses: Losses::default(),
    };
    for (index, mut document) in (chunk.first..).zip(chunk.documents) {
        task.check()?;
        let n_bytes = document.text.len() as u64;
        let cleaned = cleaner.clean(&document.text, buffers);
        let position = DocumentPosition { partition: chunk.partition, index };
        made.funnel.add(position, n_bytes, &cleaned, cleaner);
        let is_kept = cleaned.verdict.is_kept();
        made.losses.add(&document.source, n_bytes, is_kept);
        let annotation = (accounting == Accounting::Annotate
            || accounting == Accounting::Collect && !is_kept)
            .then(|| Box::new(annotation(&cleaned.verdict, &document.source)));
        let text = if is_kept { cleaned.text } else { Cow::Borrowed("") };
        let text = match text {
            Cow::Owned(text) => Some(text),
            Cow::Borrowed(_) => None,
        };
        if let Some(mut annotation) = annotation {
            if accounting == Accounting::Annotate {
                annotation.signals = Some(signals(cleaner, &document.text, buffers));
            }
            document.annotation = Some(annotation);
        }
        let original = text.map(|text| std::mem::replace(&mut document.text, text));
        if is_kept || accounting == Accounting::Annotate {
            let n_bytes_before = n_bytes;
            made.kept.push(CleanedDocument { document, n_bytes_before, original, is_kept });
        } else if accounting == Accounting::Collect {
            made.dropped.push(document);
        }
    }
    Ok(made)
}

fn annotation(verdict: &Verdict, source: &Arc<str>) -> Annotation {
    let measure = verdict.measure();
    Annotation {
        is_kept: verdict.is_kept(),
        reason: measure.map(|measure| measure.name.clone()),
        measured: measure.map(|measure| (measure.value, measure.limit)),
        source: Arc::clone(source),
        signals: None,
    }
}

/// Returns every measure of a text as a JSON object, by name.
fn signals(cleaner: &Cleaner, text: &str, buffers: &mut CleanBuffers) -> String {
    let measures = cleaner.explain(text, buffers);
    let values = measures.into_iter().map(|measure| (measure.name, measure.value.into()));
    Value::Object(values.collect()).to_string()
}
