//! [`Pattern`]: a published or user-given pre-tokenizer.

use std::fmt;
use std::sync::Arc;

use lslm_runtime::Result;
use lslm_runtime::simd::Level;

use super::dispatch;
use super::published::{self, Step};
use super::regex::RegexEngine;
use super::scheme::Scheme;

/// A pre-tokenizer: splits a text into the pieces that are merged. Cheap to clone.
///
/// The pieces cover the text exactly. A text may be any bytes: each byte that is not part of
/// well-formed UTF-8 is split as U+FFFD and keeps its value.
///
/// ```
/// use lslm_bpe::pretokenize::Pattern;
///
/// let pattern = Pattern::named("gpt2").unwrap();
/// let mut pieces = Vec::new();
/// pattern.for_each(b"It's 12 o'clock", |piece| pieces.push(piece.to_vec()));
/// assert_eq!(pieces, [&b"It"[..], b"'s", b" 12", b" o", b"'", b"clock"]);
///
/// // Published expressions are recognised, in any of their spellings.
/// assert_eq!(Pattern::from_regex(pattern.regex())?.name(), Some("gpt2"));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Pattern(pub(super) Arc<PatternData>);

pub(super) struct PatternData {
    name: Option<&'static str>,
    text: String,
    steps: Vec<Step>,
    pub(super) method: Method,
}

/// How a pattern splits.
pub(super) enum Method {
    /// By the code for a published family.
    Published(Scheme),
    /// By regular expressions.
    Regex(RegexEngine),
}

impl Pattern {
    /// Returns the published pre-tokenizer `name`, or `None` if no pre-tokenizer has that name.
    pub fn named(name: &str) -> Option<Self> {
        let name = *published::NAMES.iter().find(|known| **known == name)?;
        let steps = published::steps(name)?;
        let scheme = published::scheme(&steps)?;
        Some(Self::build(Some(name), steps, Method::Published(scheme)))
    }

    /// Returns the names that [`Pattern::named`] accepts.
    pub fn names() -> &'static [&'static str] {
        published::NAMES
    }

    /// Returns the pattern that splits by `regex`, where matches and gaps are pieces.
    ///
    /// Published expressions are recognised, in all their spellings. [`Error::Invalid`] for an
    /// expression that does not compile.
    ///
    /// [`Error::Invalid`]: lslm_runtime::Error::Invalid
    pub fn from_regex(regex: &str) -> Result<Self> {
        Self::from_steps(vec![Step::isolated(regex)])
    }

    /// Returns the pattern of a sequence of steps, as `tokenizer.json` files have them; without
    /// steps the whole text is one piece.
    ///
    /// Published sequences are recognised. [`Error::Invalid`] for an expression that does not
    /// compile.
    ///
    /// [`Error::Invalid`]: lslm_runtime::Error::Invalid
    pub fn from_steps(steps: Vec<Step>) -> Result<Self> {
        let plain: Vec<Step> = steps.iter().map(simplified).collect();
        let Some(scheme) = published::scheme(&plain) else {
            let engine = RegexEngine::new(&steps)?;
            return Ok(Self::build(None, steps, Method::Regex(engine)));
        };
        let named = |name: &&&str| published::steps(name).is_some_and(|known| known == plain);
        let name = published::NAMES.iter().find(named).copied();
        Ok(Self::build(name, steps, Method::Published(scheme)))
    }

    fn build(name: Option<&'static str>, steps: Vec<Step>, method: Method) -> Self {
        let text = steps.iter().map(regex_of).collect::<Vec<_>>().join("\n");
        Self(Arc::new(PatternData { name, text, steps, method }))
    }

    /// Returns the name of a published pre-tokenizer: the one given to [`Pattern::named`], else the
    /// first of those with equal steps. `None` for any other pattern.
    pub fn name(&self) -> Option<&str> {
        self.0.name
    }

    /// Returns the regular expression: one a line for a sequence, empty if the whole text is a
    /// piece.
    pub fn regex(&self) -> &str {
        &self.0.text
    }

    /// Returns the steps as given.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// Returns whether matches cover every text, so that there is no text between them.
    pub(crate) fn covers(&self) -> bool {
        // All published expressions have an alternative for each class of characters, except the last
        // step of DeepSeek-V3, for which controls are gaps.
        matches!(&self.0.method, Method::Published(scheme) if *scheme != Scheme::DeepseekV3)
    }

    /// Returns by which code texts are split, for display.
    pub(crate) fn method(&self) -> &'static str {
        match &self.0.method {
            Method::Published(scheme) => dispatch::method(*scheme),
            Method::Regex(engine) if engine.is_automaton() => {
                "an automaton, for a pattern without a scanner"
            }
            Method::Regex(_) => {
                "a backtracking regular expression, the slow path, for look-around that no automaton has"
            }
        }
    }

    /// Returns the version of Unicode whose general categories the pattern uses.
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

    /// Calls `f` with the ends of the pieces of `text` as byte offsets, up to 256 at a time.
    ///
    /// The first piece begins at 0, each other one at the end of the one before, and the last end
    /// is the length of `text`. `f` is not called for an empty text.
    pub fn for_each_batch(&self, text: &[u8], mut f: impl FnMut(&[usize])) {
        match &self.0.method {
            Method::Published(scheme) => dispatch::ends(*scheme, Level::current(), text, &mut f),
            Method::Regex(engine) => engine.ends(text, &mut f),
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

/// Returns `step` with another spelling of a published expression replaced by the usual one.
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

/// Returns the regular expression of `step`.
fn regex_of(step: &Step) -> String {
    match step {
        Step::Split { regex, .. } => regex.clone(),
        Step::Digits { .. } => published::DIGITS.to_owned(),
    }
}
