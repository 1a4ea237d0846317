//! [`VocabularyBuilder`]: the tokens and ids of a vocabulary during training.

use std::collections::{HashMap, HashSet};

use lslm_runtime::{Error, Result, TokenId};

use super::options::{Placement, TrainOptions};
use super::trained::{Merge, Trained};
use crate::files::byte_alphabet;

/// Returns the bytes that the characters of `text` stand for in a `tokenizer.json`, if all of them
/// do.
fn spelled_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    byte_alphabet::unspell(text, &mut bytes).then_some(bytes)
}

/// The vocabulary while it grows.
pub(super) struct VocabularyBuilder {
    /// The bytes of each id.
    pub(super) tokens: Vec<Box<[u8]>>,
    /// The id of each byte.
    pub(super) bytes: [TokenId; 256],
    /// Special tokens in front whose spelling a merge may have, by the bytes they spell.
    spelled: HashMap<Box<[u8]>, TokenId>,
    /// How many ids at the end are for special tokens.
    pub(super) reserved: usize,
}

impl VocabularyBuilder {
    /// Returns the vocabulary of the 256 bytes, after the special tokens if those are in front.
    pub(super) fn new(options: &TrainOptions) -> Result<Self> {
        let specials = &options.special_tokens;
        let mut seen = HashSet::new();
        for special in specials {
            if special.is_empty() {
                return Err(Error::invalid("a special token is the empty string: give it a name"));
            }
            if !seen.insert(special) {
                return Err(Error::invalid(format!(
                    "special token {special:?} is given twice: give it once"
                )));
            }
        }
        if u32::try_from(options.vocab_size).is_err() {
            return Err(Error::invalid(format!(
                "vocab_size = {}: ids have 32 bits; choose fewer than 2^32",
                options.vocab_size
            )));
        }
        let mut vocabulary =
            Self { tokens: Vec::new(), bytes: [0; 256], spelled: HashMap::new(), reserved: 0 };
        if options.placement == Placement::Front {
            for special in specials {
                if let Some(bytes) = spelled_bytes(special) {
                    let id = vocabulary.tokens.len() as TokenId;
                    vocabulary.spelled.insert(bytes.into(), id);
                }
                vocabulary.tokens.push(special.as_bytes().into());
            }
        } else {
            vocabulary.reserved = specials.len();
        }
        for byte in byte_alphabet::byte_order() {
            vocabulary.bytes[usize::from(byte)] = vocabulary.add(Box::new([byte]))?;
        }
        let min = vocabulary.tokens.len() + vocabulary.reserved;
        if options.vocab_size < min {
            return Err(Error::invalid(format!(
                "vocab_size = {}: the bytes and special tokens alone need {min}; choose more",
                options.vocab_size
            )));
        }
        Ok(vocabulary)
    }

    /// Returns the number of bytes of `id`.
    #[cfg(test)]
    pub(super) fn length(&self, id: TokenId) -> usize {
        self.tokens[id as usize].len()
    }

    /// Returns the id of the token with these bytes, a new one unless a special token has it.
    fn add(&mut self, bytes: Box<[u8]>) -> Result<TokenId> {
        if let Some(&id) = self.spelled.get(&bytes) {
            let special = &self.tokens[id as usize];
            if *special == bytes {
                return Ok(id);
            }
            return Err(Error::invalid(format!(
                "special token {:?} is how a tokenizer.json spells the bytes {:?}, which are a \
                 token of the text; choose another name",
                String::from_utf8_lossy(special),
                String::from_utf8_lossy(&bytes),
            )));
        }
        self.tokens.push(bytes);
        Ok((self.tokens.len() - 1) as TokenId)
    }

    /// Returns the id of the token that `left` and `right` merge into.
    pub(super) fn join(&mut self, left: TokenId, right: TokenId) -> Result<TokenId> {
        let bytes = [&*self.tokens[left as usize], &*self.tokens[right as usize]].concat();
        self.add(bytes.into())
    }

    /// Adds the special tokens at the end, and returns the result.
    pub(super) fn finish(mut self, options: &TrainOptions, merges: Vec<Merge>) -> Result<Trained> {
        let mut special_tokens = Vec::with_capacity(options.special_tokens.len());
        let learned: HashMap<&[u8], TokenId> = match options.placement {
            Placement::Front => HashMap::new(),
            Placement::End => {
                self.tokens.iter().zip(0..).map(|(bytes, id)| (&**bytes, id)).collect()
            }
        };
        let mut appended: Vec<Box<[u8]>> = Vec::new();
        for (special, number) in options.special_tokens.iter().zip(0..) {
            let id = match options.placement {
                Placement::Front => number,
                Placement::End => {
                    match spelled_bytes(special).and_then(|bytes| learned.get(&*bytes).copied()) {
                        Some(id) if *self.tokens[id as usize] == *special.as_bytes() => id,
                        Some(_) => {
                            return Err(Error::invalid(format!(
                                "special token {special:?} is how a tokenizer.json spells a token \
                                 of the text; choose another name"
                            )));
                        }
                        None => {
                            appended.push(special.as_bytes().into());
                            (self.tokens.len() + appended.len() - 1) as TokenId
                        }
                    }
                }
            };
            special_tokens.push((special.clone(), id));
        }
        self.tokens.extend(appended);
        Ok(Trained { tokens: self.tokens, merges, special_tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_bytes_are_those_of_a_tokenizer_json() {
        assert_eq!(spelled_bytes("Ġthe").as_deref(), Some(&b" the"[..]));
        assert_eq!(spelled_bytes("Ń").as_deref(), Some(&[0xAD][..]));
        assert_eq!(spelled_bytes("two words"), None);
    }
}
