//! Progress and cancellation of long work.
//!
//! Long work runs on other threads; the thread that asked for it waits in [`supervise`] and wakes
//! some twenty times a second to look. Workers only touch atomics: they add to a counter and learn
//! in the same step whether they should stop. So progress and cancellation are one path, the only
//! thread that ever calls back is the caller's own, and no worker has to know about Python.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::error::{Error, Result};

/// How often a waiting caller looks at the work, and so at Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How far a piece of work has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done now, for people: "count words", "write shards".
    pub stage: String,
    /// What `done` and `total` count: "bytes", "documents", "merges".
    pub unit: &'static str,
    /// How much of this stage is finished.
    pub done: u64,
    /// How much there is, if known.
    pub total: Option<u64>,
}

/// Whoever waits for long work.
pub trait Monitor {
    /// Called about twenty times a second on the thread that waits, and once when the work ends.
    ///
    /// An error stops the work, and [`supervise`] returns it.
    fn poll(&mut self, progress: &Progress) -> Result<()>;
}

/// The monitor that never looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn poll(&mut self, _: &Progress) -> Result<()> {
        Ok(())
    }
}

/// The side of long work that the workers see.
#[derive(Debug)]
pub struct Task {
    cancelled: AtomicBool,
    done: AtomicU64,
    /// `u64::MAX` stands for "not known".
    total: AtomicU64,
    stage: Mutex<(String, &'static str)>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            cancelled: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total: AtomicU64::new(u64::MAX),
            stage: Mutex::new((String::new(), "")),
        }
    }
}

impl Task {
    /// Begins a stage: `done` returns to zero, and `total` of `unit` are to be done.
    pub fn begin(&self, stage: impl Into<String>, unit: &'static str, total: Option<u64>) {
        let mut name = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *name = (stage.into(), unit);
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts `amount` more as done; an [`Error::Cancelled`] says that the work must end.
    pub fn advance(&self, amount: u64) -> Result<()> {
        self.done.fetch_add(amount, Ordering::Relaxed);
        self.check()
    }

    /// [`Error::Cancelled`] once the caller has asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Asks the workers to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// How far the work has come.
    pub fn progress(&self) -> Progress {
        let stage = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            stage: stage.0.clone(),
            unit: stage.1,
            done: self.done.load(Ordering::Relaxed),
            total: (total != u64::MAX).then_some(total),
        }
    }
}

/// Runs `work` on a thread of its own while this one polls `monitor`; returns what `work` returns.
///
/// When the monitor fails, the work is cancelled and waited for, and the monitor's error is the
/// one returned. A panic of the work goes on in the caller.
pub fn supervise<T: Send>(
    monitor: &mut dyn Monitor,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> Result<T> {
    let task = Task::default();
    std::thread::scope(|scope| {
        let (finished, wait) = sync_channel::<()>(1);
        let task = &task;
        let worker = scope.spawn(move || {
            // dropped also when the work panics, so the caller never waits for ever
            let _finished = finished;
            work(task)
        });
        let mut objection = None;
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(TICK) {
            if objection.is_none()
                && let Err(error) = monitor.poll(&task.progress())
            {
                task.cancel();
                objection = Some(error);
            }
        }
        let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match objection {
            Some(error) => Err(error),
            None => result.and_then(|value| monitor.poll(&task.progress()).map(|()| value)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct StopAt(u64);

    impl Monitor for StopAt {
        fn poll(&mut self, progress: &Progress) -> Result<()> {
            if progress.done >= self.0 { Err(Error::invalid("enough")) } else { Ok(()) }
        }
    }

    #[test]
    fn the_result_comes_back() {
        let sum = supervise(&mut Silent, |task| {
            task.begin("add", "numbers", Some(3));
            task.advance(3)?;
            Ok(task.progress().done)
        });
        assert_eq!(sum.unwrap(), 3);
    }

    #[test]
    fn a_monitor_stops_the_work_soon() {
        let start = Instant::now();
        let result: Result<()> = supervise(&mut StopAt(1), |task| {
            loop {
                task.advance(1)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(result.unwrap_err().to_string(), "enough");
        assert!(start.elapsed() < Duration::from_millis(500));
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn a_panic_reaches_the_caller() {
        let _ = supervise(&mut Silent, |_| -> Result<()> { panic!("a bug") });
    }
}
