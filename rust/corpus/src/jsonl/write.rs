//! Writes JSON: strings with escapes, and objects of values that are JSON already.

use lslm_runtime::{Error, Result};

use crate::jsonl::members::members;

/// Builds a JSON object, member by member. Values keep their spelling.
#[derive(Debug, Default)]
pub(crate) struct ObjectBuilder {
    /// Empty, or the object without its closing brace.
    text: String,
}

impl ObjectBuilder {
    /// Appends a member; `value` is well-formed JSON.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.push_name(name);
        self.text.push_str(value);
    }

    /// Appends a member; `value` appends well-formed JSON.
    pub(crate) fn push_with(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        self.push_name(name);
        value(&mut self.text);
    }

    fn push_name(&mut self, name: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        push_string(&mut self.text, name);
        self.text.push(':');
    }

    /// Returns the object without its closing brace; empty if it has no member.
    pub(crate) fn into_open_text(self) -> String {
        self.text
    }

    /// Returns the object as text, or `None` if it has no member.
    pub(crate) fn into_text(mut self) -> Option<String> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text)
    }
}

/// Returns the JSON object `raw` as one line, without the members that have the name of a key;
/// `None` if nothing is left. Anything but an object is an error.
pub(crate) fn without_keys(
    raw: &str,
    text_key: &str,
    id_key: Option<&str>,
) -> Result<Option<String>> {
    let members = members(raw).map_err(|_| {
        Error::invalid(format!("the metadata of a document is not a JSON object: {raw:.40}"))
    })?;
    let is_key = |name: &str| name == text_key || id_key == Some(name);
    let mut line = if members.iter().any(|(name, _)| is_key(name)) {
        let mut rest = ObjectBuilder::default();
        for (name, value) in members.iter().filter(|(name, _)| !is_key(name)) {
            rest.push(name, value);
        }
        let Some(rest) = rest.into_text() else { return Ok(None) };
        rest
    } else {
        raw.to_owned()
    };
    // line breaks in JSON are white space between tokens, never inside a string
    if line.contains(['\n', '\r']) {
        line = line.replace(['\n', '\r'], " ");
    }
    Ok(Some(line))
}

/// Appends `text` as a JSON string, with the escapes that JSON requires and no others.
pub(crate) fn push_string(out: &mut String, text: &str) {
    // 1/32 of the length for escapes: too little only costs a reallocation
    out.reserve(text.len() + text.len() / 32 + 2);
    out.push('"');
    let bytes = text.as_bytes();
    let (mut written, mut at) = (0, 0);
    while let Some(offset) = next_escaped(bytes, at) {
        at = offset + 1;
        out.push_str(&text[written..offset]);
        written = at;
        out.push('\\');
        match bytes[offset] {
            byte @ (b'"' | b'\\') => out.push(char::from(byte)),
            b'\n' => out.push('n'),
            b'\r' => out.push('r'),
            b'\t' => out.push('t'),
            0x08 => out.push('b'),
            0x0c => out.push('f'),
            byte => {
                out.push_str(if byte < 0x10 { "u000" } else { "u001" });
                out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// Returns the index of the first byte from `at` on that must be escaped: a control, the quotation
/// mark, the backslash.
#[inline]
fn next_escaped(bytes: &[u8], mut at: usize) -> Option<usize> {
    /// Bytes that are compared together: one or two vector registers.
    const BLOCK: usize = 32;
    let is_escaped =
        |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        // no early exit: the compiler vectorises this form
        let any = block.iter().fold(0, |any, byte| any | is_escaped(*byte));
        if any != 0 {
            break;
        }
        at += BLOCK;
    }
    bytes[at..].iter().position(|byte| is_escaped(*byte) == 1).map(|more| at + more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_592_characters_are_escaped_as_by_serde_json() {
        let all: String = ('\0'..'\u{250}').chain(['😀']).collect();
        let mut out = String::new();
        push_string(&mut out, &all);
        assert_eq!(out, serde_json::to_string(&all).unwrap());
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_by_serde_json(text in "[\\x00-\\x7f]*|[a-z中]{0,80}[\"\\\\\n]?\\PC*") {
            let mut out = String::from("x");
            push_string(&mut out, &text);
            prop_assert_eq!(&out[1..], serde_json::to_string(&text).unwrap());
        }
    }
}
