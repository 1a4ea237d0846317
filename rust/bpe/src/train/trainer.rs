//! Joining pairs until the vocabulary is full.
//!
//! The distinct words lie in a row of slots, one for each byte and a wall between words, and never
//! move. A token occupies as many slots as it has bytes; its id is written in its first and its last
//! slot, so both neighbours are found by arithmetic. Words are sorted by their count, so that the
//! count at a position is found in a short table.
//!
//! The work is done in rounds. A round takes all pairs that occur at least `threshold` times, with
//! the list of their positions, and joins the best one until none is left above the threshold. This
//! loses nothing: the count of a pair is largest at the moment it comes into being (all its
//! positions are made by one merge) and only falls afterwards, so what is below the threshold at
//! birth stays there until the next round, which counts anew with a lower threshold. Most pairs
//! occur a few times and are never joined, so most pairs are never stored.
//!
//! Memory: two bytes a slot (four with ids past 16 bits), four for each position of a pair that is
//! followed, and while a round begins some 50 for each different pair; so about ten bytes for each
//! byte of distinct words, whatever their lengths. [`BYTES_A_SLOT`] is what people are told.

use std::collections::BinaryHeap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use lslm_runtime::{Error, Result, Task, threads};
use rayon::prelude::*;

use super::pair_counts::{PairTable, key, unkey};
use super::{Merge, TrainOptions, Vocabulary, WordCounts};
use crate::TokenId;

/// A merge with fewer positions than this is not worth waking other threads.
const PARALLEL: usize = if cfg!(test) { 4 } else { 1 << 15 };
/// A shard has at least this many slots, if there is more than one.
const SHARD: usize = if cfg!(test) { 64 } else { 1 << 19 };
/// No shard is larger than 32-bit positions reach.
const LARGEST_SHARD: usize = u32::MAX as usize;
/// Bytes of memory for a slot: above the most that was measured, on text of several languages.
const BYTES_A_SLOT: usize = 16;
/// How much work is done between two looks at the task.
const STRIDE: usize = 1 << 17;
/// How many words are laid out between two looks at the task.
const LOOK: usize = 1 << 18;
/// How many positions of a list are looked at together.
const BLOCK: usize = 128;
/// How many pairs a round takes for each merge that is left.
const SLACK: usize = 2;
/// How far the counts of a round lie apart at most: in the first, where most positions belong to a
/// few pairs, and in the others. Measured on English and Chinese.
const FIRST_SPAN: u64 = 64;
const SPAN: u64 = 256;
/// No pair, or a pair below the threshold.
const NONE: u32 = u32::MAX;

/// What one slot holds: an id, or one of two marks above all ids.
trait Slot: Copy + Eq + Send + Sync {
    /// Between words.
    const WALL: Self;
    /// Inside a token.
    const HOLE: Self;
    fn new(id: TokenId) -> Self;
    fn id(self) -> TokenId;
}

impl Slot for u16 {
    const WALL: Self = u16::MAX;
    const HOLE: Self = u16::MAX - 1;
    fn new(id: TokenId) -> Self {
        id as u16
    }
    fn id(self) -> TokenId {
        TokenId::from(self)
    }
}

impl Slot for u32 {
    const WALL: Self = u32::MAX;
    const HOLE: Self = u32::MAX - 1;
    fn new(id: TokenId) -> Self {
        id
    }
    fn id(self) -> TokenId {
        self
    }
}

/// Learns merges until there are `limit` tokens.
pub(super) fn learn(
    words: WordCounts,
    vocabulary: &mut Vocabulary,
    limit: usize,
    options: &TrainOptions,
    threads: usize,
    task: &Task,
) -> Result<Vec<Merge>> {
    // all of it on a thread of the pool: what is handed to the others can then be taken back, so a
    // busy machine does not make this thread wait at each merge
    threads::pool(threads)?.install(|| {
        if limit <= usize::from(u16::MAX - 1) {
            Engine::<u16>::new(words, vocabulary, options, threads, task)?.run(limit)
        } else {
            Engine::<u32>::new(words, vocabulary, options, threads, task)?.run(limit)
        }
    })
}

/// Sums of counts by neighbouring token.
#[derive(Default)]
struct Tally {
    sums: Vec<u64>,
    /// The ids whose sum is not zero.
    ids: Vec<TokenId>,
}

