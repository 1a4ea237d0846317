//! `LoaderCore`: the part of `lslm.data.TokenLoader` that reads, without torch.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use lslm_dataset::loader::Position;
use lslm_dataset::{Access, Layout, Loader, LoaderOptions, Plan, PlanOptions};
use lslm_runtime::{Error, hex};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::dataset::PyTokenDataset;
use crate::error::to_python;
use crate::memory::{Array, arrays};

#[doc = stub!("LoaderCore")]
#[pyclass(frozen, module = "lslm._lslm", name = "LoaderCore")]
pub(crate) struct PyLoaderCore {
    loader: Mutex<Loader>,
    /// The id of the process that used the loader last; in a fork it differs.
    process: AtomicU32,
}

#[pymethods]
impl PyLoaderCore {
    #[new]
    #[pyo3(signature = (
        datasets, weights, *, sequence_length, seed, shuffle, verify, batch_size, rank, world_size,
        global_batch_size, epochs, prefetch, rows, access,
    ))]
    fn new(
        datasets: Vec<PyRef<'_, PyTokenDataset>>,
        weights: Option<Vec<f64>>,
        sequence_length: usize,
        seed: u64,
        shuffle: bool,
        verify: bool,
        batch_size: usize,
        rank: usize,
        world_size: usize,
        global_batch_size: Option<usize>,
        epochs: Option<u64>,
        prefetch: usize,
        rows: bool,
        access: &str,
    ) -> PyResult<Self> {
        let sources = datasets.iter().map(|dataset| dataset.dataset.clone()).collect();
        let access = match access {
            "auto" => Access::Auto,
            "map" => Access::Map,
            "call" => Access::Call,
            other => {
                let text = format!("access = {other:?}: choose \"auto\", \"map\" or \"call\"");
                return Err(PyValueError::new_err(text));
            }
        };
        let options = PlanOptions { sequence_length, seed, shuffle, verify, access };
        let plan = Plan::new(sources, weights.as_deref(), options).map_err(to_python)?;
        let layout = if rows { Layout::Rows } else { Layout::Pairs };
        let options = LoaderOptions {
            batch_size,
            rank,
            world_size,
            global_batch_size,
            epochs,
            prefetch,
            layout,
        };
        let loader = Loader::new(Arc::new(plan), options).map_err(to_python)?;
        Ok(Self { loader: Mutex::new(loader), process: AtomicU32::new(std::process::id()) })
    }

    #[doc = stub!("LoaderCore.next")]
    fn next<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Array<'py>, Option<Array<'py>>, u64)>> {
        let mut raised = None;
        let result = py.detach(|| {
            self.lock()?
                .next(&mut || {
                    #[expect(
                        clippy::redundant_closure_for_method_calls,
                        reason = "lifetimes differ"
                    )]
                    Python::attach(|py| py.check_signals()).map_err(|exception| {
                        raised = Some(exception);
                        Error::Cancelled
                    })
                })
                .map_err(to_python)
        });
        if let Some(exception) = raised {
            return Err(exception);
        }
        let Some(batch) = result? else { return Ok(None) };
        let samples = batch.samples;
        let (rows, length) = self.shape()?;
        let (inputs, targets) = arrays(py, batch, rows, length)?;
        Ok(Some((inputs, targets, samples)))
    }

    #[doc = stub!("LoaderCore.seek")]
    fn seek(&self, py: Python<'_>, samples: u64, round: u64) -> PyResult<()> {
        py.detach(|| {
            self.lock()?.seek(Position { samples, round });
            Ok(())
        })
    }

    #[doc = stub!("LoaderCore.restart")]
    fn restart(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            self.lock()?.restart();
            Ok(())
        })
    }

    #[doc = stub!("LoaderCore.check")]
    fn check(
        &self,
        fingerprint: &str,
        sequence_length: u64,
        seed: u64,
        shuffle: bool,
    ) -> PyResult<()> {
        let plan = Arc::clone(self.lock()?.plan());
        plan.check_state(fingerprint, sequence_length, seed, shuffle).map_err(to_python)
    }

    #[doc = stub!("LoaderCore.position")]
    #[getter]
    fn position(&self) -> PyResult<(u64, u64)> {
        let Position { samples, round } = self.lock()?.position();
        Ok((samples, round))
    }

    #[doc = stub!("LoaderCore.fingerprint")]
    #[getter]
    fn fingerprint(&self) -> PyResult<String> {
        Ok(hex(&self.lock()?.plan().fingerprint()))
    }

    #[doc = stub!("LoaderCore.samples_per_epoch")]
    #[getter]
    fn samples_per_epoch(&self) -> PyResult<Option<u64>> {
        Ok(self.lock()?.plan().samples_per_epoch())
    }

    #[doc = stub!("LoaderCore.global_batch_size")]
    #[getter]
    fn global_batch_size(&self) -> PyResult<u64> {
        Ok(self.lock()?.global_batch_size())
    }

    #[doc = stub!("LoaderCore.n_batches")]
    #[getter]
    fn n_batches(&self) -> PyResult<Option<u64>> {
        Ok(self.lock()?.n_batches())
    }

    #[doc = stub!("LoaderCore.left_out")]
    #[getter]
    fn left_out(&self) -> PyResult<(u64, u64)> {
        let loader = self.lock()?;
        Ok((loader.plan().left_out(), loader.left_out()))
    }

    #[doc = stub!("LoaderCore.locate")]
    fn locate(&self, sample: u64) -> PyResult<(usize, u64, u64)> {
        let place = self.lock()?.plan().reader().locate(sample);
        Ok((place.source, place.epoch, place.start))
    }
}

impl PyLoaderCore {
    /// Locks the loader; RuntimeError in a fork of a process whose other thread held the lock.
    fn lock(&self) -> PyResult<MutexGuard<'_, Loader>> {
        let process = std::process::id();
        if self.process.load(Ordering::Relaxed) == process {
            return Ok(self.loader.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // after a fork, a lock that another thread held is never released
        let guard = match self.loader.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err(
                    "the loader was in use by another thread when this process was forked; make \
                     a new one",
                ));
            }
        };
        self.process.store(process, Ordering::Relaxed);
        Ok(guard)
    }

    /// Returns the rows and the sequence length of a batch.
    fn shape(&self) -> PyResult<(usize, usize)> {
        let loader = self.lock()?;
        Ok((loader.options().batch_size, loader.plan().options().sequence_length))
    }
}
