//! One line of JSONL to a document.
//!
//! serde_json reads the line once: the text straight into its string, every other value only to
//! check it and to find its end. On 40 MB of articles that was 2.3 GB/s a core, against 1.7 for
//! sonic-rs on baseline x86-64, which also overflows the stack on deeply nested lists.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::options::Utf8Policy;
use crate::statistics::BadReason;

mod write;

pub(crate) use write::{Metadata, push_string};

/// The names of the fields that are not metadata.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    text: Key,
    id: Key,
}

#[derive(Clone, Debug)]
struct Key {
    whole: String,
    /// `whole` cut at its dots; one part when it has none.
    path: Vec<String>,
}

impl Key {
    fn new(key: &str) -> Self {
        Self { whole: key.to_owned(), path: key.split('.').map(str::to_owned).collect() }
    }
}

impl Keys {
    pub(crate) fn new(text: &str, id: &str) -> Self {
        Self { text: Key::new(text), id: Key::new(id) }
    }

    fn are_flat(&self) -> bool {
        self.text.path.len() == 1 && self.id.path.len() == 1
    }
}

/// What a line holds.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    pub(crate) metadata: Option<Box<RawValue>>,
    /// Unpaired surrogates in the text that became U+FFFD.
    pub(crate) replaced: u64,
}

/// Why a line is no document, and the details for people.
pub(crate) type Refusal = (BadReason, String);

/// Reads the object that `line` is.
pub(crate) fn record(line: &str, keys: &Keys, policy: Utf8Policy) -> Result<Record, Refusal> {
    if keys.are_flat()
        && let Some(record) = flat_record(line, keys)
    {
        return Ok(record);
    }
    // everything that is not an ordinary document, and keys that reach into objects
    let fields = fields(line).map_err(|error| refusal(line, &error))?;
    careful_record(fields, keys, policy)
}

/// The fast path; `None` for all that is out of the ordinary.
fn flat_record(line: &str, keys: &Keys) -> Option<Record> {
    struct Object<'k>(&'k Keys);
    impl<'de> Visitor<'de> for Object<'_> {
        type Value = Option<Record>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut text, mut id, mut metadata) = (None, None, Metadata::default());
            while let Some(name) = map.next_key_seed(Name)? {
                if name == self.0.text.whole {
                    let Some(value) = map.next_value_seed(Text)? else {
                        // the rest is drained, so that the error seen is about the JSON, if any
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(None);
                    };
                    text = Some(value);
                } else {
                    let value = map.next_value::<&RawValue>()?;
                    if name == self.0.id.whole && id_of(value.get(), &mut id) {
                        continue;
                    }
                    metadata.push(&name, value.get());
                }
            }
            Ok(text.map(|text| Record { text, id, metadata: metadata.finish(), replaced: 0 }))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let record = deserializer.deserialize_map(Object(keys)).ok()?;
    deserializer.end().ok()?;
    record
}

/// A member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
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

/// A member's name of which unpaired surrogates may be a part.
struct AnyName;

impl<'de> DeserializeSeed<'de> for AnyName {
    type Value = Cow<'de, str>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for AnyName {
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

/// The text if it is a string, `None` if it is another thing.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// The same, where values may be put together anew.
type Members<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The members of the object that `line` is, their values as they stand there.
pub(crate) fn fields(line: &str) -> serde_json::Result<Fields<'_>> {
    struct Object;
    impl<'de> Visitor<'de> for Object {
        type Value = Fields<'de>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(name) = map.next_key_seed(AnyName)? {
                fields.push((name, map.next_value::<&RawValue>()?.get()));
            }
            Ok(fields)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let fields = deserializer.deserialize_map(Object)?;
    deserializer.end()?;
    Ok(fields)
}

fn refusal(line: &str, error: &serde_json::Error) -> Refusal {
    if !line.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(line).is_ok() {
        return (BadReason::NotAnObject, "the line is JSON, but not an object".into());
    }
    // serde_json says "at line 1 column 7"; the line is ours, and the place is a byte
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    (BadReason::MalformedJson, format!("{what}, {} bytes into the line", error.column()))
}

fn careful_record(fields: Fields<'_>, keys: &Keys, policy: Utf8Policy) -> Result<Record, Refusal> {
    let fields: Members =
        fields.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    let (text, mut fields) = take(fields, &keys.text);
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
    if fields.iter().any(|(name, _)| *name == keys.id.whole) {
        fields.retain(|(name, value)| *name != keys.id.whole || !id_of(value, &mut id));
    } else {
        let (value, rest) = take(fields.clone(), &keys.id);
        if value.is_some_and(|value| id_of(&value, &mut id)) {
            fields = rest;
        }
    }
    let mut metadata = Metadata::default();
    for (name, value) in &fields {
        metadata.push(name, value);
    }
    Ok(Record { text, id, metadata: metadata.finish(), replaced })
}

/// Takes the value of `key` out of the fields, by its whole name first, then by its path.
///
/// Of several members with one name the last counts, and all are taken out.
fn take<'a>(mut fields: Members<'a>, key: &Key) -> (Option<Cow<'a, str>>, Members<'a>) {
    let mut found = None;
    fields.retain(|(name, value)| {
        let hit = *name == key.whole;
        if hit {
            found = Some(value.clone());
        }
        !hit
    });
    if found.is_some() || key.path.len() < 2 {
        return (found, fields);
    }
    let Some(place) = fields.iter().rposition(|(name, _)| *name == key.path[0]) else {
        return (None, fields);
    };
    let below = Key { whole: key.path[1..].join("."), path: key.path[1..].to_vec() };
    let object = fields[place].1.clone().into_owned();
    let Ok(members) = self::fields(&object) else { return (None, fields) };
    let members = members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    let (found, rest) = take(members, &below);
    let Some(found) = found else { return (None, fields) };
    let mut remains = Metadata::default();
    for (name, value) in &rest {
        remains.push(name, value);
    }
    let found = Cow::Owned(found.into_owned());
    match remains.into_text() {
        Some(remains) => fields[place].1 = Cow::Owned(remains),
        None => drop(fields.remove(place)),
    }
    (Some(found), fields)
}

