//! Finds exact duplicates: texts that are equal after cleaning.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Returns the hash that identifies a text: XXH3 of its bytes, 128 bits, equal on every machine.
///
/// That any two of 10^12 different texts share a hash has a probability of about 10^-15.
pub fn content_hash(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

/// The position of a document in the input. It orders documents independently of threads.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct DocumentPosition {
    /// The number of its partition, from 0.
    pub partition: u64,
    /// Its number within the partition, from 0.
    pub index: u64,
}

/// Maps, each with a lock of its own. 64 locks are enough that threads seldom wait for one another.
const N_SHARDS: usize = 64;

/// The map of one shard, from hashes of texts to their first positions.
type FirstPositions = HashMap<u128, DocumentPosition, BuildHasherDefault<PassThroughHasher>>;

/// The first position of each text; threads can share one.
///
/// Insert every document, in any order and from any number of threads; afterwards
/// [`is_first`](Self::is_first) returns the same answers whatever the order was. Memory: about 50
/// bytes for each distinct text.
///
/// ```
/// use lslm_clean::{DocumentPosition, ExactDedup, content_hash};
///
/// let dedup = ExactDedup::default();
/// let position = |index| DocumentPosition { partition: 0, index };
/// for (index, text) in ["one", "two", "one"].iter().enumerate() {
///     dedup.insert(content_hash(text), position(index as u64));
/// }
/// assert!(dedup.is_first(content_hash("one"), position(0)));
/// assert!(!dedup.is_first(content_hash("one"), position(2)));
/// assert_eq!(dedup.len(), 2);
/// ```
#[derive(Debug)]
pub struct ExactDedup {
    shards: Vec<Mutex<FirstPositions>>,
}

impl Default for ExactDedup {
    fn default() -> Self {
        Self { shards: (0..N_SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl ExactDedup {
    /// Inserts the text with `hash` at `position`; returns whether no earlier position was inserted
    /// so far.
    pub fn insert(&self, hash: u128, position: DocumentPosition) -> bool {
        let mut shard = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        let first = shard.entry(hash).or_insert(position);
        *first = position.min(*first);
        *first == position
    }

    /// Returns whether `position` is the first of all that were inserted for `hash`.
    pub fn is_first(&self, hash: u128, position: DocumentPosition) -> bool {
        let shard = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&hash) == Some(&position)
    }

    /// Returns the number of distinct texts that were inserted.
    pub fn len(&self) -> usize {
        let size = |shard: &Mutex<HashMap<_, _, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.shards.iter().map(size).sum()
    }

    /// Returns whether no text was inserted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the shard of `hash`. The high half selects it, the low half the slot within its map.
    fn shard(&self, hash: u128) -> &Mutex<FirstPositions> {
        &self.shards[(hash >> 64) as usize % N_SHARDS]
    }
}

/// Uses the key, which is a hash already, as its own hash.
#[derive(Debug, Default)]
struct PassThroughHasher(u64);

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_equals_that_of_xxhsum() {
        // XXH3_128bits of the empty text and of "abc", as xxhsum 0.8 prints them
        assert_eq!(content_hash(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(content_hash("abc"), 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950);
    }

    proptest! {
        #[test]
        fn the_first_position_is_found_in_any_order(
            texts in proptest::collection::vec((0_u8..6, 0_u64..3), 0..40),
            order in any::<u64>(),
        ) {
            let documents: Vec<(u128, DocumentPosition)> = texts
                .iter()
                .enumerate()
                .map(|(index, (text, partition))| {
                    let position = DocumentPosition { partition: *partition, index: index as u64 };
                    (content_hash(&text.to_string()), position)
                })
                .collect();
            let dedup = ExactDedup::default();
            let mut shuffled = documents.clone();
            shuffled.sort_by_key(|(hash, position)| {
                (*hash as u64 ^ position.index).wrapping_mul(order | 1)
            });
            for (hash, position) in shuffled {
                dedup.insert(hash, position);
            }
            for (hash, position) in &documents {
                let first = documents.iter().filter(|(h, _)| h == hash).map(|(_, p)| p).min();
                prop_assert_eq!(dedup.is_first(*hash, *position), first == Some(position));
            }
        }
    }
}
