//! Bounds of size.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Filter, Flow, Judge, Rule};
use crate::view::View;

pub(super) const RULE: Rule =
    Rule::filter::<Length>("length", 1, "drops text that is too short or too long");

/// A bound that is null is not looked at.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// In code points.
    min_chars: Option<f64>,
    max_chars: Option<f64>,
    /// In words of the segmentation that the configuration names.
    min_words: Option<f64>,
    max_words: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { min_chars: Some(1.0), max_chars: None, min_words: None, max_words: None }
    }
}

struct Length(Settings);

impl Build for Length {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }
}

impl Filter for Length {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let Settings { min_chars, max_chars, min_words, max_words } = self.0;
        let chars = document.chars() as f64;
        judge.at_least("too_short", chars, min_chars)?;
        judge.at_most("too_long", chars, max_chars)?;
        if min_words.is_some() || max_words.is_some() {
            let words = document.words().len() as f64;
            judge.at_least("too_few_words", words, min_words)?;
            judge.at_most("too_many_words", words, max_words)?;
        }
        Flow::Continue(())
    }
}