/// Whether `value`, as it stands in the line, is an id (a string, a number, or null for none).
fn id_of(value: &str, id: &mut Option<String>) -> bool {
    match value.as_bytes().first() {
        Some(b'"') => *id = unescape(value).map(|(text, _)| text),
        Some(b'-' | b'0'..=b'9') => *id = Some(value.to_owned()),
        Some(b'n') => *id = None,
        _ => return false,
    }
    true
}

/// The string that the JSON string `value` stands for and the number of unpaired surrogates in it,
/// which become U+FFFD; `None` if the value, known to be well-formed, is no string.
fn unescape(value: &str) -> Option<(String, u64)> {
    let mut rest = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(rest.len());
    let mut replaced = 0;
    while let Some(place) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..place]);
        let escape = *rest.as_bytes().get(place + 1)?;
        rest = &rest[place + 2..];
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
            // a quotation mark, a slash or a backslash stands for itself
            other => char::from(other),
        });
    }
    text.push_str(rest);
    Some((text, replaced))
}

fn code_unit(digits: &str) -> Option<u16> {
    u16::from_str_radix(digits.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str, text: &str, id: &str) -> Result<Record, Refusal> {
        record(line, &Keys::new(text, id), Utf8Policy::Replace)
    }

    fn metadata(record: &Record) -> &str {
        record.metadata.as_ref().map_or("", |raw| raw.get())
    }

    #[test]
    fn fields_keep_their_order_and_spelling() {
        let line = r#" {"a" : 1.50e3 ,"text":"x\n\"y\" \u00e9\ud83d\ude00","id":"7","b\"":[1, {}],"c":null} "#;
        let record = read(line, "text", "id").unwrap();
        assert_eq!(record.text, "x\n\"y\" é😀");
        assert_eq!(record.id.as_deref(), Some("7"));
        assert_eq!(metadata(&record), r#"{"a":1.50e3,"b\"":[1, {}],"c":null}"#);
        assert!(read(r#"{"text":""}"#, "text", "id").unwrap().metadata.is_none());
    }

    #[test]
    fn keys_reach_into_objects() {
        let line = r#"{"data":{"text":"t","n":1},"meta":{"id":12}}"#;
        let record = read(line, "data.text", "meta.id").unwrap();
        assert_eq!((record.text.as_str(), record.id.as_deref()), ("t", Some("12")));
        assert_eq!(metadata(&record), r#"{"data":{"n":1}}"#);
        // a field of the whole name wins
        let record = read(r#"{"a":{"b":"in"},"a.b":"out"}"#, "a.b", "id").unwrap();
        assert_eq!((record.text.as_str(), metadata(&record)), ("out", r#"{"a":{"b":"in"}}"#));
        let (reason, _) = read(r#"{"a":"b"}"#, "a.b", "id").unwrap_err();
        assert_eq!(reason, BadReason::MissingText);
    }

    #[test]
    fn the_last_of_several_counts() {
        for keys in [("text", "id"), ("text", "a.id")] {
            let record = read(r#"{"text":"1","text":"2"}"#, keys.0, keys.1).unwrap();
            assert_eq!((record.text.as_str(), metadata(&record)), ("2", ""));
        }
    }

    #[test]
    fn ids_that_are_no_ids_stay_in_the_metadata() {
        let record = read(r#"{"text":"t","id":[1]}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record)), (None, r#"{"id":[1]}"#));
        let record = read(r#"{"text":"t","id":-3}"#, "text", "id").unwrap();
        assert_eq!((record.id.as_deref(), metadata(&record)), (Some("-3"), ""));
    }

    #[test]
    fn bad_lines_say_why() {
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
        let refused = super::record(line, &Keys::new("text", "id"), Utf8Policy::Refuse);
        assert_eq!(refused.unwrap_err().0, BadReason::IllFormedUtf8);
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!("{{\"text\":\"t\",\"m\":{deep}}}");
        assert_eq!(metadata(&read(&line, "text", "id").unwrap()).len(), deep.len() + 6);
        let line = format!("{{\"text\":{deep}}}");
        assert_eq!(read(&line, "text", "id").unwrap_err().0, BadReason::TextNotString);
    }

    proptest! {
        /// The fast path, the careful one and serde_json's own values agree.
        #[test]
        fn both_paths_equal_serde_json(text: String, id: String, other: String, name: String) {
            prop_assume!(name != "text" && name != "id");
            let value = serde_json::json!({"text": text, (name.clone()): [other.clone()], "id": id});
            let line = value.to_string();
            let fast = read(&line, "text", "id").unwrap();
            let slow = careful_record(
                fields(&line).unwrap(), &Keys::new("text", "id"), Utf8Policy::Refuse).unwrap();
            for record in [fast, slow] {
                prop_assert_eq!(&record.text, &text);
                prop_assert_eq!(record.id.as_deref(), Some(id.as_str()));
                let carried: serde_json::Value = serde_json::from_str(metadata(&record)).unwrap();
                prop_assert_eq!(carried, serde_json::json!({(name.clone()): [other.clone()]}));
            }
        }
    }
}
