//! Counts equal 64-bit hashes.

/// How often each 64-bit hash was added since the last [`HashCounts::clear`].
///
/// An open-addressing table with linear probing. The low bits of a key select its slot: the keys
/// are XXH3 hashes or products of them, which need no further mixing. At most half of the slots are
/// in use.
#[derive(Debug, Default)]
pub(crate) struct HashCounts {
    slots: Vec<CountedHash>,
    mask: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct CountedHash {
    key: u64,
    /// The position passed when the key was first added; [`MARKED`] once it is marked.
    first: u32,
    /// How often the key was added; 0 in an empty slot.
    count: u32,
}

/// Stands for the first position of a marked key.
const MARKED: u32 = u32::MAX;

/// What [`HashCounts::add`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    /// The slot of the key, valid until the next [`HashCounts::clear`].
    pub(crate) slot: u32,
    /// The position of the first addition of the key.
    pub(crate) first: u32,
    /// How often the key was added, this time included.
    pub(crate) count: u32,
}

impl HashCounts {
    /// Removes all keys and makes room for `expected` of them; more must not be added.
    pub(crate) fn clear(&mut self, expected: usize) {
        let size = (expected * 2).next_power_of_two().max(16);
        self.mask = size - 1;
        self.slots.clear();
        self.slots.resize(size, CountedHash::default());
    }

    /// Adds `key`, which occurs at `position`, and returns where and how often it occurred so far.
    #[inline]
    pub(crate) fn add(&mut self, key: u64, position: u32) -> Occurrence {
        let mut slot = key as usize & self.mask;
        loop {
            let entry = &mut self.slots[slot];
            if entry.count == 0 {
                *entry = CountedHash { key, first: position, count: 1 };
                return Occurrence { slot: slot as u32, first: position, count: 1 };
            }
            if entry.key == key {
                entry.count = entry.count.saturating_add(1);
                return Occurrence { slot: slot as u32, first: entry.first, count: entry.count };
            }
            slot = (slot + 1) & self.mask;
        }
    }

    /// Marks the key in `slot`, which must not be added afterwards; returns whether it was marked
    /// before.
    #[inline]
    pub(crate) fn mark(&mut self, slot: u32) -> bool {
        std::mem::replace(&mut self.slots[slot as usize].first, MARKED) == MARKED
    }

    /// Adds `key` and returns whether it was added before.
    #[inline]
    pub(crate) fn add_is_repeat(&mut self, key: u64) -> bool {
        self.add(key, 0).count > 1
    }
}
