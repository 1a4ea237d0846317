//! `lslm.Corpus` and its documents, and the argument `inputs=`.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lslm_corpus::{
    BadDocument, Corpus, Document, DocumentReader, OnBadFile, ReadOptions, Record, Split,
    Statistics, Utf8Policy,
};
use lslm_runtime::{Error, Task};
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use serde_json::value::RawValue;

use crate::convert::{dumps, loads};
use crate::error::to_python;
use crate::numbers;
use crate::results::{self, result};
use crate::run::run;

/// Bytes of text that an iterator reads ahead, beyond one document: milliseconds of reading, beside
/// which the start of the thread that reads them (some 50 µs) costs little.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Documents that an iterator reads ahead. The first batch is one document and each has twice the
/// documents of the one before, so the first document is yielded as soon as it is read.
const MAX_BATCH: usize = 1024;

#[doc = stub!("Corpus")]
#[pyclass(frozen, module = "lslm", name = "Corpus")]
pub(crate) struct PyCorpus {
    corpus: Corpus,
    /// The paths that it was made of, for pickle.
    named: Vec<String>,
}

#[pymethods]
impl PyCorpus {
    #[new]
    #[pyo3(signature = (inputs, /, *, text_key="text", id_key="id", split="file", separator=None,
        extensions=None, utf8="replace", encoding=None, on_bad_file="error", zstd_long=27))]
    fn new(
        py: Python<'_>,
        inputs: &Bound<'_, PyAny>,
        text_key: &str,
        id_key: &str,
        split: &str,
        separator: Option<String>,
        extensions: Option<Vec<String>>,
        utf8: &str,
        encoding: Option<String>,
        on_bad_file: &str,
        #[pyo3(from_py_with = numbers::zstd_long)] zstd_long: u32,
    ) -> PyResult<Self> {
        let split = match (separator, split.parse().map_err(to_python)?) {
            (None, split) => split,
            (Some(line), Split::File) => Split::Separator(line),
            (Some(_), _) => {
                return Err(PyValueError::new_err(
                    "split and separator are both set: set one of them",
                ));
            }
        };
        let options = ReadOptions {
            text_key: text_key.to_owned(),
            id_key: id_key.to_owned(),
            split,
            utf8: utf8.parse().map_err(to_python)?,
            encoding,
            on_bad_file: on_bad_file.parse().map_err(to_python)?,
            extensions,
            zstd_long,
            ..ReadOptions::default()
        };
        open(py, paths(inputs)?, options)
    }

    #[doc = stub!("Corpus.inputs")]
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.corpus.inputs().iter().map(|input| &**input.name()))
    }

    #[doc = stub!("Corpus.skipped")]
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let class = py.import("lslm.corpus")?.getattr("Skipped")?;
        let skipped = self.corpus.skipped().iter();
        let rows = skipped.map(|skipped| class.call1((&skipped.path, skipped.reason.name())));
        PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = stub!("Corpus.bad_files")]
    #[getter]
    fn bad_files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let statistics = self.corpus.statistics();
        let rows =
            statistics.bad_files.iter().map(|bad| result(py, "BadFile", &results::bad_file(bad)));
        PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = stub!("Corpus.encodings")]
    #[getter]
    fn encodings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let class = py.import("lslm.corpus")?.getattr("FileEncoding")?;
        let inputs = self.corpus.inputs().iter().filter(|input| input.encoding() != "UTF-8");
        let rows = inputs.map(|input| {
            class.call1((input.path(), input.encoding(), input.encoding_confidence()))
        });
        PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = stub!("Corpus.n_bytes")]
    #[getter]
    fn n_bytes(&self) -> u64 {
        self.corpus.total_bytes()
    }

    #[doc = stub!("Corpus.n_partitions")]
    #[pyo3(signature = (partition_bytes=268_435_456), text_signature = "($self, partition_bytes=268435456)")]
    fn n_partitions(
        &self,
        #[pyo3(from_py_with = numbers::partition_bytes)] partition_bytes: u64,
    ) -> PyResult<usize> {
        Ok(self.corpus.partitions(partition_bytes).map_err(to_python)?.len())
    }

    #[doc = stub!("Corpus.count_documents")]
    #[pyo3(signature = (*, progress=None))]
    fn count_documents<'py>(
        &self,
        py: Python<'py>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let statistics = run(py, progress, |task| {
            let total = self.corpus.total_bytes();
            task.begin("read", "bytes", (total > 0).then_some(total));
            let mut reader = self.corpus.read_all().without_records();
            let mut counted = 0;
            while reader.next_document(task)?.is_some() {
                let consumed = reader.bytes_consumed();
                task.advance(consumed - counted)?;
                counted = consumed;
            }
            let mut all = self.corpus.statistics();
            all.merge(reader.statistics());
            Ok(all)
        })?;
        result(py, "Reading", &results::reading(&statistics))
    }

    fn __iter__(&self) -> PyDocumentIterator {
        PyDocumentIterator { ahead: Mutex::new(Ahead::new(self.corpus.clone())) }
    }

    fn __repr__(&self) -> String {
        let inputs = self.corpus.inputs();
        let first = inputs.first().map_or("-", |input| input.name());
        let others = match inputs.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let n_bytes = self.corpus.total_bytes();
        format!(
            "Corpus({first}{others}, n_bytes={n_bytes}, {} skipped)",
            self.corpus.skipped().len()
        )
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<((Vec<String>,), Bound<'py, PyDict>)> {
        if self.named.iter().any(|name| name == "-") {
            let text = "a corpus of standard input (-) cannot be pickled: it can be read once";
            return Err(to_python(Error::invalid(text)));
        }
        let options = self.corpus.options();
        let keywords = PyDict::new(py);
        let (split, separator) = match &options.split {
            Split::File => ("file", None),
            Split::Lines => ("line", None),
            Split::BlankLines(_) => ("blank-lines", None),
            Split::Separator(line) => ("file", Some(line)),
        };
        keywords.set_item("text_key", &options.text_key)?;
        keywords.set_item("id_key", &options.id_key)?;
        keywords.set_item("split", split)?;
        keywords.set_item("separator", separator)?;
        keywords.set_item("extensions", &options.extensions)?;
        let utf8 = match options.utf8 {
            Utf8Policy::Replace => "replace",
            Utf8Policy::Refuse => "refuse",
        };
        keywords.set_item("utf8", utf8)?;
        keywords.set_item("encoding", &options.encoding)?;
        let on_bad_file = match options.on_bad_file {
            OnBadFile::Error => "error",
            OnBadFile::Skip => "skip",
        };
        keywords.set_item("on_bad_file", on_bad_file)?;
        keywords.set_item("zstd_long", options.zstd_long)?;
        Ok(((self.named.clone(),), keywords))
    }
}

