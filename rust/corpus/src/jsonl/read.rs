//! Parses one line of JSONL into the fields of a document.
//!
//! serde_json checks the line and finds the values without decoding them; then the text is decoded.
//! The rest of the line is kept as its bytes ([`JsonRecord`]), so that numbers, repeated names and
//! order survive. sonic-rs was slower on baseline x86-64, and overflows the stack on nested lists.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jsonl::members::{
    FieldKeys, NameSeed, OneOrMore, members, parse_id, unescape, values_of,
};
use crate::jsonl::record::JsonRecord;
use crate::options::Utf8Policy;
use crate::statistics::BadReason;

/// The fields of a line.
#[derive(Debug)]
pub(crate) struct LineFields {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    /// The other members, if they were to be kept.
    pub(crate) record: Option<JsonRecord>,
    /// The unpaired surrogates in the text that became U+FFFD.
    pub(crate) replaced: u64,
    /// Where the text's JSON is in the line.
    pub(crate) value: Range<usize>,
}

/// The reason of a bad line, and the detail of [`BadDocument`](crate::BadDocument).
pub(crate) type Refusal = (BadReason, String);

/// Returns the fields of the JSON object `line`; with `keep`, all of its members.
///
/// Of several fields with one name the last counts. An id that is neither a string, a number nor
/// null is none.
pub(crate) fn parse_line(
    line: &str,
    keys: &Arc<FieldKeys>,
    policy: Utf8Policy,
    keep: bool,
) -> Result<LineFields, Refusal> {
    let found = if keys.are_flat() { scan_flat(line, keys) } else { scan_nested(line, keys) };
    let ScannedLine { texts, id } = found.map_err(|error| refusal(line, &error))?;
    let Some(raw) = texts.last() else {
        let reason = format!("there is no field {:?}; name another text key", keys.text.whole);
        return Err((BadReason::MissingText, reason));
    };
    let Some((text, replaced)) = unescape(raw) else {
        return Err(if raw == "null" {
            (BadReason::NullText, format!("the field {:?} is null", keys.text.whole))
        } else {
            (BadReason::TextNotString, format!("the field {:?} is not a string", keys.text.whole))
        });
    };
    if replaced > 0 && policy == Utf8Policy::Refuse {
        let reason = "the text has an unpaired surrogate".to_owned();
        return Err((BadReason::IllFormedUtf8, reason));
    }
    let start = raw.as_ptr().addr() - line.as_ptr().addr();
    let value = start..start + raw.len();
    let record = keep.then(|| JsonRecord::new(line, &texts, keys));
    Ok(LineFields { text, id, record, replaced, value })
}

/// The texts, of which the last counts, and the id of a line.
#[derive(Default)]
struct ScannedLine<'a> {
    /// Slices of the line: the values of all members that the text key names, as their JSON.
    texts: OneOrMore<&'a str>,
    id: Option<String>,
}

/// Finds text and id in one pass, for keys without dots.
fn scan_flat<'a>(line: &'a str, keys: &FieldKeys) -> serde_json::Result<ScannedLine<'a>> {
    struct FlatVisitor<'k>(&'k FieldKeys);
    impl<'de> Visitor<'de> for FlatVisitor<'_> {
        type Value = ScannedLine<'de>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut line = ScannedLine::default();
            while let Some(name) = map.next_key_seed(NameSeed)? {
                let value = map.next_value::<&RawValue>()?.get();
                if name == self.0.text.whole {
                    line.texts.push(value);
                } else if name == self.0.id.whole {
                    parse_id(value, &mut line.id);
                }
            }
            Ok(line)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let found = deserializer.deserialize_map(FlatVisitor(keys))?;
    deserializer.end()?;
    Ok(found)
}

/// Finds text and id, also inside objects.
fn scan_nested<'a>(line: &'a str, keys: &FieldKeys) -> serde_json::Result<ScannedLine<'a>> {
    let members = members(line)?;
    let mut id = None;
    for value in values_of(&members, &keys.id.whole, &keys.id.path).iter() {
        parse_id(value, &mut id);
    }
    Ok(ScannedLine { texts: values_of(&members, &keys.text.whole, &keys.text.path), id })
}

