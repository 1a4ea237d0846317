//! Counting equal hashes: an open table whose keys are already well mixed.

/// How often each 64-bit hash was added since the last [`Table::clear`].
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    mask: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    count: u32,
    seen: bool,
}

impl Table {
    /// Empties the table and makes room for `expected` hashes.
    pub(crate) fn clear(&mut self, expected: usize) {
        let size = (expected * 2).next_power_of_two().max(16);
        self.mask = size - 1;
        self.entries.clear();
        self.entries.resize(size, Entry::default());
    }

    /// Adds `key`; returns its place, which stays until the next `clear`.
    #[inline]
    pub(crate) fn add(&mut self, key: u64) -> u32 {
        let mut place = key as usize & self.mask;
        loop {
            let entry = &mut self.entries[place];
            if entry.count == 0 {
                *entry = Entry { key, count: 1, seen: false };
                return place as u32;
            }
            if entry.key == key {
                entry.count = entry.count.saturating_add(1);
                return place as u32;
            }
            place = (place + 1) & self.mask;
        }
    }

    /// How often the hash at `place` was added.
    #[inline]
    pub(crate) fn count(&self, place: u32) -> u32 {
        self.entries[place as usize].count
    }

    /// Marks the hash at `place`; returns whether it was marked before.
    #[inline]
    pub(crate) fn mark(&mut self, place: u32) -> bool {
        std::mem::replace(&mut self.entries[place as usize].seen, true)
    }

    /// Adds `key`; returns whether it was there before.
    #[inline]
    pub(crate) fn repeats(&mut self, key: u64) -> bool {
        let place = self.add(key);
        self.count(place) > 1
    }
}
