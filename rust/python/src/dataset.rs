//! `lslm.TokenDataset`, and the writer that `lslm.data.write_dataset` uses.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lslm_dataset::{Dataset, DatasetWriter, DocumentEnd, Manifest, TokenizerEntry};
use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, hex};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::loads;
use crate::error::to_python;
use crate::numbers;
use crate::run::run;

#[doc = stub!("TokenDataset")]
#[pyclass(frozen, module = "lslm", name = "TokenDataset")]
pub(crate) struct PyTokenDataset {
    pub(crate) dataset: Dataset,
}

#[pymethods]
impl PyTokenDataset {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Dataset::open(path)).map(|dataset| Self { dataset }).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.open_bin")]
    #[staticmethod]
    #[pyo3(signature = (paths, vocab_size=None, eos_id=None))]
    fn open_bin(
        py: Python<'_>,
        paths: Vec<PathBuf>,
        vocab_size: Option<u32>,
        eos_id: Option<u32>,
    ) -> PyResult<Self> {
        let dataset = py.detach(|| Dataset::open_bin(&paths, vocab_size, eos_id));
        dataset.map(|dataset| Self { dataset }).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.path")]
    #[getter]
    fn path(&self) -> PathBuf {
        self.dataset.folder().to_owned()
    }

    #[doc = stub!("TokenDataset.n_tokens")]
    #[getter]
    fn n_tokens(&self) -> u64 {
        self.dataset.n_tokens()
    }

    #[doc = stub!("TokenDataset.n_documents")]
    #[getter]
    fn n_documents(&self) -> u64 {
        self.dataset.n_documents()
    }

    #[doc = stub!("TokenDataset.n_bytes")]
    #[getter]
    fn n_bytes(&self) -> Option<u64> {
        let n_bytes = self.dataset.n_bytes();
        (n_bytes > 0 || self.dataset.n_tokens() == 0).then_some(n_bytes)
    }

    #[doc = stub!("TokenDataset.vocab_size")]
    #[getter]
    fn vocab_size(&self) -> u32 {
        self.dataset.vocab_size()
    }

    #[doc = stub!("TokenDataset.dtype")]
    #[getter]
    fn dtype(&self) -> &str {
        &self.dataset.manifest().token_dtype
    }

    #[doc = stub!("TokenDataset.eos_id")]
    #[getter]
    fn eos_id(&self) -> Option<u32> {
        self.dataset.manifest().document_end.eos
    }

    #[doc = stub!("TokenDataset.bos_id")]
    #[getter]
    fn bos_id(&self) -> Option<u32> {
        self.dataset.manifest().document_end.bos
    }

    #[doc = stub!("TokenDataset.fingerprint")]
    #[getter]
    fn fingerprint(&self) -> String {
        hex(&self.dataset.fingerprint())
    }

    #[doc = stub!("TokenDataset.tokenizer_fingerprint")]
    #[getter]
    fn tokenizer_fingerprint(&self) -> Option<&str> {
        self.dataset.manifest().tokenizer.fingerprint.as_deref()
    }

    #[doc = stub!("TokenDataset.tokenizer_path")]
    #[getter]
    fn tokenizer_path(&self) -> Option<PathBuf> {
        self.dataset.tokenizer_path()
    }

    #[doc = stub!("TokenDataset.manifest")]
    #[getter]
    fn manifest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = serde_json::to_string(self.dataset.manifest())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        loads(py, &text)
    }

    #[doc = stub!("TokenDataset.document")]
    fn document<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = numbers::index)] index: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let span = self.dataset.document_span(self.position(index)?).map_err(to_python)?;
        self.array(py, span.start, span.end)
    }

    #[doc = stub!("TokenDataset.document_span")]
    fn document_span(
        &self,
        #[pyo3(from_py_with = numbers::index)] index: i64,
    ) -> PyResult<(u64, u64)> {
        let span = self.dataset.document_span(self.position(index)?).map_err(to_python)?;
        Ok((span.start, span.end))
    }

    #[doc = stub!("TokenDataset.tokens")]
    #[pyo3(signature = (start=0, stop=None))]
    fn tokens<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = numbers::start)] start: u64,
        #[pyo3(from_py_with = numbers::stop)] stop: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, start, stop.unwrap_or(self.dataset.n_tokens()))
    }

    #[doc = stub!("TokenDataset.document_bytes")]
    fn document_bytes(
        &self,
        #[pyo3(from_py_with = numbers::index)] index: i64,
    ) -> PyResult<Option<u64>> {
        self.dataset.document_bytes(self.position(index)?).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.source")]
    fn source(&self, #[pyo3(from_py_with = numbers::index)] index: i64) -> PyResult<Option<&str>> {
        self.dataset.source(self.position(index)?).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.document_id")]
    fn document_id(
        &self,
        #[pyo3(from_py_with = numbers::index)] index: i64,
    ) -> PyResult<Option<String>> {
        self.dataset.document_id(self.position(index)?).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.check_shards")]
    fn check_shards(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.dataset.check_shards()).map_err(to_python)
    }

    #[doc = stub!("TokenDataset.verify")]
    #[pyo3(signature = (*, threads=None, progress=None))]
    fn verify(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        Ok(run(py, progress, |task| self.dataset.verify(threads, task))?.bytes)
    }

    fn __len__(&self) -> usize {
        self.dataset.n_documents() as usize
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = numbers::index)] index: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.document(py, index)
    }

    fn __repr__(&self) -> String {
        format!(
            "TokenDataset({:?}, n_tokens={}, n_documents={}, vocab_size={})",
            self.dataset.folder().display().to_string(),
            self.dataset.n_tokens(),
            self.dataset.n_documents(),
            self.dataset.vocab_size()
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (py, dataset) = (slf.py(), &slf.get().dataset);
        if !dataset.is_bin() {
            let arguments = (slf.get().path(),).into_pyobject(py)?.into_any();
            return Ok((slf.get_type().into_any(), arguments));
        }
        let manifest = dataset.manifest();
        let paths: Vec<&str> = manifest.shards.iter().map(|shard| &*shard.file).collect();
        let arguments = (paths, manifest.vocab_size, manifest.document_end.eos);
        Ok((slf.get_type().getattr("open_bin")?, arguments.into_pyobject(py)?.into_any()))
    }
}