/// Returns the corpus of `named`; finds and checks its files.
fn open(py: Python<'_>, named: Vec<String>, options: ReadOptions) -> PyResult<PyCorpus> {
    let corpus = py.detach(|| Corpus::open(&named, options)).map_err(to_python)?;
    Ok(PyCorpus { corpus, named })
}

/// Returns the corpus of `inputs=`: a `Corpus`, or paths read with the default options.
pub(crate) fn corpus_of(inputs: &Bound<'_, PyAny>) -> PyResult<Corpus> {
    if let Ok(corpus) = inputs.cast::<PyCorpus>() {
        return Ok(corpus.get().corpus.clone());
    }
    Ok(open(inputs.py(), paths(inputs)?, ReadOptions::default())?.corpus)
}

/// Returns the paths of a `str`, a path, or an iterable of those.
fn paths(inputs: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let one = |input: &Bound<'_, PyAny>| -> PyResult<String> {
        let path: PathBuf = input.extract()?;
        path.into_os_string().into_string().map_err(|path| {
            PyValueError::new_err(format!("{}: the path is not Unicode", path.display()))
        })
    };
    if inputs.is_instance_of::<PyString>() || inputs.hasattr("__fspath__")? {
        return Ok(vec![one(inputs)?]);
    }
    inputs.try_iter()?.map(|input| one(&input?)).collect()
}

