//! The frame of every rule: its name, its settings, and what it does with a text.
//!
//! A rule is a type in a file of its own and a [`Rule`] that names it. There are five kinds:
//! normalisers rewrite the text, line edits remove or change lines of the [`View`] and may drop the
//! document, filters keep or drop it, redactors mask private data, and deduplication compares
//! documents with one another. A configuration is an ordered list of them, its *stages*.

use std::ops::Range;

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::chars::CharacterSummary;
use crate::edit::Edit;
use crate::measure::{Flow, Judge};
use crate::view::View;

/// The settings of a rule: plain data with a default for each field.
pub trait RuleSettings: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> RuleSettings for T {}

/// A rule that can be built from settings.
///
/// A rule that prepares nothing is its own settings: it implements [`RuleSettings`] and gets
/// `Build` from that.
pub trait Build: Sized {
    /// A struct with a default for each field, empty for a rule without settings.
    type Settings: RuleSettings;

    /// Returns the rule with these settings, or an [`Error::Invalid`] that names the one that
    /// cannot be used.
    fn build(settings: Self::Settings) -> Result<Self>;
}

impl<S: RuleSettings> Build for S {
    type Settings = S;

    fn build(settings: S) -> Result<S> {
        Ok(settings)
    }
}

/// A rule that rewrites text: a normaliser or a redactor.
///
/// It must be idempotent, take linear time, and call [`Edit::replace`] only for real changes.
pub trait Rewrite: Send + Sync {
    /// Returns whether a text with this summary may change; `false` saves the call of
    /// [`apply`](Self::apply).
    fn may_change(&self, text: &str, summary: &CharacterSummary) -> bool {
        let _ = (text, summary);
        true
    }

    /// Returns whether a change may add characters of a property that the text did not have, so
    /// that the summary must be computed again.
    fn adds_characters(&self) -> bool {
        false
    }

    /// Replaces parts of the text, from front to back.
    fn apply(&self, edit: &mut Edit<'_>);
}

/// A rule that keeps or drops a document.
pub trait Filter: Send + Sync {
    /// Passes each measure of `document` to `judge`, and returns as soon as one call breaks.
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow;

    /// Returns what shows why `part`, the end of a measure's name, failed for a document with `url`;
    /// `None` if it is no single place, or if [`places`](crate::places) knows the place by the name.
    fn evidence(&self, document: &View<'_>, url: Option<&str>, part: &str) -> Option<Evidence> {
        let _ = (document, url, part);
        None
    }
}

/// What shows why a document was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The bytes of the place in the text.
    pub range: Option<Range<usize>>,
    /// The entry of a list that was found there, or in the URL of the document.
    pub entry: Option<Box<str>>,
}

/// A rule that removes or changes lines, and may drop the document.
pub trait LineEdit: Send + Sync {
    /// Replaces parts of the text of `document` through `edit`, from front to back, and passes the
    /// measures that can drop it to `judge`; returns as soon as one call breaks.
    ///
    /// After a break the text stays as it was before. Stages after this one see a view of the new
    /// text.
    fn apply(&self, document: &View<'_>, edit: &mut Edit<'_>, judge: &mut Judge<'_>) -> Flow;
}

/// A rule as the configuration names it: key, version, settings, and how it is built.
pub struct Rule {
    /// The key in a configuration, and the first part of the name of a [`Measure`](crate::Measure).
    pub name: &'static str,
    /// Incremented when the same settings give another result; part of the fingerprint.
    pub version: u32,
    /// What the rule does, in one line.
    pub about: &'static str,
    pub(crate) defaults: fn() -> Value,
    /// Parses settings and writes them again: finds mistakes and orders the keys.
    pub(crate) resolve: fn(&Value) -> Result<Value, serde_json::Error>,
    pub(crate) make: Make,
    /// The settings that are paths. For each there is one called `…_sha256`, which a
    /// [`Cleaner`](crate::Cleaner) fills in, and which stands for it in the fingerprint.
    pub(crate) files: &'static [&'static str],
}

