//! Lays the distinct words out in shards, sorted by count.
//!
//! ```text
//! slots of a shard:  WALL words of the largest count, each followed by WALL | words of the next … |
//! counts of a shard: (where the words of each count end, count)
//! word i goes to shard i mod n_shards, into the next free slots of its count
//! ```
//!
//! So the count at a position is found in a short table, and the large counts, where most merges
//! happen, are near each other.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use lslm_runtime::{Error, Result, Task, TokenId};

use super::shard::{Shard, Slot};
use super::word_counts::WordCounts;

/// Fewest slots of a shard, if there are several: 1 MB of 16-bit ids.
const MIN_SHARD: usize = if cfg!(test) { 64 } else { 1 << 19 };
/// Most slots of a shard, in which positions have 32 bits.
const MAX_SHARD: usize = u32::MAX as usize;
/// Bytes of memory for each slot while merging: 2 or 4 for the id, 4 for each position of a pair of
/// the round, and about 50 for each distinct pair while a round begins. Measured on text of several
/// languages: 10 on average, and always below 16.
const BYTES_PER_SLOT: usize = 16;
/// Words between two checks of the task for cancellation: some milliseconds of work.
const CHECK_STRIDE: usize = 1 << 18;

/// Returns the words in shards for `threads` threads, each with its words sorted by count.
///
/// [`Error::Invalid`] if the estimated memory exceeds `memory`.
pub(super) fn lay_out<T: Slot>(
    words: &WordCounts,
    bytes: &[TokenId; 256],
    threads: usize,
    memory: Option<u64>,
    task: &Task,
) -> Result<Vec<Shard<T>>> {
    let mut total = 0;
    each_mergeable(words, task, |word, _| total += word.len() + 1)?;
    check_memory(total, words, memory)?;
    let n_shards = (total / MIN_SHARD).clamp(1, threads).max(total / (MAX_SHARD / 2) + 1);

    let mut sizes = vec![HashMap::<u64, usize, FixedState>::default(); n_shards];
    let mut turn = 0;
    each_mergeable(words, task, |word, count| {
        *sizes[turn % n_shards].entry(count).or_default() += word.len() + 1;
        turn += 1;
    })?;
    let mut plans = sizes.into_iter().map(Plan::<T>::new).collect::<Result<Vec<_>>>()?;
    let mut turn = 0;
    each_mergeable(words, task, |word, count| {
        plans[turn % n_shards].place(word, count, bytes);
        turn += 1;
    })?;
    Ok(plans.into_iter().map(|plan| Shard::new(plan.slots, plan.counts)).collect())
}

/// Calls `f` with each word that has a pair, and its count.
fn each_mergeable(words: &WordCounts, task: &Task, mut f: impl FnMut(&[u8], u64)) -> Result<()> {
    let mut n_seen = 0_usize;
    words.for_each(|word, count| {
        if word.len() > 1 && count > 0 {
            f(word, count);
        }
        n_seen += 1;
        if n_seen.is_multiple_of(CHECK_STRIDE) { task.check() } else { Ok(()) }
    })
}

fn check_memory(n_slots: usize, words: &WordCounts, memory: Option<u64>) -> Result<()> {
    let need = (n_slots * BYTES_PER_SLOT) as u64;
    match memory.filter(|memory| *memory < need) {
        None => Ok(()),
        Some(memory) => Err(Error::invalid(format!(
            "memory = {memory}: to merge these {} distinct words takes about {} MB; give that \
             much, or train on a sample with sample_bytes",
            words.len(),
            need.div_ceil(1_000_000)
        ))),
    }
}

/// A shard while it is filled.
struct Plan<T> {
    slots: Vec<T>,
    counts: Vec<(u32, u64)>,
    /// The next free slot of each count.
    starts: HashMap<u64, usize, FixedState>,
}

impl<T: Slot> Plan<T> {
    /// Returns an empty shard with room for words that take `sizes[count]` slots.
    fn new(sizes: HashMap<u64, usize, FixedState>) -> Result<Self> {
        let mut sizes: Vec<(u64, usize)> = sizes.into_iter().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut end = 1;
        let mut counts = Vec::with_capacity(sizes.len());
        let mut starts: HashMap<u64, usize, FixedState> = HashMap::default();
        for (count, size) in sizes {
            starts.insert(count, end);
            end += size;
            let end = u32::try_from(end).map_err(|_| {
                Error::invalid("one word is longer than 4 GB: split it, or use another pattern")
            })?;
            counts.push((end, count));
        }
        Ok(Self { slots: vec![T::WALL; end], counts, starts })
    }

    /// Writes the bytes of `word` into the next free slots of `count`.
    fn place(&mut self, word: &[u8], count: u64, bytes: &[TokenId; 256]) {
        if let Some(start) = self.starts.get_mut(&count) {
            let slots = &mut self.slots[*start..*start + word.len()];
            for (slot, &byte) in slots.iter_mut().zip(word) {
                *slot = T::new(bytes[usize::from(byte)]);
            }
            *start += word.len() + 1;
        }
    }
}
