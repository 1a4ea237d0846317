//! Reads a `tokenizer.json`, Hugging Face's format.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use lslm_runtime::{Error, Result, TokenId};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::added_tokens::AddedToken;
use crate::files::character_model::{CharacterModel, CharacterNames};
use crate::files::spelled_model::SpelledModel;
use crate::files::tekken;
use crate::normalize::Normalizer;
use crate::pretokenize::sequence::Pretokenizer;
use crate::tokenizer::{Parts, Passthrough, Tokenizer};

/// The whole file, with the model's entry unread.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    added_tokens: Option<Vec<AddedToken>>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
}

/// The model's entry, with the two large parts unread: their form depends on the type.
#[derive(Deserialize)]
struct ModelFile<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    vocab: Option<&'a RawValue>,
    #[serde(borrow)]
    merges: Option<&'a RawValue>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    /// Only Unigram models have it.
    unk_id: Option<u64>,
    ignore_merges: Option<bool>,
}

/// Returns the tokenizer in `text`, a `tokenizer.json` or a `tekken.json`; `path` is for errors.
pub(crate) fn read(text: &str, path: &Path) -> Result<Tokenizer> {
    let file: File<'_> = serde_json::from_str(text).map_err(|error| broken(text, path, &error))?;
    let Some(model) = file.model else {
        if tekken::is_tekken(text) {
            return tekken::read(text, path);
        }
        return Err(Error::format(
            path,
            None,
            "not a tokenizer.json: it has no \"model\"; expected Hugging Face's format",
        ));
    };
    build(file, model.get()).map_err(|reason| Error::format(path, None, reason)).and_then(|parts| {
        Tokenizer::from_parts(parts).map_err(|reason| Error::format(path, None, reason))
    })
}

/// Returns a JSON error with its offset in `text`.
fn broken(text: &str, path: &Path, error: &serde_json::Error) -> Error {
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let offset = before.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default().to_owned();
    Error::format(
        path,
        Some(offset.min(text.len()) as u64),
        format!("not a tokenizer.json: {words}"),
    )
}

/// Returns the parts of the tokenizer in `file`, whose model's entry is `model`.
fn build(file: File<'_>, model: &str) -> Result<Parts, String> {
    let in_model = |error: serde_json::Error| format!("the model cannot be read: {error}");
    let model: ModelFile<'_> = serde_json::from_str(model).map_err(in_model)?;
    match model.kind.as_deref() {
        Some("BPE") => {}
        None => refuse_other_models(&model)?,
        Some(other) => return Err(unsupported_model(other)),
    }
    refuse_options(&model)?;
    let (Some(vocab), Some(merges)) = (model.vocab, model.merges) else {
        return Err("the model has no \"vocab\" or no \"merges\"".to_owned());
    };
    let Vocab(vocab) = serde_json::from_str(vocab.get())
        .map_err(|error| format!("the vocabulary cannot be read: {error}"))?;
    let Merges(merges) = serde_json::from_str(merges.get())
        .map_err(|error| format!("the merges cannot be read: {error}"))?;
    let normalizer = Normalizer::from_json(&file.normalizer)?;
    let added = file.added_tokens.unwrap_or_default();
    let passthrough = Passthrough {
        normalizer: file.normalizer,
        pre_tokenizer: file.pre_tokenizer,
        post_processor: file.post_processor,
        decoder: file.decoder,
        truncation: file.truncation,
        padding: file.padding,
    };
    if model.byte_fallback == Some(true) {
        let spelled = CharacterModel { vocab: &vocab, merges: &merges };
        let names = CharacterNames {
            names: vocab.iter().map(|(name, id)| (name.as_ref().into(), *id)).collect(),
            n_joins: 0,
            unknown: model.unk_token.as_deref().map(Into::into),
            fuse_unknown: model.fuse_unk.unwrap_or(false),
            strips_space: false,
        };
        let is_whole_first = model.ignore_merges == Some(true);
        return build_characters(&spelled, names, is_whole_first, normalizer, added, passthrough);
    }
    let pretokenizer = Pretokenizer::from_json(&passthrough.pre_tokenizer)?;
    refuse_decoder(&passthrough.decoder)?;
    let spelled = SpelledModel {
        vocab: &vocab,
        merges: &merges,
        added: &added,
        unknown: model.unk_token.as_deref(),
        fuse_unknown: model.fuse_unk.unwrap_or(false),
        whole_first: model.ignore_merges.unwrap_or(false),
    };
    let (model, unspellable) = spelled.model()?;
    let characters = None;
    Ok(Parts { model, normalizer, pretokenizer, added, unspellable, passthrough, characters })
}

