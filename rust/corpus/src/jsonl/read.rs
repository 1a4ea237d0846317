//! Parses one line of JSONL into the fields of a document.
//!
//! serde_json checks the line and finds the values without decoding them; then the text is decoded.
//! The rest of the line is kept as its bytes ([`JsonRecord`]), so that numbers, repeated names and
//! order survive. sonic-rs was slower on baseline x86-64, and overflows the stack on nested lists.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jsonl::record::JsonRecord;
use crate::jsonl::write::ObjectBuilder;
use crate::options::Utf8Policy;
use crate::statistics::BadReason;

/// The names of the fields for text and id.
#[derive(Clone, Debug)]
pub(crate) struct FieldKeys {
    pub(super) text: FieldKey,
    pub(super) id: FieldKey,
}

/// The name of a field, which may be inside objects.
#[derive(Clone, Debug)]
pub(super) struct FieldKey {
    pub(super) whole: String,
    /// The parts of `whole` between its dots.
    path: Vec<String>,
}

impl FieldKey {
    fn new(key: &str) -> Self {
        Self { whole: key.to_owned(), path: key.split('.').map(str::to_owned).collect() }
    }
}

impl FieldKeys {
    pub(crate) fn new(text: &str, id: &str) -> Self {
        Self { text: FieldKey::new(text), id: FieldKey::new(id) }
    }

    /// Returns whether neither name has a dot.
    fn are_flat(&self) -> bool {
        self.text.path.len() == 1 && self.id.path.len() == 1
    }
}

/// The fields of a line.
#[derive(Debug)]
pub(crate) struct LineFields {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    /// The other members, if they were to be kept.
    pub(crate) record: Option<JsonRecord>,
    /// The unpaired surrogates in the text that became U+FFFD.
    pub(crate) replaced: u64,
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
    let record = keep.then(|| JsonRecord::new(line, &texts, keys));
    Ok(LineFields { text, id, record, replaced })
}

/// The texts, of which the last counts, and the id of a line.
#[derive(Default)]
struct ScannedLine<'a> {
    /// Slices of the line: the values of all members that the text key names, as their JSON.
    texts: OneOrMore<&'a str>,
    id: Option<String>,
}

/// A list that seldom has more than one item; one item takes no memory on the heap.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMore<T> {
    first: Option<T>,
    others: Vec<T>,
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

impl<T: Copy> OneOrMore<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.others.push(item);
        }
    }

    fn last(&self) -> Option<T> {
        self.others.last().copied().or(self.first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.first.into_iter().chain(self.others.iter().copied())
    }
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

/// Returns the values of a key among members. The whole name has precedence over the path; of
/// several objects with one name the last counts.
fn values_of<'a>(members: &Members<'a>, whole: &str, path: &[String]) -> OneOrMore<&'a str> {
    let mut found = OneOrMore::default();
    members.iter().filter(|(name, _)| name == whole).for_each(|(_, value)| found.push(*value));
    if found.first.is_some() || path.len() < 2 {
        return found;
    }
    let Some((_, object)) = members.iter().rfind(|(name, _)| *name == path[0]) else {
        return found;
    };
    match self::members(object) {
        Ok(inner) => values_of(&inner, &path[1..].join("."), &path[1..]),
        Err(_) => found,
    }
}

/// Deserializes a member's name, borrowed where it has no escapes; unpaired surrogates become U+FFFD.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(name))
    }
    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(name).into_owned()))
    }
}

/// The names and values of an object, values as their JSON.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// [`Members`] of which values may be rebuilt.
pub(super) type OwnedMembers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Returns the members of the JSON object `line`; values keep their spelling.
pub(crate) fn members(line: &str) -> serde_json::Result<Members<'_>> {
    struct MembersVisitor;
    impl<'de> Visitor<'de> for MembersVisitor {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key_seed(NameSeed)? {
                members.push((name, map.next_value::<&RawValue>()?.get()));
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let members = deserializer.deserialize_map(MembersVisitor)?;
    deserializer.end()?;
    Ok(members)
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

/// Returns the value of `key`, and the members without it. The whole name has precedence over the path.
///
/// Of several members with one name the last counts, and all are removed. An object that is empty
/// without the value is removed too.
pub(super) fn extract<'a>(
    mut members: OwnedMembers<'a>,
    key: &FieldKey,
) -> (Option<Cow<'a, str>>, OwnedMembers<'a>) {
    let mut found = None;
    members.retain(|(name, value)| {
        let is_key = *name == key.whole;
        if is_key {
            found = Some(value.clone());
        }
        !is_key
    });
    if found.is_some() || key.path.len() < 2 {
        return (found, members);
    }
    let Some(index) = members.iter().rposition(|(name, _)| *name == key.path[0]) else {
        return (None, members);
    };
    let rest_of_key = FieldKey { whole: key.path[1..].join("."), path: key.path[1..].to_vec() };
    let object = members[index].1.clone().into_owned();
    let Ok(inner) = self::members(&object) else { return (None, members) };
    let inner = inner.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    let (found, rest) = extract(inner, &rest_of_key);
    let Some(found) = found else { return (None, members) };
    let mut rebuilt = ObjectBuilder::default();
    for (name, value) in &rest {
        rebuilt.push(name, value);
    }
    let found = Cow::Owned(found.into_owned());
    match rebuilt.into_text() {
        Some(rebuilt) => members[index].1 = Cow::Owned(rebuilt),
        None => drop(members.remove(index)),
    }
    (Some(found), members)
}

/// Stores the id that the JSON `value` is (a string, a number, or null for none) and returns true;
/// returns false for any other value.
pub(super) fn parse_id(value: &str, id: &mut Option<String>) -> bool {
    match value.as_bytes().first() {
        Some(b'"') => *id = unescape(value).map(|(text, _)| text),
        Some(b'-' | b'0'..=b'9') => *id = Some(value.to_owned()),
        Some(b'n') => *id = None,
        _ => return false,
    }
    true
}

/// Decodes the JSON string `value`. Returns it with the number of unpaired surrogates that became
/// U+FFFD, or `None` if the value, which is well-formed JSON, is not a string.
fn unescape(value: &str) -> Option<(String, u64)> {
    let mut rest = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(rest.len());
    let mut replaced = 0;
    while let Some(offset) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..offset]);
        let escape = *rest.as_bytes().get(offset + 1)?;
        rest = &rest[offset + 2..];
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = code_unit(rest)?;
                rest = &rest[4..];
                let pair = rest.strip_prefix("\\u").and_then(code_unit);
                match (unit, pair) {
                    (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                        rest = &rest[6..];
                        let code =
                            0x10000 + ((u32::from(unit) - 0xd800) << 10) + u32::from(low) - 0xdc00;
                        char::from_u32(code)?
                    }
                    _ => char::from_u32(u32::from(unit)).unwrap_or_else(|| {
                        replaced += 1;
                        char::REPLACEMENT_CHARACTER
                    }),
                }
            }
            // a quotation mark, a slash or a backslash is itself
            other => char::from(other),
        });
    }
    text.push_str(rest);
    Some((text, replaced))
}

/// Returns the UTF-16 code unit of the four hexadecimal digits at the start.
fn code_unit(digits: &str) -> Option<u16> {
    u16::from_str_radix(digits.get(..4)?, 16).ok()
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
