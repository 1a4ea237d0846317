//! Writing `tokenizer.json`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::TokenId;
use crate::added::AddedToken;
use crate::bytes;
use crate::tokenizer::Tokenizer;

/// The file that [`super::read`] makes the same tokenizer of, and Hugging Face's library one with equal
/// ids.
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let inner = &tokenizer.0;
    let model = &inner.model;
    let odd = inner.odd.iter().map(|(&id, name)| (id, Listed::Text(name)));
    let tokens = model.vocabulary.iter().map(|(id, token)| (id, Listed::Bytes(token)));
    let mut vocab: BTreeMap<TokenId, Listed> = odd.chain(tokens).collect();
    let added = &inner.added.tokens;
    complete(&mut vocab, added);
    // other names of ids that have one already
    let others = added.windows(2).filter(|pair| pair[0].id == pair[1].id).flatten();
    let others: BTreeMap<&str, TokenId> = others
        .filter(|token| vocab.get(&token.id).is_some_and(|name| name.name() != token.content))
        .map(|token| (token.content.as_str(), token.id))
        .collect();
    let mut out = String::with_capacity(vocab.len() * 48);
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
        added.or_else(|| vocab.get(&id).map(Listed::name))
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
    let spelled = spelled();
    let mut separator = "\n";
    let others = others.iter().map(|(name, id)| (Listed::Text(name), id));
    for (name, id) in vocab.iter().map(|(id, name)| (*name, id)).chain(others) {
        out.push_str(separator);
        out.push_str("      \"");
        match name {
            Listed::Bytes(token) => {
                out.extend(token.iter().map(|&byte| &*spelled[usize::from(byte)]));
            }
            Listed::Text(name) => escape(name, &mut out),
        }
        out.push_str("\": ");
        out.push_str(&id.to_string());
        separator = ",\n";
    }
    out.push_str("\n    },\n    \"merges\": [");
    separator = "\n";
    for merge in &model.merges {
        let [left, right] = [merge.left, merge.right].map(|id| model.vocabulary.get(id));
        out.push_str(separator);
        out.push_str("      \"");
        out.extend(left.iter().map(|&byte| &*spelled[usize::from(byte)]));
        out.push(' ');
        out.extend(right.iter().map(|&byte| &*spelled[usize::from(byte)]));
        out.push('"');
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

/// What a vocabulary lists.
#[derive(Clone, Copy)]
enum Listed<'a> {
    /// a token, which is listed by the spelling of its bytes
    Bytes(&'a [u8]),
    Text(&'a str),
}

impl Listed<'_> {
    fn name(&self) -> String {
        match self {
            Self::Bytes(token) => {
                let mut name = String::new();
                bytes::spell(token, &mut name);
                name
            }
            Self::Text(name) => (*name).to_owned(),
        }
    }
}

/// The spelling of each byte, as it stands in a JSON string.
fn spelled() -> [String; 256] {
    std::array::from_fn(|byte| {
        let (mut name, mut escaped) = (String::new(), String::new());
        bytes::spell(&[byte as u8], &mut name);
        escape(&name, &mut escaped);
        escaped
    })
}

/// Appends `text` as it stands in a JSON string, without the quotes.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // no byte is spelled so, but an added token may hold one
            '\0'..='\x1F' => out.extend(["\\u00", &hex(c)]),
            _ => out.push(c),
        }
    }
}

/// Adds to `vocab` what makes Hugging Face's library give each added token its id.
///
/// There an added token has the id that the vocabulary lists for it, else the next one after all
/// others, whatever the file says. Where that would be another id they are all listed.
fn complete<'a>(vocab: &mut BTreeMap<TokenId, Listed<'a>>, added: &'a [AddedToken]) {
    let mut largest: Option<TokenId> = None;
    let one_each = added.windows(2).all(|pair| pair[0].id != pair[1].id);
    let follows = one_each
        && added.iter().all(|token| {
            let size = vocab.len() as TokenId;
            let next =
                largest.filter(|&largest| largest >= size).map_or(size, |largest| largest + 1);
            let given = if vocab.contains_key(&token.id) { token.id } else { next };
            largest = largest.max(Some(given));
            given == token.id
        });
    if !follows {
        for token in added {
            vocab.entry(token.id).or_insert(Listed::Text(&token.content));
        }
    }
}
