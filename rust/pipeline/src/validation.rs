//! Chooses the documents, or the stretches of long ones, that are held out for validation.

use std::ops::Range;
use std::str::FromStr;

use lslm_corpus::{Corpus, Format, Input, Split};
use lslm_runtime::{Error, Result, Task};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::stretches::{MIN_STRETCH, held_out};

/// The part of the documents that a model is trained on.
pub const TRAIN: &str = "train";
/// The part that is held out.
pub const VALIDATION: &str = "validation";

/// Whole documents that each part can expect, at least; with fewer in either, documents are held out
/// by stretches. With 5, a part of whole documents is empty once in 150 times (e⁻⁵).
const MIN_EXPECTED: f64 = 5.0;
/// Documents that are counted to find that out, at most.
const MAX_COUNTED: f64 = 100_000.0;
/// Bytes of a document that is divided in any case: at this size it is a file of many documents.
const GIANT: usize = 16 << 20;
/// Bytes of input that are counted at a time.
const COUNTED_BYTES: u64 = 16 << 20;

/// What is held out for validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldOut {
    /// Whole documents; stretches where the corpus has too few documents for two parts, and of any
    /// document above 16 MiB.
    #[default]
    Auto,
    /// Whole documents.
    Documents,
    /// Stretches of every document above 256 bytes.
    Stretches,
}

impl FromStr for HoldOut {
    type Err = Error;

    /// Parses `auto`, `documents` or `stretches`. Any other name is an [`Error::Invalid`].
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "documents" => Ok(Self::Documents),
            "stretches" => Ok(Self::Stretches),
            _ => Err(Error::invalid(format!(
                "hold_out = {name:?}: choose auto, documents or stretches"
            ))),
        }
    }
}

/// The fraction of the text to hold out, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ValidationOptions {
    /// The share of the documents, or of the bytes of each, from 0 to below 1.
    pub(crate) fraction: f64,
    /// The seed of the choice.
    pub(crate) seed: u64,
    /// Whether whole documents or stretches are held out.
    pub(crate) hold_out: HoldOut,
}

/// Chooses a fraction of all text by the hash of each cleaned document and a seed.
///
/// Equal documents are treated alike, and every step with the same options and inputs chooses alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValidationPart {
    pub(crate) fraction: f64,
    pub(crate) seed: u64,
    /// Documents above this size are divided.
    max_whole: usize,
}

/// A range of a document, all of it or one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextPart {
    pub(crate) range: Range<usize>,
    pub(crate) is_validation: bool,
}

impl ValidationPart {
    /// Returns the choice for texts whose number is not known, which `Auto` leaves whole.
    ///
    /// A fraction that is not from 0 to below 1 is an [`Error::Invalid`].
    pub(crate) fn new(options: ValidationOptions) -> Result<Self> {
        let ValidationOptions { fraction, seed, hold_out } = options;
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::invalid(format!(
                "validation_fraction = {fraction}: choose 0 to below 1"
            )));
        }
        let max_whole = match hold_out {
            HoldOut::Auto => GIANT,
            HoldOut::Documents => usize::MAX,
            HoldOut::Stretches => MIN_STRETCH,
        };
        Ok(Self { fraction, seed, max_whole })
    }

    /// Returns the choice for the documents of `corpus`, which `Auto` counts as far as needed.
    pub(crate) fn of_corpus(
        options: ValidationOptions,
        corpus: &Corpus,
        task: &Task,
    ) -> Result<Self> {
        let part = Self::new(options)?;
        if options.hold_out != HoldOut::Auto || part.is_empty() {
            return Ok(part);
        }
        let smaller = options.fraction.min(1.0 - options.fraction);
        let n_wanted = (MIN_EXPECTED / smaller).min(MAX_COUNTED).ceil() as u64;
        match count_documents(corpus, n_wanted, task)? {
            Some(n) if n < n_wanted => Ok(Self { max_whole: MIN_STRETCH, ..part }),
            _ => Ok(part),
        }
    }

    /// Returns whether nothing is held out.
    pub(crate) fn is_empty(&self) -> bool {
        self.fraction == 0.0
    }

    /// Returns the parts of a document, in order; together they are all of it.
    pub(crate) fn divide(&self, text: &str) -> Vec<TextPart> {
        let whole = |is_validation| vec![TextPart { range: 0..text.len(), is_validation }];
        if self.is_empty() {
            return whole(false);
        }
        if text.len() <= self.max_whole {
            return whole(self.contains(text));
        }
        let mut parts = Vec::new();
        let mut end = 0;
        let mut push = |range: Range<usize>, is_validation| {
            if !range.is_empty() {
                parts.push(TextPart { range, is_validation });
            }
        };
        for range in held_out(text, self.fraction, self.seed) {
            push(end..range.start, false);
            end = range.end;
            push(range, true);
        }
        push(end..text.len(), false);
        parts
    }

    /// Returns whether a document that stays whole is held out.
    fn contains(&self, text: &str) -> bool {
        is_in_share(text, self.fraction, self.seed)
    }
}

