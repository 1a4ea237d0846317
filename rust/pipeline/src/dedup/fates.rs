//! What becomes of the documents of a partition.

use std::ops::Range;

use lslm_clean::dedup::{PartKind, SearchResult};
use lslm_clean::{Dedup, Measure};

use crate::dedup::keys::KeptDocument;

/// The reasons of deduplication: equal to an earlier document, to one of an older index, and too
/// little left after the removal of parts.
const DOCUMENT: &str = "dedup.document";
const OLDER: &str = "dedup.older";
const NOTHING_LEFT: &str = "dedup.nothing_left";

/// What becomes of one document.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It stays as it is.
    Keep,
    /// It is dropped because of this measure.
    Drop(Measure),
    /// This text is left of it, without the parts at these bytes.
    Edit { text: String, removed: Vec<Range<usize>> },
}

/// What becomes of the documents of a partition.
pub(crate) struct Fates<'a> {
    pub(super) dedup: &'a Dedup,
    pub(super) documents_found: Option<&'a SearchResult>,
    pub(super) parts_found: Option<&'a SearchResult>,
    pub(super) partition: usize,
    pub(crate) documents: Vec<KeptDocument>,
    /// The number of the first part of each document.
    pub(super) first_parts: Vec<u64>,
}

impl Fates<'_> {
    /// Returns whether all documents stay as they are.
    pub(crate) fn change_nothing(&self) -> bool {
        let levels = [self.documents_found, self.parts_found];
        let mut found = levels.into_iter().flatten();
        found.all(|found| found.duplicates[self.partition].count() == 0)
    }

    /// Returns how often the document with this index occurs, if documents were compared.
    pub(crate) fn copies(&self, index: u64) -> Option<u64> {
        let copies = &self.documents_found?.copies[self.partition];
        let at = copies.binary_search_by_key(&index, |(position, _)| *position);
        Some(at.map_or(1, |at| copies[at].1))
    }

    /// Returns what becomes of the document with this index, whose text is `text`.
    pub(crate) fn of(&self, index: u64, text: &str, buffer: &mut String) -> Fate {
        let drop = |name: &str, value: f64, limit: f64| {
            Fate::Drop(Measure { name: name.to_owned(), value, limit, passed: false })
        };
        if let Some(found) = self.documents_found
            && found.duplicates[self.partition].has(index)
        {
            let copies = self.copies(index).unwrap_or(1) as f64;
            return if found.older[self.partition].has(index) {
                drop(OLDER, copies, 0.0)
            } else {
                drop(DOCUMENT, copies, 1.0)
            };
        }
        let (Some(found), Some(first)) = (self.parts_found, self.first_parts.get(index as usize))
        else {
            return Fate::Keep;
        };
        let parts = self.dedup.parts(text, buffer);
        let marks = &found.duplicates[self.partition];
        let is_removed = |part: usize| marks.has(first + part as u64);
        let removed = parts.iter().enumerate().filter(|(part, _)| is_removed(*part));
        let removed: Vec<_> = removed.map(|(_, part)| part.range.clone()).collect();
        if removed.is_empty() {
            return Fate::Keep;
        }
        let text = self.dedup.without(text, &parts, is_removed);
        let chars = if text.trim().is_empty() { 0 } else { text.chars().count() };
        let min_chars = self.dedup.settings().min_chars_left;
        if chars < min_chars {
            return drop(NOTHING_LEFT, chars as f64, min_chars as f64);
        }
        Fate::Edit { text, removed }
    }

    /// Returns the name under which removed parts are counted.
    pub(crate) fn rule(&self) -> &'static str {
        match self.dedup.settings().parts {
            Some(PartKind::Paragraphs) => "dedup.paragraph",
            _ => "dedup.line",
        }
    }
}
