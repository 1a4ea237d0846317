//! The frame that every rule fits into: what it is called, what it may be told, what it does.
//!
//! A rule is a type with its settings, in a file of its own, and a [`Rule`] that names it. There are
//! three kinds, and they run in this order: normalisers rewrite the text, filters judge it, redactors
//! mask what is private in a text that is kept.

use std::fmt::Display;
use std::ops::{ControlFlow, Range};

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::chars::CharacterSummary;
use crate::view::View;

/// What may be said about a rule in a configuration.
pub trait Settings: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> Settings for T {}

/// How a rule comes from its settings.
pub trait Build: Sized {
    /// A struct with a default for each field; `()`-like structs for rules that have none.
    type Settings: Settings;

    /// The rule with these settings; an [`Error::Invalid`] names the one that cannot be used.
    fn build(settings: Self::Settings) -> Result<Self>;
}

/// A rule that rewrites text: a normaliser or a redactor.
///
/// It must be idempotent, take linear time, and call [`Edit::replace`] only for real changes.
pub trait Rewrite: Send + Sync {
    /// Whether a text of which `survey` is true may change; `false` saves the call.
    fn concerns(&self, survey: &CharacterSummary) -> bool {
        let _ = survey;
        true
    }

    /// Replaces what should be replaced, from front to back.
    fn apply(&self, edit: &mut Edit<'_>);
}

/// A rule that judges a document.
pub trait Filter: Send + Sync {
    /// Hands each of its measures to `judge`, and ends with `?` as soon as that says so.
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow;
}

/// Goes on, or ends because the verdict is known.
pub type Flow = ControlFlow<()>;

/// A name in the configuration and what stands behind it.
pub struct Rule {
    /// The key in a configuration, and the first part of a reason.
    pub name: &'static str,
    /// Counted up when the same settings give another result; part of the fingerprint.
    pub version: u32,
    /// One line for people.
    pub about: &'static str,
    pub(crate) defaults: fn() -> Value,
    /// Reads settings, without an effect, to find mistakes and to order the keys.
    pub(crate) resolve: fn(&Value) -> Result<Value, serde_json::Error>,
    pub(crate) make: Make,
}

/// How each kind of rule is made from its resolved settings.
pub(crate) enum Make {
    Normaliser(fn(&Value) -> Result<Box<dyn Rewrite>>),
    Filter(fn(&Value) -> Result<Box<dyn Filter>>),
    Redactor(fn(&Value) -> Result<Box<dyn Rewrite>>),
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Rewrites the text of every document.
    Normaliser,
    /// Keeps or drops a document.
    Filter,
    /// Masks private data in documents that are kept.
    Redactor,
}

impl Rule {
    /// A rule that rewrites every text.
    pub const fn normaliser<R: Rewrite + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Normaliser(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self { name, version, about, defaults: defaults::<R>, resolve: resolve::<R>, make }
    }

    /// A rule that keeps or drops.
    pub const fn filter<R: Filter + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Filter(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self { name, version, about, defaults: defaults::<R>, resolve: resolve::<R>, make }
    }

    /// A rule that masks private data in what is kept.
    pub const fn redactor<R: Rewrite + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Redactor(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self { name, version, about, defaults: defaults::<R>, resolve: resolve::<R>, make }
    }

    /// What the rule is for.
    pub const fn kind(&self) -> RuleKind {
        match self.make {
            Make::Normaliser(_) => RuleKind::Normaliser,
            Make::Filter(_) => RuleKind::Filter,
            Make::Redactor(_) => RuleKind::Redactor,
        }
    }

    /// The settings with all their defaults: a JSON object, empty for a rule without settings.
    pub fn defaults(&self) -> Value {
        (self.defaults)()
    }

    /// `current` (the settings now, or `false` while the rule is off) after `change`.
    ///
    /// `false` and `null` switch the rule off, `true` on, an object switches it on and changes the
    /// settings that it names.
    pub(crate) fn change(&self, current: &Value, change: &Value) -> Result<Value> {
        let mut settings = match current {
            Value::Object(settings) => settings.clone(),
            _ => self.defaults().as_object().cloned().unwrap_or_default(),
        };
        match change {
            Value::Bool(false) | Value::Null => return Ok(Value::Bool(false)),
            Value::Bool(true) => {}
            Value::Object(changes) => {
                for (key, value) in changes {
                    self.set(&mut settings, key, value)?;
                }
            }
            other => {
                let name = self.name;
                return Err(Error::invalid(format!(
                    "{name} = {other}: use true, false or a table of settings"
                )));
            }
        }
        Ok(Value::Object(settings))
    }

    fn set(&self, settings: &mut Map<String, Value>, key: &str, value: &Value) -> Result<()> {
        let name = self.name;
        if !settings.contains_key(key) {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean {name}.{near}?"),
                None if known.is_empty() => "this rule is only true or false".to_owned(),
                None => format!("it has {}", known.join(", ")),
            };
            return Err(Error::invalid(format!("unknown setting {name}.{key}: {hint}")));
        }
        settings.insert(key.to_owned(), value.clone());
        let resolved = (self.resolve)(&Value::Object(settings.clone()))
            .map_err(|error| Error::invalid(format!("{name}.{key} = {value}: {error}")))?;
        if let Value::Object(resolved) = resolved {
            *settings = resolved;
        }
        Ok(())
    }
}

