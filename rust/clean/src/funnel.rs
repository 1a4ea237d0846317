//! What came in, what stayed, and why the rest did not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cleaner::{CleanedText, Cleaner, Verdict};
use crate::dedup::DocumentPosition;

/// How many examples are kept of each reason, and the most bytes of text in one.
const EXAMPLES: usize = 3;
const EXAMPLE_BYTES: usize = 240;

/// Counts over documents; funnels of parts merge to that of the whole, in any order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Funnel {
    /// Documents that came in.
    pub documents: u64,
    /// Their bytes, before cleaning.
    pub bytes: u64,
    /// Documents that stayed.
    pub documents_kept: u64,
    /// Their bytes, after cleaning.
    pub bytes_kept: u64,
    /// Documents that did not, by reason.
    pub dropped: BTreeMap<String, Dropped>,
    /// What was changed in the text of all documents, by rule.
    pub changes: BTreeMap<String, Change>,
}

/// What was dropped for one reason.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Dropped {
    /// How many documents.
    pub documents: u64,
    /// Their bytes, before cleaning.
    pub bytes: u64,
    /// The first of them.
    pub examples: Vec<DroppedExample>,
}

/// What one rule changed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Change {
    /// In how many documents.
    pub documents: u64,
    /// How many characters, or finds for a redactor.
    pub amount: u64,
}

/// A document that was dropped.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DroppedExample {
    /// Where it stands in the input.
    pub place: DocumentPosition,
    /// What was measured, and what it was compared with; neither for a duplicate.
    pub measured: Option<(f64, f64)>,
    /// How its text begins, redacted as kept text is.
    pub text: String,
}

impl Funnel {
    /// Counts a document of `bytes` bytes that `cleaner` made `cleaned` of.
    pub fn add(
        &mut self,
        place: DocumentPosition,
        bytes: u64,
        cleaned: &CleanedText<'_>,
        cleaner: &Cleaner,
    ) {
        self.documents += 1;
        self.bytes += bytes;
        for (rule, amount) in cleaned.changes.iter() {
            let change = self.changes.entry(rule.to_owned()).or_default();
            change.documents += 1;
            change.amount += amount;
        }
        match &cleaned.verdict {
            Verdict::Keep => {
                self.documents_kept += 1;
                self.bytes_kept += cleaned.text.len() as u64;
            }
            Verdict::Drop(measure) => {
                let measured = Some((measure.value, measure.limit));
                if !self.dropped.contains_key(&measure.name) {
                    self.dropped.insert(measure.name.clone(), Dropped::default());
                }
                let Some(dropped) = self.dropped.get_mut(&measure.name) else { return };
                dropped.documents += 1;
                dropped.bytes += bytes;
                let late = dropped.examples.last().is_some_and(|last| last.place < place);
                if dropped.examples.len() < EXAMPLES || !late {
                    let text = cleaner.excerpt(&cleaned.text, EXAMPLE_BYTES);
                    dropped.take_examples([DroppedExample { place, measured, text }]);
                }
            }
        }
    }

    /// Moves a document that was counted as kept, such as one found to be a duplicate later, to
    /// those dropped for `reason`; of `bytes_before` bytes before cleaning and `bytes_after` after.
    pub fn drop_kept(&mut self, reason: &str, bytes_before: u64, bytes_after: u64) {
        self.documents_kept -= 1;
        self.bytes_kept -= bytes_after;
        let dropped = self.dropped.entry(reason.to_owned()).or_default();
        dropped.documents += 1;
        dropped.bytes += bytes_before;
    }

    /// Adds what `other` has counted.
    pub fn merge(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.documents_kept += other.documents_kept;
        self.bytes_kept += other.bytes_kept;
        for (reason, more) in other.dropped {
            let dropped = self.dropped.entry(reason).or_default();
            dropped.documents += more.documents;
            dropped.bytes += more.bytes;
            dropped.take_examples(more.examples);
        }
        for (rule, more) in other.changes {
            let change = self.changes.entry(rule).or_default();
            change.documents += more.documents;
            change.amount += more.amount;
        }
    }

    /// Documents that did not stay.
    pub fn documents_dropped(&self) -> u64 {
        self.dropped.values().map(|dropped| dropped.documents).sum()
    }
}

impl Dropped {
    fn take_examples(&mut self, more: impl IntoIterator<Item = DroppedExample>) {
        self.examples.extend(more);
        self.examples.sort_by_key(|example| example.place);
        self.examples.truncate(EXAMPLES);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{CleanBuffers, CleanConfig, Cleaner};

    fn count(texts: &[(u64, &String)], cleaner: &Cleaner) -> Funnel {
        let mut scratch = CleanBuffers::default();
        let mut funnel = Funnel::default();
        for (index, text) in texts {
            let place = DocumentPosition { partition: index % 2, index: *index };
            funnel.add(place, text.len() as u64, &cleaner.clean(text, &mut scratch), cleaner);
        }
        funnel
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            texts in proptest::collection::vec("(word |x  y|\n|\u{200b}|中){0,6}", 0..30),
            cut in 0..30_usize,
        ) {
            let config = CleanConfig::profile("default").unwrap();
            let config = config.with(&json!({"length": {"min_chars": 5, "max_words": 3}})).unwrap();
            let cleaner = Cleaner::new(&config).unwrap();
            let numbered: Vec<(u64, &String)> = (0..).zip(&texts).collect();
            let whole = count(&numbered, &cleaner);
            let (left, right) = numbered.split_at(cut.min(numbered.len()));
            let mut merged = count(right, &cleaner);
            merged.merge(count(left, &cleaner));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.documents, texts.len() as u64);
            prop_assert_eq!(whole.documents_kept + whole.documents_dropped(), whole.documents);
            let text = serde_json::to_string(&whole).unwrap();
            prop_assert_eq!(serde_json::from_str::<Funnel>(&text).unwrap(), whole);
        }
    }
}
