//! Progress and cancellation of long work.
//!
//! Long work runs on other threads, while the caller's thread waits in [`supervise`] and polls a
//! [`Monitor`] about twenty times a second. Workers only touch atomics: one call adds to a counter
//! and returns an error once the work is cancelled. So progress and cancellation are one path, the
//! only thread that calls back is the caller's own, and workers are independent of Python.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::error::{Error, Result};

/// Time between two polls of the monitor, and so the longest that Ctrl-C goes unnoticed here. A
/// poll costs microseconds; 50 ms leave room in the 200 ms within which lslm reacts to Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How much of the current stage is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The name of the stage, for people: "count words", "write shards".
    pub stage: String,
    /// The unit of `done` and `total`: "bytes", "documents", "merges".
    pub unit: &'static str,
    /// The units that are finished.
    pub done: u64,
    /// All units of this stage, if known.
    pub total: Option<u64>,
}

/// Observes long work on the thread that waits for it.
pub trait Monitor {
    /// Called about twenty times a second, and once when the work ends.
    ///
    /// An error cancels the work, and [`supervise`] returns it.
    fn poll(&mut self, progress: &Progress) -> Result<()>;
}

/// A monitor that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn poll(&mut self, _: &Progress) -> Result<()> {
        Ok(())
    }
}

/// The progress counter and the cancellation flag that all workers of one job share.
///
/// A `Task` that is never cancelled, `Task::default()`, serves where neither is needed.
///
/// ```
/// use lslm_runtime::{Error, Silent, Task, supervise};
///
/// let sum = supervise(&mut Silent, |task| {
///     task.begin("add", "numbers", Some(3));
///     let mut sum = 0;
///     for number in [1, 2, 3] {
///         sum += number;
///         task.advance(1)?;
///     }
///     Ok(sum)
/// })?;
/// assert_eq!(sum, 6);
///
/// let task = Task::default();
/// task.cancel();
/// assert!(matches!(task.check(), Err(Error::Cancelled)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Task {
    cancelled: AtomicBool,
    done: AtomicU64,
    /// `u64::MAX` if it is unknown.
    total: AtomicU64,
    /// The name of the stage, and the unit.
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
    /// Starts a stage of `total` units, and sets the count of finished units to zero.
    pub fn begin(&self, stage: impl Into<String>, unit: &'static str, total: Option<u64>) {
        let mut name = self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *name = (stage.into(), unit);
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds `amount` to the finished units; returns [`Error::Cancelled`] once the work must end.
    pub fn advance(&self, amount: u64) -> Result<()> {
        self.done.fetch_add(amount, Ordering::Relaxed);
        self.check()
    }

    /// Returns [`Error::Cancelled`] after [`Task::cancel`].
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Makes every later [`Task::check`] and [`Task::advance`] fail.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns the stage and its counts.
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

/// Runs `work` on a thread of its own while this one polls `monitor`, and returns its result.
///
/// When the monitor fails, the work is cancelled and waited for, and the monitor's error is
/// returned. A panic of the work resumes in the caller.
pub fn supervise<T: Send>(
    monitor: &mut dyn Monitor,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> Result<T> {
    let task = Task::default();
    std::thread::scope(|scope| {
        let (finished, wait) = sync_channel::<()>(1);
        let task = &task;
        let worker = scope.spawn(move || {
            // dropped even when the work panics, so the caller always wakes
            let _finished = finished;
            work(task)
        });
        let mut refusal = None;
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(TICK) {
            if refusal.is_none()
                && let Err(error) = monitor.poll(&task.progress())
            {
                task.cancel();
                refusal = Some(error);
            }
        }
        let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match refusal {
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
    fn supervise_returns_the_result_of_the_work() {
        let sum = supervise(&mut Silent, |task| {
            task.begin("add", "numbers", Some(3));
            task.advance(3)?;
            Ok(task.progress().done)
        });
        assert_eq!(sum.unwrap(), 3);
    }

    #[test]
    fn an_error_of_the_monitor_cancels_the_work_within_half_a_second() {
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
    fn a_panic_of_the_work_resumes_in_the_caller() {
        let _ = supervise(&mut Silent, |_| -> Result<()> { panic!("a bug") });
    }
}
