//! Pre-tokenization: where a text is cut before pairs are merged; no token crosses such a cut.
//!
//! A [`Pattern`] is a published pre-tokenizer or one a user gives. Its pieces cover the text
//! exactly. A text may be any bytes: each byte that is not part of well-formed UTF-8 is treated
//! as U+FFFD and keeps its value.

use std::fmt;
use std::sync::Arc;

use lslm_runtime::Result;

use super::published::{self, Step};
use super::regex::Engine;
use super::scalar::Scheme;
use crate::simd::Level;

/// Where texts are cut before pairs are merged. Cheap to clone.
#[derive(Clone)]
pub struct Pattern(pub(super) Arc<Inner>);

pub(super) struct Inner {
    name: Option<&'static str>,
    text: String,
    steps: Vec<Step>,
    pub(super) method: Method,
}

pub(super) enum Method {
    Scan(Scheme),
    Search(Engine),
}

impl Pattern {
    /// The published pre-tokenizer `name`; `None` if there is none of that name.
    pub fn named(name: &str) -> Option<Self> {
        let name = *published::NAMES.iter().find(|known| **known == name)?;
        let steps = published::steps(name)?;
        let scheme = published::scheme(&steps)?;
        Some(Self::build(Some(name), steps, Method::Scan(scheme)))
    }

    /// The names [`Pattern::named`] knows.
    pub fn names() -> &'static [&'static str] {
        published::NAMES
    }

    /// A single split by `regex`, matches and gaps both kept as pieces. Published expressions are
    /// recognised, in all their spellings; an expression that does not compile is an error.
    pub fn from_regex(regex: &str) -> Result<Self> {
        Self::from_steps(vec![Step::isolated(regex)])
    }

    /// A sequence of steps, as `tokenizer.json` files have them. Published sequences are
    /// recognised; an expression that does not compile is an error. No steps: the whole text is
    /// one piece.
    pub fn from_steps(steps: Vec<Step>) -> Result<Self> {
        let plain: Vec<Step> = steps.iter().map(simplified).collect();
        let Some(scheme) = published::scheme(&plain) else {
            let engine = Engine::new(&steps)?;
            return Ok(Self::build(None, steps, Method::Search(engine)));
        };
        let named = |name: &&&str| published::steps(name).is_some_and(|known| known == plain);
        let name = published::NAMES.iter().find(named).copied();
        Ok(Self::build(name, steps, Method::Scan(scheme)))
    }

    fn build(name: Option<&'static str>, steps: Vec<Step>, method: Method) -> Self {
        let text = steps.iter().map(describe).collect::<Vec<_>>().join("\n");
        Self(Arc::new(Inner { name, text, steps, method }))
    }

    /// The name, if this is a published pre-tokenizer: the one it was asked for by, or the first
    /// of those with equal cuts.
    pub fn name(&self) -> Option<&str> {
        self.0.name
    }

    /// The regular expression; those of a sequence one a line, none for the whole text as a piece.
    pub fn regex(&self) -> &str {
        &self.0.text
    }

    /// The steps as given.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// The version of Unicode whose general categories decide the cuts.
    #[allow(clippy::unused_self)] // a later pattern may be bound to another version
    pub fn unicode_version(&self) -> &'static str {
        lslm_unicode::VERSION
    }

    /// Calls `f` with each piece of `text`, in order; together they are `text`.
    #[inline]
    pub fn for_each(&self, text: &[u8], mut f: impl FnMut(&[u8])) {
        let mut start = 0;
        self.for_each_batch(text, |ends| {
            for &end in ends {
                f(&text[start..end]);
                start = end;
            }
        });
    }

    /// Calls `f` with where the pieces of `text` end, in bytes from its beginning, a batch of
    /// some hundred at a time; the first piece begins at 0, each other where the one before ends,
    /// and the last one ends with `text`. Nothing is called for an empty text.
    pub fn for_each_batch(&self, text: &[u8], mut f: impl FnMut(&[usize])) {
        match &self.0.method {
            Method::Scan(scheme) => scheme.ends(Level::current(), text, &mut f),
            Method::Search(engine) => engine.ends(text, |end| f(&[end])),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Pattern({name})"),
            None => write!(f, "Pattern({:?})", self.regex()),
        }
    }
}

/// `step` with other spellings of a published expression replaced by the usual one.
fn simplified(step: &Step) -> Step {
    match step {
        Step::Split { regex, behavior, invert } => {
            // Files differ in whether a line end is written as itself or as an escape.
            let regex = regex.replace('\r', r"\r").replace('\n', r"\n");
            let known = published::SYNONYMS.iter().find(|(other, _)| *other == regex);
            let regex = known.map_or(regex, |(_, usual)| (*usual).to_owned());
            Step::Split { regex, behavior: *behavior, invert: *invert }
        }
        Step::Digits { .. } => step.clone(),
    }
}

fn describe(step: &Step) -> String {
    match step {
        Step::Split { regex, .. } => regex.clone(),
        Step::Digits { .. } => published::DIGITS.to_owned(),
    }
}
