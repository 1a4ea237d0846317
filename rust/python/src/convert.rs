//! Python's values as the crates' and back: texts, ids, policies.

use std::borrow::Cow;

use lslm_bpe::{Special, TokenId, Tokenizer};
use numpy::{PyArray1, PyArrayDescr, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyKeyError, PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString};

use crate::error::to_python;

/// What happens to a lone surrogate of a str.
#[derive(Clone, Copy)]
pub(crate) enum Surrogates {
    Replace,
    Strict,
}

impl Surrogates {
    pub(crate) fn parse(errors: &str) -> PyResult<Self> {
        match errors {
            "replace" => Ok(Self::Replace),
            "strict" => Ok(Self::Strict),
            _ => Err(PyValueError::new_err(format!(
                "errors = {errors:?}: choose \"replace\" or \"strict\""
            ))),
        }
    }
}

/// The bytes of a str, in UTF-8, or of a bytes-like object.
///
/// Surrogates that stand in pairs are the character they spell; a lone one becomes U+FFFD or is
/// the UnicodeEncodeError that Python gives for it.
pub(crate) fn text<'a>(
    value: &'a Bound<'_, PyAny>,
    surrogates: Surrogates,
) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(text) = value.cast::<PyString>() {
        return match (text.to_str(), surrogates) {
            (Ok(text), _) => Ok(Cow::Borrowed(text.as_bytes())),
            (Err(error), Surrogates::Replace)
                if error.is_instance_of::<PyUnicodeEncodeError>(value.py()) =>
            {
                let units = text.call_method1("encode", ("utf-16-le", "surrogatepass"))?;
                let text = units.call_method1("decode", ("utf-16-le", "replace"))?;
                Ok(Cow::Owned(text.cast::<PyString>()?.to_str()?.as_bytes().to_vec()))
            }
            (Err(error), _) => Err(error),
        };
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        // copied, since others may write to it while it is read
        return Ok(Cow::Owned(PyBuffer::<u8>::get(value)?.to_vec(value.py())?));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a text must be str or bytes, not {kind}")))
}

/// The policy that "none", "all", "raise" or a set of names stands for.
pub(crate) fn special(tokenizer: &Tokenizer, value: &Bound<'_, PyAny>) -> PyResult<Special> {
    if let Ok(word) = value.cast::<PyString>() {
        return match word.to_str()? {
            "none" => Ok(Special::None),
            "all" => Ok(Special::All),
            "raise" => Ok(Special::Raise),
            other => Err(PyValueError::new_err(format!(
                "special = {other:?}: choose \"none\", \"all\", \"raise\" or a set of tokens"
            ))),
        };
    }
    let names = value.try_iter()?.map(|name| name?.extract()).collect::<PyResult<Vec<String>>>()?;
    tokenizer.special_set(names.iter().map(String::as_str)).map_err(to_python)
}

/// The type of the ids that are given out.
#[derive(Clone, Copy)]
pub(crate) enum IdType {
    U32,
    I32,
    I64,
}

impl IdType {
    pub(crate) fn parse(value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(value) = value else { return Ok(Self::U32) };
        let py = value.py();
        let asked = PyArrayDescr::new(py, value)?;
        if asked.is_equiv_to(&numpy::dtype::<u32>(py)) {
            Ok(Self::U32)
        } else if asked.is_equiv_to(&numpy::dtype::<i32>(py)) {
            Ok(Self::I32)
        } else if asked.is_equiv_to(&numpy::dtype::<i64>(py)) {
            Ok(Self::I64)
        } else {
            Err(PyValueError::new_err(format!("dtype = {asked}: choose uint32, int32 or int64")))
        }
    }
}

/// `ids` as a numpy array.
pub(crate) fn ids_out(py: Python<'_>, ids: Vec<TokenId>, kind: IdType) -> Bound<'_, PyAny> {
    match kind {
        IdType::U32 => PyArray1::from_vec(py, ids).into_any(),
        // ids are below 2^24
        IdType::I32 => {
            let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
            PyArray1::from_vec(py, ids).into_any()
        }
        IdType::I64 => {
            let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
            PyArray1::from_vec(py, ids).into_any()
        }
    }
}

/// A sequence of integers, of any integer dtype, as `i64`.
pub(crate) fn integers(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<i64>> {
    if let Ok(array) = value.extract::<PyReadonlyArray1<'_, i64>>() {
        return Ok(array.as_array().to_vec());
    }
    let array = as_array(value, name)?;
    let array = array.call_method1("astype", ("int64",))?;
    Ok(array.extract::<PyReadonlyArray1<'_, i64>>()?.as_array().to_vec())
}

/// A sequence of ids, of any integer dtype; a negative or giant one is a KeyError.
pub(crate) fn ids_in(value: &Bound<'_, PyAny>) -> PyResult<Vec<TokenId>> {
    // copied in any case, since others may write to an array while it is read
    if let Ok(array) = value.cast::<PyArray1<u32>>() {
        return Ok(array.try_readonly()?.as_array().to_vec());
    }
    integers(value, "ids")?
        .into_iter()
        .map(|id| {
            TokenId::try_from(id)
                .map_err(|_| PyKeyError::new_err(format!("the id {id} is not in the vocabulary")))
        })
        .collect()
}

/// `value` as a one-dimensional numpy array of integers.
fn as_array<'py>(value: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
    let dimensions: usize = array.getattr("ndim")?.extract()?;
    let size: usize = array.getattr("size")?.extract()?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    // an empty list has no type that could be wrong
    if dimensions != 1 || (size > 0 && kind != "i" && kind != "u") {
        let dtype = array.getattr("dtype")?;
        return Err(PyTypeError::new_err(format!(
            "{name} must be one sequence of integers, not {dimensions}-dimensional {dtype}"
        )));
    }
    Ok(array)
}

/// Returns the Python objects that `json` describes.
pub(crate) fn loads<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (json,))
}

/// Returns `fields` as JSON; TypeError for a value that JSON does not have.
pub(crate) fn dumps(fields: &Bound<'_, PyDict>) -> PyResult<String> {
    fields.py().import("json")?.call_method1("dumps", (fields,))?.extract()
}
