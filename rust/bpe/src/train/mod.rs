//! Learning a vocabulary from text.
//!
//! Two phases. A [`WordCounter`] splits documents with a [`Pattern`](crate::pretokenize::Pattern) and
//! counts the pieces ("words"); [`train`] then joins, again and again, the pair of neighbouring
//! tokens that occurs most often inside the words.
//!
//! The merges are those of Hugging Face `tokenizers` 0.23 (`BpeTrainer` with the byte-level
//! alphabet, fed one document at a time), in the same order. Its rules, which decide every id:
//!
//! * Ids: special tokens placed in front, then the 256 bytes in the order of the characters that
//!   stand for them in a `tokenizer.json` (see [`byte_order`]), then one id for each merge.
//! * The next merge is the pair with the largest count; among equals, the one with the smaller
//!   left id, then the smaller right id. Counts are of neighbouring positions, so `aaa` holds the
//!   pair `aa` twice, though only one of the two can be joined.
//! * A pair is joined from left to right in each word.
//! * It ends when the vocabulary is full or no pair occurs `min_frequency` times.
//! * With `max_token_length = n`, merges after the first two bytes stop *below* `n` bytes: a token
//!   of n bytes is not made unless n = 2.
//! * A token that is spelled like a special token shares that token's id and takes no new one.
//!
//! The result depends on the words and their counts alone: not on the number of threads, nor on
//! the order of the documents, nor on how they were spread over files. Counts are 64-bit; a sum
//! that could pass 2^64 is refused before the work begins.

use std::collections::HashMap;

use lslm_runtime::{Error, Result, Task};

use crate::pretokenize::Pattern;
use crate::{TokenId, Tokenizer};

mod hot_words;
#[cfg(test)]
mod naive;
mod pair_counts;
mod sample;
mod spill;
#[cfg(test)]
mod tests;
mod trainer;
mod word_counter;
mod word_counts;
mod word_table;

pub use sample::Sample;
pub use word_counter::WordCounter;
pub use word_counts::WordCounts;

/// On which side of the learned tokens the ids of the special tokens lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// They have the first ids, 0, 1, …
    Front,
    /// They have the last ids, as in OpenAI's and Qwen's vocabularies.
    #[default]
    End,
}

/// What to learn.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// How many ids there are at the end, special tokens included. Fewer when the text runs out.
    pub vocab_size: usize,
    /// Tokens that stand for no text of their own, such as `<|endoftext|>`.
    pub special_tokens: Vec<String>,
    /// Where the ids of the special tokens lie.
    pub placement: Placement,
    /// A pair that occurs less often is not joined; 0 and 1 mean the same.
    pub min_frequency: u64,
    /// Tokens stay shorter than this many bytes, though two bytes are always allowed.
    pub max_token_length: Option<usize>,
    /// Merging is refused if it needs more bytes of memory than this, by an estimate that holds for
    /// text of natural languages.
    pub memory: Option<u64>,
}

impl TrainOptions {
    /// A vocabulary of `vocab_size` ids without special tokens or limits.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            special_tokens: Vec::new(),
            placement: Placement::default(),
            min_frequency: 0,
            max_token_length: None,
            memory: None,
        }
    }
}

/// A learned vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trained {
    /// The bytes of each id; those of a special token are its spelling.
    pub tokens: Vec<Box<[u8]>>,
    /// The pairs that are joined, in the order in which they were learned, which is their priority.
    pub merges: Vec<Merge>,
    /// The special tokens with their ids, in the order given.
    pub special_tokens: Vec<(String, TokenId)>,
}

impl Trained {
    /// The tokenizer with this vocabulary; `pattern` is the one the words were counted with.
    pub fn into_tokenizer(self, pattern: &Pattern) -> Result<Tokenizer> {
        let mut tokens: Vec<Vec<u8>> = self.tokens.into_iter().map(Vec::from).collect();
        // a special token is no entry of the model, unless text can also spell its id
        for (_, id) in &self.special_tokens {
            let token = &mut tokens[*id as usize];
            if token.len() > 1 && self.merges.iter().all(|merge| merge.result != *id) {
                token.clear();
            }
        }
        let merges: Vec<_> = self.merges.iter().map(|merge| (merge.left, merge.right)).collect();
        Tokenizer::new(&tokens, &merges, pattern.clone(), &self.special_tokens)
    }
}

/// Two neighbouring tokens and the one that replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The token on the left.
    pub left: TokenId,
    /// The token on the right.
    pub right: TokenId,
    /// The token that takes the place of both.
    pub result: TokenId,
}

/// The 256 bytes in the order of their ids.
///
/// A `tokenizer.json` writes each byte as a character: the printable ones of Latin-1 as themselves,
/// the others as the characters from U+0100 on. Sorted by these characters, first come the
/// printable bytes and then the rest, each in ascending order.
pub fn byte_order() -> [u8; 256] {
    let mut order = [0; 256];
    let (mut printable, mut other) = (0, 188);
    for byte in 0..=u8::MAX {
        let place = if stands_for_itself(char::from(byte)) { &mut printable } else { &mut other };
        order[*place] = byte;
        *place += 1;
    }
    order
}

fn stands_for_itself(character: char) -> bool {
    matches!(character, '!'..='~' | '¡'..='¬' | '®'..='ÿ')
}

