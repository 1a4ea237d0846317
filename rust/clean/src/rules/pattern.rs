//! Drops documents by a regular expression.

use lslm_runtime::{Error, Result};
use regex_automata::meta::Regex;
use serde::{Deserialize, Serialize};

use crate::measure::{Flow, Judge};
use crate::rule::{Build, Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<Pattern>(
    "pattern",
    1,
    "drops documents that a regular expression matches, or that another does not match",
);

/// Expressions without look-around, searched in linear time; null for none.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct PatternSettings {
    /// A document with a match is dropped.
    drop: Option<String>,
    /// A document without a match is dropped.
    keep: Option<String>,
}

struct Pattern {
    drop: Option<Regex>,
    keep: Option<Regex>,
}

impl Build for Pattern {
    type Settings = PatternSettings;

    fn build(settings: PatternSettings) -> Result<Self> {
        let compile = |name: &str, pattern: Option<String>| {
            let Some(pattern) = pattern else { return Ok(None) };
            let regex = Regex::new(&pattern);
            regex.map(Some).map_err(|error| Error::invalid(format!("pattern.{name}: {error}")))
        };
        Ok(Self { drop: compile("drop", settings.drop)?, keep: compile("keep", settings.keep)? })
    }
}

impl Filter for Pattern {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let text = document.text();
        if let Some(drop) = &self.drop {
            let is_match = f64::from(u8::from(drop.is_match(text)));
            judge.at_most("match", is_match, Some(0.0))?;
        }
        if let Some(keep) = &self.keep {
            let is_match = f64::from(u8::from(keep.is_match(text)));
            judge.at_least("no_match", is_match, Some(1.0))?;
        }
        Flow::Continue(())
    }
}
