//! A thread that fills batches ahead.

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

/// A thread that fills batches, and the channel that they come through.
///
/// Dropping it stops and joins the thread. In a forked process neither the thread nor its locks can
/// be used; there the parts are leaked.
#[derive(Debug)]
pub(crate) struct PrefetchThread {
    /// The process that started the thread.
    process: u32,
    batches: Option<Receiver<Result<Batch>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PrefetchThread {
    /// Starts a thread that keeps `ahead` batches filled, from sample `first` on.
    ///
    /// The last batch ends at sample `end` at the latest; `None` never ends. After an error the
    /// thread sends it and ends.
    pub(crate) fn start(
        mut filler: BatchFiller,
        first: u64,
        end: Option<u64>,
        ahead: usize,
    ) -> Result<Self> {
        // the channel holds all batches but the one that waits to be sent
        let (sender, receiver) = sync_channel(ahead.max(1) - 1);
        let stop = Arc::new(AtomicBool::new(false));
        let should_stop = Arc::clone(&stop);
        let work = move || {
            let step = filler.rows().samples_per_step();
            let mut samples = first;
            while !should_stop.load(Ordering::Relaxed)
                && end.is_none_or(|end| samples + step <= end)
            {
                let batch = filler.fill(samples);
                samples += step;
                let has_failed = batch.is_err();
                if sender.send(batch).is_err() || has_failed {
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
            batches: Some(receiver),
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
    pub(crate) fn receive(&self, idle: &mut dyn FnMut() -> Result<()>) -> Result<Result<Batch>> {
        loop {
            match self.batches.as_ref().map(|batches| batches.recv_timeout(POLL_INTERVAL)) {
                Some(Ok(batch)) => return Ok(batch),
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
            std::mem::forget((self.batches.take(), self.thread.take()));
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        // a thread that waits to send a batch returns once the receiver is gone
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was reported as the end of the thread
        }
    }
}