/// Builds a rule of each kind from its resolved settings.
pub(crate) enum Make {
    Normaliser(fn(&Value) -> Result<Box<dyn Rewrite>>),
    LineEdit(fn(&Value) -> Result<Box<dyn LineEdit>>),
    Filter(fn(&Value) -> Result<Box<dyn Filter>>),
    Redactor(fn(&Value) -> Result<Box<dyn Rewrite>>),
    /// Its settings are all: a job compares the documents.
    Dedup,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Rewrites the text of every document.
    Normaliser,
    /// Removes or changes lines; may drop a document.
    LineEdit,
    /// Keeps or drops a document.
    Filter,
    /// Masks private data.
    Redactor,
    /// Compares what the stages before it leave of all documents.
    Dedup,
}

impl Rule {
    /// Returns a rule that rewrites every text.
    pub const fn normaliser<R: Rewrite + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Normaliser(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self::new::<R>(name, version, about, make)
    }

    /// Returns a rule that removes or changes lines.
    pub const fn line_edit<R: LineEdit + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::LineEdit(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self::new::<R>(name, version, about, make)
    }

    /// Returns a rule that keeps or drops a document.
    pub const fn filter<R: Filter + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Filter(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self::new::<R>(name, version, about, make)
    }

    /// Returns a rule that masks private data.
    pub const fn redactor<R: Rewrite + Build + 'static>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        let make = Make::Redactor(|settings| Ok(Box::new(make::<R>(settings)?)));
        Self::new::<R>(name, version, about, make)
    }

    /// Returns the rule that compares documents.
    pub const fn dedup<S: RuleSettings>(
        name: &'static str,
        version: u32,
        about: &'static str,
    ) -> Self {
        Self::new::<S>(name, version, about, Make::Dedup)
    }

    const fn new<R: Build>(
        name: &'static str,
        version: u32,
        about: &'static str,
        make: Make,
    ) -> Self {
        let (defaults, resolve) = (defaults::<R>, resolve::<R>);
        Self { name, version, about, defaults, resolve, make, files: &[] }
    }

    /// Returns this rule with settings that are paths.
    pub(crate) const fn with_files(self, files: &'static [&'static str]) -> Self {
        Self { files, ..self }
    }

    /// Returns what the rule does.
    pub const fn kind(&self) -> RuleKind {
        match self.make {
            Make::Normaliser(_) => RuleKind::Normaliser,
            Make::LineEdit(_) => RuleKind::LineEdit,
            Make::Filter(_) => RuleKind::Filter,
            Make::Redactor(_) => RuleKind::Redactor,
            Make::Dedup => RuleKind::Dedup,
        }
    }

    /// Returns all settings at their defaults: a JSON object, empty for a rule without settings.
    pub fn defaults(&self) -> Value {
        (self.defaults)()
    }

    /// Returns the settings `current` (`false` for a rule that is off) after `change`.
    ///
    /// `false` and `null` switch the rule off, `true` switches it on, and an object switches it on
    /// and changes the settings that it names. A string switches the rule on and one setting to
    /// true: `"keep-singletons"` is `{"keep_singletons": true}`.
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
            Value::String(switch) => {
                let key = switch.replace('-', "_");
                if settings.get(&key).is_some_and(|value| !value.is_boolean()) {
                    let name = self.name;
                    return Err(Error::invalid(format!(
                        "{name} = {switch:?}: {name}.{key} has a value; use a table of settings"
                    )));
                }
                self.set(&mut settings, &key, &Value::Bool(true))?;
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
                None if known.is_empty() => {
                    "this rule has no settings: use true or false".to_owned()
                }
                None => format!("use one of {}", known.join(", ")),
            };
            return Err(Error::invalid(format!("unknown setting {name}.{key}: {hint}")));
        }
        settings.insert(key.to_owned(), value.clone());
        let resolved = (self.resolve)(&Value::Object(settings.clone())).map_err(|error| {
            Error::invalid(format!("{name}.{key} = {value}: {}", wanted(&error)))
        })?;
        if let Value::Object(resolved) = resolved {
            *settings = resolved;
        }
        Ok(())
    }
}

/// Returns what a setting must be instead, in words of people where serde has those of Rust.
fn wanted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let Some((_, expected)) = text.split_once(", expected ") else { return text };
    let kind = match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, at least 0",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        other => other,
    };
    format!("must be {kind}")
}

fn defaults<R: Build>() -> Value {
    // a settings struct is plain data, so writing it as JSON cannot fail
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
