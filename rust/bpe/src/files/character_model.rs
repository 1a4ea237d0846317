//! SentencePiece's BPE: a vocabulary of characters, with bytes for characters that it lacks.
//!
//! Such a file (Llama 2, Mistral 7B, Phi-3, Gemma) has `byte_fallback`, 256 tokens `<0x00>` to `<0xFF>`,
//! and `▁` for a space. It becomes a vocabulary of bytes with the same ids:
//!
//! ```text
//! token      ← its text with spaces for ▁; <0xNN>: the byte
//! merges     ← for each token of one character of several bytes: the merges that join its bytes,
//!              E4 B8 → (E4 B8), (E4 B8) AD → 中
//!              then those of the file
//! ids        ← what merging leaves; a joined start of a character, such as (E4 B8), becomes the ids
//!              of its bytes
//! ```
//!
//! That gives the file's ids: the first merges come before all others and join exactly the characters
//! that are tokens, since the bytes of UTF-8 say where a character begins and how long it is. A byte
//! below 0x80 is a character, so it is the token of that character, or else of the byte; other bytes
//! alone are never characters.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use lslm_runtime::TokenId;

use crate::encode::model::{Expansions, Model, Rules};
use crate::vocab::symbol::Merge;
use crate::vocab::vocabulary::{MAX_IDS, Vocabulary};

/// What files have for a space, U+2581.
pub(crate) const SPACE: char = '\u{2581}';

/// A vocabulary and its merges as a file spells them.
pub(super) struct CharacterModel<'a> {
    pub(super) vocab: &'a [(Cow<'a, str>, TokenId)],
    pub(super) merges: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

/// The file's own spelling of a model, to write it again.
#[derive(Clone, Debug, Default)]
pub(crate) struct CharacterNames {
    /// By position in the file: the name and the id.
    pub(crate) names: Vec<(Box<str>, TokenId)>,
    /// The merges before those of the file.
    pub(crate) n_joins: usize,
    pub(crate) unknown: Option<Box<str>>,
    pub(crate) fuse_unknown: bool,
    /// Decoding removes one space from the start of a text.
    pub(crate) strips_space: bool,
}

/// Returns the byte of a token `<0xNN>`.
fn byte_of(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_upper = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    let is_two = digits.len() == 2 && digits.bytes().all(is_upper);
    is_two.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Returns the text that a name stands for.
pub(crate) fn text_of(name: &str) -> Cow<'_, str> {
    if name.contains(SPACE) { name.replace(SPACE, " ").into() } else { name.into() }
}

