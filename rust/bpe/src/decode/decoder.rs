//! From ids back to bytes and text.

use std::collections::BTreeMap;

use lslm_runtime::{Error, Result, Task, threads};
use rayon::prelude::*;

use crate::TokenId;
use crate::added_tokens::Added;
use crate::prefetch::prefetch;
use crate::tokenizer::Tokenizer;
use crate::vocab::vocabulary::Vocabulary;

/// The bytes of all ids, those of added tokens among them, laid end to end.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    /// The same once more, so that decoding is one read and one write of 16 bytes for nearly every
    /// id: its bytes, and in the last place their number, or [`LARGE`] when they are more than 15.
    slots: Vec<[u8; SLOT]>,
}

const SLOT: usize = 16;
const LARGE: u8 = u8::MAX;
/// Bytes are gathered in blocks, which end anywhere; the output grows by whole blocks.
const BLOCK: usize = 4096;
/// How many ids before its turn the memory of one is asked for.
const AHEAD: usize = 32;

impl Table {
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        added: &Added,
        odd: &BTreeMap<TokenId, String>,
    ) -> Result<Self, String> {
        let past = |id: Option<TokenId>| id.map_or(0, |id| id + 1);
        let size = vocabulary
            .len()
            .max(past(added.tokens.last().map(|token| token.id)))
            .max(past(odd.keys().next_back().copied()));
        let mut bytes = Vec::new();
        let mut starts = Vec::with_capacity(size as usize + 1);
        for id in 0..size {
            starts.push(bytes.len() as u32);
            match (added.by_id(id), odd.get(&id)) {
                (Some(token), _) => bytes.extend_from_slice(token.content.as_bytes()),
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
                slot[SLOT - 1] = LARGE;
            }
            slots.push(slot);
        }
        Ok(Self { bytes, starts, slots })
    }

    /// One more than the largest id.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of `id`; `None` when no token has it.
    #[inline]
    pub(crate) fn get(&self, id: TokenId) -> Option<&[u8]> {
        let start = *self.starts.get(id as usize)?;
        let end = *self.starts.get(id as usize + 1)?;
        (start < end).then(|| &self.bytes[start as usize..end as usize])
    }
}

impl Tokenizer {
    /// Appends the bytes that `ids` stand for to `out`; [`Error::UnknownToken`] for an id that no
    /// token has, with `out` as it was.
    pub fn decode_into(&self, ids: &[TokenId], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let mut block = [0; BLOCK + SLOT];
        let mut filled = 0;
        let mut coming = ids.iter().skip(AHEAD);
        for &id in ids {
            if let Some(slot) = coming.next().and_then(|&id| self.0.table.slots.get(id as usize)) {
                prefetch(slot);
            }
            // zero bytes: no token has this id
            let slot = self.0.table.slots.get(id as usize).unwrap_or(&[0; SLOT]);
            block[filled..filled + SLOT].copy_from_slice(slot);
            let length = slot[SLOT - 1];
            if length.wrapping_sub(1) < LARGE - 1 {
                filled += usize::from(length);
                if filled >= BLOCK {
                    out.extend_from_slice(&block[..filled]);
                    filled = 0;
                }
                continue;
            }
            out.extend_from_slice(&block[..filled]);
            filled = 0;
            let Some(bytes) = self.0.table.get(id) else {
                out.truncate(start);
                return Err(self.unknown(id));
            };
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&block[..filled]);
        Ok(())
    }

    /// The bytes of several sequences: `ids` is cut at `offsets`, whose first is 0 and whose last
    /// is the number of ids. The same for any number of `threads`.
    pub fn decode_batch(
        &self,
        ids: &[TokenId],
        offsets: &[i64],
        threads: Option<usize>,
        task: &Task,
    ) -> Result<Vec<Vec<u8>>> {
        let threads = threads::resolve(threads)?;
        let whole = offsets.first() == Some(&0)
            && offsets.last() == Some(&(ids.len() as i64))
            && offsets.is_sorted();
        if !whole {
            return Err(Error::invalid(format!(
                "offsets must ascend from 0 to {}, the number of ids",
                ids.len()
            )));
        }
        task.begin("decode", "ids", Some(ids.len() as u64));
        let decode = |pair: &[i64]| {
            let part = &ids[pair[0] as usize..pair[1] as usize];
            let mut out = Vec::new();
            self.decode_into(part, &mut out)?;
            task.advance(part.len() as u64)?;
            Ok(out)
        };
        if threads == 1 || ids.len() < 1 << 16 {
            return offsets.windows(2).map(decode).collect();
        }
        threads::pool(threads)?
            .install(|| offsets.par_windows(2).with_min_len(16).map(decode).collect())
    }

    /// A decoder that takes ids as they come.
    pub fn decoder(&self) -> StreamDecoder {
        StreamDecoder { tokenizer: self.clone(), pending: Vec::new() }
    }
}

/// Decodes ids as they come, and gives out text only in whole characters.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    /// the start of a character whose end has not come yet, at most 3 bytes
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// The text that `ids` complete. The start of a character is held back until the rest comes;
    /// bytes that no continuation makes a character of become U+FFFD at once.
    ///
    /// With an [`Error::UnknownToken`] the decoder is as it was before.
    pub fn push(&mut self, ids: &[TokenId]) -> Result<String> {
        let held = self.pending.len();
        let mut bytes = std::mem::take(&mut self.pending);
        if let Err(error) = self.tokenizer.decode_into(ids, &mut bytes) {
            bytes.truncate(held);
            self.pending = bytes;
            return Err(error);
        }
        let ready = bytes.len() - unfinished(&bytes);
        self.pending = bytes.split_off(ready);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of what is still held back: U+FFFD if the last character never came to its end.
    pub fn finish(&mut self) -> String {
        let pending = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&pending).into_owned()
    }
}

/// How many bytes at the end of `bytes` are the start of a character that may yet be completed.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len() - bytes.len().min(3)..];
    (1..=tail.len())
        .rev()
        .find(|&length| {
            let end = &tail[tail.len() - length..];
            // "unexpected end" is how the validator says that more bytes could make it right
            std::str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_characters_are_seen() {
        for (bytes, held) in [
            (&b"abc"[..], 0),
            (b"a\xC3", 1),
            (b"a\xE4\xB8", 2),
            (b"\xF0\x9F\x98", 3),
            (b"\xF0\x9F\x98\x80", 0),
            (b"\xE4\xB8\xADa", 0),
            (b"\xFF", 0),
            (b"\xE0\x80", 0),
            (b"\xED\xA0", 0),
            (b"", 0),
        ] {
            assert_eq!(unfinished(bytes), held, "{bytes:?}");
        }
    }
}
