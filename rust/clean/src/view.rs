//! One view of a document that all filters share: lines, paragraphs, words and their repeats.
//!
//! Each part is computed at its first use, once per document, in buffers that the next document
//! reuses.

mod chinese;
pub(crate) mod english;
pub(crate) mod hash_counts;
pub mod lines;
pub mod n_grams;
pub mod unit;
pub mod word_hash;
pub mod words;

use std::cell::{OnceCell, RefCell};
use std::ops::RangeInclusive;

use crate::chars::count_chars;
use crate::measure::Flow;
use crate::view::english::Splitter;
use crate::view::hash_counts::HashCounts;
use crate::view::lines::{Lines, Repeats};
use crate::view::n_grams::{NGramBuffers, NGrams};
use crate::view::unit::WordUnit;
use crate::view::words::Words;

/// The memory of a [`View`], reused for the next document.
#[derive(Debug, Default)]
pub(crate) struct ViewBuffers {
    lines: Lines,
    words: Words,
    counts: HashCounts,
    n_grams: NGramBuffers,
    splitter: Splitter,
}

/// A document as the filters see it: after all normalisers.
pub struct View<'t> {
    text: &'t str,
    unit: WordUnit,
    chars: usize,
    lines: OnceCell<Lines>,
    words: OnceCell<Words>,
    word_count: OnceCell<usize>,
    paragraphs: OnceCell<Repeats>,
    buffers: RefCell<ViewBuffers>,
}

impl<'t> View<'t> {
    pub(crate) fn new(text: &'t str, unit: WordUnit, buffers: ViewBuffers) -> Self {
        Self {
            text,
            unit,
            chars: count_chars(text),
            lines: OnceCell::new(),
            words: OnceCell::new(),
            word_count: OnceCell::new(),
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

    /// Returns the text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the length of the text in code points.
    pub fn chars(&self) -> usize {
        self.chars
    }

    /// Returns what counts as a word.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// Returns the lines, split at line feeds.
    pub fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let buffers = &mut *self.buffers.borrow_mut();
            let mut lines = std::mem::take(&mut buffers.lines);
            lines.fill(self.text, self.text.len() == self.chars, &mut buffers.counts);
            lines
        })
    }

    /// Returns the repeats among the paragraphs, which empty lines separate.
    pub fn paragraphs(&self) -> Repeats {
        *self.paragraphs.get_or_init(|| {
            Repeats::of_paragraphs(self.text, &mut self.buffers.borrow_mut().counts)
        })
    }

    /// Returns the words.
    pub fn words(&self) -> &Words {
        self.words.get_or_init(|| {
            let buffers = &mut *self.buffers.borrow_mut();
            let mut words = std::mem::take(&mut buffers.words);
            words.fill(self.text, self.unit, &mut buffers.splitter);
            words
        })
    }

    /// Returns the number of words, without their hashes unless [`View::words`] has them.
    pub(crate) fn word_count(&self) -> usize {
        *self.word_count.get_or_init(|| match self.unit {
            WordUnit::SpacyEn if self.words.get().is_none() => self.count_words(self.text),
            _ => self.words().len(),
        })
    }

    /// Returns this view with the number of words, if the rule that wrote the text counted them.
    pub(crate) fn with_word_count(self, count: Option<usize>) -> Self {
        Self { word_count: count.map_or_else(OnceCell::new, OnceCell::from), ..self }
    }

    /// Returns the words, if they are computed already.
    pub(crate) fn known_words(&self) -> Option<&Words> {
        self.words.get()
    }

    /// Returns the number of words of `part` as spaCy's tokenizer counts them.
    pub(crate) fn count_words(&self, part: &str) -> usize {
        english::count_words(part, &mut self.buffers.borrow_mut().splitter)
    }

    /// Returns the number of sentences of `part`, at most `enough`.
    pub(crate) fn count_sentences(&self, part: &str, enough: usize) -> usize {
        english::count_sentences(part, enough, &mut self.buffers.borrow_mut().splitter)
    }

    /// Calls `each` with the n-grams of each n in `lengths`, in increasing order, until it breaks.
    pub fn for_n_grams(
        &self,
        lengths: RangeInclusive<usize>,
        each: impl FnMut(usize, &mut NGrams<'_>) -> Flow,
    ) -> Flow {
        let words = self.words();
        // moved out of the cell, so that `each` may call any method of this view
        let mut counts = std::mem::take(&mut self.buffers.borrow_mut().counts);
        let mut buffers = std::mem::take(&mut self.buffers.borrow_mut().n_grams);
        let flow = n_grams::for_each(words, lengths, &mut counts, &mut buffers, each);
        let mut own = self.buffers.borrow_mut();
        (own.counts, own.n_grams) = (counts, buffers);
        flow
    }
}