#[doc = stub!("Document")]
#[pyclass(frozen, module = "lslm", name = "Document")]
pub(crate) struct PyDocument {
    text: Py<PyString>,
    id: Option<String>,
    source: String,
    /// The fields of its file; parsed when they are read.
    record: Record,
    /// Bytes of the text as it came; `None`: those of the text.
    n_bytes: Option<u64>,
}

#[pymethods]
impl PyDocument {
    #[new]
    #[pyo3(signature = (text, *, id=None, source="", metadata=None, n_bytes=None))]
    fn new(
        text: Py<PyString>,
        id: Option<String>,
        source: &str,
        metadata: Option<&Bound<'_, PyDict>>,
        #[pyo3(from_py_with = numbers::n_bytes)] n_bytes: Option<u64>,
    ) -> PyResult<Self> {
        let record = match metadata.map(|fields| dumps(fields)).transpose()? {
            None => Record::default(),
            Some(fields) => {
                let object = RawValue::from_string(fields);
                let refuse = |error: serde_json::Error| PyValueError::new_err(error.to_string());
                Record::from_object(object.map_err(refuse)?)
            }
        };
        Ok(Self { text, id, source: source.to_owned(), record, n_bytes })
    }

    #[doc = stub!("Document.text")]
    #[getter]
    fn text(&self, py: Python<'_>) -> Py<PyString> {
        self.text.clone_ref(py)
    }

    #[doc = stub!("Document.id")]
    #[getter]
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    #[doc = stub!("Document.source")]
    #[getter]
    fn source(&self) -> &str {
        &self.source
    }

    #[doc = stub!("Document.n_bytes")]
    #[getter]
    fn n_bytes(&self, py: Python<'_>) -> PyResult<u64> {
        if let Some(n_bytes) = self.n_bytes {
            return Ok(n_bytes);
        }
        // a str of Python may hold lone surrogates, of three bytes each
        let encoded = self.text.bind(py).call_method1("encode", ("utf-8", "surrogatepass"))?;
        Ok(encoded.len()? as u64)
    }

