//! Patterns of a `tokenizer.json`, a literal string or a regular expression, found in bytes.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Something to look for.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    regex: Regex,
    /// what decides the matches, for fingerprints and errors
    source: String,
}

impl Matcher {
    /// The matcher of `{"String": …}` or `{"Regex": …}`.
    pub(crate) fn from_json(value: Option<&Value>) -> Result<Self, String> {
        Self::new(&expression(value)?)
    }

    pub(crate) fn new(expression: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(expression)
            .backtrack_limit(usize::MAX)
            .build()
            .map_err(|error| format!("the pattern {expression:?} is not valid: {error}"))?;
        Ok(Self { regex, source: expression.to_owned() })
    }

    /// The matches in `text`, in order and apart, as pairs of start and end; empty ones are left
    /// out. A byte that is not UTF-8 counts as U+FFFD.
    pub(crate) fn find_all(&self, text: &[u8]) -> Result<Vec<(usize, usize)>, String> {
        let mut places = Vec::new();
        let mut search = |text: &str, origin: &dyn Fn(usize) -> usize| {
            for found in self.regex.find_iter(text) {
                let found = found
                    .map_err(|error| format!("the pattern {:?} failed: {error}", self.source))?;
                if found.start() < found.end() {
                    places.push((origin(found.start()), origin(found.end())));
                }
            }
            Ok::<(), String>(())
        };
        if let Ok(text) = std::str::from_utf8(text) {
            search(text, &|place| place)?;
        } else {
            let (shadow, origins) = shadow(text);
            search(&shadow, &|place| origins[place])?;
        }
        Ok(places)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

/// The regular expression of `{"String": …}` or `{"Regex": …}`.
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

/// `text` with U+FFFD for each byte that is not UTF-8, and the origin of each place in it.
fn shadow(text: &[u8]) -> (String, Vec<usize>) {
    let mut shadow = String::with_capacity(text.len() + 16);
    let mut origins = Vec::with_capacity(text.len() + 17);
    let mut place = 0;
    for chunk in text.utf8_chunks() {
        shadow.push_str(chunk.valid());
        origins.extend(place..place + chunk.valid().len());
        place += chunk.valid().len();
        for _ in chunk.invalid() {
            shadow.push(char::REPLACEMENT_CHARACTER);
            origins.extend([place; char::REPLACEMENT_CHARACTER.len_utf8()]);
            place += 1;
        }
    }
    origins.push(place);
    (shadow, origins)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_literal_and_bytes_keep_their_places() {
        let literal = Matcher::from_json(Some(&json!({"String": "a.b"}))).unwrap();
        assert_eq!(literal.find_all(b"axb a.b").unwrap(), [(4, 7)]);
        let regex = Matcher::from_json(Some(&json!({"Regex": "b+|x*"}))).unwrap();
        assert_eq!(regex.find_all(b"\xFFbb\xE4\xB8b").unwrap(), [(1, 3), (5, 6)]);
        assert!(Matcher::from_json(Some(&json!({"Regex": "("}))).is_err());
        assert!(Matcher::from_json(Some(&json!("x"))).is_err());
    }
}
