//! The repetition heuristics of Gopher (Rae et al. 2021, table A1), as datatrove computes them.
//!
//! Equal to datatrove 0.10's `GopherRepetitionFilter`, except that words are those of
//! [`Words`](crate::view::words::Words) instead of spaCy's. Shares are in code points of the whole
//! text. Of equally frequent n-grams the first counts, and its length includes the spaces between
//! its words (not between characters of a script without spaces, where datatrove inserts
//! them). A duplicate n-gram is one that occurred before; the search continues after it.

use std::ops::RangeInclusive;

use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::measure::{Flow, Judge, ratio};
use crate::rule::{Build, Filter, Rule};
use crate::view::View;
use crate::view::lines::Repeats;

pub(super) const RULE: Rule = Rule::filter::<GopherRepetition>(
    "gopher_repetition",
    1,
    "Gopher's repetition heuristics: repeated lines, paragraphs and n-grams",
);

/// The largest n of a configured n-gram. The published ones go to 10 words, or 15 characters.
const MAX_N: usize = 32;

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct GopherRepetitionSettings {
    /// The share of lines, and of paragraphs, that repeat an earlier one.
    dup_line_frac: Option<f64>,
    dup_para_frac: Option<f64>,
    /// The share of characters in them.
    dup_line_char_frac: Option<f64>,
    dup_para_char_frac: Option<f64>,
    /// Pairs of n and the maximum share of the most frequent n-gram.
    top_n_grams: Vec<(usize, f64)>,
    /// Pairs of n and the maximum share of n-grams that occurred before.
    dup_n_grams: Vec<(usize, f64)>,
}

impl Default for GopherRepetitionSettings {
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
    settings: GopherRepetitionSettings,
    /// From the smallest to the largest configured n; empty if none is configured.
    lengths: RangeInclusive<usize>,
}

impl Build for GopherRepetition {
    type Settings = GopherRepetitionSettings;

    fn build(settings: GopherRepetitionSettings) -> Result<Self> {
        let all = || settings.top_n_grams.iter().chain(&settings.dup_n_grams).map(|(n, _)| *n);
        if let Some(n) = all().find(|n| !(2..=MAX_N).contains(n)) {
            return Err(Error::invalid(format!(
                "gopher_repetition: n-grams of {n} words: choose n from 2 to {MAX_N}"
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
        let mut check = |repeats: Repeats, names: [&str; 2], limits: [Option<f64>; 2]| {
            judge.at_most(names[0], ratio(repeats.repeated, repeats.count), limits[0])?;
            judge.at_most(names[1], ratio(repeats.repeated_chars, chars), limits[1])
        };
        check(
            document.paragraphs(),
            ["dup_para_frac", "dup_para_char_frac"],
            [settings.dup_para_frac, settings.dup_para_char_frac],
        )?;
        check(
            document.lines().repeats(document.text()),
            ["dup_line_frac", "dup_line_char_frac"],
            [settings.dup_line_frac, settings.dup_line_char_frac],
        )?;
        if self.lengths.is_empty() {
            return Flow::Continue(());
        }
        // the shares of duplicates are compared after those of the most frequent n-grams, as
        // datatrove does, but both are computed in one pass over all n
        let mut duplicate_chars = [0; MAX_N + 1];
        let needs_all = judge.needs_all();
        let is_within = |bound: usize, limit: f64| !needs_all && ratio(bound, chars) <= limit;
        document.for_n_grams(self.lengths.clone(), |n, grams| {
            for (_, limit) in settings.top_n_grams.iter().filter(|(configured, _)| *configured == n)
            {
                let bound = grams.top_chars_at_most(|bound| is_within(bound, *limit));
                if !bound.is_some_and(|bound| is_within(bound, *limit)) {
                    let share = ratio(grams.top_chars(), chars);
                    judge.at_most(format_args!("top_{n}_gram"), share, Some(*limit))?;
                }
            }
            let may_fail = settings.dup_n_grams.iter().any(|(configured, limit)| {
                *configured == n && !is_within(grams.duplicate_chars_at_most(), *limit)
            });
            if may_fail {
                duplicate_chars[n] = grams.duplicate_chars();
            }
            Flow::Continue(())
        })?;
        for (n, limit) in &settings.dup_n_grams {
            let share = ratio(duplicate_chars[*n], chars);
            judge.at_most(format_args!("dup_{n}_gram"), share, Some(*limit))?;
        }
        Flow::Continue(())
    }
}
