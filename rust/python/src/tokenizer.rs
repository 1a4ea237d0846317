//! `lslm.Tokenizer` and its streaming decoder.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::{Encoding, Special, SpecialRoles, StreamDecoder, TokenId, Tokenizer, Unit};
use lslm_runtime::suggest::nearest;
use lslm_runtime::{Result, Task};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyImportError, PyKeyError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString, PyTuple};

use crate::convert::{
    IdType, Surrogates, ids_in, ids_out, integers, iterate_texts, special, text, text_at,
};
use crate::error::to_python;
use crate::numbers;
use crate::run::run;

/// Bytes or ids below which detaching from the interpreter costs more than the work.
const MIN_DETACHED: usize = 1 << 12;
/// Bytes or ids from which the work can take long enough for Ctrl-C: some 10 ms.
const MIN_SUPERVISED: usize = 1 << 20;

#[doc = stub!("Tokenizer")]
#[pyclass(frozen, eq, module = "lslm", name = "Tokenizer")]
#[derive(PartialEq, Eq)]
pub(crate) struct PyTokenizer {
    pub(crate) inner: Tokenizer,
}

/// The argument `tokenizer=`: a `Tokenizer`, or a path for `Tokenizer.load`.
pub(crate) struct TokenizerArgument(pub(crate) Tokenizer);

impl<'py> FromPyObject<'_, 'py> for TokenizerArgument {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(tokenizer) = value.cast::<PyTokenizer>() {
            return Ok(Self(tokenizer.get().inner.clone()));
        }
        let Ok(path) = value.extract::<PathBuf>() else {
            let kind = value.get_type().name()?;
            let text = format!("must be a Tokenizer or the path of one, not {kind}");
            return Err(PyTypeError::new_err(text));
        };
        value.py().detach(|| Tokenizer::load(path)).map(Self).map_err(to_python)
    }
}