/// The bytes that the characters of `text` stand for in a `tokenizer.json`, if all of them do.
fn bytes_spelled(text: &str) -> Option<Vec<u8>> {
    let order = byte_order();
    text.chars()
        .map(|character| match u32::from(character) {
            code if stands_for_itself(character) => Some(code as u8),
            code @ 0x100..0x144 => Some(order[188 + (code as usize - 0x100)]),
            _ => None,
        })
        .collect()
}

/// Learns a vocabulary from counted words, with `threads` threads.
///
/// `task` sees the stage "learn merges". Fails with [`Error::Invalid`] when the options contradict
/// each other or a count could overflow, and with [`Error::Cancelled`].
pub fn train(
    words: WordCounts,
    options: &TrainOptions,
    threads: usize,
    task: &Task,
) -> Result<Trained> {
    let mut vocabulary = Vocabulary::new(options)?;
    let room = options.vocab_size - vocabulary.tokens.len() - vocabulary.reserved;
    task.begin("learn merges", "merges", Some(room as u64));
    words.check_sum(task)?;
    let limit = options.vocab_size - vocabulary.reserved;
    let merges = trainer::learn(words, &mut vocabulary, limit, options, threads, task)?;
    vocabulary.finish(options, merges)
}

/// The vocabulary while it grows.
struct Vocabulary {
    tokens: Vec<Box<[u8]>>,
    /// The id of each byte.
    bytes: [TokenId; 256],
    /// Special tokens in front that a merge may spell, by those bytes.
    spelled: HashMap<Box<[u8]>, TokenId>,
    /// How many ids at the end are for special tokens.
    reserved: usize,
}

impl Vocabulary {
    fn new(options: &TrainOptions) -> Result<Self> {
        let specials = &options.special_tokens;
        let mut seen = std::collections::HashSet::new();
        for special in specials {
            if special.is_empty() {
                return Err(Error::invalid("a special token is empty; give it a spelling"));
            }
            if !seen.insert(special) {
                return Err(Error::invalid(format!(
                    "special token {special:?} is given twice; name it once"
                )));
            }
        }
        if u32::try_from(options.vocab_size).is_err() {
            return Err(Error::invalid(format!(
                "vocab_size = {}: ids have 32 bits; choose fewer",
                options.vocab_size
            )));
        }
        let mut vocabulary =
            Self { tokens: Vec::new(), bytes: [0; 256], spelled: HashMap::new(), reserved: 0 };
        if options.placement == Placement::Front {
            for special in specials {
                if let Some(bytes) = bytes_spelled(special) {
                    let id = vocabulary.tokens.len() as TokenId;
                    vocabulary.spelled.insert(bytes.into(), id);
                }
                vocabulary.tokens.push(special.as_bytes().into());
            }
        } else {
            vocabulary.reserved = specials.len();
        }
        for byte in byte_order() {
            vocabulary.bytes[usize::from(byte)] = vocabulary.add(Box::new([byte]))?;
        }
        let least = vocabulary.tokens.len() + vocabulary.reserved;
        if options.vocab_size < least {
            return Err(Error::invalid(format!(
                "vocab_size = {}: the bytes and special tokens alone need {least}; choose more",
                options.vocab_size
            )));
        }
        Ok(vocabulary)
    }

    #[cfg(test)]
    fn length(&self, id: TokenId) -> usize {
        self.tokens[id as usize].len()
    }

    /// The id of the token with these bytes, which is not in the vocabulary except as a special
    /// token.
    fn add(&mut self, bytes: Box<[u8]>) -> Result<TokenId> {
        if let Some(&id) = self.spelled.get(&bytes) {
            let special = &self.tokens[id as usize];
            if *special == bytes {
                return Ok(id);
            }
            return Err(Error::invalid(format!(
                "special token {:?} is how a tokenizer.json spells the bytes {:?}, which the text \
                 has as a token; choose another spelling",
                String::from_utf8_lossy(special),
                String::from_utf8_lossy(&bytes),
            )));
        }
        self.tokens.push(bytes);
        Ok((self.tokens.len() - 1) as TokenId)
    }

    /// The id of `left` and `right` joined.
    fn join(&mut self, left: TokenId, right: TokenId) -> Result<TokenId> {
        let bytes = [&*self.tokens[left as usize], &*self.tokens[right as usize]].concat();
        self.add(bytes.into())
    }

    fn finish(mut self, options: &TrainOptions, merges: Vec<Merge>) -> Result<Trained> {
        let mut special_tokens = Vec::with_capacity(options.special_tokens.len());
        let learned: HashMap<&[u8], TokenId> = match options.placement {
            Placement::Front => HashMap::new(),
            Placement::End => {
                self.tokens.iter().zip(0..).map(|(bytes, id)| (&**bytes, id)).collect()
            }
        };
        let mut appended: Vec<Box<[u8]>> = Vec::new();
        for (special, place) in options.special_tokens.iter().zip(0..) {
            let id = match options.placement {
                Placement::Front => place,
                Placement::End => {
                    match bytes_spelled(special).and_then(|bytes| learned.get(&*bytes).copied()) {
                        Some(id) if *self.tokens[id as usize] == *special.as_bytes() => id,
                        Some(_) => {
                            return Err(Error::invalid(format!(
                                "special token {special:?} is how a tokenizer.json spells a token \
                                 of the text; choose another spelling"
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
