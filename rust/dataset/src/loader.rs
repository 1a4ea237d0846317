//! Batches of a [`Plan`], filled ahead by a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use lslm_runtime::{Error, Result, hex};

use crate::plan::{Plan, Reader};

/// How often a caller that waits for a batch looks whether it should stop.
const TICK: Duration = Duration::from_millis(50);

/// What a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Inputs and targets, `2 × batch_size × T` numbers of 64 bits.
    Pairs,
    /// Rows of T + 1 tokens as they are stored, `batch_size × (T + 1)` numbers of 16 or 32 bits.
    Rows,
}

/// The memory of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Buffer {
    /// For [`Layout::Pairs`]: all inputs, then all targets.
    Pairs(Vec<i64>),
    /// For [`Layout::Rows`] of small vocabularies.
    Narrow(Vec<u16>),
    /// For [`Layout::Rows`] of large vocabularies.
    Wide(Vec<u32>),
}

/// Which part of each global batch this rank takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// The rows this rank yields per step.
    pub batch_size: usize,
    /// Which rank this is, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub world_size: usize,
    /// The rows of all ranks between two updates of the model; `None` for
    /// `batch_size × world_size`.
    pub global_batch_size: Option<usize>,
    /// How many passes over the data; `None` for endless.
    pub epochs: Option<u64>,
    /// How many batches are filled ahead; 0 fills each when it is asked for.
    pub prefetch: usize,
    /// What a batch holds.
    pub layout: Layout,
}

/// A batch. When it is dropped, its memory serves a later one.
#[derive(Debug)]
pub struct Batch {
    buffer: Option<Buffer>,
    pool: Weak<Pool>,
    /// How many samples all ranks have used after this batch.
    pub samples: u64,
}

impl Batch {
    /// The tokens.
    pub fn buffer(&self) -> &Buffer {
        const EMPTY: &Buffer = &Buffer::Narrow(Vec::new());
        self.buffer.as_ref().unwrap_or(EMPTY)
    }

    /// The tokens, to be changed.
    pub fn buffer_mut(&mut self) -> &mut Buffer {
        self.buffer.get_or_insert(Buffer::Narrow(Vec::new()))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let (Some(pool), Some(buffer)) = (self.pool.upgrade(), self.buffer.take()) {
            pool.give(buffer);
        }
    }
}

/// Memory that waits for its next batch.
#[derive(Debug)]
struct Pool {
    free: Mutex<Vec<Buffer>>,
    most: usize,
}

impl Pool {
    fn take(&self) -> Option<Buffer> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, buffer: Buffer) {
        // After a fork the lock may be held for ever by a thread that the child does not have;
        // memory that cannot be given back is simply freed.
        match self.free.try_lock() {
            Ok(mut free) if free.len() < self.most => free.push(buffer),
            Ok(_) | Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
    }
}

/// Yields this rank's part of the global batches, one after the other.
///
/// The position is one number, the samples that all ranks have used. Rank r of R takes rows
/// r·b … (r + 1)·b of each run of R·b samples, so the sequence of global batches is the same for
/// every number of ranks, and work can go on with another number.
#[derive(Debug)]
pub struct Loader {
    plan: Arc<Plan>,
    options: LoaderOptions,
    global_batch_size: u64,
    /// Samples of all passes, for a loader that ends.
    limit: Option<u64>,
    samples: u64,
    /// How often the passes of `limit` were gone through before.
    round: u64,
    ended: bool,
    pool: Arc<Pool>,
    filler: Option<Filler>,
    /// Reads where no thread does.
    reader: Reader,
}

/// Where a loader stands; with the plan, all that is needed to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// How many samples all ranks have used.
    pub samples: u64,
    /// How often a loader that ends has begun again.
    pub round: u64,
}

impl Loader {
    /// The loader of one rank, at the first sample.
    pub fn new(plan: Arc<Plan>, options: LoaderOptions) -> Result<Self> {
        let LoaderOptions { batch_size, rank, world_size, .. } = options;
        if batch_size == 0 || world_size == 0 {
            let text = format!("batch_size = {batch_size}, world_size = {world_size}: at least 1");
            return Err(Error::invalid(text));
        }
        if rank >= world_size {
            let text = format!("rank = {rank}: must be below world_size = {world_size}");
            return Err(Error::invalid(text));
        }
        let overflow = || Error::invalid(format!("batch_size = {batch_size}: too large"));
        let per_step = batch_size.checked_mul(world_size).ok_or_else(overflow)?;
        (plan.options().sequence_length.checked_add(1))
            .and_then(|row| row.checked_mul(batch_size)?.checked_mul(16))
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or_else(overflow)?;
        let global = options.global_batch_size.unwrap_or(per_step);
        if global == 0 || !global.is_multiple_of(per_step) {
            return Err(Error::invalid(format!(
                "global_batch_size = {global}: must be a multiple of batch_size × world_size = \
                 {batch_size} × {world_size} = {per_step}"
            )));
        }
        let limit = match (options.epochs, plan.samples_per_epoch()) {
            (None, _) => None,
            (Some(0), _) => return Err(Error::invalid("epochs = 0: at least 1, or None for ever")),
            (Some(_), None) => {
                let text = "epochs: a mixture has no pass of its own; stop after a number of steps";
                return Err(Error::invalid(text));
            }
            (Some(epochs), Some(samples)) => {
                let limit = epochs.checked_mul(samples).ok_or_else(|| {
                    Error::invalid(format!("epochs = {epochs}: too many; None is for ever"))
                })?;
                if limit < global as u64 {
                    return Err(Error::invalid(format!(
                        "global_batch_size = {global}: {epochs} epochs have only {limit} samples \
                         of {} tokens; choose a smaller batch or a shorter sequence_length",
                        plan.options().sequence_length
                    )));
                }
                Some(limit)
            }
        };
        Ok(Self {
            reader: plan.reader(),
            plan,
            options,
            global_batch_size: global as u64,
            limit,
            samples: 0,
            round: 0,
            ended: false,
            pool: new_pool(options.prefetch),
            filler: None,
        })
    }