/// Runs `work` on `size` bytes or ids and returns its result: attached if that is little, else
/// detached, and with Ctrl-C if it is much.
fn work<T: Send>(
    py: Python<'_>,
    size: usize,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> PyResult<T> {
    if size < MIN_DETACHED {
        work(&Task::default()).map_err(to_python)
    } else if size < MIN_SUPERVISED {
        py.detach(|| work(&Task::default())).map_err(to_python)
    } else {
        run(py, Some(PyBool::new(py, false).as_any()), work)
    }
}

#[pymethods]
impl PyTokenizer {
    #[doc = stub!("Tokenizer.load")]
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let inner = py.detach(|| Tokenizer::load(path)).map_err(to_python)?;
        Ok(Self { inner })
    }

    #[doc = stub!("Tokenizer.from_json")]
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        let inner = py.detach(|| Tokenizer::from_json(text)).map_err(to_python)?;
        Ok(Self { inner })
    }

    #[doc = stub!("Tokenizer.from_tiktoken")]
    #[staticmethod]
    #[pyo3(signature = (path, *, pattern, special_tokens=None))]
    fn from_tiktoken(
        py: Python<'_>,
        path: PathBuf,
        pattern: &str,
        special_tokens: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let pattern = pattern_of(pattern)?;
        let specials: Vec<(String, TokenId)> = match special_tokens {
            Some(tokens) => tokens.iter().map(special_token).collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let load = || Tokenizer::from_tiktoken(path, pattern, &specials);
        Ok(Self { inner: py.detach(load).map_err(to_python)? })
    }

    #[doc = stub!("Tokenizer.from_pretrained")]
    #[staticmethod]
    #[pyo3(signature = (name, *, revision=None))]
    fn from_pretrained(py: Python<'_>, name: &str, revision: Option<&str>) -> PyResult<Self> {
        let hub = py.import("huggingface_hub").map_err(|cause| {
            let error = PyImportError::new_err(
                "from_pretrained needs the package huggingface_hub: pip install \"lslm[hub]\", \
                 or download the tokenizer.json and use Tokenizer.load",
            );
            error.set_cause(py, Some(cause));
            error
        })?;
        let options = PyDict::new(py);
        options.set_item("revision", revision)?;
        let download = |file: &str| -> PyResult<PathBuf> {
            hub.call_method("hf_hub_download", (name, file), Some(&options))?.extract()
        };
        // older models have vocab.json and merges.txt instead
        let path = download("tokenizer.json").or_else(|first| {
            download("vocab.json").and_then(|_| download("merges.txt")).map_err(|_| {
                let error = PyOSError::new_err(format!(
                    "cannot get the tokenizer of {name:?} from the Hugging Face hub: {}",
                    first.value(py)
                ));
                error.set_cause(py, Some(first));
                error
            })
        })?;
        Self::load(py, path)
    }

    #[doc = stub!("Tokenizer.encode")]
    #[pyo3(
        signature = (text, *, special=None, template=false, errors="replace", dtype=None),
        text_signature = "($self, text, *, special='none', template=False, errors='replace', \
                          dtype='uint32')"
    )]
    fn encode<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        special: Option<&Bound<'_, PyAny>>,
        template: bool,
        errors: &str,
        dtype: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = text.py();
        let (content, special) = self.arguments(text, special, errors)?;
        let kind = IdType::parse(dtype)?;
        let mut ids = work(py, content.len(), |task| self.inner.encode(&content, &special, task))?;
        if template {
            let whole = [0, ids.len() as i64];
            (ids, _) = self.inner.template().map_err(to_python)?.around_each(&ids, &whole);
        }
        Ok(ids_out(py, ids, kind))
    }

    #[doc = stub!("Tokenizer.encode_batch")]
    #[pyo3(
        signature = (
            texts, *, special=None, template=false, errors="replace", dtype=None, threads=None
        ),
        text_signature = "($self, texts, *, special='none', template=False, errors='replace', \
                          dtype='uint32', threads=None)"
    )]
    fn encode_batch<'py>(
        &self,
        texts: &Bound<'py, PyAny>,
        special: Option<&Bound<'_, PyAny>>,
        template: bool,
        errors: &str,
        dtype: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>)> {
        let py = texts.py();
        let surrogates = Surrogates::parse(errors)?;
        let kind = IdType::parse(dtype)?;
        let special = self.policy(special)?;
        let values = iterate_texts(texts)?.collect::<PyResult<Vec<_>>>()?;
        let contents = values.iter().enumerate();
        let contents = contents
            .map(|(index, value)| text_at(index, value, surrogates))
            .collect::<PyResult<Vec<_>>>()?;
        let total: usize = contents.iter().map(|content| content.len()).sum();
        let (mut ids, mut offsets) = work(py, total + contents.len(), |task| {
            self.inner.encode_batch(&contents, &special, threads, task)
        })?;
        if template {
            let template = self.inner.template().map_err(to_python)?;
            (ids, offsets) = template.around_each(&ids, &offsets);
        }
        Ok((ids_out(py, ids, kind), PyArray1::from_vec(py, offsets)))
    }

    #[doc = stub!("Tokenizer.count")]
    #[pyo3(
        signature = (text, *, special=None, errors="replace"),
        text_signature = "($self, text, *, special='none', errors='replace')"
    )]
    fn count(
        &self,
        text: &Bound<'_, PyAny>,
        special: Option<&Bound<'_, PyAny>>,
        errors: &str,
    ) -> PyResult<usize> {
        let (content, special) = self.arguments(text, special, errors)?;
        work(text.py(), content.len(), |task| self.inner.count(&content, &special, task))
    }

    #[doc = stub!("Tokenizer.encode_with_offsets")]
    #[pyo3(
        signature = (text, *, unit="byte", special=None, errors="replace", dtype=None),
        text_signature = "($self, text, *, unit='byte', special='none', errors='replace', \
                          dtype='uint32')"
    )]
    fn encode_with_offsets<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        unit: &str,
        special: Option<&Bound<'_, PyAny>>,
        errors: &str,
        dtype: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = text.py();
        let unit = match unit {
            "byte" => Unit::Byte,
            "char" => Unit::Character,
            _ => {
                let message = format!("unit = {unit:?}: choose \"byte\" or \"char\"");
                return Err(PyValueError::new_err(message));
            }
        };
        let (content, special) = self.arguments(text, special, errors)?;
        let kind = IdType::parse(dtype)?;
        let Encoding { ids, offsets } = work(py, content.len(), |task| {
            self.inner.encode_with_offsets(&content, &special, unit, task)
        })?;
        let pair = |(row, column): (usize, usize)| {
            let range = &offsets[row];
            (if column == 0 { range.start } else { range.end }) as i64
        };
        let offsets = Array2::from_shape_fn((offsets.len(), 2), pair).into_pyarray(py).into_any();
        Ok((ids_out(py, ids, kind), offsets))
    }

    #[doc = stub!("Tokenizer.truncate")]
    #[pyo3(
        signature = (text, n, *, special=None),
        text_signature = "($self, text, n, *, special='none')"
    )]
    fn truncate<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = numbers::n)] n: usize,
        special: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = text.py();
        let (content, special) = self.arguments(text, special, "replace")?;
        let is_str = text.is_instance_of::<PyString>();
        let end = work(py, content.len(), |task| {
            self.inner.truncate(&content, n, &special, is_str, task)
        })?;
        let kept = &content[..end];
        if is_str {
            Ok(PyString::new(py, &String::from_utf8_lossy(kept)).into_any())
        } else {
            Ok(PyBytes::new(py, kept).into_any())
        }
    }

    #[doc = stub!("Tokenizer.decode")]
    #[pyo3(signature = (ids, *, errors="replace"))]
    fn decode<'py>(&self, ids: &Bound<'py, PyAny>, errors: &str) -> PyResult<Bound<'py, PyString>> {
        to_text(ids.py(), &self.bytes_of(ids)?, errors)
    }

    #[doc = stub!("Tokenizer.decode_bytes")]
    fn decode_bytes<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(ids.py(), &self.bytes_of(ids)?))
    }

    #[doc = stub!("Tokenizer.decode_batch")]
    #[pyo3(signature = (ids, offsets, *, errors="replace", threads=None))]
    fn decode_batch<'py>(
        &self,
        ids: &Bound<'py, PyAny>,
        offsets: &Bound<'_, PyAny>,
        errors: &str,
        #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyString>>> {
        let py = ids.py();
        let ids = ids_in(ids)?;
        let offsets = integers(offsets, "offsets")?;
        let parts = work(py, ids.len() * 4 + offsets.len(), |task| {
            self.inner.decode_batch(&ids, &offsets, threads, task)
        })?;
        parts.iter().map(|part| to_text(py, part, errors)).collect()
    }

    #[doc = stub!("Tokenizer.decoder")]
    fn decoder(&self) -> PyStreamDecoder {
        PyStreamDecoder { inner: Mutex::new(self.inner.decoder()) }
    }

    #[doc = stub!("Tokenizer.token_bytes")]
    fn token_bytes<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = numbers::id)] id: TokenId,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.inner.token_bytes(id).map_err(to_python)?))
    }

    #[doc = stub!("Tokenizer.token_id")]
    fn token_id(&self, token: &Bound<'_, PyAny>) -> PyResult<Option<TokenId>> {
        Ok(self.inner.token_id(&text(token, Surrogates::Replace)?))
    }

    #[doc = stub!("Tokenizer.vocab_size")]
    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    #[doc = stub!("Tokenizer.special_tokens")]
    #[getter]
    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (name, id) in self.inner.special_tokens() {
            tokens.set_item(name, id)?;
        }
        Ok(tokens)
    }

    #[doc = stub!("Tokenizer.eos_id")]
    #[getter]
    fn eos_id(&self) -> Option<TokenId> {
        self.inner.eos_id()
    }

    #[doc = stub!("Tokenizer.pattern")]
    #[getter]
    fn pattern(&self) -> &str {
        let pattern = self.inner.pattern();
        pattern.name().unwrap_or_else(|| pattern.regex())
    }

    #[doc = stub!("Tokenizer.engine")]
    #[getter]
    fn engine(&self) -> String {
        self.inner.engine()
    }

    #[doc = stub!("Tokenizer.fingerprint")]
    #[getter]
    fn fingerprint(&self, py: Python<'_>) -> String {
        let digest = py.detach(|| self.inner.fingerprint());
        lslm_runtime::hex(&digest)
    }

    #[doc = stub!("Tokenizer.notes")]
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.notes())
    }

    #[doc = stub!("Tokenizer.save")]
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.inner.save(path)).map_err(to_python)
    }

    #[doc = stub!("Tokenizer.save_pretrained")]
    #[pyo3(signature = (folder, *, bos_token=None, eos_token=None, pad_token=None, unk_token=None))]
    fn save_pretrained(
        &self,
        py: Python<'_>,
        folder: PathBuf,
        bos_token: Option<String>,
        eos_token: Option<String>,
        pad_token: Option<String>,
        unk_token: Option<String>,
    ) -> PyResult<()> {
        let roles = SpecialRoles { bos: bos_token, eos: eos_token, pad: pad_token, unk: unk_token };
        py.detach(|| self.inner.save_pretrained(folder, &roles)).map_err(to_python)
    }

    #[doc = stub!("Tokenizer.to_json")]
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.inner.to_json())
    }

    fn __repr__(&self) -> String {
        let count = self.inner.special_tokens().count();
        format!(
            "Tokenizer(vocab_size={}, pattern={:?}, special_tokens={count})",
            self.inner.vocab_size(),
            self.pattern()
        )
    }

    fn __hash__(&self, py: Python<'_>) -> u64 {
        let digest = py.detach(|| self.inner.fingerprint());
        digest[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte))
    }

    fn __len__(&self) -> usize {
        self.inner.vocab_size()
    }

    fn __copy__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: PyRef<'py, Self>, _memo: &Bound<'py, PyAny>) -> PyRef<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Self>().getattr("from_json")?, (self.to_json(py),)))
    }
}