/// Returns the parts of a tokenizer whose vocabulary is one of characters.
fn build_characters(
    spelled: &CharacterModel<'_>,
    mut names: CharacterNames,
    is_whole_first: bool,
    normalizer: Normalizer,
    added: Vec<AddedToken>,
    passthrough: Passthrough,
) -> Result<Parts, String> {
    let (model, unspellable, n_joins) = spelled.model()?;
    names.n_joins = n_joins;
    if is_whole_first && !model.every_token_makes_itself() {
        return Err(
            "ignore_merges with byte_fallback is not supported: some token is not what merging \
                    makes of it"
                .to_owned(),
        );
    }
    if let Some(token) =
        added.iter().find(|token| token.normalized && (token.lstrip || token.rstrip))
    {
        return Err(format!(
            "the added token {:?} strips spaces of normalised text, which with byte_fallback is not \
             supported",
            token.content
        ));
    }
    let (normalizer, replaces_spaces) = normalizer.with_spaces();
    let tokens = model.vocabulary.iter().map(|(_, bytes)| bytes);
    let pretokenizer =
        Pretokenizer::of_characters(&passthrough.pre_tokenizer, !replaces_spaces, tokens)?;
    names.strips_space = strips_space(&passthrough.decoder)?;
    let characters = Some(names);
    Ok(Parts { model, normalizer, pretokenizer, added, unspellable, passthrough, characters })
}

/// Returns whether the decoder of a vocabulary of characters removes one space from the start of a text;
/// an error names a decoder that is not the usual one.
fn strips_space(decoder: &Value) -> Result<bool, String> {
    let parts = decoder.get("decoders").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let replace = json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "});
    let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
    let usual = [replace, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    match parts {
        [parts @ .., last] if parts == usual && *last == strip => Ok(true),
        parts if parts == usual => Ok(false),
        _ => Err(format!(
            "with byte_fallback the decoder {decoder} is not supported: expected Replace, ByteFallback, \
             Fuse and perhaps Strip"
        )),
    }
}

/// Returns the reason why a model that is not BPE is refused.
fn unsupported_model(kind: &str) -> String {
    let used_by = match kind {
        "Unigram" => " (SentencePiece's unigram, as in T5, XLM-R, ALBERT)",
        "WordPiece" => " (as in BERT)",
        _ => "",
    };
    format!("the model is {kind:?}{used_by}, which is not supported: only \"BPE\" is")
}

/// Fails for a model without a type that is not BPE by its entries; old files of BPE have none.
fn refuse_other_models(model: &ModelFile<'_>) -> Result<(), String> {
    let vocab_is_list = model.vocab.is_some_and(|vocab| vocab.get().starts_with('['));
    if vocab_is_list || model.unk_id.is_some() {
        return Err(unsupported_model("Unigram"));
    }
    match (&model.merges, &model.vocab, &model.continuing_subword_prefix) {
        (None, Some(_), Some(_)) => Err(unsupported_model("WordPiece")),
        (None, Some(_), None) => Err(unsupported_model("WordLevel")),
        _ => Ok(()),
    }
}

/// Fails for options that change ids and are not supported; an empty value is allowed.
fn refuse_options(model: &ModelFile<'_>) -> Result<(), String> {
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return Err(format!(
            "the model's \"dropout\" of {dropout} is not supported: ids would vary"
        ));
    }
    for (name, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            return Err(format!("the model's {name:?} of {value:?} is not supported"));
        }
    }
    Ok(())
}

/// Fails for a decoder other than that of byte-level vocabularies, alone or in a sequence.
fn refuse_decoder(decoder: &Value) -> Result<(), String> {
    let kind = |value: &Value| value.get("type").and_then(Value::as_str).map(str::to_owned);
    match kind(decoder).as_deref() {
        None | Some("ByteLevel") => Ok(()),
        Some("Sequence") => {
            let parts = decoder.get("decoders").and_then(Value::as_array);
            let is_known =
                |part: &Value| matches!(kind(part).as_deref(), Some("ByteLevel" | "Fuse"));
            match parts.and_then(|parts| parts.iter().find(|part| !is_known(part))) {
                None => Ok(()),
                Some(part) => Err(format!("the decoder {part} is not supported")),
            }
        }
        Some(other) => {
            Err(format!("the decoder {other:?} is not supported, only \"ByteLevel\" is"))
        }
    }
}

/// The entry "vocab": names and ids in the order of the file.
struct Vocab<'a>(Vec<(Cow<'a, str>, TokenId)>);

impl<'de> Deserialize<'de> for Vocab<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocab<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Name(name), id)) = map.next_entry()? {
                    entries.push((name, id));
                }
                Ok(Vocab(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The entry "merges": strings with a space between the parts, or pairs.
struct Merges<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Merges<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Merges<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges<'de>, A::Error> {
                let mut merges = Vec::new();
                while let Some(OneMerge(left, right)) = list.next_element()? {
                    merges.push((left, right));
                }
                Ok(Merges(merges))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// One merge, in either form.
struct OneMerge<'a>(Cow<'a, str>, Cow<'a, str>);

impl<'de> Deserialize<'de> for OneMerge<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneMerge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Self::Value, E> {
                match text.split_once(' ') {
                    Some((left, right)) => Ok(OneMerge(left.into(), right.into())),
                    None => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text.split_once(' ') {
                    Some((left, right)) => {
                        Ok(OneMerge(left.to_owned().into(), right.to_owned().into()))
                    }
                    None => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
                let count = |n| serde::de::Error::invalid_length(n, &"two parts");
                let Name(left) = pair.next_element()?.ok_or_else(|| count(0))?;
                let Name(right) = pair.next_element()?.ok_or_else(|| count(1))?;
                match pair.next_element::<Name<'_>>()? {
                    None => Ok(OneMerge(left, right)),
                    Some(_) => Err(count(3)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A string, borrowed from the file unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
