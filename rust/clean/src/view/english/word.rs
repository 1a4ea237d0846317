//! One word of a text.

use std::ops::Range;

use crate::chars::{Properties, property_table};
use crate::view::english::tables::{class, has};
use crate::view::word_hash::word_hash_at;

/// A word: its bytes in the text, its hash, the union of its characters' properties, and whether one
/// of them is not a symbol.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) hash: u64,
    pub(crate) chars: usize,
    pub(crate) properties: Properties,
    pub(crate) is_plain: bool,
}

impl Word {
    /// Returns the word at the bytes `range` of `text`.
    pub(crate) fn new(text: &str, range: Range<usize>) -> Self {
        let table = property_table();
        let (mut chars, mut properties, mut is_plain) = (0, Properties::NONE, false);
        for char in text[range.clone()].chars() {
            let of = table.of(char);
            chars += 1;
            properties = properties.or(of);
            is_plain |= !of.has(Properties::SYMBOL);
        }
        let hash = word_hash_at(text.as_bytes(), range.start, range.end);
        Self { start: range.start, end: range.end, hash, chars, properties, is_plain }
    }

    /// Returns its characters; `text` must be the one that it comes from.
    pub(crate) fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }
}

/// Returns whether `word` is a mark that ends a sentence.
pub(super) fn ends_sentence(word: &str) -> bool {
    let mut chars = word.chars();
    has(chars.next(), class::SENTENCE_END) && chars.next().is_none()
}

pub(super) fn is_punctuation(word: &str) -> bool {
    word.chars().all(|char| has(Some(char), class::PUNCTUATION))
}
