//! The files of one partition of cleaned documents, and its second pass, which leaves out duplicates.

use lslm_clean::{DocumentPosition, Funnel, Measure};
use lslm_corpus::{Annotation, Document, Statistics};
use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::cleaning::Losses;
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
    pub(crate) dropped: Option<LazyWriter<'a>>,
    pub(crate) notes: Option<LazyWriter<'a>>,
}

impl Outputs<'_> {
    pub(crate) fn finish(self) -> Result<()> {
        for writer in [self.dropped, self.notes].into_iter().flatten() {
            writer.finish()?;
        }
        self.kept.finish()
    }
}

/// The second pass over the documents of one partition.
pub(crate) struct Publication<'a> {
    pub(crate) annotate: bool,
    pub(crate) fates: &'a Fates<'a>,
    pub(crate) outputs: Outputs<'a>,
    /// The position of the next document that the rules keep, among those alone.
    pub(crate) position: DocumentPosition,
    pub(crate) record: &'a mut CleanRecord,
    pub(crate) buffer: String,
}

impl Publication<'_> {
    /// Writes one document where it belongs, and counts what becomes of it.
    pub(crate) fn push(&mut self, mut document: Document, note: Option<Note>) -> Result<()> {
        let (original, annotation) = match note {
            Some(Note { original, annotation }) => (original, Some(annotation)),
            None => (None, None),
        };
        let is_kept = annotation.as_ref().is_none_or(|annotation| annotation.is_kept);
        let (fate, copies) = if is_kept {
            let index = self.position.index;
            self.position.index += 1;
            (self.fates.of(index, &document.text, &mut self.buffer), self.fates.copies(index))
        } else {
            (Fate::Keep, None)
        };
        let annotation = annotation.map(|own| Annotation { copies, ..own });
        match fate {
            Fate::Keep => self.keep(document, annotation),
            Fate::Edit { text, n_removed } => {
                let (before, after) = (document.text.len() as u64, text.len() as u64);
                self.record.funnel.edit_kept(self.fates.rule(), n_removed, before, after);
                self.record.n_bytes = self.record.n_bytes + after - before;
                document.text = text;
                self.keep(document, annotation)
            }
            Fate::Drop(measure) => {
                let index = self.position.index - 1;
                let kept = self.fates.documents.get(index as usize).copied().unwrap_or_default();
                let position = DocumentPosition { index, ..self.position };
                let (before, text) = (kept.n_bytes_before, &document.text);
                self.record.funnel.drop_kept(position, &measure, before, text);
                let n_bytes = document.text.len() as u64;
                if let Some(original) = original {
                    document.text = original;
                }
                if self.annotate {
                    let after = document.text.len() as u64;
                    self.record.n_bytes = self.record.n_bytes + after - n_bytes;
                    return self.keep(document, annotation.map(|own| dropped_by(own, measure)));
                }
                self.record.n_documents -= 1;
                self.record.n_bytes -= n_bytes;
                let Some(writer) = &mut self.outputs.dropped else { return Ok(()) };
                document.annotation =
                    Some(Box::new(dropped_by(annotation.unwrap_or_default(), measure)));
                writer.write(&document)
            }
        }
    }

    fn keep(&mut self, mut document: Document, annotation: Option<Annotation>) -> Result<()> {
        document.annotation = annotation.filter(|_| self.annotate).map(Box::new);
        self.outputs.kept.write(&document)
    }
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
