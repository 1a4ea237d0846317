//! Measures of a document, each compared with its limit.

use std::fmt::Display;
use std::ops::ControlFlow;

use serde::Serialize;

/// Continue with the next measure, or break because the verdict is final.
pub type Flow = ControlFlow<()>;

/// A measure of one document, and the limit it was compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Rule and measure, for example "gopher_repetition.top_2_gram".
    pub name: String,
    /// The value of this document.
    pub value: f64,
    /// The configured limit; whether it is a minimum or a maximum depends on the measure.
    pub limit: f64,
    /// Whether the value is within the limit.
    pub passed: bool,
}

/// Compares the measures of one document with their limits.
///
/// It records the first one that fails, or every one when the caller wants an explanation.
pub struct Judge<'a> {
    rule: &'static str,
    first_failed: Option<Measure>,
    n_failed: usize,
    all: Option<&'a mut Vec<Measure>>,
    url: Option<&'a str>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(all: Option<&'a mut Vec<Measure>>) -> Self {
        Self { rule: "", first_failed: None, n_failed: 0, all, url: None }
    }

    /// Returns this judge for a document that comes from `url`.
    pub(crate) fn with_url(self, url: Option<&'a str>) -> Self {
        Self { url, ..self }
    }

    /// Returns the URL of the document, if it is known.
    pub fn url(&self) -> Option<&'a str> {
        self.url
    }

    /// Sets the rule that the next measures belong to.
    pub(crate) fn begin_rule(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    /// Returns whether every measure is recorded, also one that is known to pass.
    pub(crate) fn needs_all(&self) -> bool {
        self.all.is_some()
    }

    /// Returns how many measures failed.
    pub(crate) fn n_failed(&self) -> usize {
        self.n_failed
    }

    /// Returns the first measure that failed.
    pub(crate) fn finish(self) -> Option<Measure> {
        self.first_failed
    }

    /// Fails the document if `value` is above `limit`; `None` checks nothing.
    pub fn at_most(&mut self, part: impl Display, value: f64, limit: Option<f64>) -> Flow {
        match limit {
            Some(limit) => self.record(&part, value, limit, value > limit),
            None => Flow::Continue(()),
        }
    }

    /// Fails the document if `value` is below `limit`; `None` checks nothing.
    pub fn at_least(&mut self, part: impl Display, value: f64, limit: Option<f64>) -> Flow {
        match limit {
            Some(limit) => self.record(&part, value, limit, value < limit),
            None => Flow::Continue(()),
        }
    }

    #[inline]
    fn record(&mut self, part: &dyn Display, value: f64, limit: f64, failed: bool) -> Flow {
        if !failed && self.all.is_none() {
            return Flow::Continue(());
        }
        let name = format!("{}.{part}", self.rule);
        let measure = Measure { name, value, limit, passed: !failed };
        self.n_failed += usize::from(failed);
        if failed && self.first_failed.is_none() {
            self.first_failed = Some(measure.clone());
        }
        match &mut self.all {
            Some(all) => {
                all.push(measure);
                Flow::Continue(())
            }
            None => Flow::Break(()),
        }
    }
}

/// Returns `part / whole`, and 0 when `whole` is 0.
pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_stops_at_the_first_failed_measure_unless_it_explains() {
        let mut judge = Judge::new(None);
        judge.begin_rule("rule");
        assert!(judge.at_most("a", 1.0, Some(2.0)).is_continue());
        assert!(judge.at_most("b", 3.0, None).is_continue());
        assert!(judge.at_least("c", 1.0, Some(2.0)).is_break());
        assert_eq!(judge.finish().unwrap().name, "rule.c");
        let mut all = Vec::new();
        let mut judge = Judge::new(Some(&mut all));
        judge.begin_rule("rule");
        assert!(judge.at_least("c", 1.0, Some(2.0)).is_continue());
        assert!(judge.at_most("d", 9.0, Some(2.0)).is_continue());
        assert_eq!(judge.finish().unwrap().name, "rule.c");
        assert_eq!(all.len(), 2);
    }
}
