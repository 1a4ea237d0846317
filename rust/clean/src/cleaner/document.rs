//! What is known of a document besides its text, and what its cleaning returns.

use std::borrow::Cow;

use crate::cleaner::changes::Changes;
use crate::edit::RemovedLine;
use crate::measure::Measure;

/// The stages of a cleaner that run on a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StageRange {
    /// All but deduplication.
    #[default]
    All,
    /// Those before deduplication; all without it.
    BeforeDedup,
    /// Those after deduplication; none without it.
    AfterDedup,
}

/// What is known of a document besides its text, and what its cleaning is to return.
#[derive(Clone, Copy, Debug, Default)]
pub struct DocumentOptions<'a> {
    /// The URL that it comes from.
    pub url: Option<&'a str>,
    /// The stages to run.
    pub stages: StageRange,
    /// Whether [`DocumentResult::measures`] are returned.
    pub measures: bool,
    /// Whether [`DocumentResult::removed_lines`] are returned.
    pub removed_lines: bool,
}

/// What the cleaning of a document returns.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentResult<'t> {
    /// The text and the verdict.
    pub cleaned: CleanedText<'t>,
    /// Every measure in the order of the stages, including those after the first that failed; none
    /// unless they were asked for.
    pub measures: Vec<Measure>,
    /// The lines that line edits removed, in the order of the stages, up to the one that dropped the
    /// document; none unless they were asked for.
    pub removed_lines: Vec<RemovedLine>,
}

/// A text after cleaning.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanedText<'t> {
    /// The text after the last stage, or at the one that dropped it; borrowed if nothing changed.
    pub text: Cow<'t, str>,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// How much each rule changed.
    pub changes: Changes,
}

/// Whether a document is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It passed every filter.
    Keep,
    /// This measure is outside its limit; it is the first such one.
    Drop(Measure),
}

impl Verdict {
    /// Returns whether the document is kept.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the measure that failed, or `None` for a kept document.
    pub fn measure(&self) -> Option<&Measure> {
        match self {
            Self::Keep => None,
            Self::Drop(measure) => Some(measure),
        }
    }

    /// Returns the name of the measure that failed, or `None` for a kept document.
    pub fn reason(&self) -> Option<&str> {
        self.measure().map(|measure| measure.name.as_str())
    }
}
