//! The members of a line of JSONL, as their bytes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::jsonl::members::{FieldKey, FieldKeys, OneOrMore, members, parse_id};
use crate::jsonl::write::{ObjectBuilder, push_string};

/// A JSON object without the value of its text.
///
/// ```text
/// {"id": 7, "text": "a b", "n": 1.50}      the line
/// {"id": 7, "text": , "n": 1.50}           `rest`; `cuts` = [17]
/// ```
#[derive(Clone, Debug)]
pub(crate) struct JsonRecord {
    rest: Box<str>,
    /// The offsets in `rest` at which the text belongs. Readers disagree which of two members with
    /// one name counts, so a cleaned text replaces the values of all of them.
    cuts: OneOrMore<usize>,
    keys: Arc<FieldKeys>,
}

impl JsonRecord {
    /// Returns the record of `line`; `texts` are slices of it, in order.
    pub(super) fn new(line: &str, texts: &OneOrMore<&str>, keys: &Arc<FieldKeys>) -> Self {
        let mut rest =
            String::with_capacity(line.len() - texts.iter().map(str::len).sum::<usize>());
        let mut cuts = OneOrMore::default();
        let mut copied = 0;
        for text in texts.iter() {
            let start = text.as_ptr() as usize - line.as_ptr() as usize;
            rest.push_str(&line[copied..start]);
            cuts.push(rest.len());
            copied = start + text.len();
        }
        rest.push_str(&line[copied..]);
        Self { rest: rest.into(), cuts, keys: Arc::clone(keys) }
    }

    /// Appends the line with `text`, without a line break.
    pub(crate) fn write(&self, text: &str, out: &mut String) {
        self.write_with(out, |out| push_string(out, text));
    }

    fn write_with(&self, out: &mut String, text: impl Fn(&mut String)) {
        let mut copied = 0;
        for cut in self.cuts.iter() {
            out.push_str(&self.rest[copied..cut]);
            text(out);
            copied = cut;
        }
        out.push_str(&self.rest[copied..]);
    }

    /// Returns the members other than text and id as a JSON object, `None` if there are none. Of an
    /// object that holds the text the other members are left. With `keep_typed`, an id that is not
    /// a string is left too.
    pub(crate) fn others(&self, keep_typed: bool) -> Option<String> {
        let mut line = String::new();
        self.write_with(&mut line, |out| out.push_str("null"));
        // the line was parsed before
        let parsed = members(&line).unwrap_or_default();
        let all: OwnedMembers =
            parsed.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
        let (_, mut others) = extract(all, &self.keys.text);
        let is_id = |value: &str| match value.as_bytes().first() {
            Some(b'"') => true,
            _ => !keep_typed && parse_id(value, &mut None),
        };
        if others.iter().any(|(name, _)| *name == self.keys.id.whole) {
            others.retain(|(name, value)| *name != self.keys.id.whole || !is_id(value));
        } else {
            let (value, rest) = extract(others.clone(), &self.keys.id);
            if value.is_some_and(|value| is_id(&value)) {
                others = rest;
            }
        }
        let mut object = ObjectBuilder::default();
        for (name, value) in &others {
            object.push(name, value);
        }
        object.into_text()
    }
}

/// Members of which values may be rebuilt.
type OwnedMembers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

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
