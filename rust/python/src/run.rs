//! The one way into long work: detached, with progress and Ctrl-C.

use lslm_runtime::{Error, Monitor, Progress, Result, Task, supervise};
use pyo3::prelude::*;

use crate::error::to_python;

/// Runs `work` detached from the interpreter and returns what it returns.
///
/// About twenty times a second this thread attaches, lets Python see its signals, and calls the
/// reporter that `lslm.progress.resolve` made of `progress` (`None`, a bool or a callable). An
/// exception of either stops the work and is the one raised.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> PyResult<T> {
    let reporter = py.import("lslm.progress")?.call_method1("resolve", (progress,))?;
    let reporter = (!reporter.is_none()).then(|| reporter.unbind());
    let mut monitor = PythonMonitor { reporter, raised: None };
    let result = py.detach(|| supervise(&mut monitor, work));
    if let Some(reporter) = monitor.reporter {
        reporter.call_method1(py, "close", (result.is_ok(),))?;
    }
    match monitor.raised {
        Some(exception) => Err(exception),
        None => result.map_err(to_python),
    }
}

struct PythonMonitor {
    reporter: Option<Py<PyAny>>,
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