    #[doc = stub!("Document.metadata")]
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.record.metadata().map(|fields| loads(py, &fields)).transpose()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let text = self.text.bind(py);
        let shown = text.get_item(pyo3::types::PySlice::new(py, 0, 40, 1))?.repr()?;
        let rest = if text.len()? > 40 { "…" } else { "" };
        let (id, source) = (&self.id, &self.source);
        let id = id.as_ref().map_or("None".to_owned(), |id| format!("{id:?}"));
        Ok(format!("Document({shown}{rest}, id={id}, source={source:?})"))
    }

    fn __eq__(&self, other: &Self, py: Python<'_>) -> PyResult<bool> {
        if self.id != other.id || self.source != other.source {
            return Ok(false);
        }
        // as dicts, since the same fields may be written in another way
        let metadata = (self.metadata(py)?, other.metadata(py)?);
        let is_same = metadata.0.into_pyobject(py)?.eq(metadata.1)?;
        Ok(is_same && self.text.bind(py).as_any().eq(other.text.bind(py))?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.text.bind(py).hash()
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<((Py<PyString>,), Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("id", &self.id)?;
        keywords.set_item("source", &self.source)?;
        keywords.set_item("metadata", self.metadata(py)?)?;
        keywords.set_item("n_bytes", self.n_bytes)?;
        Ok(((self.text(py),), keywords))
    }
}

#[doc = stub!("DocumentIterator")]
#[pyclass(frozen, module = "lslm._lslm", name = "DocumentIterator")]
pub(crate) struct PyDocumentIterator {
    ahead: Mutex<Ahead>,
}

/// What an iterator has read, and the documents that it has not yielded yet.
struct Ahead {
    corpus: Corpus,
    reader: DocumentReader,
    batch: VecDeque<Document>,
    /// Documents of the next batch, at most.
    max_batch: usize,
    /// The error of a broken file, raised after the documents before it.
    failure: Option<Error>,
    has_ended: bool,
}

impl Ahead {
    fn new(corpus: Corpus) -> Self {
        let reader = corpus.read_all();
        Self {
            corpus,
            reader,
            batch: VecDeque::new(),
            max_batch: 1,
            failure: None,
            has_ended: false,
        }
    }

    /// Reads the next batch. The only error is [`Error::Cancelled`]; others are kept in `failure`.
    fn fill(&mut self, task: &Task) -> lslm_runtime::Result<()> {
        let mut n_bytes = 0;
        while self.batch.len() < self.max_batch && n_bytes < MAX_BATCH_BYTES {
            match self.reader.next_document(task) {
                Ok(Some(document)) => {
                    n_bytes += document.text.len();
                    self.batch.push_back(document);
                }
                Ok(None) => break,
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        self.max_batch = (2 * self.max_batch).min(MAX_BATCH);
        Ok(())
    }
}

#[pymethods]
impl PyDocumentIterator {
    #[doc = stub!("DocumentIterator.reading")]
    #[getter]
    fn reading<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        result(py, "Reading", &results::reading(self.lock(py).reader.statistics()))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyDocument>> {
        let mut ahead = self.lock(py);
        if ahead.batch.is_empty() && ahead.failure.is_none() && !ahead.has_ended {
            let silent = PyBool::new(py, false);
            let ahead = &mut *ahead;
            run(py, Some(silent.as_any()), |task| ahead.fill(task))?;
        }
        if let Some(document) = ahead.batch.pop_front() {
            return Ok(Some(PyDocument {
                text: PyString::new(py, &document.text).unbind(),
                n_bytes: Some(document.n_bytes()),
                id: document.id,
                source: document.source.to_string(),
                record: document.record,
            }));
        }
        if let Some(error) = ahead.failure.take() {
            ahead.has_ended = true;
            return Err(to_python(error));
        }
        if !ahead.has_ended {
            ahead.has_ended = true;
            let mut statistics = ahead.corpus.statistics();
            statistics.merge(ahead.reader.statistics());
            warn_of_losses(py, &statistics)?;
        }
        Ok(None)
    }
}

impl PyDocumentIterator {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Ahead> {
        self.ahead.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Issues a UserWarning for the bad documents, by reason with the first of each, and one for the bad
/// files, if there are any.
pub(crate) fn warn_of_losses(py: Python<'_>, statistics: &Statistics) -> PyResult<()> {
    let warn = |text: String| {
        let text = CString::new(text.replace('\0', ""))?;
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
    };
    if let Some(first) = statistics.bad_files.first() {
        let n_files = statistics.bad_files.len();
        warn(format!(
            "{} left out, or read up to the fault; the first is {}: {}",
            if n_files == 1 {
                "1 broken file was".to_owned()
            } else {
                format!("{n_files} broken files were")
            },
            first.source,
            first.detail
        ))?;
    }
    let n_bad = statistics.bad_documents();
    if n_bad == 0 {
        return Ok(());
    }
    let documents = if n_bad == 1 {
        "1 document could not be read and was".to_owned()
    } else {
        format!("{n_bad} documents could not be read and were")
    };
    let mut text = format!("{documents} left out");
    for (reason, bad) in &statistics.bad {
        let _ = write!(text, "; {}: {}", reason.name(), bad.documents);
        if let Some(BadDocument { source, position, detail }) = bad.examples.first() {
            let _ = write!(text, ", the first in {source} at {position} ({detail})");
        }
    }
    warn(text)
}
