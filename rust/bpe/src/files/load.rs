//! From files to tokenizers and back: `tokenizer.json`, `vocab.json` with `merges.txt`, folders,
//! and tiktoken's rank files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use lslm_runtime::{Error, Result, files};
use serde_json::{Value, json};

use crate::TokenId;
use crate::added_tokens::AddedToken;
use crate::encode::model::Model;
use crate::files::tokenizer_json::{self, Names};
use crate::normalize::Normalizer;
use crate::pretokenize::Pattern;
use crate::pretokenize::sequence::Pretokenizer;
use crate::tokenizer::{Kept, Parts, Tokenizer};
use crate::vocab::vocabulary::Vocabulary;

impl Tokenizer {
    /// The tokenizer in `path`: a `tokenizer.json`, a folder that holds one, or `vocab.json` or
    /// `merges.txt` next to each other.
    ///
    /// [`Error::Io`] when it cannot be read; [`Error::Format`] when it is broken or of a kind that
    /// is not supported, which the message names.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            let json = path.join("tokenizer.json");
            let vocab = path.join("vocab.json");
            if json.is_file() || !vocab.is_file() {
                return Self::load_file(&json);
            }
            return load_pair(&vocab, &path.join("merges.txt"));
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some("vocab.json") => load_pair(path, &path.with_file_name("merges.txt")),
            Some("merges.txt") => load_pair(&path.with_file_name("vocab.json"), path),
            Some(name) if name.ends_with(".tiktoken") => Err(Error::format(
                path,
                None,
                "a rank file names no pattern and no special tokens; load it with from_tiktoken",
            )),
            _ => Self::load_file(path),
        }
    }

    fn load_file(path: &Path) -> Result<Self> {
        tokenizer_json::read(&read_text(path)?, path)
    }

    /// The tokenizer that the text of a `tokenizer.json` describes; errors as [`Tokenizer::load`],
    /// with `<text>` for the path.
    pub fn from_json(text: &str) -> Result<Self> {
        tokenizer_json::read(text, Path::new("<text>"))
    }

    /// The tokenizer of a tiktoken rank file: a line for each token, its bytes in base64 and its
    /// rank, which is its id. Texts are cut by `pattern`.
    pub fn from_tiktoken(
        path: impl AsRef<Path>,
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self> {
        let path = path.as_ref();
        let content = std::fs::read(path).map_err(Error::io(path))?;
        let (flat, tokens) = ranks(&content)
            .map_err(|(offset, reason)| Error::format(path, offset as u64, reason))?;
        let tokens = tokens.iter().map(|&(id, start, end)| (id, &flat[start..end]));
        let of_file = |reason: String| Error::format(path, None, reason);
        let vocabulary = Vocabulary::new(tokens).map_err(of_file)?;
        let model = Model::from_ranks(vocabulary).map_err(of_file)?;
        Self::with_pattern(model, pattern, special_tokens).map_err(Error::Invalid)
    }

    /// Writes the tokenizer as `path`, atomically: as tiktoken's rank file if the name ends in
    /// `.tiktoken`, else as a `tokenizer.json`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.extension().is_some_and(|extension| extension == "tiktoken") {
            return self.save_tiktoken(path);
        }
        files::write_atomically(path, self.to_json().as_bytes())
    }

    /// The text of a `tokenizer.json` that gives this tokenizer again, and equal ids in Hugging
    /// Face's library.
    pub fn to_json(&self) -> String {
        tokenizer_json::write(self)
    }

    /// Writes the ranks for tiktoken. The file holds neither pattern nor special tokens.
    ///
    /// [`Error::Invalid`] when ranks cannot say what this tokenizer does: when the ids do not
    /// follow the order of the merges, or something is rewritten before merging.
    pub fn save_tiktoken(&self, path: impl AsRef<Path>) -> Result<()> {
        let model = &self.0.model;
        let no = |reason| {
            Err(Error::invalid(format!(
                "this tokenizer cannot be written as ranks: {reason}; save it as tokenizer.json"
            )))
        };
        if model.incomplete {
            return no("some bytes have no token");
        }
        if !model.rules.ranked && model.merges_of_ranks().is_none() {
            return no("its ids do not follow the order of its merges");
        }
        if !self.0.normalizer.is_identity() || self.0.pretokenizer.only_pattern().is_none() {
            return no("it changes the text before merging");
        }
        let mut text = String::new();
        for (id, bytes) in model.vocabulary.iter() {
            encode_base64(bytes, &mut text);
            // writing to a string cannot fail
            let _ = writeln!(text, " {id}");
        }
        files::write_atomically(path.as_ref(), text.as_bytes())
    }
}

fn read_text(path: &Path) -> Result<String> {
    let content = std::fs::read(path).map_err(Error::io(path))?;
    String::from_utf8(content).map_err(|error| {
        let place = error.utf8_error().valid_up_to() as u64;
        Error::format(path, place, "not a tokenizer.json: it is not text in UTF-8")
    })
}

