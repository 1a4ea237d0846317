//! Drops texts that are too short or too long.

use serde::{Deserialize, Serialize};

use crate::measure::{Flow, Judge};
use crate::rule::{Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule =
    Rule::filter::<Length>("length", 2, "drops text that is too short or too long");

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Length {
    /// Code points; a text of white space has none.
    min_chars: Option<f64>,
    max_chars: Option<f64>,
    /// Words, in the unit of the configuration.
    min_words: Option<f64>,
    max_words: Option<f64>,
}

impl Default for Length {
    fn default() -> Self {
        Self { min_chars: Some(1.0), max_chars: None, min_words: None, max_words: None }
    }
}

impl Filter for Length {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let is_blank = document.text().chars().all(char::is_whitespace);
        let chars = if is_blank { 0.0 } else { document.chars() as f64 };
        judge.at_least("too_short", chars, self.min_chars)?;
        judge.at_most("too_long", chars, self.max_chars)?;
        if self.min_words.is_some() || self.max_words.is_some() {
            let words = document.words().len() as f64;
            judge.at_least("too_few_words", words, self.min_words)?;
            judge.at_most("too_many_words", words, self.max_words)?;
        }
        Flow::Continue(())
    }
}
