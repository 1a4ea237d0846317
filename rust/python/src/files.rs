//! `lslm.files`: one writer per folder, and whole files.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lslm_runtime::Error;
use lslm_runtime::files::write_atomically as write;
use lslm_runtime::lock::FolderLock;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::MutexExt;
use pyo3::types::PyTuple;

use crate::error::to_python;

#[doc = stub!("FolderLock")]
#[pyclass(frozen, module = "lslm._lslm", name = "FolderLock")]
pub(crate) struct PyFolderLock {
    folder: PathBuf,
    held: Mutex<Option<FolderLock>>,
}

#[pymethods]
impl PyFolderLock {
    #[new]
    #[pyo3(signature = (folder, /))]
    fn new(folder: PathBuf) -> Self {
        Self { folder, held: Mutex::new(None) }
    }

    fn __enter__<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<PyRef<'py, Self>> {
        let mut held = slf.lock(py);
        if held.is_some() {
            let text = format!("{}: this lock is held already", slf.folder.display());
            return Err(to_python(Error::invalid(text)));
        }
        *held = Some(FolderLock::acquire(&slf.folder).map_err(to_python)?);
        drop(held);
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        let held = self.lock(py).take();
        held.map_or(Ok(()), FolderLock::release).map_err(to_python)
    }
}

impl PyFolderLock {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<FolderLock>> {
        self.held.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of a file, as Python gives it.
#[derive(FromPyObject)]
pub(crate) enum Content {
    #[pyo3(transparent, annotation = "str")]
    Text(PyBackedStr),
    #[pyo3(transparent, annotation = "bytes")]
    Bytes(PyBackedBytes),
}

#[doc = stub!("write_atomically")]
#[pyfunction]
#[pyo3(signature = (path, data))]
pub(crate) fn write_atomically(py: Python<'_>, path: PathBuf, data: Content) -> PyResult<()> {
    let bytes: &[u8] = match &data {
        Content::Text(text) => text.as_bytes(),
        Content::Bytes(bytes) => bytes,
    };
    py.detach(|| write(path, bytes)).map_err(to_python)
}