impl Tally {
    #[inline]
    fn add(&mut self, id: TokenId, count: u64) {
        let sum = &mut self.sums[id as usize];
        if *sum == 0 {
            self.ids.push(id);
        }
        *sum += count;
    }

    /// Moves all sums into `other`.
    fn pour_into(&mut self, other: &mut Self) {
        for id in self.ids.drain(..) {
            other.add(id, std::mem::take(&mut self.sums[id as usize]));
        }
    }
}

/// What one merge changes around it.
#[derive(Default)]
struct Around {
    /// By the token on the left of the new one; without new tokens.
    left: Tally,
    /// By the token on the right when the pair was joined, which may have been joined since.
    right: Tally,
    /// Positions where a new token follows a new token.
    twice: u64,
}

impl Around {
    fn resize(&mut self, tokens: usize) {
        self.left.sums.resize(tokens, 0);
        self.right.sums.resize(tokens, 0);
    }

    fn pour_into(&mut self, other: &mut Self) {
        self.left.pour_into(&mut other.left);
        self.right.pour_into(&mut other.right);
        other.twice += std::mem::take(&mut self.twice);
    }
}

/// A part of the words, worked on by one thread at a time.
struct Shard<T> {
    slots: Vec<T>,
    /// Where the words of each count end, with the count; ascending positions.
    counts: Vec<(u32, u64)>,
    /// The positions of each pair of the round.
    positions: Vec<Vec<u32>>,
    around: Around,
    /// The left neighbour and its position, for each joined pair that has one.
    left_log: Vec<(TokenId, u32)>,
    /// The right neighbour, and the position of the new token.
    right_log: Vec<(TokenId, u32)>,
}

impl<T: Slot> Shard<T> {
    /// Replaces the pair of `merge` wherever it stands.
    fn join(
        &mut self,
        positions: &[u32],
        merge: Merge,
        lengths: &[u32],
        task: &Task,
    ) -> Result<()> {
        let [left, right, result] = [merge.left, merge.right, merge.result].map(T::new);
        let left_length = lengths[merge.left as usize] as usize;
        let right_length = lengths[merge.right as usize] as usize;
        let slots = &mut self.slots[..];
        let mut run = 0;
        let mut live = [0; BLOCK];
        for (block, turn) in positions.chunks(BLOCK).zip(0usize..) {
            if turn.is_multiple_of(STRIDE / BLOCK) {
                task.check()?;
            }
            // The list is as old as the pair: parts of it may have been joined otherwise. Sorting
            // those out without a branch lets the memory accesses of a block overlap.
            let mut count = 0;
            for &position in block {
                let start = position as usize;
                live[count] = position;
                count += usize::from(slots[start] == left && slots[start + left_length] == right);
            }
            for &position in &live[..count] {
                let start = position as usize;
                let middle = start + left_length;
                // again, because a pair of equal tokens may overlap the one before it
                if slots[start] != left || slots[middle] != right {
                    continue;
                }
                let end = middle + right_length;
                slots[middle] = T::HOLE;
                slots[start] = result;
                slots[end - 1] = result;
                if self.counts[run].0 <= position {
                    run += 1;
                    if self.counts[run].0 <= position {
                        run += self.counts[run..].partition_point(|run| run.0 <= position);
                    }
                }
                let count = self.counts[run].1;
                let before = slots[start - 1];
                if before == result {
                    self.around.twice += count;
                    let length = (left_length + right_length) as u32;
                    self.left_log.push((merge.result, position - length));
                } else if before != T::WALL {
                    let id = before.id();
                    self.around.left.add(id, count);
                    self.left_log.push((id, position - lengths[id as usize]));
                }
                let after = slots[end];
                if after != T::WALL {
                    self.around.right.add(after.id(), count);
                    self.right_log.push((after.id(), position));
                }
            }
        }
        Ok(())
    }

    /// Files the logged positions under the pairs that are followed.
    fn file(&mut self, targets: &Targets) {
        for (log, targets) in
            [(&mut self.left_log, &targets.left), (&mut self.right_log, &targets.right)]
        {
            for (id, position) in log.drain(..) {
                let target = targets[id as usize];
                if target != NONE {
                    self.positions[target as usize].push(position);
                }
            }
        }
    }

