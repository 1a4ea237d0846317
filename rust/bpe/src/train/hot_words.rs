//! [`HotWords`]: a small direct-mapped cache in front of the word table.
//!
//! ```text
//! for each word of up to 15 bytes:
//!     slot = slots[hash mod 16384]
//!     if slot has the word: slot.count += 1                      most words of a text
//!     else: move slot to the queue; slot = (word, 1)
//!     when the queue has 256 or more: look all up in the table, then add each
//! longer words: look all of a batch of 256 words up in the table, then add each
//! ```
//!
//! Few distinct words make up most of a text, and the cache fits the second-level cache; the table
//! does not. The lookups before are independent of each other, so their cache misses overlap, which
//! counts in tables of hundreds of megabytes (docs/log.md).

use super::word_table::{EMPTY, WordEntry, WordTable, hash_long};
use crate::vocab::piece_key::PieceKey;

/// Slots: 2^14 of 24 bytes are 384 KiB, which fit a second-level cache.
const SLOTS: usize = if cfg!(test) { 1 << 5 } else { 1 << 14 };
/// Words that are looked up together.
const BATCH: usize = 256;
/// Most words in the queue: it is emptied when the next batch might not fit.
const QUEUE: usize = 2 * BATCH;

/// Counts of words that are not yet in a table.
#[derive(Clone)]
pub(super) struct HotWords {
    slots: Box<[WordEntry; SLOTS]>,
    /// Words evicted from their slots.
    queue: Box<[WordEntry; QUEUE]>,
    /// The number of words in the queue.
    queued: usize,
    /// The long words of a batch: hash, start and end. They have no slots.
    long: Vec<(u64, usize, usize)>,
}

impl std::fmt::Debug for HotWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotWords").finish_non_exhaustive()
    }
}

impl Default for HotWords {
    fn default() -> Self {
        Self { slots: empty(), queue: empty(), queued: 0, long: Vec::new() }
    }
}

#[allow(clippy::unnecessary_box_returns)] // the array is too large for the stack
fn empty<const N: usize>() -> Box<[WordEntry; N]> {
    vec![EMPTY; N].into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([EMPTY; N]))
}

impl HotWords {
    /// Counts the words of `text` that end at `ends`, the first of which begins at `start`. All of
    /// them are in `table` only after [`Self::flush`].
    pub(super) fn add(
        &mut self,
        table: &mut WordTable,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
    ) {
        for ends in ends.chunks(BATCH) {
            for &end in ends {
                let length = end - start;
                // Always `Some`. Sliced here, the bounds of the read below cost one comparison.
                let Some(word) = text.get(start..) else { break };
                if !(1..=PieceKey::MAX_LEN).contains(&length) {
                    if length > 0 {
                        let hash = hash_long(&word[..length]);
                        self.long.push((hash, start, end));
                    }
                    start = end;
                    continue;
                }
                start = end;
                let key = PieceKey::read(word, 0, length);
                // Bits that select neither the part of a table nor, in a small one, the slot.
                let slot = &mut self.slots[(key.hash() >> 16) as usize % SLOTS];
                if slot.key == key {
                    slot.count += 1;
                } else {
                    self.queue[self.queued % QUEUE] = *slot;
                    self.queued += 1;
                    *slot = WordEntry { key, count: 1 };
                }
            }
            if !self.long.is_empty() {
                self.add_long(table, text);
            }
            if self.queued > QUEUE - BATCH {
                self.empty_queue(table);
            }
        }
    }

    /// Adds the long words of a batch of `text` to `table`.
    #[inline(never)]
    fn add_long(&mut self, table: &mut WordTable, text: &[u8]) {
        for &(hash, ..) in &self.long {
            table.prefetch_long(hash);
        }
        for (hash, start, end) in self.long.drain(..) {
            table.add_long(&text[start..end], hash, 1);
        }
    }

    /// Adds the words of the queue to `table`.
    #[inline(never)]
    fn empty_queue(&mut self, table: &mut WordTable) {
        let mut hashes = [0; QUEUE];
        let queue = &self.queue[..self.queued];
        for (entry, hash) in queue.iter().zip(&mut hashes) {
            *hash = entry.key.hash();
            table.prefetch_short(entry, *hash);
        }
        for (entry, &hash) in queue.iter().zip(&hashes) {
            table.add_short(entry, hash);
        }
        self.queued = 0;
    }

    /// Moves all words into `table`.
    pub(super) fn flush(&mut self, table: &mut WordTable) {
        self.empty_queue(table);
        for entry in &mut *self.slots {
            table.add_short(entry, entry.key.hash());
            *entry = EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_word_reaches_the_table(
            words in proptest::collection::vec("[a-d]{0,3}|[a-z]{1,18}", 0..2000),
            cut in 0..2000usize,
        ) {
            let text: String = words.concat();
            let mut ends = Vec::new();
            let mut expected: HashMap<Vec<u8>, u64> = HashMap::new();
            for word in &words {
                ends.push(ends.last().copied().unwrap_or(0) + word.len());
                if !word.is_empty() {
                    *expected.entry(word.clone().into()).or_default() += 1;
                }
            }
            let (mut hot_words, mut table) = (HotWords::default(), WordTable::default());
            let (one, two) = ends.split_at(cut.min(ends.len()));
            hot_words.add(&mut table, text.as_bytes(), 0, one);
            hot_words.add(&mut table, text.as_bytes(), one.last().copied().unwrap_or(0), two);
            hot_words.flush(&mut table);
            let mut counted = HashMap::new();
            table.for_each(|word, count| assert!(counted.insert(word.to_vec(), count).is_none()));
            prop_assert_eq!(counted, expected);
        }
    }
}
