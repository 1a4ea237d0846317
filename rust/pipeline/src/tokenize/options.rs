//! The options of tokenizing, and the special tokens that they name.

use lslm_bpe::Tokenizer;
use lslm_clean::CleanConfig;
use lslm_dataset::DocumentEnd;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::dedup::DedupOptions;
use crate::validation::HoldOut;

/// How [`tokenize`](crate::tokenize()) works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenizeOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// What deduplication, if `clean` has that stage, compares with and saves.
    pub dedup: DedupOptions,
    /// The fraction of documents that are held out for validation, from 0 to below 1.
    pub validation_fraction: f64,
    /// The seed that chooses those documents.
    pub seed: u64,
    /// Whether whole documents are held out, or stretches of them.
    pub hold_out: HoldOut,
    /// The special token that ends each document; the tokenizer's own if `None`.
    pub eos_token: Option<String>,
    /// The special token that starts each document, if any.
    pub bos_token: Option<String>,
    /// About how many bytes of input become one shard.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    #[serde(skip)]
    pub threads: Option<usize>,
}

/// Returns the ids that end and start a document. A name that is not a special token of the
/// tokenizer is an error.
pub(crate) fn document_end(
    tokenizer: &Tokenizer,
    options: &TokenizeOptions,
) -> Result<DocumentEnd> {
    let special = |option: &str, name: &str| {
        let mut tokens = tokenizer.special_tokens();
        tokens.find(|(text, _)| *text == name).map(|(_, id)| id).ok_or_else(|| {
            let names: Vec<&str> = tokenizer.special_tokens().map(|(text, _)| text).collect();
            Error::invalid(format!(
                "{option} = {name:?} is not a special token of this tokenizer; it has: {}",
                if names.is_empty() { "none".to_owned() } else { names.join(" ") }
            ))
        })
    };
    let eos = match &options.eos_token {
        Some(name) => special("eos_token", name)?,
        None => tokenizer.eos_id().ok_or_else(|| {
            Error::invalid(
                "the tokenizer has no special token that is known to end a document, or several; \
                 name one with eos_token",
            )
        })?,
    };
    let bos = options.bos_token.as_ref().map(|name| special("bos_token", name)).transpose()?;
    Ok(DocumentEnd { eos: Some(eos), bos })
}
