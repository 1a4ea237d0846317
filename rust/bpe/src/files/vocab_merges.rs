//! GPT-2's pair of files: `vocab.json`, names with ids, and `merges.txt`, a merge a line.
//!
//! They describe the merges alone; the rest is GPT-2's: its pattern and no normaliser. An entry
//! that no merge produces and that looks like markup is a special token.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use lslm_runtime::{Error, Result, TokenId};
use serde_json::{Value, json};

use crate::added_tokens::AddedToken;
use crate::files::spelled_model::SpelledModel;
use crate::normalize::Normalizer;
use crate::pretokenize::sequence::Pretokenizer;
use crate::tokenizer::{Parts, Passthrough, Tokenizer};

/// Returns the tokenizer of the texts of the two files; the paths are for errors.
pub(super) fn read(
    vocab_text: &str,
    vocab_path: &Path,
    merges_text: &str,
    merges_path: &Path,
) -> Result<Tokenizer> {
    let vocab: BTreeMap<String, TokenId> = serde_json::from_str(vocab_text)
        .map_err(|error| Error::format(vocab_path, None, format!("not a vocabulary: {error}")))?;
    let merges = read_merges(merges_text)
        .map_err(|(offset, reason)| Error::format(merges_path, offset as u64, reason))?;
    let mut in_merges: HashSet<String> =
        merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
    in_merges.extend(merges.iter().flat_map(|(left, right)| [left.to_string(), right.to_string()]));
    let added: Vec<AddedToken> = vocab
        .iter()
        .filter(|(name, _)| !in_merges.contains(*name))
        .map(|(name, id)| AddedToken { special: false, ..AddedToken::special(name.clone(), *id) })
        .filter(AddedToken::is_special)
        .map(|token| AddedToken { special: true, ..token })
        .collect();
    let vocab: Vec<(Cow<'_, str>, TokenId)> =
        vocab.iter().map(|(name, id)| (Cow::Borrowed(name.as_str()), *id)).collect();
    let spelled = SpelledModel {
        vocab: &vocab,
        merges: &merges,
        added: &added,
        unknown: None,
        fuse_unknown: false,
        whole_first: false,
    };
    let of_file = |reason| Error::format(vocab_path, None, reason);
    let (model, unspellable) = spelled.model().map_err(of_file)?;
    let byte_level = json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true,
    });
    let pretokenizer = Pretokenizer::from_json(&byte_level).map_err(of_file)?;
    let passthrough = Passthrough {
        pre_tokenizer: byte_level.clone(),
        decoder: byte_level,
        post_processor: Value::Null,
        ..Passthrough::default()
    };
    let normalizer = Normalizer::default();
    Tokenizer::from_parts(Parts {
        model,
        normalizer,
        pretokenizer,
        added,
        unspellable,
        characters: None,
        passthrough,
    })
    .map_err(of_file)
}

/// The two parts of each merge.
type Merges<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Returns the merges of a `merges.txt`; an error is the offset and the reason.
fn read_merges(content: &str) -> std::result::Result<Merges<'_>, (usize, String)> {
    let mut merges = Vec::new();
    let mut offset = 0;
    for line in content.split_inclusive('\n') {
        let text = line.trim_end_matches(['\n', '\r']);
        let is_heading = offset == 0 && text.starts_with("#version");
        if !text.is_empty() && !is_heading {
            let Some((left, right)) = text.split_once(' ') else {
                let reason = format!("expected two parts with a space between them, not {text:?}");
                return Err((offset, reason));
            };
            merges.push((Cow::Borrowed(left), Cow::Borrowed(right)));
        }
        offset += line.len();
    }
    Ok(merges)
}
