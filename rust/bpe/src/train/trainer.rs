//! Training: merges the most frequent pair until the vocabulary is full.
//!
//! ```text
//! lay the distinct words out in shards                                          (layout.rs)
//! repeat, with a lower threshold each round, until there are `limit` tokens:
//!     count all pairs                                                           (pair_counts.rs)
//!     take those with count ≥ threshold, with their positions, into a max-heap
//!     while the heap is not empty:
//!         (left, right) = pop; if its count has fallen: push it again, continue
//!         replace the pair by a new token at all its positions                  (shard.rs)
//!         lower the counts of the pairs replaced; add the new pairs with count ≥ threshold
//! ```
//!
//! Rounds lose no merge: the count of a pair is largest when it first occurs (all its positions are
//! made by one merge) and only falls afterwards. So a pair that is below the threshold then stays
//! below it until the next round, which counts again with a lower threshold. Most pairs occur a few
//! times and never merge, so most pairs are never stored.

use std::collections::BinaryHeap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use lslm_runtime::{Result, Task, TokenId, threads};
use rayon::prelude::*;

use super::layout::lay_out;
use super::options::TrainOptions;
use super::pair_counts::{PairCounts, key, unkey};
use super::shard::{NONE, Neighbours, Shard, Slot, Targets};
use super::trained::{Merge, Trained};
use super::vocabulary_builder::VocabularyBuilder;
use super::word_counts::WordCounts;

/// Positions of a merge from which it runs on several threads: fewer take less time than waking
/// them.
const MIN_PARALLEL: usize = if cfg!(test) { 4 } else { 1 << 15 };
/// Pairs that a round takes for each merge that is left.
const PAIRS_PER_MERGE: usize = 2;
/// Largest ratio of the counts of the first round, where most positions belong to few pairs. This
/// and [`MAX_SPAN`] are by measurement on English and Chinese.
const MAX_FIRST_SPAN: u64 = 64;
/// Largest ratio of the counts of a later round.
const MAX_SPAN: u64 = 256;

/// Trains a vocabulary on counted words, with `threads` threads.
///
/// `task` has the stage "learn merges". [`Error::Invalid`](lslm_runtime::Error::Invalid) if the
/// options contradict each other, memory is too small, or a count could overflow;
/// [`Error::Cancelled`](lslm_runtime::Error::Cancelled) if the task is cancelled.
pub fn train(
    words: WordCounts,
    options: &TrainOptions,
    threads: usize,
    task: &Task,
) -> Result<Trained> {
    let mut vocabulary = VocabularyBuilder::new(options)?;
    let room = options.vocab_size - vocabulary.tokens.len() - vocabulary.reserved;
    task.begin("learn merges", "merges", Some(room as u64));
    words.check_sum(task)?;
    let limit = options.vocab_size - vocabulary.reserved;
    let merges = find_merges(words, &mut vocabulary, limit, options, threads, task)?;
    vocabulary.finish(options, merges)
}

/// Returns the merges until there are `limit` tokens.
fn find_merges(
    words: WordCounts,
    vocabulary: &mut VocabularyBuilder,
    limit: usize,
    options: &TrainOptions,
    threads: usize,
    task: &Task,
) -> Result<Vec<Merge>> {
    // All on a thread of the pool: it can then take back the work it offers to others, so that on a
    // busy machine no merge waits for another thread.
    threads::pool(threads)?.install(|| {
        if limit <= usize::from(u16::MAX - 1) {
            Trainer::<u16>::new(words, vocabulary, options, threads, task)?.run(limit)
        } else {
            Trainer::<u32>::new(words, vocabulary, options, threads, task)?.run(limit)
        }
    })
}

/// A pair of the round.
struct Pair {
    left: TokenId,
    right: TokenId,
    count: u64,
}

/// An entry of the heap. The greatest is the next merge: the largest count, then the smallest ids.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The count when it was pushed; the pair's own may have fallen since.
    count: u64,
    key: std::cmp::Reverse<u64>,
    /// The index of the pair.
    pair: u32,
}

