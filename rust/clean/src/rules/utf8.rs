//! What decoding has lost.

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Filter, Flow, Judge, Rule, ratio};
use crate::view::View;

pub(super) const RULE: Rule =
    Rule::filter::<Utf8>("utf8", 1, "drops text in which decoding has lost too much");

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The largest share of U+FFFD among the characters.
    max_replacement_ratio: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_replacement_ratio: Some(0.01) }
    }
}

struct Utf8(Settings);

impl Build for Utf8 {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }
}

impl Filter for Utf8 {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let lost = memchr::memmem::find_iter(document.text().as_bytes(), "\u{fffd}").count();
        let share = ratio(lost, document.chars());
        judge.at_most("replacement_ratio", share, self.0.max_replacement_ratio)
    }
}