/// Returns why serde_json refused the line.
fn refusal(line: &str, error: &serde_json::Error) -> Refusal {
    if !line.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(line).is_ok() {
        return (BadReason::NotAnObject, "the line is JSON, but not an object".into());
    }
    let at = error.column().saturating_sub(1);
    let starts_near = |token: &&&str| {
        (at.saturating_sub(1)..=at)
            .any(|start| line.get(start..).is_some_and(|rest| rest.starts_with(*token)))
    };
    // what Python's json writes for floats that JSON does not have
    if let Some(token) = ["-Infinity", "Infinity", "NaN"].iter().find(starts_near) {
        let reason =
            format!("{token} is not JSON, {} bytes into the line: use null", error.column());
        return (BadReason::MalformedJson, reason);
    }
    // serde_json ends with "at line 1 column 7": the line is always 1, and the column is a byte
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    (BadReason::MalformedJson, format!("{what}, {} bytes into the line", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str, text: &str, id: &str) -> Result<LineFields, Refusal> {
        parse_line(line, &Arc::new(FieldKeys::new(text, id)), Utf8Policy::Replace, true)
    }

    fn metadata(fields: &LineFields) -> String {
        fields.record.as_ref().and_then(|record| record.others(false)).unwrap_or_default()
    }

    #[test]
    fn metadata_keeps_its_order_and_spelling() {
        let line = r#" {"a" : 1.50e3 ,"text":"x\n\"y\" \u00e9\ud83d\ude00","id":"7","b\"":[1, {}],"c":null} "#;
        let record = read(line, "text", "id").unwrap();
        assert_eq!(record.text, "x\n\"y\" é😀");
        assert_eq!(record.id.as_deref(), Some("7"));
        assert_eq!(metadata(&record), r#"{"a":1.50e3,"b\"":[1, {}],"c":null}"#);
        assert!(metadata(&read(r#"{"text":""}"#, "text", "id").unwrap()).is_empty());
    }

    #[test]
    fn a_key_with_dots_names_a_field_of_an_object() {
        let line = r#"{"data":{"text":"t","n":1},"meta":{"id":12}}"#;
        let record = read(line, "data.text", "meta.id").unwrap();
        assert_eq!((record.text.as_str(), record.id.as_deref()), ("t", Some("12")));
        assert_eq!(metadata(&record), r#"{"data":{"n":1}}"#);
        // a field of the whole name has precedence
        let record = read(r#"{"a":{"b":"in"},"a.b":"out"}"#, "a.b", "id").unwrap();
        assert_eq!(
            (record.text.as_str(), metadata(&record).as_str()),
            ("out", r#"{"a":{"b":"in"}}"#)
        );
        let (reason, _) = read(r#"{"a":"b"}"#, "a.b", "id").unwrap_err();
        assert_eq!(reason, BadReason::MissingText);
    }

    #[test]
    fn of_several_fields_with_one_name_the_last_counts() {
        for keys in [("text", "id"), ("text", "a.id")] {
            let record = read(r#"{"text":"1","text":"2"}"#, keys.0, keys.1).unwrap();
            assert_eq!((record.text.as_str(), metadata(&record).as_str()), ("2", ""));
        }
    }

    #[test]
    fn an_id_that_is_a_list_stays_in_the_metadata() {
        let record = read(r#"{"text":"t","id":[1]}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record).as_str()), (None, r#"{"id":[1]}"#));
        let record = read(r#"{"text":"t","id":-3}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record).as_str()), (Some("-3"), ""));
    }

    #[test]
    fn bad_lines_have_a_reason_and_an_offset() {
        for (line, expected) in [
            ("{\"text\":\"a\"", BadReason::MalformedJson),
            ("{\"text\":\"a\"} x", BadReason::MalformedJson),
            ("{\"text\":1,}", BadReason::MalformedJson),
            ("[1,]", BadReason::MalformedJson),
            ("[1]", BadReason::NotAnObject),
            ("{}", BadReason::MissingText),
            ("{\"text\":null}", BadReason::NullText),
            ("{\"text\":1e999}", BadReason::TextNotString),
            ("{\"text\":{\"a\":[]}}", BadReason::TextNotString),
        ] {
            assert_eq!(read(line, "text", "id").unwrap_err().0, expected, "{line}");
        }
        let (_, detail) = read("{\"text\":\"a\"", "text", "id").unwrap_err();
        assert_eq!(detail, "EOF while parsing an object, 11 bytes into the line");
    }

    #[test]
    fn unpaired_surrogates_follow_the_policy() {
        let line = r#"{"text":"a\ud800b\udc00\ud83d\ude00\ud800\ud800","\ud800":1}"#;
        let record = read(line, "text", "id").unwrap();
        assert_eq!(record.text, "a\u{fffd}b\u{fffd}😀\u{fffd}\u{fffd}");
        assert_eq!(record.replaced, 4);
        assert!(line[record.value].starts_with("\"a\\ud800b"));
        let keys = Arc::new(FieldKeys::new("text", "id"));
        let refused = parse_line(line, &keys, Utf8Policy::Refuse, true);
        assert_eq!(refused.unwrap_err().0, BadReason::IllFormedUtf8);
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!("{{\"text\":\"t\",\"m\":{deep}}}");
        assert_eq!(metadata(&read(&line, "text", "id").unwrap()).len(), deep.len() + 6);
        let line = format!("{{\"text\":{deep}}}");
        assert_eq!(read(&line, "text", "id").unwrap_err().0, BadReason::TextNotString);
    }

    proptest! {
        #[test]
        fn fields_equal_those_of_serde_json(
            text: String,
            id: String,
            other: String,
            name: String,
            cleaned: String,
        ) {
            prop_assume!(name != "text" && name != "id" && name != "a");
            let others = serde_json::json!({(name): [other]});
            let with = |text: &str, is_nested: bool| {
                let mut line = others.clone();
                line["id"] = id.as_str().into();
                let parent = if is_nested { &mut line["a"] } else { &mut line };
                parent["text"] = text.into();
                line
            };
            for (key, is_nested) in [("text", false), ("a.text", true)] {
                let line = with(&text, is_nested);
                let fields = read(&line.to_string(), key, "id").unwrap();
                prop_assert_eq!(&fields.text, &text);
                prop_assert_eq!(fields.id.as_deref(), Some(id.as_str()));
                let carried: serde_json::Value = serde_json::from_str(&metadata(&fields)).unwrap();
                prop_assert_eq!(&carried, &others);
                let mut written = String::new();
                fields.record.unwrap().write(&cleaned, &mut written);
                let written: serde_json::Value = serde_json::from_str(&written).unwrap();
                prop_assert_eq!(written, with(&cleaned, is_nested));
            }
        }
    }
}
