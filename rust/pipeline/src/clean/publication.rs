//! The files of one partition of cleaned documents, and its second pass, which leaves out duplicates
//! and runs the stages after deduplication.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use lslm_clean::{CleanBuffers, Cleaner, DocumentPosition, DocumentResult, Funnel, Measure};
use lslm_corpus::{Annotation, Corpus, Document, Statistics};
use lslm_runtime::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cleaning::{
    Accounting, ChunkOptions, Losses, annotation, line_of, removed_part, signals, url_of,
};
use crate::dedup::{Fate, Fates};
use crate::job::PartitionRecord;
use crate::staging::{LazyWriter, Note};

/// The record of a finished partition.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct CleanRecord {
    pub(crate) n_documents: u64,
    pub(crate) n_bytes: u64,
    pub(crate) funnel: Funnel,
    pub(crate) losses: Losses,
    pub(crate) reading: Statistics,
}

impl PartitionRecord for CleanRecord {
    fn reading(&self) -> &Statistics {
        &self.reading
    }
}

/// The files of one partition.
pub(crate) struct Outputs<'a> {
    pub(crate) kept: LazyWriter<'a>,
    pub(crate) dropped: Option<DroppedFiles<'a>>,
    pub(crate) notes: Option<LazyWriter<'a>>,
}

/// The files of dropped documents, and of lines and paragraphs that are removed from documents.
pub(crate) struct DroppedFiles<'a> {
    pub(crate) documents: LazyWriter<'a>,
    pub(crate) parts: LazyWriter<'a>,
}

impl DroppedFiles<'_> {
    fn finish(self) -> Result<()> {
        self.documents.finish()?;
        self.parts.finish()
    }
}

impl Outputs<'_> {
    pub(crate) fn finish(self) -> Result<()> {
        self.dropped.map_or(Ok(()), DroppedFiles::finish)?;
        self.notes.map_or(Ok(()), LazyWriter::finish)?;
        self.kept.finish()
    }
}

/// The second pass over the documents of one partition.
pub(crate) struct Publication<'a> {
    pub(crate) cleaner: &'a Cleaner,
    /// How the stages after deduplication run.
    pub(crate) options: ChunkOptions,
    /// The documents that were read, not the staged ones.
    pub(crate) corpus: &'a Corpus,
    pub(crate) fates: &'a Fates<'a>,
    /// What is dropped here: duplicates.
    pub(crate) outputs: Outputs<'a>,
    /// What the stages after deduplication drop.
    pub(crate) late: Option<DroppedFiles<'a>>,
    /// The position of the next document that the rules keep, among those alone.
    pub(crate) position: DocumentPosition,
    pub(crate) record: &'a mut CleanRecord,
    pub(crate) buffers: CleanBuffers,
    pub(crate) buffer: String,
}

/// A document of the second pass.
struct StagedDocument {
    document: Document,
    /// Its text as it was read, if cleaning changed it.
    original: Option<String>,
    annotation: Option<Annotation>,
    position: DocumentPosition,
    /// The bytes of its text as it was read.
    n_bytes_before: u64,
    /// The input that it was read from.
    source: Arc<str>,
}

