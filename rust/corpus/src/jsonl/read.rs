//! Parses one line of JSONL into the fields of a document.
//!
//! serde_json reads the line once: it decodes the text into a string, and checks every other value
//! without decoding it. On 40 MB of articles that was 2.3 GB/s per core, against 1.7 GB/s for
//! sonic-rs on baseline x86-64, which also overflows the stack on deeply nested lists.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jsonl::write::ObjectBuilder;
use crate::options::Utf8Policy;
use crate::statistics::BadReason;

/// The names of the fields for text and id.
#[derive(Clone, Debug)]
pub(crate) struct FieldKeys {
    text: FieldKey,
    id: FieldKey,
}

/// The name of a field, which may be inside objects.
#[derive(Clone, Debug)]
struct FieldKey {
    whole: String,
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
    pub(crate) metadata: Option<Box<RawValue>>,
    /// The unpaired surrogates in the text that became U+FFFD.
    pub(crate) replaced: u64,
}

/// The reason of a bad line, and the detail of [`BadDocument`](crate::BadDocument).
pub(crate) type Refusal = (BadReason, String);

/// Returns the fields of the JSON object `line`.
///
/// Of several fields with one name the last counts. An id that is neither a string, a number nor
/// null stays in the metadata.
pub(crate) fn parse_line(
    line: &str,
    keys: &FieldKeys,
    policy: Utf8Policy,
) -> Result<LineFields, Refusal> {
    if keys.are_flat()
        && let Some(fields) = parse_flat(line, keys)
    {
        return Ok(fields);
    }
    // bad documents, unpaired surrogates, and keys with dots
    let members = members(line).map_err(|error| refusal(line, &error))?;
    fields_of(members, keys, policy)
}

/// The fast path, for keys without dots. Returns `None` for a line that needs the slow path.
fn parse_flat(line: &str, keys: &FieldKeys) -> Option<LineFields> {
    struct FlatVisitor<'k>(&'k FieldKeys);
    impl<'de> Visitor<'de> for FlatVisitor<'_> {
        type Value = Option<LineFields>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut text, mut id, mut metadata) = (None, None, ObjectBuilder::default());
            while let Some(name) = map.next_key_seed(NameSeed)? {
                if name == self.0.text.whole {
                    text = Some(map.next_value::<String>()?);
                } else {
                    let value = map.next_value::<&RawValue>()?;
                    if name == self.0.id.whole && parse_id(value.get(), &mut id) {
                        continue;
                    }
                    metadata.push(&name, value.get());
                }
            }
            Ok(text.map(|text| LineFields { text, id, metadata: metadata.finish(), replaced: 0 }))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let fields = deserializer.deserialize_map(FlatVisitor(keys)).ok()?;
    deserializer.end().ok()?;
    fields
}

/// Deserializes a member's name, borrowed where it has no escapes.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Deserializes a member's name; unpaired surrogates become U+FFFD.
struct LossyNameSeed;

