//! The bytes of each id, and the id of given bytes.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use lslm_runtime::TokenId;

use crate::vocab::key_index::KeyIndex;
use crate::vocab::piece_key::PieceKey;

/// Ids must be below this, since tables by id are dense: 16 million ids take some hundred MB. The
/// largest published vocabulary has 2^18 ids.
pub(crate) const MAX_IDS: u32 = (1 << 24) - 1;

/// The bytes of every id, end to end, and an index from bytes to ids.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    bytes: Vec<u8>,
    /// By id: the offset of its bytes; one entry more than there are ids.
    starts: Vec<u32>,
    /// The length of the longest token, in bytes.
    max_len: usize,
    /// Finds tokens of at most [`PieceKey::MAX_LEN`] bytes in `keys`.
    short: KeyIndex,
    /// By id: the key of its bytes; empty for longer ones and for ids without a token.
    keys: Vec<PieceKey>,
    /// Finds the longer tokens, by a hash of their bytes.
    long: HashTable<TokenId>,
}

const HASHER: FixedState = FixedState::with_seed(0x6c73_6c6d);

impl Vocabulary {
    /// Returns the vocabulary of `tokens`, each with its id; an error names the two that conflict.
    ///
    /// Ids need not be contiguous; an id without a token has no bytes.
    pub(crate) fn new<'a>(
        tokens: impl Iterator<Item = (TokenId, &'a [u8])> + Clone,
    ) -> Result<Self, String> {
        let (mut count, mut size, mut id_end, mut max_len) = (0_usize, 0_usize, 0_u32, 0);
        for (id, bytes) in tokens.clone() {
            if id >= MAX_IDS {
                return Err(format!("id {id} is too large; ids must be below {MAX_IDS}"));
            }
            count += 1;
            size += bytes.len();
            id_end = id_end.max(id + 1);
            max_len = max_len.max(bytes.len());
        }
        if u32::try_from(size).is_err() {
            return Err(format!("the tokens have {size} bytes together; 4 GB is the limit"));
        }
        let mut lengths = vec![0_u32; id_end as usize + 1];
        let mut is_sorted = true;
        let mut previous = None;
        for (id, bytes) in tokens.clone() {
            if bytes.is_empty() {
                return Err(format!("the token with id {id} is empty"));
            }
            if lengths[id as usize] != 0 {
                return Err(format!("two tokens have the id {id}"));
            }
            lengths[id as usize] = bytes.len() as u32;
            is_sorted &= previous < Some(id);
            previous = Some(id);
        }
        // The exclusive prefix sum turns lengths into starts.
        let mut total = 0;
        for entry in &mut lengths {
            total += std::mem::replace(entry, total);
        }
        let starts = lengths;
        let mut flat = Vec::with_capacity(size);
        if is_sorted {
            tokens.for_each(|(_, bytes)| flat.extend_from_slice(bytes));
        } else {
            flat.resize(size, 0);
            for (id, bytes) in tokens {
                let start = starts[id as usize] as usize;
                flat[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
        let mut vocabulary = Self {
            bytes: flat,
            starts,
            max_len,
            short: KeyIndex::with_capacity(count),
            keys: Vec::new(),
            long: HashTable::new(),
        };
        vocabulary.build_index()?;
        Ok(vocabulary)
    }

    fn build_index(&mut self) -> Result<(), String> {
        let mut long = std::mem::take(&mut self.long);
        let mut keys = Vec::with_capacity(self.len() as usize);
        for id in 0..self.len() {
            let bytes = self.get(id);
            let is_short = (1..=PieceKey::MAX_LEN).contains(&bytes.len());
            // Tokens lie end to end, so this is mostly one 16-byte read.
            let start = self.starts[id as usize] as usize;
            keys.push(if is_short {
                PieceKey::read(&self.bytes, start, bytes.len())
            } else {
                PieceKey::EMPTY
            });
        }
        self.keys = keys;
        for id in 0..self.len() {
            let bytes = self.get(id);
            if bytes.is_empty() {
                continue;
            }
            let key = self.keys[id as usize];
            if key != PieceKey::EMPTY {
                let keys = &self.keys;
                let before = self.short.insert(key.hash(), id, |id| keys[id as usize] == key);
                if let Some(other) = before {
                    return Err(self.duplicate(other, id));
                }
                continue;
            }
            let hash = HASHER.hash_one(bytes);
            if let Some(&other) = long.find(hash, |&other| self.get(other) == bytes) {
                return Err(self.duplicate(other, id));
            }
            long.insert_unique(hash, id, |&id| HASHER.hash_one(self.get(id)));
        }
        self.long = long;
        Ok(())
    }

    fn duplicate(&self, one: TokenId, other: TokenId) -> String {
        let text = String::from_utf8_lossy(self.get(one));
        format!("the ids {one} and {other} both stand for {text:?}")
    }

    /// Returns one more than the largest id.
    pub(crate) fn len(&self) -> TokenId {
        self.starts.len() as TokenId - 1
    }

    /// Returns the bytes of `id`; empty when no token has this id.
    pub(crate) fn get(&self, id: TokenId) -> &[u8] {
        let id = id as usize;
        match (self.starts.get(id), self.starts.get(id + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Returns the id whose bytes are `bytes`.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<TokenId> {
        if bytes.is_empty() || bytes.len() > self.max_len {
            return None;
        }
        if bytes.len() <= PieceKey::MAX_LEN {
            let key = PieceKey::new(bytes);
            return self.short.find(key.hash(), |id| self.keys[id as usize] == key);
        }
        self.long.find(HASHER.hash_one(bytes), |&id| self.get(id) == bytes).copied()
    }

    /// Iterates over the ids that have bytes, with these, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TokenId, &[u8])> + Clone {
        (0..self.len()).map(|id| (id, self.get(id))).filter(|(_, bytes)| !bytes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(tokens: &[(TokenId, &str)]) -> Result<Vocabulary, String> {
        Vocabulary::new(tokens.iter().map(|&(id, text)| (id, text.as_bytes())))
    }

    #[test]
    fn ids_may_have_gaps_and_come_in_any_order() {
        let vocabulary = make(&[(5, "abc"), (0, "x"), (2, "yz")]).unwrap();
        assert_eq!(vocabulary.len(), 6);
        assert_eq!(vocabulary.get(5), b"abc");
        assert_eq!(vocabulary.get(1), b"");
        assert_eq!(vocabulary.get(u32::MAX), b"");
        assert_eq!(vocabulary.find(b"yz"), Some(2));
        assert_eq!(vocabulary.find(b"zy"), None);
        assert_eq!(vocabulary.iter().map(|(id, _)| id).collect::<Vec<_>>(), [0, 2, 5]);
    }

    #[test]
    fn errors_name_the_conflicting_ids() {
        assert!(make(&[(1, "a"), (1, "b")]).unwrap_err().contains("id 1"));
        assert!(make(&[(1, "a"), (2, "a")]).unwrap_err().contains("1 and 2"));
        assert!(make(&[(u32::MAX, "a")]).unwrap_err().contains("too large"));
        assert!(make(&[(3, "")]).unwrap_err().contains("id 3 is empty"));
    }
}
