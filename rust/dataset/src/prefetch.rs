//! A thread that fills batches ahead.
//!
//! Handing a batch over costs some microseconds, and tens of them where the other thread sleeps: more
//! than filling a batch of 128 tokens. So small batches are handed over in groups.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lslm_runtime::{Error, Result};

use crate::batch::{Batch, BatchFiller};

/// Between two calls of `idle` while a caller waits for a batch: 20 a second, so that Ctrl-C acts
/// within 0.2 s.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Tokens of a group, at most, unless one batch has more: 256 KiB of inputs and targets, which a core
/// fills in some tens of microseconds.
const GROUP_TOKENS: usize = 1 << 14;
/// Batches of a group, at most: with more, handing them over costs no less for each.
const MAX_GROUP: usize = 64;

/// Returns how many batches of `tokens` tokens are handed over together.
pub(crate) fn group_of(tokens: usize) -> usize {
    (GROUP_TOKENS / tokens.max(1)).clamp(1, MAX_GROUP)
}

/// A thread that fills batches, and the channel that they come through.
///
/// Dropping it stops and joins the thread. In a forked process neither the thread nor its locks can
/// be used; there the parts are leaked.
#[derive(Debug)]
pub(crate) struct PrefetchThread {
    /// The process that started the thread.
    process: u32,
    groups: Option<Receiver<Vec<Result<Batch>>>>,
    /// The rest of the group that was received last.
    group: VecDeque<Result<Batch>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PrefetchThread {
    /// Starts a thread that keeps `ahead` batches filled, or groups of small ones, from sample
    /// `first` on.
    ///
    /// The last batch ends at sample `end` at the latest; `None` never ends. After an error the
    /// thread sends it and ends.
    pub(crate) fn start(
        mut filler: BatchFiller,
        first: u64,
        end: Option<u64>,
        ahead: usize,
    ) -> Result<Self> {
        // the channel holds all groups but the one that waits to be sent
        let (sender, receiver) = sync_channel(ahead.max(1) - 1);
        let stop = Arc::new(AtomicBool::new(false));
        let should_stop = Arc::clone(&stop);
        let work = move || {
            let step = filler.rows().samples_per_step();
            let size = group_of(filler.batch_tokens());
            let mut samples = first;
            let has_next = |samples| end.is_none_or(|end| samples + step <= end);
            while !should_stop.load(Ordering::Relaxed) && has_next(samples) {
                let mut group = Vec::with_capacity(size);
                let mut has_failed = false;
                while group.len() < size && has_next(samples) && !has_failed {
                    let batch = filler.fill(samples);
                    samples += step;
                    has_failed = batch.is_err();
                    group.push(batch);
                }
                if sender.send(group).is_err() || has_failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lslm-loader".into()).spawn(work);
        let thread = thread.map_err(|error| {
            Error::invalid(format!("cannot start a thread: {error}; use prefetch = 0"))
        })?;
        Ok(Self {
            process: std::process::id(),
            groups: Some(receiver),
            group: VecDeque::new(),
            stop,
            thread: Some(thread),
        })
    }

    /// Returns whether the thread was started before this process was forked.
    pub(crate) fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }

    /// Waits for the next batch, and calls `idle` about 20 times a second meanwhile.
    ///
    /// The outer error is that of `idle`: the batch is still to come. The inner error ends the
    /// thread.
    pub(crate) fn receive(
        &mut self,
        idle: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Result<Batch>> {
        loop {
            if let Some(batch) = self.group.pop_front() {
                return Ok(batch);
            }
            match self.groups.as_ref().map(|groups| groups.recv_timeout(POLL_INTERVAL)) {
                Some(Ok(group)) => self.group = group.into(),
                Some(Err(RecvTimeoutError::Timeout)) => idle()?,
                Some(Err(RecvTimeoutError::Disconnected)) | None => {
                    let text = "the prefetch thread has ended; the next call starts another";
                    return Ok(Err(Error::invalid(text)));
                }
            }
        }
    }
}

impl Drop for PrefetchThread {
    fn drop(&mut self) {
        if self.is_inherited() {
            let group = std::mem::take(&mut self.group);
            std::mem::forget((self.groups.take(), self.thread.take(), group));
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        // a thread that waits to send a batch returns once the receiver is gone
        drop(self.groups.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was reported as the end of the thread
        }
    }
}