impl Publication<'_> {
    /// Writes one document where it belongs, and counts what becomes of it.
    pub(crate) fn push(&mut self, mut document: Document, note: Option<Note>) -> Result<()> {
        let (original, annotation) = match note {
            Some(Note { original, annotation }) => (original, Some(annotation)),
            None => (None, None),
        };
        if annotation.as_ref().is_some_and(|annotation| !annotation.is_kept) {
            return self.keep(document, annotation);
        }
        let position = self.position;
        self.position.index += 1;
        let fate = self.fates.of(position.index, &document.text, &mut self.buffer);
        let copies = self.fates.copies(position.index);
        let kept = self.fates.documents.get(position.index as usize).copied().unwrap_or_default();
        let source = Arc::clone(self.corpus.inputs()[kept.source as usize].name());
        let annotation = annotation.map(|own| Annotation { copies, ..own });
        if let Fate::Edit { text, removed } = &fate {
            self.count_parts(&document, text, removed, &source)?;
        }
        let staged = |document| StagedDocument {
            document,
            original,
            annotation,
            position,
            n_bytes_before: kept.n_bytes_before,
            source,
        };
        match fate {
            Fate::Keep => self.clean(staged(document)),
            Fate::Edit { text, .. } => {
                // what it was as it was read is in the note, or it was not changed until now
                let before = std::mem::replace(&mut document.text, text);
                let staged = staged(document);
                self.clean(StagedDocument {
                    original: Some(staged.original.unwrap_or(before)),
                    ..staged
                })
            }
            Fate::Drop(measure) => {
                let staged = staged(document);
                let funnel = &mut self.record.funnel;
                let (before, text) = (staged.n_bytes_before, &staged.document.text);
                funnel.drop_kept(position, &measure, before, text, self.cleaner);
                let annotation = dropped_by(staged.annotation.clone().unwrap_or_default(), measure);
                self.drop(staged, annotation, false)
            }
        }
    }

    /// Counts the parts that are removed from a document, of which `text` is left, and writes them.
    fn count_parts(
        &mut self,
        document: &Document,
        text: &str,
        removed: &[Range<usize>],
        source: &Arc<str>,
    ) -> Result<()> {
        let (before, after) = (document.text.len() as u64, text.len() as u64);
        let (rule, n_removed) = (self.fates.rule(), removed.len() as u64);
        self.record.funnel.edit_kept(rule, n_removed, before, after);
        self.record.n_bytes = self.record.n_bytes + after - before;
        let Some(files) = &mut self.outputs.dropped else { return Ok(()) };
        for range in removed {
            let part = document.text[range.clone()].trim_end_matches('\n').to_owned();
            let (id, source) = (document.id.clone(), Arc::clone(source));
            files.parts.write(&removed_part(id, source, rule, part))?;
        }
        Ok(())
    }

    /// Runs the stages after deduplication on a document that it keeps, and writes it.
    fn clean(&mut self, mut staged: StagedDocument) -> Result<()> {
        let stages = self.options.stages;
        if !self.cleaner.has_stages(stages) {
            return self.keep(staged.document, staged.annotation);
        }
        let text = std::mem::take(&mut staged.document.text);
        let url = self.cleaner.url_key(stages).and_then(|key| url_of(&staged.document, key));
        let options = self.options.of_document(url.as_deref());
        let found = self.cleaner.clean_document(&text, options, &mut self.buffers);
        let DocumentResult { cleaned, measures, removed_lines } = found;
        let funnel = &mut self.record.funnel;
        let n_bytes = text.len() as u64;
        let (position, sizes) = (staged.position, (staged.n_bytes_before, n_bytes));
        funnel.recount(position, sizes, options, &cleaned, self.cleaner);
        if self.options.signals {
            funnel.add_signals(&measures);
        }
        if let Some(files) = &mut self.late {
            staged.document.source = Arc::clone(&staged.source);
            for line in removed_lines {
                files.parts.write(&line_of(&staged.document, line))?;
            }
        }
        if let Some(own) = &mut staged.annotation
            && self.options.accounting == Accounting::Annotate
        {
            own.signals = joined(own.signals.take(), signals(measures));
        }
        if cleaned.verdict.is_kept() {
            let new = match cleaned.text {
                Cow::Owned(new) => Some(new),
                Cow::Borrowed(_) => None,
            };
            staged.document.text = new.unwrap_or(text);
            let after = staged.document.text.len() as u64;
            self.record.n_bytes = self.record.n_bytes + after - n_bytes;
            return self.keep(staged.document, staged.annotation);
        }
        self.record.losses.drop_kept(&staged.source, staged.n_bytes_before);
        let as_read = staged.original.as_deref().unwrap_or(&text);
        let found = annotation(self.cleaner, as_read, &staged.source, &cleaned, options.url);
        let own = staged.annotation.take().unwrap_or_default();
        let verdict = Annotation { copies: own.copies, signals: own.signals, ..found };
        drop(cleaned);
        staged.document.text = text;
        self.drop(staged, verdict, true)
    }

    /// Writes a document that is dropped, as it was read. `is_late` says by which stages.
    fn drop(
        &mut self,
        staged: StagedDocument,
        annotation: Annotation,
        is_late: bool,
    ) -> Result<()> {
        let StagedDocument { mut document, original, .. } = staged;
        let n_bytes = document.text.len() as u64;
        if let Some(original) = original {
            document.text = original;
        }
        if self.options.accounting == Accounting::Annotate {
            let after = document.text.len() as u64;
            self.record.n_bytes = self.record.n_bytes + after - n_bytes;
            return self.keep(document, Some(annotation));
        }
        self.record.n_documents -= 1;
        self.record.n_bytes -= n_bytes;
        let files = if is_late { &mut self.late } else { &mut self.outputs.dropped };
        let Some(files) = files else { return Ok(()) };
        document.annotation = Some(Box::new(annotation));
        files.documents.write(&document)
    }

    fn keep(&mut self, mut document: Document, annotation: Option<Annotation>) -> Result<()> {
        let is_annotated = self.options.accounting == Accounting::Annotate;
        document.annotation = annotation.filter(|_| is_annotated).map(Box::new);
        self.outputs.kept.write(&document)
    }

    /// Completes the files.
    pub(crate) fn finish(self) -> Result<()> {
        self.late.map_or(Ok(()), DroppedFiles::finish)?;
        self.outputs.finish()
    }
}

/// Returns the signals `before` deduplication and those after it as one JSON object.
fn joined(before: Option<String>, after: Value) -> Option<String> {
    let mut all = before.and_then(|json| serde_json::from_str(&json).ok());
    match (&mut all, after) {
        (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
        (_, more) => all = Some(more),
    }
    all.map(|all| all.to_string())
}

/// Returns the annotation of a document that is dropped because of `measure`.
fn dropped_by(annotation: Annotation, measure: Measure) -> Annotation {
    Annotation {
        is_kept: false,
        measured: Some((measure.value, measure.limit)),
        reason: Some(measure.name),
        ..annotation
    }
}
