//! The quality heuristics of Gopher (Rae et al. 2021, appendix A1.1), as datatrove computes them.
//!
//! Equal to datatrove 0.10's `GopherQualityFilter` on text whose lines end in LF, except that words
//! are those of [`Words`](crate::view::words::Words) instead of spaCy's.

use lslm_runtime::Result;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::chars::{Properties, property_table};
use crate::measure::{Flow, Judge, ratio};
use crate::rule::{Build, Filter, Rule};
use crate::view::View;
use crate::view::word_hash::word_hash;

pub(super) const RULE: Rule = Rule::filter::<GopherQuality>(
    "gopher_quality",
    1,
    "Gopher's quality heuristics: words, symbols, bullets, ellipses, stop words",
);

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct GopherQualitySettings {
    /// Words that are not only punctuation.
    min_words: Option<f64>,
    max_words: Option<f64>,
    /// Their mean length in code points.
    min_mean_word_chars: Option<f64>,
    max_mean_word_chars: Option<f64>,
    /// Number signs per word, and likewise ellipses per word.
    max_symbol_ratio: Option<f64>,
    /// The share of lines that start with a bullet or a hyphen.
    max_bullet_lines: Option<f64>,
    /// The share of lines that end in an ellipsis.
    max_ellipsis_lines: Option<f64>,
    /// The share of words with a letter.
    min_letter_words: Option<f64>,
    /// Distinct stop words that occur.
    min_stop_words: Option<f64>,
    stop_words: Vec<String>,
}

impl Default for GopherQualitySettings {
    fn default() -> Self {
        let stop_words = ["the", "be", "to", "of", "and", "that", "have", "with"];
        Self {
            min_words: Some(50.0),
            max_words: Some(100_000.0),
            min_mean_word_chars: Some(3.0),
            max_mean_word_chars: Some(10.0),
            max_symbol_ratio: Some(0.1),
            max_bullet_lines: Some(0.9),
            max_ellipsis_lines: Some(0.3),
            min_letter_words: Some(0.8),
            min_stop_words: Some(2.0),
            stop_words: stop_words.map(str::to_owned).to_vec(),
        }
    }
}

struct GopherQuality {
    settings: GopherQualitySettings,
    /// Hashes, sorted and distinct.
    stop_words: Vec<u64>,
}

impl Build for GopherQuality {
    type Settings = GopherQualitySettings;

    fn build(settings: GopherQualitySettings) -> Result<Self> {
        let mut stop_words: Vec<u64> = settings.stop_words.iter().map(|w| word_hash(w)).collect();
        stop_words.sort_unstable();
        stop_words.dedup();
        Ok(Self { settings, stop_words })
    }
}

impl GopherQuality {
    /// Returns the number of distinct stop words that occur, and stops counting at `enough`.
    fn stop_words(&self, words: impl Iterator<Item = u64>, enough: f64) -> usize {
        let mut seen = vec![false; self.stop_words.len()];
        let mut count = 0;
        for word in words {
            if let Ok(index) = self.stop_words.binary_search(&word)
                && !std::mem::replace(&mut seen[index], true)
            {
                count += 1;
                if count as f64 >= enough {
                    break;
                }
            }
        }
        count
    }
}

impl Filter for GopherQuality {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let settings = &self.settings;
        let text = document.text();
        let words = document.words();
        let plain = words.plain();
        judge.at_least("too_few_words", plain as f64, settings.min_words)?;
        judge.at_most("too_many_words", plain as f64, settings.max_words)?;
        if plain > 0 {
            let mean = ratio(words.plain_chars(), plain);
            judge.at_least("short_words", mean, settings.min_mean_word_chars)?;
            judge.at_most("long_words", mean, settings.max_mean_word_chars)?;
        }
        if settings.max_symbol_ratio.is_some() {
            let hashes = memchr::memchr_iter(b'#', text.as_bytes()).count();
            judge.at_most("hashes", ratio(hashes, words.len()), settings.max_symbol_ratio)?;
            let ellipses = memmem::find_iter(text.as_bytes(), "...").count()
                + memmem::find_iter(text.as_bytes(), "…").count();
            judge.at_most("ellipses", ratio(ellipses, words.len()), settings.max_symbol_ratio)?;
        }
        let lines = document.lines().without_last_empty();
        if settings.max_bullet_lines.is_some() {
            let bullets = lines.iter().filter(|line| {
                let line = line.of(text).trim_start_matches(is_space);
                line.starts_with(['•', '-'])
            });
            let share = ratio(bullets.count(), lines.len());
            judge.at_most("bullet_lines", share, settings.max_bullet_lines)?;
        }
        if settings.max_ellipsis_lines.is_some() {
            let ends = lines.iter().filter(|line| {
                let line = line.of(text).trim_end_matches(is_space);
                line.ends_with("...") || line.ends_with('…')
            });
            let share = ratio(ends.count(), lines.len());
            judge.at_most("ellipsis_lines", share, settings.max_ellipsis_lines)?;
        }
        let letters = ratio(words.with_letter(), words.len());
        judge.at_least("letter_words", letters, settings.min_letter_words)?;
        if let Some(enough) = settings.min_stop_words {
            let found = self.stop_words(words.hashes(), enough);
            judge.at_least("stop_words", found as f64, Some(enough))?;
        }
        Flow::Continue(())
    }
}

fn is_space(char: char) -> bool {
    property_table().of(char).has(Properties::SPACE)
}
