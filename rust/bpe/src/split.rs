//! Pre-tokenization: where a text is cut before pairs are merged; no token crosses such a cut.
//!
//! A [`Pattern`] is a published pre-tokenizer or one a user gives. Its pieces cover the text
//! exactly. A text may be any bytes: each byte that is not part of well-formed UTF-8 is treated
//! as U+FFFD and keeps its value.

mod engine;
mod published;

use std::fmt;
use std::sync::Arc;

use lslm_runtime::Result;

use engine::Engine;
pub use published::{Behavior, Step};

/// Where texts are cut before pairs are merged. Cheap to clone.
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

struct Inner {
    name: Option<&'static str>,
    text: String,
    steps: Vec<Step>,
    engine: Engine,
}

impl Pattern {
    /// The published pre-tokenizer `name`; `None` if there is none of that name.
    pub fn named(name: &str) -> Option<Self> {
        let name = *published::NAMES.iter().find(|known| **known == name)?;
        Self::build(Some(name), published::steps(name)?).ok()
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
        let name = published::NAMES
            .iter()
            .copied()
            .find(|name| published::steps(name).is_some_and(|known| known == plain));
        Self::build(name, steps)
    }

    fn build(name: Option<&'static str>, steps: Vec<Step>) -> Result<Self> {
        let engine = Engine::new(&steps)?;
        let text = steps.iter().map(describe).collect::<Vec<_>>().join("\n");
        Ok(Self(Arc::new(Inner { name, text, steps, engine })))
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
        "16.0.0"
    }

    /// Calls `f` with each piece of `text`, in order; together they are `text`.
    pub fn for_each(&self, text: &[u8], mut f: impl FnMut(&[u8])) {
        let mut start = 0;
        self.0.engine.ends(text, |end| {
            f(&text[start..end]);
            start = end;
        });
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
        Step::Digits { .. } => r"\p{N}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pattern: &str, text: impl AsRef<[u8]>) -> Vec<String> {
        let mut out = Vec::new();
        Pattern::named(pattern).unwrap().for_each(text.as_ref(), |piece| {
            out.push(piece.escape_ascii().to_string().replace("\\'", "'"));
        });
        out
    }

    #[test]
    fn known_cuts() {
        assert_eq!(
            pieces("gpt2", "It's  12345 o'clock!\n\n x"),
            ["It", "'s", " ", " 12345", " o", "'", "clock", "!", "\\n\\n", " x"]
        );
        assert_eq!(
            pieces("cl100k_base", "It'S 12345\n \n x"),
            ["It", "'S", " ", "123", "45", "\\n \\n", " x"]
        );
        assert_eq!(
            pieces("o200k_base", "CamelCase's a//\n/b"),
            ["Camel", "Case's", " a", "//\\n/", "b"]
        );
        assert_eq!(pieces("starcoder", " 12 x"), [" ", "1", "2", " x"]);
        assert_eq!(pieces("none", "a b"), ["a b"]);
        assert_eq!(pieces("deepseek_v3", "a 1234!b"), ["a", " ", "123", "4", "!b"]);
        assert_eq!(pieces("gpt2", ""), [""; 0]);
    }

    #[test]
    fn ill_formed_bytes_keep_their_value() {
        assert_eq!(pieces("gpt2", b"a\xff\xe4\xbd b"), ["a", "\\xff\\xe4\\xbd", " b"]);
    }

    #[test]
    fn spellings_are_recognised() {
        for name in Pattern::names() {
            let pattern = Pattern::named(name).unwrap();
            let again = Pattern::from_steps(pattern.steps().to_vec()).unwrap();
            assert!(again.name().is_some(), "{name}");
        }
        assert_eq!(Pattern::from_regex(published::O200K).unwrap().name(), Some("o200k_base"));
        assert_eq!(Pattern::from_regex(r"\w+").unwrap().name(), None);
        assert!(Pattern::from_regex("(").is_err());
        assert!(Pattern::named("nothing").is_none());
    }
}
