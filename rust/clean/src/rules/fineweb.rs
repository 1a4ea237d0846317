//! The quality heuristics of FineWeb (Penedo et al. 2024), as datatrove computes them.
//!
//! Equal to datatrove 0.10's `FineWebQualityFilter` except for two inputs: words are those of the
//! configuration's unit, which is spaCy's in the published profile, and its list of sentence ends
//! is extended by those of a newer Unicode.

use serde::{Deserialize, Serialize};

use crate::chars::{Properties, property_table};
use crate::measure::{Flow, Judge, ratio};
use crate::rule::{Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<FineWeb>(
    "fineweb",
    1,
    "FineWeb's heuristics: lines without sentence ends, short lines, repeated lines, lists",
);

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct FineWeb {
    /// The share of lines that end like a sentence.
    min_line_punct_ratio: Option<f64>,
    /// The share of lines of at most `short_line_chars` code points.
    max_short_line_ratio: Option<f64>,
    short_line_chars: usize,
    /// The share of characters in lines that repeat an earlier line.
    max_char_dup_ratio: Option<f64>,
    /// Line feeds per word.
    max_list_ratio: Option<f64>,
}

impl Default for FineWeb {
    fn default() -> Self {
        Self {
            min_line_punct_ratio: Some(0.12),
            max_short_line_ratio: Some(0.67),
            short_line_chars: 30,
            max_char_dup_ratio: Some(0.01),
            max_list_ratio: Some(0.3),
        }
    }
}

impl Filter for FineWeb {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let text = document.text();
        let table = property_table();
        let (mut count, mut ended, mut short, mut repeated_chars) = (0, 0, 0, 0);
        let lines = document.lines();
        for line in lines.all().iter().filter(|line| !line.is_blank()) {
            count += 1;
            let last = line.of(text).chars().next_back().unwrap_or('\n');
            ended += usize::from(table.of(last).has(Properties::SENTENCE_END));
            short += usize::from(line.chars() <= self.short_line_chars);
            if line.is_repeat() {
                repeated_chars += line.chars();
            }
        }
        if count == 0 {
            return judge.at_least("empty", 0.0, Some(1.0));
        }
        let feeds = lines.all().len() - 1;
        judge.at_least("line_punct_ratio", ratio(ended, count), self.min_line_punct_ratio)?;
        judge.at_most("short_line_ratio", ratio(short, count), self.max_short_line_ratio)?;
        let share = ratio(repeated_chars, document.chars() - feeds);
        judge.at_most("char_dup_ratio", share, self.max_char_dup_ratio)?;
        if self.max_list_ratio.is_some() {
            let share = ratio(feeds, document.word_count());
            judge.at_most("list_ratio", share, self.max_list_ratio)?;
        }
        Flow::Continue(())
    }
}