impl<'de> DeserializeSeed<'de> for LossyNameSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for LossyNameSeed {
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
type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// [`Members`] of which values may be rebuilt.
type OwnedMembers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

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
            while let Some(name) = map.next_key_seed(LossyNameSeed)? {
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

/// The slow path: finds text and id among the members, also inside objects.
fn fields_of(
    members: Members<'_>,
    keys: &FieldKeys,
    policy: Utf8Policy,
) -> Result<LineFields, Refusal> {
    let members: OwnedMembers =
        members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    let (text, mut members) = extract(members, &keys.text);
    let Some(text) = text else {
        let reason = format!("there is no field {:?}; name another text key", keys.text.whole);
        return Err((BadReason::MissingText, reason));
    };
    let Some((text, replaced)) = unescape(&text) else {
        return Err(if text == "null" {
            (BadReason::NullText, format!("the field {:?} is null", keys.text.whole))
        } else {
            (BadReason::TextNotString, format!("the field {:?} is not a string", keys.text.whole))
        });
    };
    if replaced > 0 && policy == Utf8Policy::Refuse {
        let reason = "the text has an unpaired surrogate".to_owned();
        return Err((BadReason::IllFormedUtf8, reason));
    }
    let mut id = None;
    if members.iter().any(|(name, _)| *name == keys.id.whole) {
        members.retain(|(name, value)| *name != keys.id.whole || !parse_id(value, &mut id));
    } else {
        let (value, rest) = extract(members.clone(), &keys.id);
        if value.is_some_and(|value| parse_id(&value, &mut id)) {
            members = rest;
        }
    }
    let mut metadata = ObjectBuilder::default();
    for (name, value) in &members {
        metadata.push(name, value);
    }
    Ok(LineFields { text, id, metadata: metadata.finish(), replaced })
}

/// Returns the value of `key`, and the members without it. The whole name has precedence over the path.
///
/// Of several members with one name the last counts, and all are removed. An object that is empty
/// without the value is removed too.
fn extract<'a>(
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
fn parse_id(value: &str, id: &mut Option<String>) -> bool {
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
        parse_line(line, &FieldKeys::new(text, id), Utf8Policy::Replace)
    }

    fn metadata(record: &LineFields) -> &str {
        record.metadata.as_ref().map_or("", |raw| raw.get())
    }

    #[test]
    fn metadata_keeps_its_order_and_spelling() {
        let line = r#" {"a" : 1.50e3 ,"text":"x\n\"y\" \u00e9\ud83d\ude00","id":"7","b\"":[1, {}],"c":null} "#;
        let record = read(line, "text", "id").unwrap();
        assert_eq!(record.text, "x\n\"y\" é😀");
        assert_eq!(record.id.as_deref(), Some("7"));
        assert_eq!(metadata(&record), r#"{"a":1.50e3,"b\"":[1, {}],"c":null}"#);
        assert!(read(r#"{"text":""}"#, "text", "id").unwrap().metadata.is_none());
    }

    #[test]
    fn a_key_with_dots_names_a_field_of_an_object() {
        let line = r#"{"data":{"text":"t","n":1},"meta":{"id":12}}"#;
        let record = read(line, "data.text", "meta.id").unwrap();
        assert_eq!((record.text.as_str(), record.id.as_deref()), ("t", Some("12")));
        assert_eq!(metadata(&record), r#"{"data":{"n":1}}"#);
        // a field of the whole name has precedence
        let record = read(r#"{"a":{"b":"in"},"a.b":"out"}"#, "a.b", "id").unwrap();
        assert_eq!((record.text.as_str(), metadata(&record)), ("out", r#"{"a":{"b":"in"}}"#));
        let (reason, _) = read(r#"{"a":"b"}"#, "a.b", "id").unwrap_err();
        assert_eq!(reason, BadReason::MissingText);
    }

    #[test]
    fn of_several_fields_with_one_name_the_last_counts() {
        for keys in [("text", "id"), ("text", "a.id")] {
            let record = read(r#"{"text":"1","text":"2"}"#, keys.0, keys.1).unwrap();
            assert_eq!((record.text.as_str(), metadata(&record)), ("2", ""));
        }
    }

    #[test]
    fn an_id_that_is_a_list_stays_in_the_metadata() {
        let record = read(r#"{"text":"t","id":[1]}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record)), (None, r#"{"id":[1]}"#));
        let record = read(r#"{"text":"t","id":-3}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record)), (Some("-3"), ""));
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
        let refused = parse_line(line, &FieldKeys::new("text", "id"), Utf8Policy::Refuse);
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
        fn the_fast_and_the_slow_path_equal_serde_json(
            text: String,
            id: String,
            other: String,
            name: String,
        ) {
            prop_assume!(name != "text" && name != "id");
            let value =
                serde_json::json!({"text": text, (name.clone()): [other.clone()], "id": id});
            let line = value.to_string();
            let fast = read(&line, "text", "id").unwrap();
            let keys = FieldKeys::new("text", "id");
            let slow = fields_of(members(&line).unwrap(), &keys, Utf8Policy::Refuse).unwrap();
            for record in [fast, slow] {
                prop_assert_eq!(&record.text, &text);
                prop_assert_eq!(record.id.as_deref(), Some(id.as_str()));
                let carried: serde_json::Value = serde_json::from_str(metadata(&record)).unwrap();
                prop_assert_eq!(carried, serde_json::json!({(name.clone()): [other.clone()]}));
            }
        }
    }
}
