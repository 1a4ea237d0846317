//! [`Matcher`]: finds a pattern of a `tokenizer.json`, a literal string or a regular expression, in
//! bytes that need not be UTF-8.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    regex: Regex,
    /// The expression, for fingerprints and errors.
    source: String,
}

impl Matcher {
    /// Returns the matcher of `{"String": …}` or `{"Regex": …}`.
    pub(crate) fn from_json(value: Option<&Value>) -> Result<Self, String> {
        Self::new(&expression(value)?)
    }

    /// Returns the matcher of a regular expression; an error if it does not compile.
    pub(crate) fn new(expression: &str) -> Result<Self, String> {
        let regex =
            RegexBuilder::new(expression).backtrack_limit(usize::MAX).build().map_err(|error| {
                format!("the pattern {expression:?} is not a valid regular expression: {error}")
            })?;
        Ok(Self { regex, source: expression.to_owned() })
    }

    /// Whether it finds exactly the string `literal`.
    pub(crate) fn is(&self, literal: &str) -> bool {
        self.source == fancy_regex::escape(literal)
    }

    /// Returns the matches in `text` as pairs of start and end, ascending and without overlap.
    /// Empty matches are left out. A byte that is not UTF-8 counts as U+FFFD.
    pub(crate) fn find_all(&self, text: &[u8]) -> Result<Vec<(usize, usize)>, String> {
        let mut matches = Vec::new();
        let mut search = |text: &str, origin: &dyn Fn(usize) -> usize| {
            for found in self.regex.find_iter(text) {
                let found = found
                    .map_err(|error| format!("the pattern {:?} failed: {error}", self.source))?;
                if found.start() < found.end() {
                    matches.push((origin(found.start()), origin(found.end())));
                }
            }
            Ok::<(), String>(())
        };
        if let Ok(text) = std::str::from_utf8(text) {
            search(text, &|offset| offset)?;
        } else {
            let (repaired, origins) = replace_ill_formed(text);
            search(&repaired, &|offset| origins[offset])?;
        }
        Ok(matches)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

/// Returns the regular expression of `{"String": …}` or `{"Regex": …}`.
pub(crate) fn expression(value: Option<&Value>) -> Result<String, String> {
    let text = |key| value.and_then(|value| value.get(key)).and_then(Value::as_str);
    if let Some(literal) = text("String") {
        Ok(fancy_regex::escape(literal).into_owned())
    } else if let Some(expression) = text("Regex") {
        Ok(expression.to_owned())
    } else {
        Err("a pattern must be {\"String\": …} or {\"Regex\": …}".to_owned())
    }
}

/// Returns `text` with U+FFFD for each ill-formed byte, and for each offset in it the one in
/// `text`.
pub(crate) fn replace_ill_formed(text: &[u8]) -> (String, Vec<usize>) {
    let mut repaired = String::with_capacity(text.len() + text.len() / 4);
    let mut origins = Vec::with_capacity(repaired.capacity() + 1);
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        repaired.push_str(chunk.valid());
        origins.extend(at..at + chunk.valid().len());
        at += chunk.valid().len();
        for _ in chunk.invalid() {
            repaired.push(char::REPLACEMENT_CHARACTER);
            origins.extend([at; char::REPLACEMENT_CHARACTER.len_utf8()]);
            at += 1;
        }
    }
    origins.push(at);
    (repaired, origins)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_literal_and_offsets_are_those_of_the_bytes() {
        let literal = Matcher::from_json(Some(&json!({"String": "a.b"}))).unwrap();
        assert_eq!(literal.find_all(b"axb a.b").unwrap(), [(4, 7)]);
        let regex = Matcher::from_json(Some(&json!({"Regex": "b+|x*"}))).unwrap();
        assert_eq!(regex.find_all(b"\xFFbb\xE4\xB8b").unwrap(), [(1, 3), (5, 6)]);
        assert!(Matcher::from_json(Some(&json!({"Regex": "("}))).is_err());
        assert!(Matcher::from_json(Some(&json!("x"))).is_err());
    }
}
