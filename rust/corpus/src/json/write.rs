//! JSON that is put together: strings with their escapes, and objects of values as they stand.

use serde_json::value::RawValue;

/// An object that is put together from names and values as they stand in a file.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    text: String,
}

impl Metadata {
    /// Adds a member; `value` is well-formed JSON.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.push_name(name);
        self.text.push_str(value);
    }

    /// Adds a member whose value is written by `value` as well-formed JSON.
    pub(crate) fn push_with(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        self.push_name(name);
        value(&mut self.text);
    }

    fn push_name(&mut self, name: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        push_string(&mut self.text, name);
        self.text.push(':');
    }

    /// The object without its closing brace.
    pub(crate) fn into_open_text(self) -> String {
        self.text
    }

    /// The object, if it has any member, as text.
    pub(crate) fn into_text(mut self) -> Option<String> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text)
    }

    /// The object, if it has any member.
    pub(crate) fn finish(self) -> Option<Box<RawValue>> {
        // cannot fail: names are escaped and values were checked where they came from
        self.into_text().and_then(|text| RawValue::from_string(text).ok())
    }
}

/// Appends `text` as a JSON string, with the escapes that JSON asks for and no others.
pub(crate) fn push_string(out: &mut String, text: &str) {
    /// Whether a byte must be escaped: controls, the quotation mark, the backslash.
    const SPECIAL: [bool; 256] = {
        let mut special = [false; 256];
        let mut byte = 0;
        while byte < 0x20 {
            special[byte] = true;
            byte += 1;
        }
        special[b'"' as usize] = true;
        special[b'\\' as usize] = true;
        special
    };
    out.reserve(text.len() + text.len() / 32 + 2);
    out.push('"');
    let mut written = 0;
    for (place, byte) in text.bytes().enumerate() {
        if !SPECIAL[usize::from(byte)] {
            continue;
        }
        out.push_str(&text[written..place]);
        written = place + 1;
        out.push('\\');
        match byte {
            b'"' | b'\\' => out.push(char::from(byte)),
            b'\n' => out.push('n'),
            b'\r' => out.push('r'),
            b'\t' => out.push('t'),
            0x08 => out.push('b'),
            0x0c => out.push('f'),
            _ => {
                out.push_str(if byte < 0x10 { "u000" } else { "u001" });
                out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_character_is_escaped_as_serde_json_does() {
        let all: String = ('\0'..'\u{250}').chain(['😀']).collect();
        let mut out = String::new();
        push_string(&mut out, &all);
        assert_eq!(out, serde_json::to_string(&all).unwrap());
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_serde_json_does(text in "[\\x00-\\x7f]*|\\PC*") {
            let mut out = String::from("x");
            push_string(&mut out, &text);
            prop_assert_eq!(&out[1..], serde_json::to_string(&text).unwrap());
        }
    }
}
