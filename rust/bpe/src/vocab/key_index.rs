//! A hash index from keys to their numbers, in 4 bytes a slot.
//!
//! The keys themselves are kept elsewhere, in the order of their numbers. A slot of 32 bits holds a
//! number and, in its remaining bits, a part of the hash; the caller compares the key. Size matters
//! more than the number of probes: the tables of a vocabulary share a processor's caches with the
//! text and with other programs, and a read that misses them takes as long as some hundred
//! instructions.

/// An open-addressing hash table of numbers below 2^24, with linear probing.
#[derive(Clone, Debug)]
pub(crate) struct KeyIndex {
    slots: Vec<u32>,
    /// Ones in the low bits of a slot, which hold the number.
    number_mask: u32,
}

const EMPTY: u32 = u32::MAX;

impl KeyIndex {
    /// Returns an empty index for `count` keys with numbers below `limit`, at most 2^24 - 1.
    pub(crate) fn new(count: usize, limit: usize) -> Self {
        // At most four fifths full, so that probe sequences stay short.
        let size = (count + count / 4 + 1).next_power_of_two().max(16);
        let bits = usize::BITS - limit.max(1).leading_zeros();
        Self { slots: vec![EMPTY; size], number_mask: u32::MAX >> (32 - bits) }
    }

    /// Returns the number with this hash for which `is_key` holds.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        self.probe(hash, is_key).ok().map(|slot| self.slots[slot] & self.number_mask)
    }

    /// Returns the slot of the number with this hash for which `is_key` holds, or as an error the
    /// empty slot where it belongs.
    #[inline(always)]
    fn probe(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let tag = hash as u32 & !self.number_mask;
        let mut slot = (hash >> 32) as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == EMPTY {
                return Err(slot);
            }
            if entry & !self.number_mask == tag && is_key(entry & self.number_mask) {
                return Ok(slot);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Sets the number of a key and returns the one that it had before.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        number: u32,
        is_key: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let found = self.probe(hash, is_key);
        let entry = (hash as u32 & !self.number_mask) | number;
        match found {
            Ok(slot) => {
                let before = std::mem::replace(&mut self.slots[slot], entry);
                Some(before & self.number_mask)
            }
            Err(slot) => {
                self.slots[slot] = entry;
                None
            }
        }
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
            let mut index = KeyIndex::new(keys.len(), keys.len());
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
