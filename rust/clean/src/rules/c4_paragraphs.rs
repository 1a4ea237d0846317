//! The paragraphs that mC4 asks of a page (Xue et al. 2021), as datatrove counts them.
//!
//! Equal to datatrove 0.10's `C4ParagraphFilter`.

use serde::{Deserialize, Serialize};

use crate::measure::{Flow, Judge};
use crate::rule::{Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<C4Paragraphs>(
    "c4_paragraphs",
    1,
    "mC4's heuristic: a page has at least three lines of 200 characters",
);

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct C4Paragraphs {
    min_paragraphs: Option<f64>,
    /// Code points of a line that counts as a paragraph.
    min_paragraph_chars: usize,
}

impl Default for C4Paragraphs {
    fn default() -> Self {
        Self { min_paragraphs: Some(3.0), min_paragraph_chars: 200 }
    }
}

impl Filter for C4Paragraphs {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let is_paragraph = |chars: usize| chars >= self.min_paragraph_chars;
        let count = document.lines().all().iter().filter(|line| is_paragraph(line.chars())).count();
        judge.at_least("paragraphs", count as f64, self.min_paragraphs)
    }
}
