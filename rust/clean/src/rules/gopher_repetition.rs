//! The repetition heuristics of Gopher (Rae et al. 2021, table A1), as datatrove measures them.
//!
//! Equal to datatrove 0.10's `GopherRepetitionFilter` with the words of [`crate::view::Words`] in
//! the place of spaCy's. Shares are in code points of the whole text. The most frequent n-gram is
//! the first among equals, and its length counts the spaces between its words (not between
//! characters of a script without spaces, where the peer's segmenter puts them too). A duplicate
//! n-gram is one that has been met before; the search then goes on behind it.

use std::ops::RangeInclusive;

use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Filter, Flow, Judge, Rule, ratio};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<GopherRepetition>(
    "gopher_repetition",
    1,
    "Gopher's repetition heuristics: lines, paragraphs and n-grams that come again",
);

/// The longest n-gram that may be asked for.
const LONGEST: usize = 32;

/// A bound that is null is not looked at.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The share of lines that were there before.
    dup_line_frac: Option<f64>,
    dup_para_frac: Option<f64>,
    /// The share of characters in those.
    dup_line_char_frac: Option<f64>,
    dup_para_char_frac: Option<f64>,
    /// Pairs of n and the largest share of the most frequent n-gram.
    top_n_grams: Vec<(usize, f64)>,
    /// Pairs of n and the largest share of n-grams that were there before.
    dup_n_grams: Vec<(usize, f64)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dup_line_frac: Some(0.3),
            dup_para_frac: Some(0.3),
            dup_line_char_frac: Some(0.2),
            dup_para_char_frac: Some(0.2),
            top_n_grams: vec![(2, 0.2), (3, 0.18), (4, 0.16)],
            dup_n_grams: vec![(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)],
        }
    }
}

struct GopherRepetition {
    settings: Settings,
    /// From the shortest to the longest n that is asked for; empty if none is.
    lengths: RangeInclusive<usize>,
}

impl Build for GopherRepetition {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        let all = || settings.top_n_grams.iter().chain(&settings.dup_n_grams).map(|(n, _)| *n);
        if let Some(n) = all().find(|n| !(2..=LONGEST).contains(n)) {
            return Err(Error::invalid(format!(
                "gopher_repetition: n-grams of {n} words: choose n from 2 to {LONGEST}"
            )));
        }
        let lengths = all().min().unwrap_or(1)..=all().max().unwrap_or(0);
        Ok(Self { settings, lengths })
    }
}

impl Filter for GopherRepetition {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let settings = &self.settings;
        let chars = document.chars();
        if chars == 0 {
            return judge.at_least("empty", 0.0, Some(1.0));
        }
        let paragraphs = document.paragraphs();
        judge.at_most(
            "dup_para_frac",
            ratio(paragraphs.repeated, paragraphs.count),
            settings.dup_para_frac,
        )?;
        judge.at_most(
            "dup_para_char_frac",
            ratio(paragraphs.repeated_chars, chars),
            settings.dup_para_char_frac,
        )?;
        let lines = document.lines().runs_as_one(document.text());
        judge.at_most(
            "dup_line_frac",
            ratio(lines.repeated, lines.count),
            settings.dup_line_frac,
        )?;
        judge.at_most(
            "dup_line_char_frac",
            ratio(lines.repeated_chars, chars),
            settings.dup_line_char_frac,
        )?;
        if self.lengths.is_empty() {
            return Flow::Continue(());
        }
        // one table for all n: the shorter n-grams say which longer ones can come again
        let mut duplicates = [0; LONGEST + 1];
        let words = document.words();
        document.for_n_grams(self.lengths.clone(), |n, grams| {
            for (_, limit) in settings.top_n_grams.iter().filter(|(wanted, _)| *wanted == n) {
                let share = ratio(grams.top_chars(words), chars);
                judge.at_most(format_args!("top_{n}_gram"), share, Some(*limit))?;
            }
            if settings.dup_n_grams.iter().any(|(wanted, _)| *wanted == n) {
                duplicates[n] = grams.duplicate_chars(words);
            }
            Flow::Continue(())
        })?;
        for (n, limit) in &settings.dup_n_grams {
            let share = ratio(duplicates[*n], chars);
            judge.at_most(format_args!("dup_{n}_gram"), share, Some(*limit))?;
        }
        Flow::Continue(())
    }
}
