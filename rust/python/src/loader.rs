//! `LoaderCore`: the part of `lslm.data.TokenLoader` that reads, without torch.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use lslm_dataset::loader::Position;
use lslm_dataset::{
    Access, Batch, Documents, Layout, Loader, LoaderOptions, LoaderState, OnChange, Packing,
    PackingCounts, Plan, PlanOptions, PlanSource,
};
use lslm_runtime::{Error, Task, hex};
use numpy::PyArray1;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::dataset::PyTokenDataset;
use crate::error::to_python;
use crate::memory::{Array, arrays};
use crate::run::run;

/// Documents, positions, boundaries, datasets and first tokens.
type DocumentArrays<'py> = (Array<'py>, Array<'py>, Array<'py>, Array<'py>, Array<'py>);

/// First sample, samples left out before it, sequence length, packing, whether borders are masked,
/// targets left unread before it, and the share of each source.
type SegmentTuple = (u64, u64, u64, &'static str, bool, u64, Vec<(String, f64)>);

/// Inputs or rows, targets unless these are rows, those of rows that are not counted if there are
/// any, and the position after the batch.
type BatchTuple<'py> = (Array<'py>, Option<Array<'py>>, Option<Array<'py>>, u64);

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
        datasets, weights, names, *, sequence_length, max_sequence_length, packing, mask_borders,
        seed, shuffle, verify, batch_size, rank, world_size, global_batch_size, epochs, prefetch,
        rows, access,
    ))]
    #[expect(clippy::fn_params_excessive_bools, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        datasets: Vec<PyRef<'_, PyTokenDataset>>,
        weights: Option<Vec<f64>>,
        names: Option<Vec<String>>,
        sequence_length: usize,
        max_sequence_length: Option<usize>,
        packing: &str,
        mask_borders: bool,
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
        let sources = datasets.iter().enumerate().map(|(index, dataset)| PlanSource {
            dataset: dataset.dataset.clone(),
            name: names.as_ref().and_then(|names| names.get(index).cloned()),
            weight: weights.as_ref().and_then(|weights| weights.get(index).copied()),
        });
        let access = match access {
            "auto" => Access::Auto,
            "map" => Access::Map,
            "call" => Access::Call,
            other => {
                let text = format!("access = {other:?}: choose \"auto\", \"map\" or \"call\"");
                return Err(PyValueError::new_err(text));
            }
        };
        let packing = Packing::parse(packing).ok_or_else(|| {
            let names = Packing::ALL.map(|packing| format!("{:?}", packing.name())).join(", ");
            PyValueError::new_err(format!("packing = {packing:?}: choose one of {names}"))
        })?;
        let options = PlanOptions {
            sequence_length,
            max_sequence_length,
            packing,
            mask_borders,
            seed,
            shuffle,
            verify,
            access,
        };
        let sources: Vec<PlanSource> = sources.collect();
        let plan = if packing == Packing::Concat {
            Plan::with_task(sources, options, &Task::default()).map_err(to_python)?
        } else {
            run(py, None, |task| Plan::with_task(sources, options, task))?
        };
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
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<BatchTuple<'py>>> {
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
        result?.map(|batch| self.batch(py, batch)).transpose()
    }

    #[doc = stub!("LoaderCore.restart")]
    fn restart(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            self.lock()?.restart();
            Ok(())
        })
    }

    #[doc = stub!("LoaderCore.state")]
    fn state(&self) -> PyResult<String> {
        let loader = self.lock()?;
        loader.state(loader.position()).to_json().map_err(to_python)
    }

    #[doc = stub!("LoaderCore.resume")]
    fn resume(&self, py: Python<'_>, state: &str, new_segment: bool) -> PyResult<()> {
        let on_change = if new_segment { OnChange::NewSegment } else { OnChange::Refuse };
        py.detach(|| {
            let state = LoaderState::parse(state).map_err(to_python)?;
            self.lock()?.resume(&state, on_change).map_err(to_python)
        })
    }

    #[doc = stub!("LoaderCore.batch_at")]
    fn batch_at<'py>(&self, py: Python<'py>, samples: u64) -> PyResult<BatchTuple<'py>> {
        let batch = py.detach(|| self.lock()?.batch_at(samples).map_err(to_python))?;
        self.batch(py, batch)
    }

    #[doc = stub!("LoaderCore.skip")]
    fn skip(&self, py: Python<'_>, samples: u64, count: u64) -> PyResult<()> {
        py.detach(|| self.lock()?.skip(samples, count).map_err(to_python))
    }

    #[doc = stub!("LoaderCore.packing_counts")]
    #[getter]
    fn packing_counts(&self) -> PyResult<(u64, u64, u64)> {
        let PackingCounts { n_rows, n_padding, n_cut } = self.lock()?.plan().packing_counts();
        Ok((n_rows, n_padding, n_cut))
    }

    #[doc = stub!("LoaderCore.documents")]
    fn documents<'py>(&self, py: Python<'py>, samples: u64) -> PyResult<DocumentArrays<'py>> {
        let documents = py.detach(|| {
            let (plan, first, rows) = self.lock()?.rows_at(samples);
            plan.reader().documents(first, rows).map_err(to_python)
        })?;
        let Documents { ids, positions, boundaries, sources, starts } = documents;
        Ok((
            PyArray1::from_vec(py, ids).into_any(),
            PyArray1::from_vec(py, positions).into_any(),
            PyArray1::from_vec(py, boundaries).into_any(),
            PyArray1::from_vec(py, sources).into_any(),
            PyArray1::from_vec(py, starts).into_any(),
        ))
    }

    #[doc = stub!("LoaderCore.schedule")]
    #[getter]
    fn schedule(&self) -> PyResult<Vec<SegmentTuple>> {
        let plan = Arc::clone(self.lock()?.plan());
        let sources = plan.schedule().sources();
        let segments = plan.schedule().segments().iter().zip(plan.unread()).map(|(one, unread)| {
            let shares = sources.iter().zip(&one.weights).filter(|(_, w)| w.is_present());
            let shares = shares.map(|(source, weight)| (source.name.clone(), weight.share()));
            let (packing, mask_borders) = (one.packing.name(), one.mask_borders);
            let length = one.sequence_length;
            (one.from, one.skip, length, packing, mask_borders, unread, shares.collect())
        });
        Ok(segments.collect())
    }

    #[doc = stub!("LoaderCore.served")]
    fn served(&self, samples: u64) -> PyResult<Vec<(String, Option<usize>, u64)>> {
        let plan = Arc::clone(self.lock()?.plan());
        let served = plan.served(samples).map_err(to_python)?.into_iter();
        Ok(served.map(|(name, dataset, units)| (name.to_owned(), dataset, units)).collect())
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

    #[doc = stub!("LoaderCore.samples_per_step")]
    #[getter]
    fn samples_per_step(&self) -> PyResult<u64> {
        Ok(self.lock()?.samples_per_step())
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

    #[doc = stub!("LoaderCore.samples_of")]
    fn samples_of(
        &self,
        py: Python<'_>,
        dataset: usize,
        start: u64,
        stop: u64,
        until: u64,
    ) -> PyResult<Vec<(u64, u64)>> {
        let plan = Arc::clone(self.lock()?.plan());
        py.detach(|| plan.samples_of(dataset, &(start..stop), until)).map_err(to_python)
    }

    #[doc = stub!("LoaderCore.locate")]
    fn locate(&self, sample: u64) -> PyResult<(usize, u64, u64)> {
        let plan = Arc::clone(self.lock()?.plan());
        let place = plan.reader().locate(sample).map_err(to_python)?;
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

    /// Returns the arrays of a batch.
    fn batch<'py>(&self, py: Python<'py>, mut batch: Batch) -> PyResult<BatchTuple<'py>> {
        let (samples, ignored) = (batch.samples, std::mem::take(&mut batch.ignored));
        let ignored = (!ignored.is_empty()).then(|| PyArray1::from_vec(py, ignored).into_any());
        let (rows, length) = self.shape()?;
        let (inputs, targets) = arrays(py, batch, rows, length)?;
        Ok((inputs, targets, ignored, samples))
    }

    /// Returns the rows and the sequence length of a batch.
    fn shape(&self) -> PyResult<(usize, usize)> {
        let loader = self.lock()?;
        Ok((loader.options().batch_size, loader.plan().options().sequence_length))
    }
}