    /// The sequence that the batches are of.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Which part of it this rank takes.
    pub fn options(&self) -> LoaderOptions {
        self.options
    }

    /// The rows of all ranks between two updates of the model.
    pub fn global_batch_size(&self) -> u64 {
        self.global_batch_size
    }

    /// How many batches a whole run through the passes has, or `None` for an endless loader.
    pub fn n_batches(&self) -> Option<u64> {
        let per_step = self.per_step();
        self.limit.map(|limit| limit / self.global_batch_size * self.global_batch_size / per_step)
    }

    /// How many samples at the end of all passes do not fill a global batch and are left out.
    pub fn left_out(&self) -> u64 {
        self.limit.map_or(0, |limit| limit % self.global_batch_size)
    }

    fn per_step(&self) -> u64 {
        (self.options.batch_size * self.options.world_size) as u64
    }

    /// Where the loader stands: behind the last batch that [`next`](Self::next) returned, however
    /// many more are filled already.
    pub fn position(&self) -> Position {
        Position { samples: self.samples, round: self.round }
    }

    /// Goes to `position`, which may be from a loader with other batch and world sizes.
    pub fn seek(&mut self, position: Position) {
        self.filler = None;
        self.samples = position.samples;
        self.ended = false;
        self.round = self.limit.map_or(0, |limit| {
            // with another number of epochs the rounds have other borders
            let first = position.round.checked_mul(limit);
            let fits = first.is_some_and(|first| {
                first <= position.samples && position.samples - first <= limit
            });
            if fits { position.round } else { position.samples / limit }
        });
    }

    /// Begins again after the end, with the passes that follow; otherwise does nothing.
    pub fn restart(&mut self) {
        if let (true, Some(limit)) = (self.ended, self.limit) {
            let round = self.round + 1;
            self.seek(Position { samples: round.saturating_mul(limit), round });
        }
    }

    /// Whether another batch begins at `samples`.
    fn goes_on(&self, samples: u64) -> bool {
        self.limit.is_none_or(|limit| {
            let usable = limit / self.global_batch_size * self.global_batch_size;
            samples - self.round * limit + self.per_step() <= usable
        })
    }

    /// The next batch, or `None` at the end of all passes.
    ///
    /// While it waits, `idle` is called some twenty times a second; its error is returned, and the
    /// batch is not lost.
    pub fn next(&mut self, idle: &mut dyn FnMut() -> Result<()>) -> Result<Option<Batch>> {
        if self.ended || !self.goes_on(self.samples) {
            self.ended = true;
            return Ok(None);
        }
        let batch = if self.options.prefetch == 0 {
            let (samples, per_step) = (self.samples, self.per_step());
            fill(&mut self.reader, &self.options, &self.pool, samples, per_step)?
        } else {
            self.prefetched(idle)?
        };
        self.samples = batch.samples;
        Ok(Some(batch))
    }

    fn prefetched(&mut self, idle: &mut dyn FnMut() -> Result<()>) -> Result<Batch> {
        if let Some(inherited) = self.filler.take_if(|f| f.process != std::process::id()) {
            // after a fork the thread is not there, and what it shared may be half changed
            std::mem::forget(inherited);
            std::mem::forget(std::mem::replace(&mut self.pool, new_pool(self.options.prefetch)));
        }
        let filler = match self.filler.take() {
            Some(filler) => filler,
            None => self.start()?,
        };
        let filler = self.filler.insert(filler);
        loop {
            match filler.batches.as_ref().map(|batches| batches.recv_timeout(TICK)) {
                Some(Ok(Ok(batch))) => return Ok(batch),
                Some(Err(RecvTimeoutError::Timeout)) => idle()?,
                Some(Ok(Err(error))) => {
                    self.filler = None; // the next call tries again
                    return Err(error);
                }
                Some(Err(RecvTimeoutError::Disconnected)) | None => {
                    self.filler = None;
                    return Err(Error::invalid("the thread that fills batches has ended"));
                }
            }
        }
    }

