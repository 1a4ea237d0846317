//! Yields the batches of one rank.

use std::sync::Arc;

use lslm_runtime::{Error, Result};

use crate::batch::{Batch, BatchFiller, BufferPool, Layout, RankRows};
use crate::plan::{OnChange, Plan};
use crate::prefetch::{PrefetchThread, group_of};
use crate::state::LoaderState;
pub use crate::state::Position;

/// Tokens of a rank's batch, at most: 16 times the global batch of the largest published runs (16
/// Mi tokens for Llama 3 405B, arXiv:2407.21783), and 4 GiB of inputs and targets.
pub const MAX_BATCH_TOKENS: usize = 1 << 28;

/// Batches filled ahead, at most: a few hide the time of reading, more only hold memory.
const MAX_PREFETCH: usize = 1 << 10;

/// Which rows of each global batch a loader yields, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// The rows that this rank yields per step.
    pub batch_size: usize,
    /// The number of this rank, from 0.
    pub rank: usize,
    /// The number of ranks.
    pub world_size: usize,
    /// The rows of all ranks between two updates of the model; `None` for
    /// `batch_size × world_size`.
    pub global_batch_size: Option<usize>,
    /// The number of passes over the data; `None` for an endless loader.
    pub epochs: Option<u64>,
    /// The number of batches, or groups of small ones, that a thread fills ahead; 0 fills each batch
    /// in the call that returns it.
    pub prefetch: usize,
    /// What a batch contains.
    pub layout: Layout,
}

/// Yields this rank's part of the global batches, one after the other.
///
/// The position is one number: the samples that all ranks have consumed. Rank r of R reads rows r·b
/// … (r + 1)·b of each run of R·b samples. So the sequence of global batches is the same for every
/// number of ranks, and a run can resume on another number.
///
/// ```
/// use std::sync::Arc;
///
/// use lslm_dataset::{
///     Access, Buffer, Dataset, DatasetWriter, Layout, Loader, LoaderOptions, Manifest, Packing,
///     Plan, PlanOptions,
/// };
///
/// let folder = tempfile::tempdir().unwrap();
/// let mut writer = DatasetWriter::create(folder.path(), Manifest::new(1000), 1 << 30)?;
/// writer.push_document(&(0..1000).collect::<Vec<u32>>(), 0, 0, None)?;
/// writer.finish()?;
///
/// let options = PlanOptions {
///     sequence_length: 8,
///     max_sequence_length: None,
///     packing: Packing::Concat,
///     mask_borders: false,
///     seed: 0,
///     shuffle: true,
///     verify: false,
///     access: Access::Auto,
/// };
/// let plan = Arc::new(Plan::new([Dataset::open(folder.path())?], options)?);
/// let options = LoaderOptions {
///     batch_size: 4,
///     rank: 0,
///     world_size: 1,
///     global_batch_size: None,
///     epochs: None,
///     prefetch: 2,
///     layout: Layout::Pairs,
/// };
/// let mut loader = Loader::new(plan, options)?;
/// let batch = loader.next(&mut || Ok(()))?.expect("the loader is endless");
/// let Buffer::Pairs(numbers) = batch.buffer() else { unreachable!() };
/// let (inputs, targets) = numbers.split_at(4 * 8);
/// assert!(inputs.iter().zip(targets).all(|(input, target)| input + 1 == *target));
/// assert_eq!(loader.position().samples, 4);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Loader {
    plan: Arc<Plan>,
    options: LoaderOptions,
    global_batch_size: u64,
    /// The samples of all passes, for a loader that ends.
    limit: Option<u64>,
    samples: u64,
    /// How often all passes were completed before.
    round: u64,
    ended: bool,
    /// Fills batches when no thread does; a thread shares its pool.
    filler: BatchFiller,
    prefetch: Option<PrefetchThread>,
}

impl Loader {
    /// Returns the loader of one rank, at the first sample.
    ///
    /// [`Error::Invalid`] names an option that cannot be used.
    pub fn new(plan: Arc<Plan>, options: LoaderOptions) -> Result<Self> {
        let LoaderOptions { batch_size, rank, world_size, layout, .. } = options;
        let per_step = check_sizes(&plan, options)?;
        let global = options.global_batch_size.unwrap_or(per_step);
        if global == 0 || !global.is_multiple_of(per_step) {
            return Err(Error::invalid(format!(
                "global_batch_size = {global}: must be a multiple of batch_size × world_size = \
                 {batch_size} × {world_size} = {per_step}"
            )));
        }
        let limit = match options.epochs {
            None => None,
            Some(epochs) => Some(samples_of(&plan, epochs, global as u64)?),
        };
        let rows = RankRows { rows: batch_size, rank, world_size, layout };
        Ok(Self {
            filler: BatchFiller::new(plan.reader(), rows, BufferPool::new(n_ahead(&plan, options))),
            plan,
            options,
            global_batch_size: global as u64,
            limit,
            samples: 0,
            round: 0,
            ended: false,
            prefetch: None,
        })
    }

