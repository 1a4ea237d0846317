//! tiktoken's rank files: a line for each token, its bytes in base64, a space and its rank.
//!
//! The rank is the id. The file has neither the pattern nor the special tokens.

use std::fmt::Write as _;
use std::path::Path;

use lslm_runtime::{Error, Result, TokenId, files};

use crate::encode::model::Model;
use crate::pretokenize::Pattern;
use crate::tokenizer::Tokenizer;
use crate::vocab::vocabulary::Vocabulary;

/// A rank file that OpenAI has published, as tiktoken's `openai_public.py` describes it.
struct PublishedRanks {
    /// The name of the encoding, and of its file without the extension.
    name: &'static str,
    /// The number of its ranks.
    n_ranks: usize,
    pattern: &'static str,
    special_tokens: &'static [(&'static str, TokenId)],
}

const PUBLISHED: [PublishedRanks; 5] = [
    PublishedRanks {
        name: "gpt2",
        n_ranks: 50_256,
        pattern: "gpt2",
        special_tokens: &[("<|endoftext|>", 50_256)],
    },
    PublishedRanks {
        name: "r50k_base",
        n_ranks: 50_256,
        pattern: "r50k_base",
        special_tokens: &[("<|endoftext|>", 50_256)],
    },
    PublishedRanks {
        name: "p50k_base",
        n_ranks: 50_280,
        pattern: "p50k_base",
        special_tokens: &[("<|endoftext|>", 50_256)],
    },
    PublishedRanks {
        name: "cl100k_base",
        n_ranks: 100_256,
        pattern: "cl100k_base_tiktoken",
        special_tokens: &[
            ("<|endoftext|>", 100_257),
            ("<|fim_prefix|>", 100_258),
            ("<|fim_middle|>", 100_259),
            ("<|fim_suffix|>", 100_260),
            ("<|endofprompt|>", 100_276),
        ],
    },
    PublishedRanks {
        name: "o200k_base",
        n_ranks: 199_998,
        pattern: "o200k_base",
        special_tokens: &[("<|endoftext|>", 199_999), ("<|endofprompt|>", 200_018)],
    },
];

impl Tokenizer {
    /// Returns the tokenizer of a rank file that has the name of a published one, with the pattern
    /// and special tokens of tiktoken's encoding of that name. For another name
    /// [`Error::Invalid`].
    pub(crate) fn from_published_ranks(path: &Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default();
        let Some(published) = PUBLISHED.iter().find(|published| stem == published.name) else {
            if !path.exists() {
                return Err(Error::io(path)(std::io::ErrorKind::NotFound.into()));
            }
            let names: Vec<&str> = PUBLISHED.iter().map(|published| published.name).collect();
            return Err(Error::invalid(format!(
                "{}: a rank file has neither pattern nor special tokens, and they are known only \
                 for the names {}: give the pattern (--pattern, or Tokenizer.from_tiktoken)",
                path.display(),
                names.join(", ")
            )));
        };
        let content = std::fs::read(path).map_err(Error::io(path))?;
        let n_ranks = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        if n_ranks != published.n_ranks {
            return Err(Error::invalid(format!(
                "{}: the file has {n_ranks} ranks and {} has {}, so its pattern and special tokens \
                 are others: give the pattern (--pattern, or Tokenizer.from_tiktoken)",
                path.display(),
                published.name,
                published.n_ranks
            )));
        }
        let pattern = Pattern::named(published.pattern).ok_or_else(|| {
            Error::invalid(format!("{}: no pattern of this name", published.pattern))
        })?;
        let special = published.special_tokens.iter().map(|(name, id)| ((*name).to_owned(), *id));
        Self::from_tiktoken(path, pattern, &special.collect::<Vec<_>>())
    }

    /// Returns the tokenizer of a tiktoken rank file whose texts are pre-tokenised by `pattern`.
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

    /// Writes the ranks for tiktoken. The file has neither the pattern nor the special tokens.
    ///
    /// [`Error::Invalid`] when ranks do not give this tokenizer's ids: when the ids do not follow
    /// the order of the merges, or the text is changed before merging.
    pub fn save_tiktoken(&self, path: impl AsRef<Path>) -> Result<()> {
        let model = &self.0.model;
        let refuse = |reason| {
            Err(Error::invalid(format!(
                "this tokenizer cannot be written as ranks: {reason}; save it as tokenizer.json"
            )))
        };
        if self.0.characters.is_some() {
            return refuse("its vocabulary is one of characters");
        }
        if model.table.has_unknown_bytes {
            return refuse("some bytes have no token");
        }
        if !model.rules.is_ranked && model.merges_of_ranks().is_none() {
            return refuse("its ids do not follow the order of its merges");
        }
        if !self.0.normalizer.is_identity() || self.0.pretokenizer.only_pattern().is_none() {
            return refuse("it changes the text before merging");
        }
        let mut text = String::new();
        for (id, bytes) in model.vocabulary.iter() {
            encode_base64(bytes, &mut text);
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {id}");
        }
        files::write_atomically(path.as_ref(), text.as_bytes())
    }
}

/// The bytes of all tokens end to end, and for each its rank and the range of its bytes.
type Ranks = (Vec<u8>, Vec<(TokenId, usize, usize)>);

/// Returns the tokens of a rank file; an error is the offset and the reason.
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
                .filter(|&space| decode_base64(&text[..space], &mut flat))
                .and_then(|space| std::str::from_utf8(&text[space + 1..]).ok()?.parse().ok());
            let Some(rank) = rank else {
                let shown = String::from_utf8_lossy(&text[..text.len().min(40)]);
                let reason = format!("expected base64, a space and a rank, not {shown:?}");
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

/// By byte: its value as a base64 digit; 64 for other bytes.
const DIGITS: [u8; 256] = {
    let mut digits = [64; 256];
    let mut value = 0;
    while value < 64 {
        digits[BASE64[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Appends the bytes that `text`, base64 with padding (RFC 4648), stands for; returns false when it
/// is not base64.
pub(super) fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return false;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return false;
    }
    for (index, group) in text.chunks_exact(4).enumerate() {
        let is_last = (index + 1) * 4 == text.len();
        let padding = if is_last { padding } else { 0 };
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

/// Appends `bytes` in base64 with padding.
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
        fn base64_round_trips(bytes in proptest::collection::vec(any::<u8>(), 1..50)) {
            let mut text = String::new();
            encode_base64(&bytes, &mut text);
            let mut back = Vec::new();
            prop_assert!(decode_base64(text.as_bytes(), &mut back));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn any_bytes_are_ranks_or_an_error(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ranks(&content);
        }
    }

    #[test]
    fn errors_of_rank_files_have_the_offset() {
        assert_eq!(ranks(b"IQ== 0\n\nIg== x\n").unwrap_err().0, 8);
        assert_eq!(ranks(b"IQ== 0\nIg=\n").unwrap_err().0, 7);
        assert!(ranks(b"").is_err());
        assert!(ranks(b"I=== 0").is_err());
        assert_eq!(ranks(b"IQ== 0\r\nIiM= 1").unwrap().1, [(0, 0, 1), (1, 1, 3)]);
    }
}
