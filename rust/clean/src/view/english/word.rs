//! One word of a text.

use crate::chars::{Properties, property_table};
use crate::view::english::tables::{class, has};

/// A word: its text, the union of its characters' properties, and whether one is not a symbol.
pub(crate) struct Word<'t> {
    pub(crate) text: &'t str,
    pub(crate) chars: usize,
    pub(crate) properties: Properties,
    pub(crate) is_plain: bool,
}

impl<'t> Word<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let table = property_table();
        let mut word = Self { text, chars: 0, properties: Properties::NONE, is_plain: false };
        for char in text.chars() {
            let properties = table.of(char);
            word.chars += 1;
            word.properties = word.properties.or(properties);
            word.is_plain |= !properties.has(Properties::SYMBOL);
        }
        word
    }

    /// Returns whether the word is a mark that ends a sentence.
    pub(super) fn ends_sentence(&self) -> bool {
        self.chars == 1 && has(self.text.chars().next(), class::SENTENCE_END)
    }

    pub(super) fn is_punctuation(&self) -> bool {
        self.text.chars().all(|char| has(Some(char), class::PUNCTUATION))
    }
}
