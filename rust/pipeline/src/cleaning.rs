//! Applies a cleaner to texts and to chunks of documents.

use std::borrow::Cow;

use lslm_clean::{CleanBuffers, Cleaner, DocumentPosition, Funnel};
use lslm_corpus::Document;
use lslm_runtime::{Result, Task};

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

/// The documents of a chunk that were kept, each with the bytes of its text before cleaning.
pub(crate) type KeptDocuments = Vec<(Document, u64)>;

/// Cleans the documents of a chunk. Returns those that are kept, and the funnel of all.
pub(crate) fn clean_chunk(
    cleaner: &Cleaner,
    chunk: Chunk,
    buffers: &mut CleanBuffers,
    task: &Task,
) -> Result<(KeptDocuments, Funnel)> {
    let mut kept = Vec::with_capacity(chunk.documents.len());
    let mut funnel = Funnel::default();
    for (index, mut document) in (chunk.first..).zip(chunk.documents) {
        task.check()?;
        let n_bytes = document.text.len() as u64;
        let cleaned = cleaner.clean(&document.text, buffers);
        let position = DocumentPosition { partition: chunk.partition, index };
        funnel.add(position, n_bytes, &cleaned, cleaner);
        if cleaned.verdict.is_kept() {
            if let Cow::Owned(text) = cleaned.text {
                document.text = text;
            }
            kept.push((document, n_bytes));
        }
    }
    Ok((kept, funnel))
}