    /// Calls `f` with each pair of neighbours: position, left, right, count.
    fn each_pair(
        &self,
        lengths: &[u32],
        task: &Task,
        mut f: impl FnMut(u32, TokenId, TokenId, u64),
    ) -> Result<()> {
        let mut at = 1;
        let mut look = 0;
        for &(end, count) in &self.counts {
            while at < end as usize {
                if at >= look {
                    task.check()?;
                    look = at + STRIDE;
                }
                let mut left = self.slots[at].id();
                loop {
                    let next = at + lengths[left as usize] as usize;
                    let right = self.slots[next];
                    if right == T::WALL {
                        at = next + 1;
                        break;
                    }
                    f(at as u32, left, right.id(), count);
                    (at, left) = (next, right.id());
                }
            }
        }
        Ok(())
    }
}

/// The new pairs that are followed, by neighbour.
#[derive(Default)]
struct Targets {
    left: Vec<u32>,
    right: Vec<u32>,
}

struct Pair {
    left: TokenId,
    right: TokenId,
    count: u64,
}

/// The best pair is the greatest: most occurrences first, then the smaller ids.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: u64,
    smaller: std::cmp::Reverse<u64>,
    pair: u32,
}

struct Engine<'a, T> {
    vocabulary: &'a mut Vocabulary,
    options: &'a TrainOptions,
    task: &'a Task,
    lengths: Vec<u32>,
    shards: Vec<Shard<T>>,
    /// The pairs of this round, and where each is found.
    pairs: Vec<Pair>,
    index: HashMap<u64, u32, FixedState>,
    heap: BinaryHeap<Candidate>,
    threshold: u64,
    /// How many different pairs a shard had at the last count.
    distinct: usize,
    around: Around,
    targets: Targets,
}

impl<'a, T: Slot> Engine<'a, T> {
    fn new(
        words: WordCounts,
        vocabulary: &'a mut Vocabulary,
        options: &'a TrainOptions,
        threads: usize,
        task: &'a Task,
    ) -> Result<Self> {
        let shards = lay_out(&words, &vocabulary.bytes, threads, options.memory, task)?;
        drop(words);
        Ok(Self {
            shards,
            lengths: vocabulary.tokens.iter().map(|token| token.len() as u32).collect(),
            vocabulary,
            options,
            task,
            pairs: Vec::new(),
            index: HashMap::default(),
            heap: BinaryHeap::new(),
            threshold: u64::MAX,
            distinct: 0,
            around: Around::default(),
            targets: Targets::default(),
        })
    }

    fn run(mut self, limit: usize) -> Result<Vec<Merge>> {
        let mut merges = Vec::new();
        while self.vocabulary.tokens.len() < limit {
            let Some(best) = self.heap.pop() else {
                if self.gather(limit)? {
                    continue;
                }
                break;
            };
            let pair = &self.pairs[best.pair as usize];
            if pair.count != best.count {
                let count = pair.count;
                if count >= self.threshold {
                    self.heap.push(Candidate { count, ..best });
                }
                continue;
            }
            merges.push(self.merge(best.pair)?);
            self.task.advance(1)?;
        }
        Ok(merges)
    }

    /// Whether a token may be made of `left` and `right`.
    fn fits(&self, left: TokenId, right: TokenId) -> bool {
        let length = self.lengths[left as usize] as usize + self.lengths[right as usize] as usize;
        length == 2 || self.options.max_token_length.is_none_or(|most| length < most)
    }

    /// Runs `work` on each shard, on all threads when there is enough to do.
    fn on_shards(
        &mut self,
        parallel: bool,
        work: impl Fn(&mut Shard<T>) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        if parallel && self.shards.len() > 1 {
            self.shards.par_iter_mut().try_for_each(work)
        } else {
            self.shards.iter_mut().try_for_each(work)
        }
    }

