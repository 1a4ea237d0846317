//! A set of numbered keys, found by hash, as small as it can be.
//!
//! The keys themselves are kept elsewhere, in the order of their numbers. A slot of 32 bits has a
//! number and, in the bits that are left, a part of the hash; whoever asks compares the key. Size
//! matters more than the number of steps: what a vocabulary needs has to share a processor's caches
//! with the text and with other programs, and outside of them an access takes as long as some
//! hundred instructions.

/// Finds numbers below 2^24 by the hashes of their keys.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    slots: Vec<u32>,
    /// the bits of a slot that are the number
    number: u32,
}

const EMPTY: u32 = u32::MAX;

impl Index {
    /// Room for `count` keys with numbers below `below`, at most 2^24 - 1.
    pub(crate) fn new(count: usize, below: usize) -> Self {
        // four fifths full at most
        let size = (count + count / 4 + 1).next_power_of_two().max(16);
        let bits = usize::BITS - below.max(1).leading_zeros();
        Self { slots: vec![EMPTY; size], number: u32::MAX >> (32 - bits) }
    }

    /// The number with this hash for which `is` holds.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.search(hash, is).ok().map(|place| self.slots[place] & self.number)
    }

    /// The place of the number with this hash for which `is` holds, or of the free slot for it.
    #[inline(always)]
    fn search(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let tag = hash as u32 & !self.number;
        let mut place = (hash >> 32) as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot == EMPTY {
                return Err(place);
            }
            if slot & !self.number == tag && is(slot & self.number) {
                return Ok(place);
            }
            place = (place + 1) & mask;
        }
    }

    /// Gives a key a number, and returns the one that it had before.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        number: u32,
        is: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let found = self.search(hash, is);
        let slot = (hash as u32 & !self.number) | number;
        match found {
            Ok(place) => {
                let before = std::mem::replace(&mut self.slots[place], slot);
                Some(before & self.number)
            }
            Err(place) => {
                self.slots[place] = slot;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whatever_their_hashes() {
        for hash in
            [|key: u64| key.wrapping_mul(0x9E37_79B9_7F4A_7C15), |key| key % 7, |_| u64::MAX]
        {
            let keys: Vec<u64> = (0..2000).map(|i| i * 3).collect();
            let mut index = Index::new(keys.len(), keys.len());
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