/// `vocab.json` and `merges.txt`, GPT-2's pair of files.
///
/// They describe the merges alone; the rest is GPT-2's: its pattern and no normaliser. An entry
/// that no merge makes and that looks like markup is a special token.
fn load_pair(vocab_path: &Path, merges_path: &Path) -> Result<Tokenizer> {
    let vocab_text = read_text(vocab_path)?;
    let merges_text = read_text(merges_path)?;
    let vocab: BTreeMap<String, TokenId> = serde_json::from_str(&vocab_text)
        .map_err(|error| Error::format(vocab_path, None, format!("not a vocabulary: {error}")))?;
    let mut merges = Vec::new();
    let mut offset = 0;
    for line in merges_text.split_inclusive('\n') {
        let text = line.trim_end_matches(['\n', '\r']);
        let heading = offset == 0 && text.starts_with("#version");
        if !text.is_empty() && !heading {
            let Some((left, right)) = text.split_once(' ') else {
                let reason = format!("a merge is two parts with a blank between, not {text:?}");
                return Err(Error::format(merges_path, offset as u64, reason));
            };
            merges.push((Cow::Borrowed(left), Cow::Borrowed(right)));
        }
        offset += line.len();
    }
    let mut made: HashSet<String> =
        merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
    made.extend(merges.iter().flat_map(|(left, right)| [left.to_string(), right.to_string()]));
    let added: Vec<AddedToken> = vocab
        .iter()
        .filter(|(name, _)| !made.contains(*name))
        .map(|(name, id)| AddedToken { special: false, ..AddedToken::control(name.clone(), *id) })
        .filter(AddedToken::is_control)
        .map(|token| AddedToken { special: true, ..token })
        .collect();
    let vocab: Vec<(Cow<'_, str>, TokenId)> =
        vocab.iter().map(|(name, id)| (Cow::Borrowed(name.as_str()), *id)).collect();
    let names = Names {
        vocab: &vocab,
        merges: &merges,
        added: &added,
        unknown: None,
        fuse_unknown: false,
        whole_first: false,
    };
    let of_file = |reason| Error::format(vocab_path, None, reason);
    let (model, odd) = names.model().map_err(of_file)?;
    let byte_level = json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true,
    });
    let pretokenizer = Pretokenizer::from_json(&byte_level).map_err(of_file)?;
    let kept = Kept {
        pre_tokenizer: byte_level.clone(),
        decoder: byte_level,
        post_processor: Value::Null,
        ..Kept::default()
    };
    let normalizer = Normalizer::default();
    Tokenizer::from_parts(Parts { model, normalizer, pretokenizer, added, odd, kept })
        .map_err(of_file)
}

/// Token bytes end to end, and for each token its rank and where its bytes begin and end.
type Ranks = (Vec<u8>, Vec<(TokenId, usize, usize)>);

/// The tokens of a rank file; an error says at which byte what is wrong.
fn ranks(content: &[u8]) -> std::result::Result<Ranks, (usize, String)> {
    let mut flat = Vec::with_capacity(content.len() / 2);
    let mut tokens = Vec::with_capacity(content.len() / 12);
    let mut offset = 0;
    for line in content.split(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if !text.is_empty() {
            let start = flat.len();
            let rank = text
                .iter()
                .rposition(|&byte| byte == b' ')
                .filter(|&blank| decode_base64(&text[..blank], &mut flat))
                .and_then(|blank| std::str::from_utf8(&text[blank + 1..]).ok()?.parse().ok());
            let Some(rank) = rank else {
                let shown = String::from_utf8_lossy(&text[..text.len().min(40)]);
                let reason = format!("expected base64, a blank and a rank, not {shown:?}");
                return Err((offset, reason));
            };
            tokens.push((rank, start, flat.len()));
        }
        offset += line.len() + 1;
    }
    if tokens.is_empty() {
        return Err((0, "the file has no tokens".to_owned()));
    }
    Ok((flat, tokens))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each base64 digit, 64 for other bytes.
const DIGITS: [u8; 256] = {
    let mut digits = [64; 256];
    let mut value = 0;
    while value < 64 {
        digits[BASE64[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Appends what `text`, base64 with padding (RFC 4648), stands for; false when it is not that.
fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return false;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return false;
    }
    for (place, group) in text.chunks_exact(4).enumerate() {
        let last = (place + 1) * 4 == text.len();
        let padding = if last { padding } else { 0 };
        let mut word = 0_u32;
        for (i, &byte) in group.iter().enumerate() {
            let digit = if i >= 4 - padding { 0 } else { DIGITS[usize::from(byte)] };
            if digit == 64 {
                return false;
            }
            word = word << 6 | u32::from(digit);
        }
        let bytes = word.to_be_bytes();
        out.extend_from_slice(&bytes[1..4 - padding]);
    }
    true
}

fn encode_base64(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for i in 0..4 {
            if i <= group.len() {
                out.push(char::from(BASE64[(word >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 1..50)) {
            let mut text = String::new();
            encode_base64(&bytes, &mut text);
            let mut back = Vec::new();
            prop_assert!(decode_base64(text.as_bytes(), &mut back));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn any_bytes_are_a_file_or_an_error(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ranks(&content);
        }
    }

    #[test]
    fn broken_rank_files_name_the_place() {
        assert_eq!(ranks(b"IQ== 0\n\nIg== x\n").unwrap_err().0, 8);
        assert_eq!(ranks(b"IQ== 0\nIg=\n").unwrap_err().0, 7);
        assert!(ranks(b"").is_err());
        assert!(ranks(b"I=== 0").is_err());
        assert_eq!(ranks(b"IQ== 0\r\nIiM= 1").unwrap().1, [(0, 0, 1), (1, 1, 3)]);
    }
}
