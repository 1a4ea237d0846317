//! The bytes of every id, those of added tokens among them, and decoding with them.
//!
//! ```text
//! for each id:
//!     prefetch the slot of the 32nd id after it
//!     copy all 16 bytes of the id's slot to the output; advance by the length in its last byte
//!     if that is LONG: copy the bytes from where all tokens lie end to end
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use lslm_runtime::{Error, Result, TokenId};

use crate::added_tokens::AddedTokens;
use crate::encode::model::Model;
use crate::prefetch::prefetch;

/// The bytes of every id.
#[derive(Clone, Debug)]
pub(crate) struct TokenBytes {
    /// The bytes of all ids, end to end.
    bytes: Vec<u8>,
    /// By id: the offset of its bytes; one entry more than there are ids.
    starts: Vec<u32>,
    /// By id: its bytes once more, and in the last byte their number, 0 where no token has the id,
    /// or [`LONG`]. So decoding is one read and one write of 16 bytes for nearly every id.
    slots: Vec<[u8; SLOT]>,
}

/// The bytes of a slot: a token of up to 15 bytes and its length.
const SLOT: usize = 16;
/// In the last byte of a slot: the token has more than 15 bytes.
const LONG: u8 = u8::MAX;
/// The bytes that are decoded before they are appended to the output, so that it grows rarely.
const BLOCK: usize = 4096;
/// How many ids ahead slots are prefetched.
const PREFETCH_DISTANCE: usize = 32;

impl TokenBytes {
    /// Returns the bytes of all ids: of an added token the text of its content, of an id in `unspellable`
    /// its name, else what the vocabulary has.
    pub(crate) fn new(
        model: &Model,
        added: &AddedTokens,
        text_of: fn(&str) -> Cow<'_, str>,
        unspellable: &BTreeMap<TokenId, String>,
    ) -> Result<Self, String> {
        let after = |id: Option<TokenId>| id.map_or(0, |id| id + 1);
        let vocabulary = &model.vocabulary;
        let size = model
            .n_ids()
            .max(after(added.tokens.last().map(|token| token.id)))
            .max(after(unspellable.keys().next_back().copied()));
        let mut bytes = Vec::new();
        let mut starts = Vec::with_capacity(size as usize + 1);
        for id in 0..size {
            starts.push(bytes.len() as u32);
            match (added.by_id(id), unspellable.get(&id)) {
                (Some(token), _) => bytes.extend_from_slice(text_of(&token.content).as_bytes()),
                (None, Some(name)) => bytes.extend_from_slice(name.as_bytes()),
                (None, None) => bytes.extend_from_slice(vocabulary.get(id)),
            }
            if u32::try_from(bytes.len()).is_err() {
                return Err("the tokens have more than 4 GB together".to_owned());
            }
        }
        starts.push(bytes.len() as u32);
        let mut slots = Vec::with_capacity(size as usize);
        for pair in starts.windows(2) {
            let token = &bytes[pair[0] as usize..pair[1] as usize];
            let mut slot = [0; SLOT];
            if token.len() < SLOT {
                slot[..token.len()].copy_from_slice(token);
                slot[SLOT - 1] = token.len() as u8;
            } else {
                slot[SLOT - 1] = LONG;
            }
            slots.push(slot);
        }
        Ok(Self { bytes, starts, slots })
    }

    /// Returns one more than the largest id.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the bytes of `id`; `None` when no token has it.
    #[inline]
    pub(crate) fn get(&self, id: TokenId) -> Option<&[u8]> {
        let start = *self.starts.get(id as usize)?;
        let end = *self.starts.get(id as usize + 1)?;
        (start < end).then(|| &self.bytes[start as usize..end as usize])
    }

    /// Returns the error that no token has `id`.
    pub(crate) fn unknown(&self, id: TokenId) -> Error {
        let size = self.len();
        let hint = if (id as usize) < size { "is not used" } else { "is too large" };
        Error::UnknownToken(format!("the id {id} {hint}: this tokenizer's ids are below {size}"))
    }

    /// Appends the bytes of `ids` to `out`; an error for an id that no token has, with `out` as it
    /// was.
    pub(crate) fn decode_into(&self, ids: &[TokenId], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let mut block = [0; BLOCK + SLOT];
        let mut filled = 0;
        let mut ahead = ids.iter().skip(PREFETCH_DISTANCE);
        for &id in ids {
            if let Some(slot) = ahead.next().and_then(|&id| self.slots.get(id as usize)) {
                prefetch(slot);
            }
            let slot = self.slots.get(id as usize).unwrap_or(&[0; SLOT]);
            block[filled..filled + SLOT].copy_from_slice(slot);
            let len = slot[SLOT - 1];
            // Neither 0 nor LONG.
            if len.wrapping_sub(1) < LONG - 1 {
                filled += usize::from(len);
                if filled >= BLOCK {
                    out.extend_from_slice(&block[..filled]);
                    filled = 0;
                }
                continue;
            }
            out.extend_from_slice(&block[..filled]);
            filled = 0;
            let Some(bytes) = self.get(id) else {
                out.truncate(start);
                return Err(self.unknown(id));
            };
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&block[..filled]);
        Ok(())
    }
}