    /// Returns the sequence of samples that the batches consist of.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the options.
    pub fn options(&self) -> LoaderOptions {
        self.options
    }

    /// Returns the rows of all ranks between two updates of the model.
    pub fn global_batch_size(&self) -> u64 {
        self.global_batch_size
    }

    /// Returns the number of batches of all passes, or `None` for an endless loader.
    pub fn n_batches(&self) -> Option<u64> {
        self.limit.map(|limit| self.usable(limit) / self.per_step())
    }

    /// Returns how many samples at the end of all passes do not fill a global batch and are left
    /// out.
    pub fn left_out(&self) -> u64 {
        self.limit.map_or(0, |limit| limit - self.usable(limit))
    }

    fn per_step(&self) -> u64 {
        self.filler.rows().samples_per_step()
    }

    /// Returns how many of `limit` samples fill global batches.
    fn usable(&self, limit: u64) -> u64 {
        limit / self.global_batch_size * self.global_batch_size
    }

    /// Returns the position after the last batch that [`next`](Self::next) returned; batches filled
    /// ahead do not count.
    pub fn position(&self) -> Position {
        Position { samples: self.samples, round: self.round }
    }

    /// Returns the state at `position`.
    pub fn state(&self, position: Position) -> LoaderState {
        let options = self.plan.options();
        LoaderState {
            seed: options.seed,
            shuffle: options.shuffle,
            max_sequence_length: self.plan.unit(),
            global_batch_size: self.global_batch_size,
            position,
            schedule: self.plan.schedule().clone(),
        }
    }

    /// Moves to the position of `state`, and reads by its schedule from then on.
    ///
    /// [`Error::Mismatch`] if the state is of other data, another seed, order or length, unless
    /// `on_change` allows it.
    pub fn resume(&mut self, state: &LoaderState, on_change: OnChange) -> Result<()> {
        let plan = Arc::new(self.plan.resumed(state, on_change)?);
        self.limit = self.limit_of(&plan)?;
        self.set_plan(plan);
        self.seek(state.position);
        Ok(())
    }

    /// Returns this rank's batch of the step that begins at sample `samples`, and does not move.
    pub fn batch_at(&self, samples: u64) -> Result<Batch> {
        let pool = BufferPool::new(0);
        BatchFiller::new(self.plan.reader(), self.filler.rows(), pool).fill(samples)
    }

    /// Returns the plan, the first sample and the rows of this rank's batch of the step that begins
    /// at sample `samples`, for [`SampleReader::documents`](crate::SampleReader::documents).
    pub fn rows_at(&self, samples: u64) -> (Arc<Plan>, u64, usize) {
        let rows = self.filler.rows();
        let first = samples.saturating_add((rows.rank * rows.rows) as u64);
        (Arc::clone(&self.plan), first, rows.rows)
    }

    /// Returns the rows of all ranks in a step.
    pub fn samples_per_step(&self) -> u64 {
        self.per_step()
    }

    /// Leaves out the `count` samples from sample `from` on, which is not before the position.
    pub fn skip(&mut self, from: u64, count: u64) -> Result<()> {
        if from < self.samples {
            return Err(Error::invalid(format!(
                "sample {from} was read: the loader is at sample {}, and only later ones can be \
                 left out",
                self.samples
            )));
        }
        let plan = Arc::new(self.plan.skipping(from, count)?);
        self.limit = self.limit_of(&plan)?;
        self.set_plan(plan);
        self.seek(self.position());
        Ok(())
    }

    /// Returns the samples of all passes over `plan`, for a loader that ends.
    fn limit_of(&self, plan: &Plan) -> Result<Option<u64>> {
        let epochs = self.options.epochs;
        epochs.map(|epochs| samples_of(plan, epochs, self.global_batch_size)).transpose()
    }

    fn set_plan(&mut self, plan: Arc<Plan>) {
        let pool = Arc::clone(self.filler.pool());
        self.filler = BatchFiller::new(plan.reader(), self.filler.rows(), pool);
        self.plan = plan;
    }

    /// Moves to `position`, which may come from a loader with other batch and world sizes.
    pub fn seek(&mut self, position: Position) {
        self.prefetch = None;
        self.samples = position.samples;
        self.ended = false;
        self.round = self.limit.map_or(0, |limit| {
            // with another number of epochs, rounds start at other samples
            let first = position.round.checked_mul(limit);
            let is_in_round = first.is_some_and(|first| {
                first <= position.samples && position.samples - first <= limit
            });
            if is_in_round { position.round } else { position.samples / limit }
        });
    }

    /// Restarts a loader that has ended, with the epochs that follow; otherwise does nothing.
    pub fn restart(&mut self) {
        if let (true, Some(limit)) = (self.ended, self.limit) {
            let round = self.round + 1;
            self.seek(Position { samples: round.saturating_mul(limit), round });
        }
    }

