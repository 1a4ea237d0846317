//! Masks private data. What to find is a [`PrivateData`], each in a file of its own.

use std::marker::PhantomData;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::rule::Rewrite;

/// Finds one kind of private data.
pub(super) trait PrivateData: Send + Sync + 'static {
    /// What a match is replaced by, unless the configuration says otherwise.
    const REPLACEMENT: &'static str;

    /// Calls `found` with the bytes of each match, from front to back, in linear time.
    fn find(text: &[u8], found: impl FnMut(Range<usize>));
}

/// The redactor of a pattern, and its settings.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, bound = "")]
pub(super) struct Redactor<P: PrivateData> {
    /// What a match is replaced by.
    replacement: String,
    #[serde(skip)]
    pattern: PhantomData<P>,
}

impl<P: PrivateData> Default for Redactor<P> {
    fn default() -> Self {
        Self { replacement: P::REPLACEMENT.to_owned(), pattern: PhantomData }
    }
}

impl<P: PrivateData> Rewrite for Redactor<P> {
    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        P::find(text.as_bytes(), |range| {
            // a replacement may match its own pattern: masking a second time must change nothing
            if text[range.clone()] != *self.replacement {
                edit.replace(range, &self.replacement, 1);
            }
        });
    }
}

/// Returns `text` with every match replaced by `<>`, for the tests of patterns.
#[cfg(test)]
pub(super) fn masked<P: PrivateData>(text: &str) -> String {
    let redactor = Redactor::<P> { replacement: "<>".to_owned(), pattern: PhantomData };
    let mut out = String::new();
    let mut edit = Edit::new(text, &mut out);
    redactor.apply(&mut edit);
    if edit.finish() == 0 { text.to_owned() } else { out }
}
