//! Long calls: detached from the interpreter, with progress and Ctrl-C.

use lslm_runtime::{Error, Monitor, Progress, Result, Task, supervise};
use pyo3::prelude::*;

use crate::error::to_python;

/// Runs `work` detached from the interpreter and returns its result.
///
/// About twenty times a second this thread attaches, checks signals, and calls the reporter that
/// `lslm.progress.resolve` returned for `progress` (`None`, a bool or a callable). An exception of
/// either cancels the work and is the one raised.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> PyResult<T> {
    let mut session = Session::new(py, progress)?;
    let result = session.run(py, work);
    session.close(py, result)
}

/// Long work in several parts with one reporter, for calls that run Python code in between.
pub(crate) struct Session {
    monitor: PythonMonitor,
}

impl Session {
    /// Returns a session with the reporter of `progress`.
    pub(crate) fn new(py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let reporter = py.import("lslm.progress")?.call_method1("resolve", (progress,))?;
        let reporter = (!reporter.is_none()).then(|| reporter.unbind());
        Ok(Self { monitor: PythonMonitor { reporter, raised: None } })
    }

    /// Runs one part and returns its result, as [`run`] does.
    pub(crate) fn run<T: Send>(
        &mut self,
        py: Python<'_>,
        work: impl FnOnce(&Task) -> Result<T> + Send,
    ) -> PyResult<T> {
        let monitor = &mut self.monitor;
        let result = py.detach(|| supervise(monitor, work));
        match self.monitor.raised.take() {
            Some(exception) => Err(exception),
            None => result.map_err(to_python),
        }
    }

    /// Closes the reporter and returns `result`.
    pub(crate) fn close<T>(self, py: Python<'_>, result: PyResult<T>) -> PyResult<T> {
        if let Some(reporter) = self.monitor.reporter {
            let closed = reporter.call_method1(py, "close", (result.is_ok(),));
            // an exception of the work is worth more than one of its reporter
            return result.and_then(|value| closed.map(|_| value));
        }
        result
    }
}

/// Checks Python's signals and reports progress while the work runs.
struct PythonMonitor {
    reporter: Option<Py<PyAny>>,
    /// The exception that cancelled the work.
    raised: Option<PyErr>,
}

impl Monitor for PythonMonitor {
    fn poll(&mut self, progress: &Progress) -> Result<()> {
        let outcome = Python::attach(|py| -> PyResult<()> {
            py.check_signals()?;
            if let Some(reporter) = &self.reporter {
                let Progress { stage, unit, done, total } = progress;
                reporter.call_method1(py, "update", (stage, *done, *total, *unit))?;
            }
            Ok(())
        });
        outcome.map_err(|exception| {
            self.raised = Some(exception);
            Error::Cancelled
        })
    }
}