fn defaults<R: Build>() -> Value {
    // a settings struct is plain data, so that writing it as JSON cannot fail
    serde_json::to_value(R::Settings::default()).unwrap_or(Value::Null)
}

fn resolve<R: Build>(settings: &Value) -> Result<Value, serde_json::Error> {
    serde_json::from_value::<R::Settings>(settings.clone()).and_then(serde_json::to_value)
}

fn make<R: Build>(settings: &Value) -> Result<R> {
    let settings = serde_json::from_value(settings.clone())
        .map_err(|error| Error::invalid(format!("settings {settings}: {error}")))?;
    R::build(settings)
}

/// A text that is being rewritten from front to back; nothing is copied before the first change.
pub struct Edit<'a> {
    text: &'a str,
    out: &'a mut String,
    done: usize,
    changed: u64,
}

impl<'a> Edit<'a> {
    pub(crate) fn new(text: &'a str, out: &'a mut String) -> Self {
        out.clear();
        Self { text, out, done: 0, changed: 0 }
    }

    /// The text as it was before this rule.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Puts `with` in the place of the bytes `range`, which lies behind all ranges given before,
    /// and counts `amount` changes (characters of a normaliser, finds of a redactor).
    pub fn replace(&mut self, range: Range<usize>, with: &str, amount: u64) {
        if self.changed == 0 {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(&self.text[self.done..range.start]);
        self.out.push_str(with);
        self.done = range.end;
        self.changed += amount;
    }

    /// Takes the bytes `range` away; counts its characters.
    pub fn cut(&mut self, range: Range<usize>) {
        let amount = self.text[range.clone()].chars().count() as u64;
        self.replace(range, "", amount);
    }

    /// How much was changed; the new text is in the buffer unless that is nothing.
    pub(crate) fn finish(self) -> u64 {
        if self.changed > 0 {
            self.out.push_str(&self.text[self.done..]);
        }
        self.changed
    }
}

/// One measure of a document beside its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Rule and part, as in "gopher_repetition.top_2_gram".
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What it was compared with.
    pub limit: f64,
    /// Whether the document may stay.
    pub passed: bool,
}

/// Collects the measures of one document: only the first bad one, or all.
pub struct Judge<'a> {
    rule: &'static str,
    first: Option<Measure>,
    all: Option<&'a mut Vec<Measure>>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(all: Option<&'a mut Vec<Measure>>) -> Self {
        Self { rule: "", first: None, all }
    }

    pub(crate) fn begin(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    pub(crate) fn finish(self) -> Option<Measure> {
        self.first
    }

    /// The document is dropped if `value` is above `limit`; no limit, no check.
    pub fn at_most(&mut self, part: impl Display, value: f64, limit: Option<f64>) -> Flow {
        match limit {
            Some(limit) => self.note(&part, value, limit, value > limit),
            None => Flow::Continue(()),
        }
    }

    /// The document is dropped if `value` is below `limit`; no limit, no check.
    pub fn at_least(&mut self, part: impl Display, value: f64, limit: Option<f64>) -> Flow {
        match limit {
            Some(limit) => self.note(&part, value, limit, value < limit),
            None => Flow::Continue(()),
        }
    }

    #[inline]
    fn note(&mut self, part: &dyn Display, value: f64, limit: f64, bad: bool) -> Flow {
        if !bad && self.all.is_none() {
            return Flow::Continue(());
        }
        let name = format!("{}.{part}", self.rule);
        let measure = Measure { name, value, limit, passed: !bad };
        if bad && self.first.is_none() {
            self.first = Some(measure.clone());
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

/// `part / whole`, and zero of nothing.
pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_copies_only_what_changes() {
        let mut out = String::from("old");
        let mut edit = Edit::new("abcdef", &mut out);
        edit.replace(1..2, "XY", 1);
        edit.cut(3..5);
        assert_eq!(edit.finish(), 3);
        assert_eq!(out, "aXYcf");
        let edit = Edit::new("abc", &mut out);
        assert_eq!(edit.finish(), 0);
    }

    #[test]
    fn a_judge_ends_at_the_first_bad_measure_unless_it_explains() {
        let mut judge = Judge::new(None);
        judge.begin("rule");
        assert!(judge.at_most("a", 1.0, Some(2.0)).is_continue());
        assert!(judge.at_most("b", 3.0, None).is_continue());
        assert!(judge.at_least("c", 1.0, Some(2.0)).is_break());
        assert_eq!(judge.finish().unwrap().name, "rule.c");
        let mut all = Vec::new();
        let mut judge = Judge::new(Some(&mut all));
        judge.begin("rule");
        assert!(judge.at_least("c", 1.0, Some(2.0)).is_continue());
        assert!(judge.at_most("d", 9.0, Some(2.0)).is_continue());
        assert_eq!(judge.finish().unwrap().name, "rule.c");
        assert_eq!(all.len(), 2);
    }
}