    /// Starts the thread that fills batches from the present position on.
    fn start(&self) -> Result<Filler> {
        let (sender, receiver) = sync_channel(self.options.prefetch.max(1) - 1);
        let stop = Arc::new(AtomicBool::new(false));
        let mut reader = self.plan.reader();
        let (options, pool, told) = (self.options, Arc::clone(&self.pool), Arc::clone(&stop));
        let (mut samples, per_step) = (self.samples, self.per_step());
        let last = self.limit.map(|limit| {
            let usable = limit / self.global_batch_size * self.global_batch_size;
            self.round * limit + usable
        });
        let work = move || {
            while !told.load(Ordering::Relaxed)
                && last.is_none_or(|last| samples + per_step <= last)
            {
                let batch = fill(&mut reader, &options, &pool, samples, per_step);
                samples += per_step;
                let failed = batch.is_err();
                if !send(&sender, batch) || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lslm-loader".into()).spawn(work);
        let thread =
            thread.map_err(|error| Error::invalid(format!("cannot start a thread: {error}")))?;
        Ok(Filler {
            process: std::process::id(),
            batches: Some(receiver),
            stop,
            thread: Some(thread),
        })
    }
}

fn send(sender: &SyncSender<Result<Batch>>, batch: Result<Batch>) -> bool {
    sender.send(batch).is_ok()
}

fn new_pool(prefetch: usize) -> Arc<Pool> {
    Arc::new(Pool { free: Mutex::default(), most: prefetch + 4 })
}

/// The thread that fills batches, and the way they come from it.
#[derive(Debug)]
struct Filler {
    process: u32,
    batches: Option<Receiver<Result<Batch>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget((self.batches.take(), self.thread.take()));
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        // a thread that waits to hand over a batch learns from this that nobody takes it
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was reported as a missing batch
        }
    }
}

/// Fills this rank's rows of the batch that begins at `samples`.
fn fill(
    reader: &mut Reader,
    options: &LoaderOptions,
    pool: &Arc<Pool>,
    samples: u64,
    per_step: u64,
) -> Result<Batch> {
    let plan = reader.plan();
    let (rows, length) = (options.batch_size, plan.options().sequence_length);
    let wide = plan.token_width() == 4;
    let new = || match (options.layout, wide) {
        (Layout::Pairs, _) => Buffer::Pairs(vec![0; 2 * rows * length]),
        (Layout::Rows, false) => Buffer::Narrow(vec![0; rows * (length + 1)]),
        (Layout::Rows, true) => Buffer::Wide(vec![0; rows * (length + 1)]),
    };
    let after = samples.checked_add(per_step).ok_or_else(|| {
        Error::invalid(format!("{samples} samples were used: no more can be counted"))
    })?;
    let mut batch = Batch {
        buffer: Some(pool.take().unwrap_or_else(new)),
        pool: Arc::downgrade(pool),
        samples: after,
    };
    let first = samples + (options.rank * rows) as u64;
    match batch.buffer_mut() {
        Buffer::Pairs(numbers) => {
            let (inputs, targets) = numbers.split_at_mut(rows * length);
            let pairs = inputs.chunks_exact_mut(length).zip(targets.chunks_exact_mut(length));
            for (sample, (inputs, targets)) in (first..).zip(pairs) {
                reader.fill_pair(sample, inputs, targets)?;
            }
        }
        Buffer::Narrow(tokens) => {
            for (sample, row) in (first..).zip(tokens.chunks_exact_mut(length + 1)) {
                reader.fill_row(sample, row)?;
            }
        }
        Buffer::Wide(tokens) => {
            for (sample, row) in (first..).zip(tokens.chunks_exact_mut(length + 1)) {
                reader.fill_row(sample, row)?;
            }
        }
    }
    Ok(batch)
}

/// Refuses a `state` that belongs to another sequence than `plan`, by what it states.
pub fn check_belongs(
    plan: &Plan,
    fingerprint: &str,
    sequence_length: u64,
    seed: u64,
    shuffle: bool,
) -> Result<()> {
    let options = plan.options();
    let pairs = [
        ("the loader's data and the saved state's", hex(&plan.fingerprint()), fingerprint.into()),
        (
            "the loader's sequence_length and the saved state's",
            options.sequence_length.to_string(),
            sequence_length.to_string(),
        ),
        ("the loader's seed and the saved state's", options.seed.to_string(), seed.to_string()),
        (
            "the loader's shuffle and the saved state's",
            options.shuffle.to_string(),
            shuffle.to_string(),
        ),
    ];
    for (what, expected, found) in pairs {
        if expected != found {
            return Err(Error::Mismatch { what: what.into(), expected, found });
        }
    }
    Ok(())
}