impl PyTokenizer {
    fn policy(&self, value: Option<&Bound<'_, PyAny>>) -> PyResult<Special> {
        value.map_or(Ok(Special::None), |value| special(&self.inner, value))
    }

    fn arguments<'a>(
        &self,
        value: &'a Bound<'_, PyAny>,
        special: Option<&Bound<'_, PyAny>>,
        errors: &str,
    ) -> PyResult<(Cow<'a, [u8]>, Special)> {
        Ok((text(value, Surrogates::parse(errors)?)?, self.policy(special)?))
    }

    fn bytes_of(&self, ids: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        let py = ids.py();
        let ids = ids_in(ids)?;
        // one copy per token: too fast for Ctrl-C
        let decode = || {
            let mut out = Vec::with_capacity(5 * ids.len());
            self.inner.decode_into(&ids, &mut out).map(|()| out)
        };
        if ids.len() < MIN_DETACHED { decode() } else { py.detach(decode) }.map_err(to_python)
    }
}

#[doc = stub!("StreamDecoder")]
#[pyclass(frozen, module = "lslm", name = "StreamDecoder")]
pub(crate) struct PyStreamDecoder {
    inner: Mutex<StreamDecoder>,
}

#[pymethods]
impl PyStreamDecoder {
    #[doc = stub!("StreamDecoder.push")]
    fn push(&self, ids: &Bound<'_, PyAny>) -> PyResult<String> {
        let ids = match numbers::id(ids) {
            Ok(id) => vec![id],
            Err(error) if error.is_instance_of::<PyKeyError>(ids.py()) => return Err(error),
            Err(_) => ids_in(ids)?,
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.push(&ids).map_err(to_python)
    }

    #[doc = stub!("StreamDecoder.finish")]
    fn finish(&self) -> String {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

fn to_text<'py>(py: Python<'py>, bytes: &[u8], errors: &str) -> PyResult<Bound<'py, PyString>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(PyString::new(py, text));
    }
    // Python's own policies and messages for bytes that are not UTF-8
    let text = PyBytes::new(py, bytes).call_method1("decode", ("utf-8", errors))?;
    Ok(text.cast_into::<PyString>()?)
}

/// Returns the published pattern called `pattern`, or the pattern of a regular expression.
pub(crate) fn pattern_of(pattern: &str) -> PyResult<Pattern> {
    if let Some(pattern) = Pattern::named(pattern) {
        return Ok(pattern);
    }
    // a plain word is a misspelled name, not an expression that matches only this word
    let is_word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if !pattern.is_empty() && pattern.chars().all(is_word) {
        let names = Pattern::names();
        let hint = match nearest(pattern, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("choose one of {} or give an expression", names.join(", ")),
        };
        return Err(PyValueError::new_err(format!("pattern = {pattern:?}: {hint}")));
    }
    Pattern::from_regex(pattern).map_err(to_python)
}

fn special_token((name, id): (Bound<'_, PyAny>, Bound<'_, PyAny>)) -> PyResult<(String, TokenId)> {
    Ok((name.extract()?, id.extract()?))
}