    /// Returns the next batch, or `None` at the end of all passes.
    ///
    /// While it waits, `idle` is called about 20 times a second; its error is returned, and the
    /// batch is not lost.
    pub fn next(&mut self, idle: &mut dyn FnMut() -> Result<()>) -> Result<Option<Batch>> {
        if self.ended || !self.has_batch() {
            self.ended = true;
            return Ok(None);
        }
        let batch = if self.options.prefetch == 0 {
            self.filler.fill(self.samples)?
        } else {
            self.next_prefetched(idle)?
        };
        self.samples = batch.samples;
        Ok(Some(batch))
    }

    /// Returns whether another batch fits before the end of all passes.
    fn has_batch(&self) -> bool {
        self.limit.is_none_or(|limit| {
            self.samples - self.round * limit + self.per_step() <= self.usable(limit)
        })
    }

    fn next_prefetched(&mut self, idle: &mut dyn FnMut() -> Result<()>) -> Result<Batch> {
        if let Some(inherited) = self.prefetch.take_if(|thread| thread.is_inherited()) {
            // a forked process has no thread, and what the thread shared may be half changed
            std::mem::forget(inherited);
            self.filler.abandon_pool(n_ahead(&self.plan, self.options));
        }
        let thread = match self.prefetch.take() {
            Some(thread) => thread,
            None => self.start_prefetch()?,
        };
        let batch = self.prefetch.insert(thread).receive(idle)?;
        if batch.is_err() {
            self.prefetch = None; // the next call starts a new thread
        }
        batch
    }

    fn start_prefetch(&self) -> Result<PrefetchThread> {
        let (rows, pool) = (self.filler.rows(), Arc::clone(self.filler.pool()));
        let filler = BatchFiller::new(self.plan.reader(), rows, pool);
        let end = self.limit.map(|limit| self.round * limit + self.usable(limit));
        PrefetchThread::start(filler, self.samples, end, self.options.prefetch)
    }
}

/// Returns how many batches a thread fills ahead: those in the channel, and the one that it fills or
/// that the caller takes from, each of them a group.
fn n_ahead(plan: &Plan, options: LoaderOptions) -> usize {
    let group = group_of(options.batch_size * plan.options().sequence_length);
    if options.prefetch == 0 { 0 } else { (options.prefetch + 1) * group }
}

/// Checks the sizes in `options`; returns the rows of all ranks in a step.
fn check_sizes(plan: &Plan, options: LoaderOptions) -> Result<usize> {
    let LoaderOptions { batch_size, rank, world_size, prefetch, .. } = options;
    if batch_size == 0 || world_size == 0 {
        return Err(Error::invalid(format!(
            "batch_size = {batch_size}, world_size = {world_size}: both must be at least 1"
        )));
    }
    if rank >= world_size {
        let text = format!("rank = {rank}: must be below world_size = {world_size}");
        return Err(Error::invalid(text));
    }
    let length = plan.options().sequence_length;
    if batch_size.checked_mul(length).is_none_or(|tokens| tokens > MAX_BATCH_TOKENS) {
        return Err(Error::invalid(format!(
            "batch_size = {batch_size}: with sequence_length = {length} that is {} tokens, and a \
             batch has at most {MAX_BATCH_TOKENS}",
            batch_size as u128 * length as u128
        )));
    }
    if prefetch > MAX_PREFETCH {
        return Err(Error::invalid(format!(
            "prefetch = {prefetch}: must be at most {MAX_PREFETCH}"
        )));
    }
    let per_step = batch_size.checked_mul(world_size).ok_or_else(|| {
        let text = format!("world_size = {world_size}: a count of rows does not fit in 64 bits");
        Error::invalid(text)
    })?;
    Ok(per_step)
}

/// Returns the number of samples of `epochs` passes, which must fill a global batch.
fn samples_of(plan: &Plan, epochs: u64, global_batch_size: u64) -> Result<u64> {
    if epochs == 0 {
        let text = "epochs = 0: choose at least 1, or None for an endless loader";
        return Err(Error::invalid(text));
    }
    let Some(per_epoch) = plan.samples_per_epoch() else {
        return Err(Error::invalid(format!(
            "epochs = {epochs}: a mixture has no pass of its own, nor has a schedule of several \
             segments; stop after a number of steps"
        )));
    };
    let samples = epochs.checked_mul(per_epoch).ok_or_else(|| {
        Error::invalid(format!("epochs = {epochs}: too many; use None for an endless loader"))
    })?;
    if samples < global_batch_size {
        return Err(Error::invalid(format!(
            "global_batch_size = {global_batch_size}: {epochs} epochs have only {samples} samples \
             of {} tokens; choose a smaller batch or a shorter sequence_length",
            plan.options().sequence_length
        )));
    }
    Ok(samples)
}