    fn merge(&mut self, pair: u32) -> Result<Merge> {
        let Pair { left, right, .. } = self.pairs[pair as usize];
        self.index.remove(&key(left, right));
        let result = self.vocabulary.join(left, right)?;
        if result as usize == self.lengths.len() {
            self.lengths.push(self.lengths[left as usize] + self.lengths[right as usize]);
        }
        let merge = Merge { left, right, result };
        let tokens = self.lengths.len();
        let positions: usize =
            self.shards.iter().map(|shard| shard.positions[pair as usize].len()).sum();
        let parallel = positions >= PARALLEL;

        let lengths = std::mem::take(&mut self.lengths);
        let task = self.task;
        self.on_shards(parallel, |shard| {
            shard.around.resize(tokens);
            let positions = std::mem::take(&mut shard.positions[pair as usize]);
            shard.join(&positions, merge, &lengths, task)
        })?;
        self.lengths = lengths;

        let mut around = std::mem::take(&mut self.around);
        around.resize(tokens);
        for shard in &mut self.shards {
            shard.around.pour_into(&mut around);
        }
        self.targets.left.resize(tokens, NONE);
        self.targets.right.resize(tokens, NONE);
        let twice = std::mem::take(&mut around.twice);
        if let Some(new) = self.follow(result, result, twice) {
            self.targets.left[result as usize] = new;
        }
        for &id in &around.left.ids {
            let count = std::mem::take(&mut around.left.sums[id as usize]);
            self.lower(id, left, count);
            if let Some(new) = self.follow(id, result, count) {
                self.targets.left[id as usize] = new;
            }
        }
        for &id in &around.right.ids {
            let count = std::mem::take(&mut around.right.sums[id as usize]);
            self.lower(right, id, count);
            // where the next pair was joined too, its left token is gone
            let stays = if id == left { count - twice } else { count };
            if let Some(new) = self.follow(result, id, stays) {
                self.targets.right[id as usize] = new;
            }
        }

        let targets = std::mem::take(&mut self.targets);
        let pairs = self.pairs.len();
        self.on_shards(parallel, |shard| {
            shard.positions.resize_with(pairs, Vec::new);
            shard.file(&targets);
            Ok(())
        })?;
        self.targets = targets;
        self.targets.left[result as usize] = NONE;
        for id in around.left.ids.drain(..) {
            self.targets.left[id as usize] = NONE;
        }
        for id in around.right.ids.drain(..) {
            self.targets.right[id as usize] = NONE;
        }
        self.around = around;
        Ok(merge)
    }

    /// Takes `count` off a pair, if it is followed.
    fn lower(&mut self, left: TokenId, right: TokenId, count: u64) {
        if let Some(&pair) = self.index.get(&key(left, right)) {
            self.pairs[pair as usize].count -= count;
        }
    }

    /// Enters a new pair into the round, if it belongs there.
    fn follow(&mut self, left: TokenId, right: TokenId, count: u64) -> Option<u32> {
        (count >= self.threshold && self.fits(left, right)).then(|| self.enter(left, right, count))
    }

    fn enter(&mut self, left: TokenId, right: TokenId, count: u64) -> u32 {
        let pair = self.pairs.len() as u32;
        self.pairs.push(Pair { left, right, count });
        self.index.insert(key(left, right), pair);
        self.heap.push(Candidate { count, smaller: std::cmp::Reverse(key(left, right)), pair });
        pair
    }

    /// Begins a round with a lower threshold; false when there is nothing left to join.
    fn gather(&mut self, limit: usize) -> Result<bool> {
        let least = self.options.min_frequency.max(1);
        if self.threshold <= least {
            return Ok(false);
        }
        for shard in &mut self.shards {
            shard.positions = Vec::new();
        }
        let (task, lengths) = (self.task, &self.lengths);
        let expected = self.distinct;
        let shards = &self.shards;
        let tables: Vec<PairTable> = shards
            .par_iter()
            .map(|shard| {
                let mut table = PairTable::new(lengths.len(), expected);
                shard.each_pair(lengths, task, |_, left, right, count| {
                    table.add(left, right, count);
                })?;
                table.settle();
                Ok(table)
            })
            .collect::<Result<_>>()?;
        task.check()?;
        // Any threshold will do. A good one brings some more pairs than there are merges left, but
        // not all of the small ones at once. The largest shard speaks for all.
        let all = tables.len() as u64;
        let mut top = 0;
        for table in &tables {
            table.for_each(task, |_, count| top = top.max(count))?;
        }
        let mut counts: Vec<u64> = Vec::new();
        if let Some(largest) = tables.iter().max_by_key(|table| table.len()) {
            counts.reserve_exact(largest.len());
            largest.for_each(task, |_, count| counts.push(count * all))?;
        }
        self.distinct = counts.len();
        let rank = SLACK * (limit - self.vocabulary.tokens.len()) + 1000;
        let enough = if rank < counts.len() {
            *counts.select_nth_unstable_by(rank, |a, b| b.cmp(a)).1
        } else {
            0
        };
        let span = if self.pairs.is_empty() { FIRST_SPAN } else { SPAN };
        self.threshold = least.max(enough.min(top)).max(top / span).min(self.threshold - 1);
        self.pairs.clear();
        self.index.clear();
        self.heap.clear();
        let share = self.threshold.div_ceil(all);
        for table in &tables {
            table.for_each(task, |pair, count| {
                if count < share || self.index.contains_key(&pair) {
                    return;
                }
                let count = tables.iter().map(|table| table.get(pair).0).sum();
                let (left, right) = unkey(pair);
                self.follow(left, right, count);
            })?;
        }
        let (index, pairs, lengths) = (&self.index, &self.pairs, &self.lengths);
        self.shards.par_iter_mut().zip(tables).try_for_each(|(shard, table)| -> Result<()> {
            let known = |pair: &Pair| table.get(key(pair.left, pair.right)).1 as usize;
            let mut positions: Vec<Vec<u32>> =
                pairs.iter().map(|pair| Vec::with_capacity(known(pair))).collect();
            drop(table);
            shard.each_pair(lengths, task, |position, left, right, _| {
                if let Some(&pair) = index.get(&key(left, right)) {
                    positions[pair as usize].push(position);
                }
            })?;
            shard.positions = positions;
            Ok(())
        })?;
        Ok(true)
    }
}