/// Returns whether a text belongs to a share of all texts, from 0 to 1, which a seed chooses.
pub(crate) fn is_in_share(text: &str, share: f64, seed: u64) -> bool {
    // the upper 53 bits, as many as a float has, as a number from 0 to below 1
    let hash = xxh3_64_with_seed(text.as_bytes(), seed);
    ((hash >> 11) as f64 / (1_u64 << 53) as f64) < share
}

/// Returns the number of documents of `corpus`, counted up to `n_wanted`, or `None` if they are in a
/// stream, which can be read only once.
///
/// A file that cannot be read counts none here: reading it for the job reports it.
fn count_documents(corpus: &Corpus, n_wanted: u64, task: &Task) -> Result<Option<u64>> {
    let is_whole = corpus.options().split == Split::File;
    let inputs = corpus.inputs();
    if is_whole && inputs.iter().all(|input| input.format() == Format::Text) {
        return Ok(Some(inputs.len() as u64));
    }
    if inputs.iter().any(Input::is_stream) {
        return Ok(None);
    }
    task.begin("count documents", "documents", None);
    let mut n = 0;
    for partition in corpus.partitions(COUNTED_BYTES)? {
        let mut reader = corpus.read(&partition).without_records();
        while let Ok(Some(_)) = reader.next_document(task) {
            n += 1;
            task.advance(1)?;
            if n >= n_wanted {
                return Ok(Some(n));
            }
        }
        task.check()?; // a cancelled reading ends like one that failed
    }
    Ok(Some(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use lslm_corpus::ReadOptions;

    fn options(fraction: f64, seed: u64) -> ValidationOptions {
        ValidationOptions { fraction, seed, hold_out: HoldOut::Auto }
    }

    #[test]
    fn the_part_has_about_the_chosen_fraction_of_texts() {
        for (fraction, seed) in [(0.0, 0), (0.1, 0), (0.1, 1), (0.9, 5)] {
            let part = ValidationPart::new(options(fraction, seed)).unwrap();
            let is_held_out = |n: &usize| part.divide(&format!("text {n}"))[0].is_validation;
            let n_chosen = (0..10_000).filter(is_held_out).count();
            let expected = 10_000.0 * fraction;
            // five standard deviations
            let slack = 5.0 * (expected * (1.0 - fraction)).sqrt();
            assert!((n_chosen as f64 - expected).abs() <= slack, "{fraction}: {n_chosen}");
        }
        for fraction in [-0.1, 1.0, f64::NAN] {
            let error = ValidationPart::new(options(fraction, 0)).unwrap_err().to_string();
            assert!(error.contains("validation_fraction"));
        }
    }

    #[test]
    fn parts_are_all_of_a_document_and_short_ones_stay_whole() {
        let by_stretches = ValidationOptions { hold_out: HoldOut::Stretches, ..options(0.1, 3) };
        let part = ValidationPart::new(by_stretches).unwrap();
        for n in 0..2_000 {
            let text = "a line\n".repeat(n);
            let mut end = 0;
            let parts = part.divide(&text);
            for part in &parts {
                assert_eq!(part.range.start, end);
                end = part.range.end;
            }
            assert_eq!(end, text.len());
            assert!(text.len() > MIN_STRETCH || parts.len() == 1);
            assert!(text.len() < 2_600 || parts.iter().any(|part| part.is_validation));
        }
        let whole = ValidationPart::new(options(0.1, 3)).unwrap();
        assert_eq!(whole.divide(&"a line\n".repeat(2_000)).len(), 1);
        assert_eq!(whole.divide(&"a line\n".repeat(GIANT / 7 + 1)).len(), 2 * 25 + 1);
    }

    #[test]
    fn stretches_are_for_corpora_of_few_documents() {
        let folder = tempfile::tempdir().unwrap();
        let by_stretches = |n_documents: usize, split: Split, fraction: f64, hold_out| {
            let path = folder.path().join("a.txt");
            fs::write(&path, "line\n".repeat(n_documents)).unwrap();
            let read = ReadOptions { split, ..ReadOptions::default() };
            let corpus = Corpus::open(&[path.display().to_string()], read).unwrap();
            let options = ValidationOptions { fraction, seed: 0, hold_out };
            let part = ValidationPart::of_corpus(options, &corpus, &Task::default()).unwrap();
            part.max_whole == MIN_STRETCH
        };
        assert!(by_stretches(10, Split::File, 0.1, HoldOut::Auto));
        assert!(!by_stretches(10, Split::File, 0.1, HoldOut::Documents));
        assert!(!by_stretches(10, Split::File, 0.0, HoldOut::Auto));
        for (fraction, n) in [(0.1, 50), (0.75, 20)] {
            assert!(by_stretches(n - 1, Split::Lines, fraction, HoldOut::Auto));
            assert!(!by_stretches(n, Split::Lines, fraction, HoldOut::Auto));
            assert!(by_stretches(n, Split::Lines, fraction, HoldOut::Stretches));
        }
    }
}
