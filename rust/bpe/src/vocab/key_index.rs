//! A hash index from keys to their numbers, for keys that are kept elsewhere.

use hashbrown::HashTable;

/// The numbers of keys by hash; the caller compares the key that a number stands for.
#[derive(Clone, Debug)]
pub(crate) struct KeyIndex {
    numbers: HashTable<u32>,
    /// The number of keys that fit, so that no key is hashed again to make room.
    capacity: usize,
}

impl KeyIndex {
    /// Returns an empty index for `capacity` keys.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { numbers: HashTable::with_capacity(capacity), capacity }
    }

    /// Returns the number with this hash for which `is_key` holds.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        self.numbers.find(hash, |&number| is_key(number)).copied()
    }

    /// Sets the number of a key and returns the one that it had before.
    ///
    /// # Panics
    /// If the key is new and `capacity` keys are there already.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        number: u32,
        mut is_key: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if let Some(found) = self.numbers.find_mut(hash, |&other| is_key(other)) {
            return Some(std::mem::replace(found, number));
        }
        assert!(self.numbers.len() < self.capacity, "more keys than the index was made for");
        self.numbers.insert_unique(hash, number, |_| unreachable!("there is room"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::hash;

    #[test]
    fn every_key_is_found_even_when_all_hashes_collide() {
        for hash in [hash::fibonacci, |key| key % 7, |_| u64::MAX] {
            let keys: Vec<u64> = (0..2000).map(|i| i * 3).collect();
            let mut index = KeyIndex::with_capacity(keys.len());
            for (number, &key) in (0..).zip(&keys) {
                assert_eq!(index.insert(hash(key), number, |i| keys[i as usize] == key), None);
            }
            for (number, &key) in (0..).zip(&keys) {
                assert_eq!(index.find(hash(key), |i| keys[i as usize] == key), Some(number));
                assert_eq!(index.find(hash(key + 1), |i| keys[i as usize] == key + 1), None);
            }
            assert_eq!(index.insert(hash(keys[5]), 7, |i| keys[i as usize] == keys[5]), Some(5));
            assert_eq!(index.find(hash(keys[5]), |i| i == 7), Some(7));
        }
    }
}