/// The words in shards, each with its words sorted by count.
fn lay_out<T: Slot>(
    words: &WordCounts,
    bytes: &[TokenId; 256],
    threads: usize,
    memory: Option<u64>,
    task: &Task,
) -> Result<Vec<Shard<T>>> {
    // a word of one byte has no pair
    let used = |word: &[u8], count: u64| word.len() > 1 && count > 0;
    let mut total = 0;
    let mut look = 0;
    words.for_each(|word, count| {
        total += if used(word, count) { word.len() + 1 } else { 0 };
        look += 1;
        if look % LOOK == 0 { task.check() } else { Ok(()) }
    })?;
    let need = (total * BYTES_A_SLOT) as u64;
    if let Some(memory) = memory.filter(|memory| *memory < need) {
        return Err(Error::invalid(format!(
            "memory = {memory}: to merge these {} different words takes about {} MB; give that \
             much, or learn from a sample with sample_bytes",
            words.len(),
            need.div_ceil(1_000_000)
        )));
    }
    let shards = (total / SHARD).clamp(1, threads).max(total / (LARGEST_SHARD / 2) + 1);

    let mut sizes = vec![HashMap::<u64, usize, FixedState>::default(); shards];
    let mut turn = 0;
    words.for_each(|word, count| {
        if used(word, count) {
            *sizes[turn % shards].entry(count).or_default() += word.len() + 1;
            turn += 1;
        }
        if turn % LOOK == 0 { task.check() } else { Ok(()) }
    })?;
    let mut laid: Vec<Shard<T>> = Vec::with_capacity(shards);
    let mut starts = Vec::with_capacity(shards);
    for sizes in sizes {
        let mut sizes: Vec<(u64, usize)> = sizes.into_iter().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut end = 1;
        let mut counts = Vec::with_capacity(sizes.len());
        let mut places: HashMap<u64, usize, FixedState> = HashMap::default();
        for (count, size) in sizes {
            places.insert(count, end);
            end += size;
            let end = u32::try_from(end).map_err(|_| {
                Error::invalid("one word is longer than 4 GB; cut it, or use another pattern")
            })?;
            counts.push((end, count));
        }
        starts.push(places);
        laid.push(Shard {
            slots: vec![T::WALL; end],
            counts,
            positions: Vec::new(),
            around: Around::default(),
            left_log: Vec::new(),
            right_log: Vec::new(),
        });
    }
    let mut turn = 0;
    words.for_each(|word, count| {
        if used(word, count) {
            if let Some(place) = starts[turn % shards].get_mut(&count) {
                let slots = &mut laid[turn % shards].slots[*place..*place + word.len()];
                for (slot, &byte) in slots.iter_mut().zip(word) {
                    *slot = T::new(bytes[usize::from(byte)]);
                }
                *place += word.len() + 1;
            }
            turn += 1;
        }
        if turn % LOOK == 0 { task.check() } else { Ok(()) }
    })?;
    Ok(laid)
}
