//! Exact duplicates: texts that are equal after cleaning.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// What stands for a text among all others: XXH3 of its bytes, 128 bits, the same everywhere. Two
/// different texts among 10^12 share one with a chance of about 10^-15.
pub fn content_hash(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

/// Where a document stands in the input: it orders documents whoever reads them, and when.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct DocumentPosition {
    /// The number of its partition.
    pub partition: u64,
    /// Its number within that.
    pub index: u64,
}

const SHARDS: usize = 64;

/// Which place has each text first; shared between threads.
///
/// All places are offered, in any order; after that, [`ExactDedup::is_first`] gives the same answers
/// for any order and number of threads. About 50 bytes of memory per different text.
#[derive(Debug)]
pub struct ExactDedup {
    shards: Vec<Mutex<HashMap<u128, DocumentPosition, BuildHasherDefault<Taken>>>>,
}

impl Default for ExactDedup {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl ExactDedup {
    /// Says that the text with `hash` is at `place`; returns whether no earlier place is known yet.
    pub fn insert(&self, hash: u128, place: DocumentPosition) -> bool {
        let mut shard = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        let first = shard.entry(hash).or_insert(place);
        *first = place.min(*first);
        *first == place
    }

    /// Whether `place` is the first of all offered for `hash`.
    pub fn is_first(&self, hash: u128, place: DocumentPosition) -> bool {
        let shard = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&hash) == Some(&place)
    }

    /// How many different texts were offered.
    pub fn len(&self) -> usize {
        let size = |shard: &Mutex<HashMap<_, _, _>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.shards.iter().map(size).sum()
    }

    /// Whether none was offered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(
        &self,
        hash: u128,
    ) -> &Mutex<HashMap<u128, DocumentPosition, BuildHasherDefault<Taken>>> {
        &self.shards[(hash >> 64) as usize % SHARDS]
    }
}

/// Takes the key, which is a hash already, as its own hash.
#[derive(Debug, Default)]
struct Taken(u64);

impl Hasher for Taken {
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
    fn the_hash_is_the_published_one() {
        // XXH3_128bits of nothing and of "abc", as xxhsum 0.8 prints them
        assert_eq!(content_hash(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(content_hash("abc"), 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950);
    }

    proptest! {
        #[test]
        fn the_first_place_wins_in_any_order(
            texts in proptest::collection::vec((0_u8..6, 0_u64..3), 0..40),
            order in any::<u64>(),
        ) {
            let documents: Vec<(u128, DocumentPosition)> = texts
                .iter()
                .enumerate()
                .map(|(index, (text, partition))| {
                    let place = DocumentPosition { partition: *partition, index: index as u64 };
                    (content_hash(&text.to_string()), place)
                })
                .collect();
            let dedup = ExactDedup::default();
            let mut shuffled = documents.clone();
            shuffled.sort_by_key(|(hash, place)| {
                (*hash as u64 ^ place.index).wrapping_mul(order | 1)
            });
            for (hash, place) in shuffled {
                dedup.insert(hash, place);
            }
            for (hash, place) in &documents {
                let first = documents.iter().filter(|(h, _)| h == hash).map(|(_, p)| p).min();
                prop_assert_eq!(dedup.is_first(*hash, *place), first == Some(place));
            }
        }
    }
}