/// The state of training.
struct Trainer<'a, T> {
    vocabulary: &'a mut VocabularyBuilder,
    options: &'a TrainOptions,
    task: &'a Task,
    /// The bytes of each token.
    lengths: Vec<u32>,
    shards: Vec<Shard<T>>,
    /// The pairs of this round.
    pairs: Vec<Pair>,
    /// The index in `pairs` by [`key`].
    index: HashMap<u64, u32, FixedState>,
    heap: BinaryHeap<Candidate>,
    /// The least count of a pair of this round.
    threshold: u64,
    /// The distinct pairs of the largest shard at the last count.
    n_distinct: usize,
    /// Reused between merges.
    neighbours: Neighbours,
    targets: Targets,
}

impl<'a, T: Slot> Trainer<'a, T> {
    fn new(
        words: WordCounts,
        vocabulary: &'a mut VocabularyBuilder,
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
            n_distinct: 0,
            neighbours: Neighbours::default(),
            targets: Targets::default(),
        })
    }

    /// Merges until there are `limit` tokens or no pair is left.
    fn run(mut self, limit: usize) -> Result<Vec<Merge>> {
        let mut merges = Vec::new();
        while self.vocabulary.tokens.len() < limit {
            let Some(best) = self.heap.pop() else {
                if self.start_round(limit)? {
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

    /// Returns whether `left` and `right` may merge into a token.
    fn is_allowed(&self, left: TokenId, right: TokenId) -> bool {
        let length = self.lengths[left as usize] as usize + self.lengths[right as usize] as usize;
        length == 2 || self.options.max_token_length.is_none_or(|max| length < max)
    }

    /// Runs `work` on each shard, on all threads if `parallel`.
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

    /// Merges a pair everywhere, and adjusts the counts of the pairs beside it.
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
        let parallel = positions >= MIN_PARALLEL;

        let lengths = std::mem::take(&mut self.lengths);
        let task = self.task;
        self.on_shards(parallel, |shard| {
            shard.neighbours.resize(tokens);
            let positions = std::mem::take(&mut shard.positions[pair as usize]);
            shard.merge(&positions, merge, &lengths, task)
        })?;
        self.lengths = lengths;

        let mut neighbours = std::mem::take(&mut self.neighbours);
        neighbours.resize(tokens);
        for shard in &mut self.shards {
            shard.neighbours.pour_into(&mut neighbours);
        }
        self.update_pairs(merge, &mut neighbours);

        let targets = std::mem::take(&mut self.targets);
        let pairs = self.pairs.len();
        self.on_shards(parallel, |shard| {
            shard.positions.resize_with(pairs, Vec::new);
            shard.add_positions(&targets);
            Ok(())
        })?;
        self.targets = targets;
        self.targets.left[result as usize] = NONE;
        for id in neighbours.left.ids.drain(..) {
            self.targets.left[id as usize] = NONE;
        }
        for id in neighbours.right.ids.drain(..) {
            self.targets.right[id as usize] = NONE;
        }
        self.neighbours = neighbours;
        Ok(merge)
    }

    /// Lowers the counts of the pairs that `merge` replaced, and adds the new ones to the round and
    /// to `targets`. Leaves all sums of `neighbours` zero.
    fn update_pairs(&mut self, merge: Merge, neighbours: &mut Neighbours) {
        let Merge { left, right, result } = merge;
        let tokens = self.lengths.len();
        self.targets.left.resize(tokens, NONE);
        self.targets.right.resize(tokens, NONE);
        let twice = std::mem::take(&mut neighbours.twice);
        if let Some(new) = self.add_pair(result, result, twice) {
            self.targets.left[result as usize] = new;
        }
        for &id in &neighbours.left.ids {
            let count = std::mem::take(&mut neighbours.left.sums[id as usize]);
            self.lower(id, left, count);
            if let Some(new) = self.add_pair(id, result, count) {
                self.targets.left[id as usize] = new;
            }
        }
        for &id in &neighbours.right.ids {
            let count = std::mem::take(&mut neighbours.right.sums[id as usize]);
            self.lower(right, id, count);
            // Where the next pair was merged too, its left token has gone.
            let stays = if id == left { count - twice } else { count };
            if let Some(new) = self.add_pair(result, id, stays) {
                self.targets.right[id as usize] = new;
            }
        }
    }

    /// Subtracts `count` from a pair, if it is in the round.
    fn lower(&mut self, left: TokenId, right: TokenId, count: u64) {
        if let Some(&pair) = self.index.get(&key(left, right)) {
            self.pairs[pair as usize].count -= count;
        }
    }

    /// Adds a new pair to the round, if its count reaches the threshold, and returns its index.
    fn add_pair(&mut self, left: TokenId, right: TokenId, count: u64) -> Option<u32> {
        if count < self.threshold || !self.is_allowed(left, right) {
            return None;
        }
        let pair = self.pairs.len() as u32;
        self.pairs.push(Pair { left, right, count });
        self.index.insert(key(left, right), pair);
        self.heap.push(Candidate { count, key: std::cmp::Reverse(key(left, right)), pair });
        Some(pair)
    }

    /// Starts a round with a lower threshold; false if no pair is left to merge.
    fn start_round(&mut self, limit: usize) -> Result<bool> {
        let min = self.options.min_frequency.max(1);
        if self.threshold <= min {
            return Ok(false);
        }
        for shard in &mut self.shards {
            shard.positions = Vec::new();
        }
        let tables = self.count_pairs()?;
        self.task.check()?;
        self.threshold = self.choose_threshold(&tables, limit, min)?;
        self.pairs.clear();
        self.index.clear();
        self.heap.clear();
        // A pair that reaches the threshold has this count in some shard at least.
        let share = self.threshold.div_ceil(tables.len() as u64);
        for table in &tables {
            table.for_each(self.task, |pair, count| {
                if count < share || self.index.contains_key(&pair) {
                    return;
                }
                let count = tables.iter().map(|table| table.get(pair).0).sum();
                let (left, right) = unkey(pair);
                self.add_pair(left, right, count);
            })?;
        }
        self.collect_positions(tables)?;
        Ok(true)
    }

    /// Counts all pairs of each shard.
    fn count_pairs(&self) -> Result<Vec<PairCounts>> {
        let (task, lengths, expected) = (self.task, &self.lengths, self.n_distinct);
        self.shards
            .par_iter()
            .map(|shard| {
                let mut table = PairCounts::new(lengths.len(), expected);
                shard.each_pair(lengths, task, |_, left, right, count| {
                    table.add(left, right, count);
                })?;
                Ok(table)
            })
            .collect()
    }

    /// Returns the threshold of the next round, from `min` on and below the last one.
    ///
    /// Any threshold gives the same merges. A good one takes some more pairs than merges are left,
    /// but not at once all the pairs of small counts. The largest shard stands for all.
    fn choose_threshold(&mut self, tables: &[PairCounts], limit: usize, min: u64) -> Result<u64> {
        let n_shards = tables.len() as u64;
        let mut top = 0;
        for table in tables {
            table.for_each(self.task, |_, count| top = top.max(count))?;
        }
        let mut counts: Vec<u64> = Vec::new();
        if let Some(largest) = tables.iter().max_by_key(|table| table.len()) {
            counts.reserve_exact(largest.len());
            largest.for_each(self.task, |_, count| counts.push(count * n_shards))?;
        }
        self.n_distinct = counts.len();
        let rank = PAIRS_PER_MERGE * (limit - self.vocabulary.tokens.len()) + 1000;
        let enough = if rank < counts.len() {
            *counts.select_nth_unstable_by(rank, |a, b| b.cmp(a)).1
        } else {
            0
        };
        let span = if self.pairs.is_empty() { MAX_FIRST_SPAN } else { MAX_SPAN };
        Ok(min.max(enough.min(top)).max(top / span).min(self.threshold - 1))
    }

    /// Gives each shard the positions of the pairs of the round.
    fn collect_positions(&mut self, tables: Vec<PairCounts>) -> Result<()> {
        let (index, pairs, lengths, task) = (&self.index, &self.pairs, &self.lengths, self.task);
        self.shards.par_iter_mut().zip(tables).try_for_each(|(shard, table)| -> Result<()> {
            let n_positions = |pair: &Pair| table.get(key(pair.left, pair.right)).1 as usize;
            let mut positions: Vec<Vec<u32>> =
                pairs.iter().map(|pair| Vec::with_capacity(n_positions(pair))).collect();
            drop(table);
            shard.each_pair(lengths, task, |position, left, right, _| {
                if let Some(&pair) = index.get(&key(left, right)) {
                    positions[pair as usize].push(position);
                }
            })?;
            shard.positions = positions;
            Ok(())
        })
    }
}
