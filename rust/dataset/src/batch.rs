//! Batches of a sequence of samples, in memory that is reused.

use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

use lslm_runtime::{Error, Result};

use crate::element::Element;
use crate::reader::SampleReader;

/// What a batch contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Inputs and targets: `2 × batch_size × T` numbers of 64 bits.
    Pairs,
    /// Rows of T + 1 tokens as they are stored: `batch_size × (T + 1)` numbers of 16 or 32 bits.
    Rows,
}

/// The tokens of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Buffer {
    /// For [`Layout::Pairs`]: all inputs, then all targets.
    Pairs(Vec<i64>),
    /// For [`Layout::Rows`] of vocabularies of at most 65,536 tokens.
    Narrow(Vec<u16>),
    /// For [`Layout::Rows`] of larger vocabularies.
    Wide(Vec<u32>),
}

/// A batch. Dropping it returns its memory, which a later batch reuses.
#[derive(Debug)]
pub struct Batch {
    buffer: Option<Buffer>,
    pool: Weak<BufferPool>,
    /// The number of samples that all ranks have consumed after this batch.
    pub samples: u64,
    /// For [`Buffer::Narrow`] and [`Buffer::Wide`], the targets that are not counted: numbers below
    /// `batch_size × T`, ascending. Among pairs they are [`IGNORE`](crate::reader::IGNORE).
    pub ignored: Vec<i64>,
}

impl Batch {
    /// Returns the tokens.
    pub fn buffer(&self) -> &Buffer {
        const EMPTY: &Buffer = &Buffer::Narrow(Vec::new());
        self.buffer.as_ref().unwrap_or(EMPTY)
    }

    /// Returns the tokens, to be changed in place.
    pub fn buffer_mut(&mut self) -> &mut Buffer {
        self.buffer.get_or_insert(Buffer::Narrow(Vec::new()))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let (Some(pool), Some(buffer)) = (self.pool.upgrade(), self.buffer.take()) {
            pool.put(buffer);
        }
    }
}

/// Buffers of dropped batches.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Buffer>>,
    max_free: usize,
}

impl BufferPool {
    /// Returns an empty pool for a loader that fills `n_ahead` batches ahead.
    ///
    /// It keeps that many buffers and four more, for batches that the caller holds at the same
    /// time; further ones are freed.
    pub(crate) fn new(n_ahead: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), max_free: n_ahead + 4 })
    }

    fn take(&self) -> Option<Buffer> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, buffer: Buffer) {
        // After a fork, a thread that does not exist in the child may hold the lock for ever: a
        // buffer that cannot be put back at once is freed.
        match self.free.try_lock() {
            Ok(mut free) if free.len() < self.max_free => free.push(buffer),
            Ok(_) | Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
    }
}

/// The rows of each global step that one rank reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankRows {
    /// The number of rows of this rank.
    pub(crate) rows: usize,
    pub(crate) rank: usize,
    pub(crate) world_size: usize,
    pub(crate) layout: Layout,
}

impl RankRows {
    /// Returns the number of samples that all ranks read in a step.
    pub(crate) fn samples_per_step(&self) -> u64 {
        (self.rows * self.world_size) as u64
    }
}

/// Fills the batches of one rank.
#[derive(Debug)]
pub(crate) struct BatchFiller {
    reader: SampleReader,
    rows: RankRows,
    pool: Arc<BufferPool>,
}

impl BatchFiller {
    pub(crate) fn new(reader: SampleReader, rows: RankRows, pool: Arc<BufferPool>) -> Self {
        Self { reader, rows, pool }
    }

    pub(crate) fn rows(&self) -> RankRows {
        self.rows
    }

    /// Returns the tokens of a batch.
    pub(crate) fn batch_tokens(&self) -> usize {
        self.rows.rows * self.reader.plan().options().sequence_length
    }

    pub(crate) fn pool(&self) -> &Arc<BufferPool> {
        &self.pool
    }

    /// Leaks the pool and uses a new one: after a fork, the lock of the old one may be held for
    /// ever.
    pub(crate) fn abandon_pool(&mut self, n_ahead: usize) {
        std::mem::forget(std::mem::replace(&mut self.pool, BufferPool::new(n_ahead)));
    }

    /// Returns this rank's rows of the step that begins at sample `samples`.
    pub(crate) fn fill(&mut self, samples: u64) -> Result<Batch> {
        let after = samples.checked_add(self.rows.samples_per_step()).ok_or_else(|| {
            Error::invalid(format!("sample {samples}: a count of samples does not fit in 64 bits"))
        })?;
        let mut batch = Batch {
            buffer: Some(self.pool.take().map_or_else(|| self.new_buffer(), Ok)?),
            pool: Arc::downgrade(&self.pool),
            samples: after,
            ignored: Vec::new(),
        };
        let mut ignored = Vec::new();
        let RankRows { rows, rank, .. } = self.rows;
        let length = self.reader.plan().options().sequence_length;
        let first = samples + (rank * rows) as u64;
        match batch.buffer_mut() {
            Buffer::Pairs(numbers) => {
                let (inputs, targets) = numbers.split_at_mut(rows * length);
                let pairs = inputs.chunks_exact_mut(length).zip(targets.chunks_exact_mut(length));
                for (sample, (inputs, targets)) in (first..).zip(pairs) {
                    self.reader.fill_pair(sample, inputs, targets)?;
                }
            }
            Buffer::Narrow(tokens) => {
                self.reader.fill_rows(first, tokens, length, &mut ignored)?;
            }
            Buffer::Wide(tokens) => {
                self.reader.fill_rows(first, tokens, length, &mut ignored)?;
            }
        }
        batch.ignored = ignored;
        Ok(batch)
    }

    fn new_buffer(&self) -> Result<Buffer> {
        let plan = self.reader.plan();
        let (rows, length) = (self.rows.rows, plan.options().sequence_length);
        Ok(match (self.rows.layout, plan.token_width()) {
            (Layout::Pairs, _) => Buffer::Pairs(zeros(2 * rows * length)?),
            (Layout::Rows, 2) => Buffer::Narrow(zeros(rows * (length + 1))?),
            (Layout::Rows, _) => Buffer::Wide(zeros(rows * (length + 1))?),
        })
    }
}

/// Returns `count` zeros; an error, where `vec!` would abort, if there is no memory for them.
fn zeros<T: Element>(count: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        Error::invalid(format!(
            "there is no memory for a batch of {bytes} bytes: choose a smaller batch_size or prefetch"
        ))
    })?;
    numbers.resize(count, T::default());
    Ok(numbers)
}
