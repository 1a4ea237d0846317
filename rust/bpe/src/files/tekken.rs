//! Reads a `tekken.json`, Mistral's format: ranks in base64, and special tokens before them.
//!
//! ```text
//! id of a special token ← its rank
//! id of a token         ← its rank + the number of special tokens
//! ```
//!
//! Only the first `default_vocab_size` ids exist, though the file lists more tokens. Ranks of special tokens
//! that the file does not name are `<SPECIAL_n>`.

use std::path::Path;

use lslm_runtime::{Error, Result, TokenId};
use serde::Deserialize;

use crate::encode::model::Model;
use crate::files::tiktoken::decode_base64;
use crate::pretokenize::Pattern;
use crate::tokenizer::Tokenizer;
use crate::vocab::vocabulary::{MAX_IDS, Vocabulary};

#[derive(Deserialize)]
struct File {
    config: Config,
    vocab: Vec<Token>,
    #[serde(default)]
    special_tokens: Vec<SpecialToken>,
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    default_vocab_size: TokenId,
    default_num_special_tokens: TokenId,
}

#[derive(Deserialize)]
struct Token {
    rank: TokenId,
    token_bytes: String,
}

#[derive(Deserialize)]
struct SpecialToken {
    rank: TokenId,
    token_str: String,
}

/// Whether `text` has the parts of a `tekken.json`.
pub(super) fn is_tekken(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Parts {
        config: Option<serde::de::IgnoredAny>,
        vocab: Option<Vec<serde::de::IgnoredAny>>,
    }
    serde_json::from_str::<Parts>(text)
        .is_ok_and(|parts| parts.config.is_some() && parts.vocab.is_some())
}

/// Returns the tokenizer in `text`; `path` is for errors.
pub(super) fn read(text: &str, path: &Path) -> Result<Tokenizer> {
    let of_file = |reason: String| Error::format(path, None, reason);
    let file: File = serde_json::from_str(text)
        .map_err(|error| of_file(format!("not a tekken.json: {error}")))?;
    if file.special_tokens.is_empty() {
        return Err(of_file(
            "the tekken.json lists no special tokens: convert it to a tokenizer.json, or take that of a \
             newer release"
                .to_owned(),
        ));
    }
    let Config { pattern, default_vocab_size: size, default_num_special_tokens: n_special } =
        file.config;
    if size > MAX_IDS || n_special >= size {
        return Err(of_file(format!(
            "{n_special} special tokens among {size} ids: expected fewer, and ids below {MAX_IDS}"
        )));
    }
    let mut tokens = Vec::new();
    for Token { rank, token_bytes } in &file.vocab {
        let mut bytes = Vec::new();
        if !decode_base64(token_bytes.as_bytes(), &mut bytes) {
            return Err(of_file(format!(
                "the token of rank {rank} is not base64: {token_bytes:?}"
            )));
        }
        if *rank < size - n_special {
            tokens.push((rank + n_special, bytes));
        }
    }
    let special = (0..n_special).map(|rank| {
        let named = file.special_tokens.iter().find(|token| token.rank == rank);
        (named.map_or_else(|| format!("<SPECIAL_{rank}>"), |token| token.token_str.clone()), rank)
    });
    let special: Vec<_> = special.collect();
    let all = tokens.iter().map(|(id, bytes)| (*id, &bytes[..]));
    let vocabulary = Vocabulary::new(all).map_err(of_file)?;
    let model = Model::from_ranks(vocabulary).map_err(of_file)?;
    let pattern = Pattern::from_regex(&pattern).map_err(|error| of_file(error.to_string()))?;
    Tokenizer::with_pattern(model, pattern, &special).map_err(of_file)
}
