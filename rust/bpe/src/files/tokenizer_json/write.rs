//! Writes a `tokenizer.json`, so that Hugging Face's library loads it too.

use std::collections::{BTreeMap, HashMap};

use lslm_runtime::TokenId;
use serde_json::{Value, json};

use crate::added_tokens::AddedToken;
use crate::encode::model::Model;
use crate::files::byte_alphabet;
use crate::files::character_model::CharacterNames;
use crate::tokenizer::Tokenizer;
use crate::vocab::symbol::Merge;
use crate::vocab::vocabulary::Vocabulary;

/// Returns the file from which [`super::read`] loads the same tokenizer, and Hugging Face's library
/// one with equal ids.
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let inner = &tokenizer.0;
    let (model, passthrough) = (&inner.model, &inner.passthrough);
    let mut out = String::with_capacity(model.vocabulary.len() as usize * 48);
    out.push_str("{\n  \"version\": \"1.0\",\n");
    let entry = |out: &mut String, name: &str, value: &Value| {
        out.extend(["  \"", name, "\": ", &pretty(value), ",\n"]);
    };
    entry(&mut out, "truncation", &passthrough.truncation);
    entry(&mut out, "padding", &passthrough.padding);
    entry(&mut out, "added_tokens", &added_tokens(&inner.added.tokens));
    entry(&mut out, "normalizer", &passthrough.normalizer);
    entry(&mut out, "pre_tokenizer", &passthrough.pre_tokenizer);
    entry(&mut out, "post_processor", &passthrough.post_processor);
    entry(&mut out, "decoder", &passthrough.decoder);
    if let Some(names) = &inner.characters {
        write_characters(model, names, &mut out);
        out.push_str("}\n");
        return out;
    }
    let names = Names::new(tokenizer);
    let unknown = model.rules.unknown.and_then(|id| {
        let added = inner.added.by_id(id).map(|token| token.content.clone());
        added.or_else(|| names.get(&model.vocabulary, id))
    });
    write_model(model, &names, unknown.as_deref(), &mut out);
    out.push_str("}\n");
    out
}

/// Returns the entry "added_tokens".
fn added_tokens(added: &[AddedToken]) -> Value {
    // Of several names for one id Hugging Face's library decodes to the last, this one to the first.
    let added =
        added.chunk_by(|one, other| one.id == other.id).flat_map(|names| names.iter().rev());
    Value::Array(added.map(|token| json!(token)).collect())
}

/// Appends the entry "model" of a vocabulary of characters, as its file had it.
fn write_characters(model: &Model, names: &CharacterNames, out: &mut String) {
    let CharacterNames { names, n_joins, unknown, fuse_unknown, .. } = names;
    let mut by_id = HashMap::new();
    let mut vocab = serde_json::Map::new();
    for (name, id) in names {
        by_id.insert(*id, &**name);
        vocab.insert((**name).to_owned(), (*id).into());
    }
    let name = |id| by_id.get(&id).copied().unwrap_or_default();
    let merge = |merge: &Merge| json!([name(merge.left), name(merge.right)]);
    let merges: Vec<Value> = model.merges[*n_joins..].iter().map(merge).collect();
    let entry = json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": fuse_unknown,
        "byte_fallback": true,
        "ignore_merges": false,
        "vocab": vocab,
        "merges": merges,
    });
    out.extend(["  \"model\": ", &entry.to_string(), "\n"]);
}

/// Appends the entry "model".
fn write_model(model: &Model, names: &Names<'_>, unknown: Option<&str>, out: &mut String) {
    out.push_str("  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n");
    out.extend(["    \"unk_token\": ", &json!(unknown).to_string(), ",\n"]);
    out.push_str("    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n");
    let flag = |flag: bool| if flag { "true" } else { "false" };
    out.extend(["    \"fuse_unk\": ", flag(model.rules.fuse_unknown), ",\n"]);
    out.push_str("    \"byte_fallback\": false,\n");
    out.extend(["    \"ignore_merges\": ", flag(model.rules.whole_first), ",\n"]);
    out.push_str("    \"vocab\": {");
    let spelled = Spelled::new(&model.vocabulary);
    let (mut separator, mut digits) = ("\n", itoa::Buffer::new());
    let mut write_token = |escaped: &str, id: TokenId| {
        out.extend([separator, "      \"", escaped, "\": ", digits.format(id)]);
        separator = ",\n";
    };
    let mut unspelled = names.listed.iter().peekable();
    for (id, _) in model.vocabulary.iter() {
        while let Some((&id, name)) = unspelled.next_if(|&(&other, _)| other < id) {
            write_token(&escaped(name), id);
        }
        write_token(spelled.get(id), id);
    }
    for (&id, name) in unspelled {
        write_token(&escaped(name), id);
    }
    for (name, &id) in &names.further {
        write_token(&escaped(name), id);
    }
    out.push_str("\n    },\n    \"merges\": [");
    separator = "\n";
    for merge in &model.merges {
        let (left, right) = (spelled.get(merge.left), spelled.get(merge.right));
        out.extend([separator, "      \"", left, " ", right, "\""]);
        separator = ",\n";
    }
    out.push_str("\n    ]\n  }\n");
}

