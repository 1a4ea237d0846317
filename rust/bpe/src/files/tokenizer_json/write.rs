//! Writing `tokenizer.json`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::TokenId;
use crate::added_tokens::AddedToken;
use crate::files::byte_alphabet;
use crate::tokenizer::Tokenizer;
use crate::vocab::vocabulary::Vocabulary;

/// The file that [`super::read`] makes the same tokenizer of, and Hugging Face's library one with equal
/// ids.
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let inner = &tokenizer.0;
    let model = &inner.model;
    let added = &inner.added.tokens;
    // the ids that are listed and stand for no bytes
    let mut named: BTreeMap<TokenId, &str> =
        inner.odd.iter().map(|(&id, name)| (id, name.as_str())).collect();
    named.retain(|&id, _| model.vocabulary.get(id).is_empty());
    complete(&model.vocabulary, &mut named, added);
    let name_of = |id: TokenId| match model.vocabulary.get(id) {
        [] => named.get(&id).map(|name| (*name).to_owned()),
        bytes => Some(spell(bytes)),
    };
    // other names of ids that have one already
    let others = added.windows(2).filter(|pair| pair[0].id == pair[1].id).flatten();
    let others: BTreeMap<&str, TokenId> = others
        .filter(|token| name_of(token.id).is_some_and(|name| name != token.content))
        .map(|token| (token.content.as_str(), token.id))
        .collect();
    let mut out = String::with_capacity(model.vocabulary.len() as usize * 48);
    out.push_str("{\n  \"version\": \"1.0\",\n");
    let kept = &inner.kept;
    let entry = |out: &mut String, name: &str, value: &Value| {
        out.extend(["  \"", name, "\": ", &pretty(value), ",\n"]);
    };
    entry(&mut out, "truncation", &kept.truncation);
    entry(&mut out, "padding", &kept.padding);
    // of several names for one id the reference knows the last, and here the first is the usual one
    let added =
        added.chunk_by(|one, other| one.id == other.id).flat_map(|names| names.iter().rev());
    let added: Vec<Value> = added.map(|token| serde_json::json!(token)).collect();
    entry(&mut out, "added_tokens", &Value::Array(added));
    entry(&mut out, "normalizer", &kept.normalizer);
    entry(&mut out, "pre_tokenizer", &kept.pre_tokenizer);
    entry(&mut out, "post_processor", &kept.post_processor);
    entry(&mut out, "decoder", &kept.decoder);
    let unknown = model.rules.unknown.and_then(|id| {
        let added = inner.added.by_id(id).map(|token| token.content.clone());
        added.or_else(|| name_of(id))
    });
    out.push_str("  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n");
    let unknown = serde_json::json!(unknown).to_string();
    out.extend(["    \"unk_token\": ", &unknown, ",\n"]);
    out.push_str("    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n");
    let flag = |flag: bool| if flag { "true" } else { "false" };
    out.extend(["    \"fuse_unk\": ", flag(model.rules.fuse_unknown), ",\n"]);
    out.push_str("    \"byte_fallback\": false,\n");
    out.extend(["    \"ignore_merges\": ", flag(model.rules.whole_first), ",\n"]);
    out.push_str("    \"vocab\": {");
    let spelled = Spelled::new(&model.vocabulary);
    let (mut separator, mut digits) = ("\n", itoa::Buffer::new());
    let mut list = |escaped: &str, id: TokenId| {
        out.extend([separator, "      \"", escaped, "\": ", digits.format(id)]);
        separator = ",\n";
    };
    let mut rest = named.iter().peekable();
    for (id, _) in model.vocabulary.iter() {
        while let Some((&id, name)) = rest.next_if(|&(&other, _)| other < id) {
            list(&escaped(name), id);
        }
        list(spelled.get(id), id);
    }
    for (&id, name) in rest {
        list(&escaped(name), id);
    }
    for (name, &id) in &others {
        list(&escaped(name), id);
    }
    out.push_str("\n    },\n    \"merges\": [");
    separator = "\n";
    for merge in &model.merges {
        let (left, right) = (spelled.get(merge.left), spelled.get(merge.right));
        out.extend([separator, "      \"", left, " ", right, "\""]);
        separator = ",\n";
    }
    out.push_str("\n    ]\n  }\n}\n");
    out
}

/// `value` in lines, indented to stand in the file's first level.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    text.replace('\n', "\n  ")
}

fn hex(c: char) -> String {
    format!("{:02x}", u32::from(c))
}

/// The spelling of each token, as it stands in a JSON string.
struct Spelled {
    text: String,
    starts: Vec<usize>,
}

impl Spelled {
    fn new(vocabulary: &Vocabulary) -> Self {
        let bytes: [String; 256] = std::array::from_fn(|byte| escaped(&spell(&[byte as u8])));
        let (mut text, mut starts) = (String::new(), vec![0]);
        for id in 0..vocabulary.len() {
            text.extend(vocabulary.get(id).iter().map(|&byte| &*bytes[usize::from(byte)]));
            starts.push(text.len());
        }
        Self { text, starts }
    }

    fn get(&self, id: TokenId) -> &str {
        &self.text[self.starts[id as usize]..self.starts[id as usize + 1]]
    }
}

fn spell(token: &[u8]) -> String {
    let mut name = String::new();
    byte_alphabet::spell(token, &mut name);
    name
}

/// `text` as it stands in a JSON string, without the quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // no byte is spelled so, but an added token may hold one
            '\0'..='\x1F' => out.extend(["\\u00", &hex(c)]),
            _ => out.push(c),
        }
    }
    out
}

/// Adds to the `named` what makes Hugging Face's library give each added token its id.
///
/// There an added token has the id that the vocabulary lists for it, else the next one after all
/// others, whatever the file says. Where that would be another id they are all listed.
fn complete<'a>(
    vocabulary: &Vocabulary,
    named: &mut BTreeMap<TokenId, &'a str>,
    added: &'a [AddedToken],
) {
    let size = (vocabulary.iter().count() + named.len()) as TokenId;
    let listed = |named: &BTreeMap<TokenId, &str>, id| {
        !vocabulary.get(id).is_empty() || named.contains_key(&id)
    };
    let mut largest: Option<TokenId> = None;
    let one_each = added.windows(2).all(|pair| pair[0].id != pair[1].id);
    let follows = one_each
        && added.iter().all(|token| {
            let next =
                largest.filter(|&largest| largest >= size).map_or(size, |largest| largest + 1);
            let given = if listed(named, token.id) { token.id } else { next };
            largest = largest.max(Some(given));
            given == token.id
        });
    if !follows {
        for token in added {
            if !listed(named, token.id) {
                named.insert(token.id, &token.content);
            }
        }
    }
}
