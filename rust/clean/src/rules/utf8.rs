//! Drops texts that lost too much in decoding.

use serde::{Deserialize, Serialize};

use crate::measure::{Flow, Judge, ratio};
use crate::rule::{Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule =
    Rule::filter::<Utf8>("utf8", 1, "drops text that lost too much in decoding");

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Utf8 {
    /// The maximum share of U+FFFD among the characters; null checks nothing.
    max_replacement_ratio: Option<f64>,
}

impl Default for Utf8 {
    fn default() -> Self {
        Self { max_replacement_ratio: Some(0.01) }
    }
}

impl Filter for Utf8 {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let lost = memchr::memmem::find_iter(document.text().as_bytes(), "\u{fffd}").count();
        let share = ratio(lost, document.chars());
        judge.at_most("replacement_ratio", share, self.max_replacement_ratio)
    }
}
