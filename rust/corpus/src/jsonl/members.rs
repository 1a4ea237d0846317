//! Finds the members of a JSON object without decoding their values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

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
    pub(super) path: Vec<String>,
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
    pub(super) fn are_flat(&self) -> bool {
        self.text.path.len() == 1 && self.id.path.len() == 1
    }
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

    pub(super) fn last(&self) -> Option<T> {
        self.others.last().copied().or(self.first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.first.into_iter().chain(self.others.iter().copied())
    }
}

/// Deserializes a member's name, borrowed where it has no escapes; unpaired surrogates become U+FFFD.
pub(super) struct NameSeed;

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

/// Returns the values of a key among members. The whole name has precedence over the path; of
/// several objects with one name the last counts.
pub(super) fn values_of<'a>(
    members: &Members<'a>,
    whole: &str,
    path: &[String],
) -> OneOrMore<&'a str> {
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
pub(super) fn unescape(value: &str) -> Option<(String, u64)> {
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