/// The entries of "vocab" that are not spelled in bytes.
struct Names<'a> {
    /// By id without bytes: its name.
    listed: BTreeMap<TokenId, &'a str>,
    /// Further names of ids that have one already.
    further: BTreeMap<&'a str, TokenId>,
}

impl<'a> Names<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        let inner = &tokenizer.0;
        let (vocabulary, added) = (&inner.model.vocabulary, &inner.added.tokens);
        let mut listed: BTreeMap<TokenId, &str> =
            inner.unspellable.iter().map(|(&id, name)| (id, name.as_str())).collect();
        listed.retain(|&id, _| vocabulary.get(id).is_empty());
        list_added(vocabulary, &mut listed, added);
        let mut names = Self { listed, further: BTreeMap::new() };
        let shared = added.windows(2).filter(|pair| pair[0].id == pair[1].id).flatten();
        names.further = shared
            .filter(|token| {
                names.get(vocabulary, token.id).is_some_and(|name| name != token.content)
            })
            .map(|token| (token.content.as_str(), token.id))
            .collect();
        names
    }

    /// Returns the name under which `id` is listed.
    fn get(&self, vocabulary: &Vocabulary, id: TokenId) -> Option<String> {
        match vocabulary.get(id) {
            [] => self.listed.get(&id).map(|name| (*name).to_owned()),
            bytes => Some(spell(bytes)),
        }
    }
}

/// Returns `value` in lines, indented for the file's first level.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    text.replace('\n', "\n  ")
}

/// Returns the two hexadecimal digits of a control character.
fn hex(c: char) -> String {
    format!("{:02x}", u32::from(c))
}

/// The spelling of each token, escaped for a JSON string.
struct Spelled {
    text: String,
    /// By id: the offset of its spelling; one entry more than there are ids.
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

/// Returns the spelling of `token` in the byte alphabet.
fn spell(token: &[u8]) -> String {
    let mut name = String::new();
    byte_alphabet::spell(token, &mut name);
    name
}

/// Returns `text` escaped for a JSON string, without the quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // The spelling of a byte is never one of these, but an added token may contain one.
            '\0'..='\x1F' => out.extend(["\\u00", &hex(c)]),
            _ => out.push(c),
        }
    }
    out
}

/// Adds to `listed` the added tokens to which Hugging Face's library would give another id.
///
/// There an added token has the id that the vocabulary lists for it, else the next one after all
/// others, whatever its own entry says. Where that would be another id for one, all are listed.
fn list_added<'a>(
    vocabulary: &Vocabulary,
    listed: &mut BTreeMap<TokenId, &'a str>,
    added: &'a [AddedToken],
) {
    let size = (vocabulary.iter().count() + listed.len()) as TokenId;
    let has_entry = |listed: &BTreeMap<TokenId, &str>, id| {
        !vocabulary.get(id).is_empty() || listed.contains_key(&id)
    };
    let mut largest: Option<TokenId> = None;
    let are_distinct = added.windows(2).all(|pair| pair[0].id != pair[1].id);
    let are_consecutive = are_distinct
        && added.iter().all(|token| {
            let next =
                largest.filter(|&largest| largest >= size).map_or(size, |largest| largest + 1);
            let given = if has_entry(listed, token.id) { token.id } else { next };
            largest = largest.max(Some(given));
            given == token.id
        });
    if !are_consecutive {
        for token in added {
            if !has_entry(listed, token.id) {
                listed.insert(token.id, &token.content);
            }
        }
    }
}