impl CharacterModel<'_> {
    /// Returns the model, the tokens that encoding never produces with what they are decoded to, and the
    /// number of merges that join characters; an error says what is missing.
    pub(super) fn model(&self) -> Result<(Model, BTreeMap<TokenId, String>, usize), String> {
        let mut tokens: Vec<(TokenId, Cow<'_, [u8]>)> = Vec::with_capacity(self.vocab.len());
        let mut by_name: HashMap<&str, TokenId> = HashMap::with_capacity(self.vocab.len());
        let mut bytes = [None; 256];
        let mut only_decoded = BTreeMap::new();
        let mut n_ids = 0;
        for (name, id) in self.vocab {
            if *id >= MAX_IDS {
                return Err(format!(
                    "the token {name:?} has the id {id}; ids must be below {MAX_IDS}"
                ));
            }
            n_ids = n_ids.max(id + 1);
            by_name.insert(name, *id);
            if let Some(byte) = byte_of(name) {
                bytes[usize::from(byte)] = Some(*id);
            } else if name.contains(' ') || name.is_empty() {
                // Spaces are ▁ before merging, so that no text has this token.
                only_decoded.insert(*id, name.to_string());
            } else {
                let text: Cow<'_, [u8]> = match text_of(name) {
                    Cow::Borrowed(text) => text.as_bytes().into(),
                    Cow::Owned(text) => text.into_bytes().into(),
                };
                tokens.push((*id, text));
            }
        }
        if !by_name.contains_key("\u{2581}") {
            return Err("byte_fallback without the token \"\u{2581}\" is not supported".to_owned());
        }
        let mut characters: Vec<(TokenId, [u8; 4], usize)> = Vec::new();
        for (id, text) in &tokens {
            if let Some(character) = one_character(text) {
                let mut buffer = [0; 4];
                let len = character.encode_utf8(&mut buffer).len();
                characters.push((*id, buffer, len));
            }
        }
        for byte in 0..=255_u8 {
            let Some(id) = bytes[usize::from(byte)] else {
                return Err(format!(
                    "byte_fallback needs the token \"<0x{byte:02X}>\", which is missing"
                ));
            };
            let is_character =
                characters.iter().any(|(_, buffer, len)| *len == 1 && buffer[0] == byte);
            if is_character {
                only_decoded.insert(id, char::from(byte).to_string());
            } else {
                tokens.push((id, vec![byte].into()));
            }
        }
        let mut joins = Joins { first: n_ids, ..Joins::default() };
        let of_byte = |byte: u8| {
            let alone = characters.iter().find(|(_, buffer, len)| *len == 1 && buffer[0] == byte);
            alone.map(|(id, ..)| *id).or(bytes[usize::from(byte)]).unwrap_or_default()
        };
        let of_byte: [TokenId; 256] = std::array::from_fn(|byte| of_byte(byte as u8));
        for (id, buffer, len) in &characters {
            joins.add(*id, &buffer[..*len], &of_byte);
        }
        let Joins { mut merges, starts, .. } = joins;
        let n_joins = merges.len();
        let mut expansions: Vec<(TokenId, Vec<u8>)> =
            starts.into_iter().map(|(b, id)| (id, b)).collect();
        expansions.sort_unstable();
        tokens.extend(expansions.iter().map(|(id, start)| (*id, Cow::Borrowed(&start[..]))));
        let all = tokens.iter().map(|(id, text)| (*id, &**text));
        let vocabulary = Vocabulary::new(all)?;
        self.add_merges(&by_name, &mut merges)?;
        let expand =
            |start: &Vec<u8>| start.iter().map(|&byte| of_byte[usize::from(byte)]).collect();
        let expansions = Expansions {
            first: n_ids,
            ids: expansions.iter().map(|(_, start)| expand(start)).collect(),
        };
        let model = Model::new(vocabulary, merges, Rules::default())?.with_expansions(expansions);
        Ok((model, only_decoded, n_joins))
    }

    /// Appends the merges of the file, but those of names that no text has.
    fn add_merges(
        &self,
        by_name: &HashMap<&str, TokenId>,
        merges: &mut Vec<Merge>,
    ) -> Result<(), String> {
        let mut joined = String::new();
        for (index, (left, right)) in self.merges.iter().enumerate() {
            if left.contains(' ') || right.contains(' ') {
                continue;
            }
            if let Some(name) = [left, right].into_iter().find(|name| byte_of(name).is_some()) {
                return Err(format!(
                    "merge {index} has the token {name:?} of a byte, which is not supported"
                ));
            }
            joined.clear();
            joined.extend([&**left, &**right]);
            let find = |name: &str| {
                by_name.get(name).copied().ok_or_else(|| {
                    format!("merge {index} needs the token {name:?}, which the vocabulary lacks")
                })
            };
            merges.push(Merge { left: find(left)?, right: find(right)?, result: find(&joined)? });
        }
        Ok(())
    }
}

/// Returns the character that `text` is.
fn one_character(text: &[u8]) -> Option<char> {
    if text.len() > 4 {
        return None;
    }
    let mut chars = std::str::from_utf8(text).ok()?.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// The merges that join the bytes of characters.
#[derive(Default)]
struct Joins {
    merges: Vec<Merge>,
    /// The starts of characters, with ids after those of the file.
    starts: BTreeMap<Vec<u8>, TokenId>,
    /// The id of the first start.
    first: TokenId,
}

impl Joins {
    /// Adds the merges that join `character` to the token `id`.
    fn add(&mut self, id: TokenId, character: &[u8], of_byte: &[TokenId; 256]) {
        let mut left = of_byte[usize::from(character[0])];
        for end in 2..=character.len() {
            let right = of_byte[usize::from(character[end - 1])];
            let next = self.first + self.starts.len() as TokenId;
            let mut is_new = end == character.len();
            let result = if is_new {
                id
            } else {
                let start = self.starts.entry(character[..end].to_vec()).or_insert_with(|| {
                    is_new = true;
                    next
                });
                *start
            };
            if is_new {
                self.merges.push(Merge { left, right, result });
            }
            left = result;
        }
    }
}
