//! One view of a document that all filters share: lines, paragraphs, words and their repeats.
//!
//! Each part is computed when a filter first asks for it, once per document, into buffers that the
//! next document uses again.

mod grams;
mod lines;
mod table;
mod words;

use std::cell::{OnceCell, RefCell};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

pub use crate::view::grams::Grams;
pub use crate::view::lines::{Lines, Repeats, TextLine};
pub use crate::view::words::{Words, word_hash};

use crate::rule::Flow;
use crate::view::grams::GramBuffers;
use crate::view::table::Table;

/// What counts as one word.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WordUnit {
    /// Runs of letters, marks and numbers; a run of Chinese or Japanese is one word.
    #[default]
    Word,
    /// The same, but each Chinese or Japanese character by itself.
    Char,
}

/// What a [`View`] is made in; keep it for the next document.
#[derive(Debug, Default)]
pub(crate) struct ViewBuffers {
    lines: Lines,
    words: Words,
    table: Table,
    grams: GramBuffers,
}

/// A document as the filters see it.
pub struct View<'t> {
    text: &'t str,
    unit: WordUnit,
    chars: usize,
    lines: OnceCell<Lines>,
    words: OnceCell<Words>,
    paragraphs: OnceCell<Repeats>,
    buffers: RefCell<ViewBuffers>,
}

impl<'t> View<'t> {
    pub(crate) fn new(text: &'t str, unit: WordUnit, buffers: ViewBuffers) -> Self {
        Self {
            text,
            unit,
            chars: text.chars().count(),
            lines: OnceCell::new(),
            words: OnceCell::new(),
            paragraphs: OnceCell::new(),
            buffers: RefCell::new(buffers),
        }
    }

    pub(crate) fn into_buffers(self) -> ViewBuffers {
        let mut buffers = self.buffers.into_inner();
        if let Some(lines) = self.lines.into_inner() {
            buffers.lines = lines;
        }
        if let Some(words) = self.words.into_inner() {
            buffers.words = words;
        }
        buffers
    }

    /// The text, after all normalisers.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Its length in code points.
    pub fn chars(&self) -> usize {
        self.chars
    }

    /// What its words are.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// Its lines, split at line feeds.
    pub fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let buffers = &mut *self.buffers.borrow_mut();
            let mut lines = std::mem::take(&mut buffers.lines);
            lines.fill(self.text, self.text.len() == self.chars, &mut buffers.table);
            lines
        })
    }

    /// Its paragraphs: parts between empty lines, white space at the ends of the text aside.
    pub fn paragraphs(&self) -> Repeats {
        *self
            .paragraphs
            .get_or_init(|| Repeats::of_paragraphs(self.text, &mut self.buffers.borrow_mut().table))
    }

    /// Its words.
    pub fn words(&self) -> &Words {
        self.words.get_or_init(|| {
            let mut words = std::mem::take(&mut self.buffers.borrow_mut().words);
            words.fill(self.text, self.unit);
            words
        })
    }

    /// Calls `each` with the n-grams of each number of words in `lengths`, until it breaks.
    pub fn for_n_grams(
        &self,
        lengths: RangeInclusive<usize>,
        each: impl FnMut(usize, &mut Grams<'_>) -> Flow,
    ) -> Flow {
        let words = self.words();
        // taken out, so that `each` may ask for anything else of this view
        let mut table = std::mem::take(&mut self.buffers.borrow_mut().table);
        let mut grams = std::mem::take(&mut self.buffers.borrow_mut().grams);
        let flow = grams::for_each(words.hashes(), lengths, &mut table, &mut grams, each);
        let mut buffers = self.buffers.borrow_mut();
        (buffers.table, buffers.grams) = (table, grams);
        flow
    }
}
