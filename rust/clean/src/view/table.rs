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
    /// What was given with the key when it came first.
    first: u32,
    /// How often the key was added; zero for an empty entry.
    count: u32,
}

impl Table {
    /// Empties the table and makes room for `expected` hashes.
    pub(crate) fn clear(&mut self, expected: usize) {
        let size = (expected * 2).next_power_of_two().max(16);
        self.mask = size - 1;
        self.entries.clear();
        self.entries.resize(size, Entry::default());
    }

    /// Adds `key`, which comes from `position`; returns its place, which stays until the next
    /// `clear`, the position that it came from first, and how often it was added by now.
    #[inline]
    pub(crate) fn add(&mut self, key: u64, position: u32) -> (u32, u32, u32) {
        let mut place = key as usize & self.mask;
        loop {
            let entry = &mut self.entries[place];
            if entry.count == 0 {
                *entry = Entry { key, first: position, count: 1 };
                return (place as u32, position, 1);
            }
            if entry.key == key {
                entry.count = entry.count.saturating_add(1);
                return (place as u32, entry.first, entry.count);
            }
            place = (place + 1) & self.mask;
        }
    }

    /// Marks the key at `place`, which can then not be added any more; returns whether it was
    /// marked before.
    #[inline]
    pub(crate) fn mark(&mut self, place: u32) -> bool {
        const MARK: u32 = u32::MAX;
        std::mem::replace(&mut self.entries[place as usize].first, MARK) == MARK
    }

    /// Adds `key`; returns whether it was there before.
    #[inline]
    pub(crate) fn repeats(&mut self, key: u64) -> bool {
        self.add(key, 0).2 > 1
    }
}