impl PyTokenDataset {
    /// Returns the number of the document at `index`, which counts from the end if negative;
    /// IndexError if the dataset does not have it.
    fn position(&self, index: i64) -> PyResult<u64> {
        let n = self.dataset.n_documents();
        let position =
            if index < 0 { n.checked_sub(index.unsigned_abs()) } else { Some(index as u64) };
        position.filter(|position| *position < n).ok_or_else(|| {
            let s = if n == 1 { "" } else { "s" };
            PyIndexError::new_err(format!("document {index}: the dataset has {n} document{s}"))
        })
    }

    fn array<'py>(&self, py: Python<'py>, start: u64, stop: u64) -> PyResult<Bound<'py, PyAny>> {
        if self.dataset.token_width() == 2 {
            let tokens =
                py.detach(|| self.dataset.tokens::<u16>(start, stop)).map_err(to_python)?;
            Ok(PyArray1::from_vec(py, tokens).into_any())
        } else {
            let tokens =
                py.detach(|| self.dataset.tokens::<u32>(start, stop)).map_err(to_python)?;
            Ok(PyArray1::from_vec(py, tokens).into_any())
        }
    }
}

#[doc = stub!("DatasetWriter")]
#[pyclass(frozen, module = "lslm._lslm", name = "DatasetWriter")]
pub(crate) struct PyDatasetWriter {
    writer: Mutex<Option<DatasetWriter>>,
}

#[pymethods]
impl PyDatasetWriter {
    #[new]
    #[pyo3(signature = (
        path, *, vocab_size, shard_bytes, eos_id=None, bos_id=None, split=None,
        tokenizer_file=None, tokenizer_fingerprint=None,
    ))]
    fn new(
        path: PathBuf,
        vocab_size: u32,
        shard_bytes: u64,
        eos_id: Option<u32>,
        bos_id: Option<u32>,
        split: Option<String>,
        tokenizer_file: Option<String>,
        tokenizer_fingerprint: Option<String>,
    ) -> PyResult<Self> {
        if tokenizer_fingerprint.as_deref().is_some_and(|text| from_hex(text).is_none()) {
            let text = "tokenizer_fingerprint: must be 64 hexadecimal digits";
            return Err(PyValueError::new_err(text));
        }
        let mut template = Manifest::new(vocab_size);
        template.document_end = DocumentEnd { eos: eos_id, bos: bos_id };
        template.split = split;
        template.tokenizer =
            TokenizerEntry { file: tokenizer_file, fingerprint: tokenizer_fingerprint };
        let writer = DatasetWriter::create(path, template, shard_bytes).map_err(to_python)?;
        Ok(Self { writer: Mutex::new(Some(writer)) })
    }

    #[doc = stub!("DatasetWriter.push")]
    #[pyo3(signature = (tokens, n_bytes=0, source=None, id=None))]
    fn push(
        &self,
        tokens: PyReadonlyArray1<'_, u32>,
        n_bytes: u64,
        source: Option<&str>,
        id: Option<&str>,
    ) -> PyResult<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.as_mut().ok_or_else(finished)?;
        let source = source.map_or(0, |name| writer.source(name));
        let tokens = tokens.as_slice()?;
        writer.push_document(tokens, n_bytes, source, id).map_err(to_python)
    }

    #[doc = stub!("DatasetWriter.finish")]
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = writer.ok_or_else(finished)?;
        let manifest = py.detach(|| writer.finish()).map_err(to_python)?;
        let text = serde_json::to_string(&manifest)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(loads(py, &text)?.cast_into()?)
    }

    #[doc = stub!("DatasetWriter.close")]
    fn close(&self) {
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn finished() -> PyErr {
    to_python(Error::invalid("the dataset is finished; nothing can be added"))
}
