//! Conversions between Python's values and the crates': texts, ids, policies, JSON.

use std::borrow::Cow;

use lslm_bpe::{Special, TokenId, Tokenizer};
use numpy::{PyArray1, PyArrayDescr, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyIterator, PyList, PyMemoryView, PyString, PyTuple,
};

use crate::error::to_python;
use crate::numbers::{beyond_64_bits, unknown_id};

/// What a lone surrogate in a str becomes.
#[derive(Clone, Copy)]
pub(crate) enum Surrogates {
    /// U+FFFD.
    Replace,
    /// A UnicodeEncodeError.
    Strict,
}

impl Surrogates {
    /// Returns the policy that `errors=` names; ValueError for an unknown name.
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

/// Returns the bytes of a str, in UTF-8, or of a bytes-like object; TypeError for another value.
///
/// A pair of surrogates becomes the character that it encodes; a lone one becomes U+FFFD, or the
/// UnicodeEncodeError that Python raises for it.
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
        // copied, since another thread may write to it meanwhile
        return Ok(Cow::Owned(PyBuffer::<u8>::get(value)?.to_vec(value.py())?));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a text must be str or bytes, not {kind}")))
}

/// Returns an iterator over `texts`: an iterable of texts, or an Arrow array or column of them.
///
/// TypeError for a single text, and for a table of columns.
pub(crate) fn iterate_texts<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    if texts.is_instance_of::<PyList>() || texts.is_instance_of::<PyTuple>() {
        return texts.try_iter();
    }
    texts.py().import("lslm.texts")?.call_method1("iterate", (texts,))?.try_iter()
}

/// Returns [`text`] of element `index` of several texts; a TypeError has the index.
pub(crate) fn text_at<'a>(
    index: usize,
    value: &'a Bound<'_, PyAny>,
    surrogates: Surrogates,
) -> PyResult<Cow<'a, [u8]>> {
    text(value, surrogates).map_err(|error| {
        let is_type = error.is_instance_of::<PyTypeError>(value.py());
        if is_type { not_a_text(index, value) } else { error }
    })
}

/// Returns the TypeError for element `index` of several texts, which is `value`.
pub(crate) fn not_a_text(index: usize, value: &Bound<'_, PyAny>) -> PyErr {
    let described = || -> PyResult<String> {
        // pandas has nan, NaT and NA for a missing value, each unequal to itself or to everything
        let kind = value.get_type().name()?.to_string();
        let is_missing = value.is_none()
            || value.extract::<f64>().is_ok_and(f64::is_nan)
            || matches!(&*kind, "NAType" | "NaTType");
        Ok(if is_missing {
            format!("texts[{index}] is missing ({}): drop or fill such rows first", value.repr()?)
        } else {
            format!("texts[{index}] must be a text, not {kind}")
        })
    };
    described().map_or_else(|error| error, PyTypeError::new_err)
}

/// Returns the policy of `special=`: "none", "all", "raise" or a set of names.
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

/// The type of returned ids.
#[derive(Clone, Copy)]
pub(crate) enum IdType {
    U32,
    I32,
    I64,
}

impl IdType {
    /// Returns the type that `dtype=` names, uint32 for None; ValueError for another one.
    pub(crate) fn parse(value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(value) = value else { return Ok(Self::U32) };
        let py = value.py();
        let dtype = PyArrayDescr::new(py, value)?;
        if dtype.is_equiv_to(&numpy::dtype::<u32>(py)) {
            Ok(Self::U32)
        } else if dtype.is_equiv_to(&numpy::dtype::<i32>(py)) {
            Ok(Self::I32)
        } else if dtype.is_equiv_to(&numpy::dtype::<i64>(py)) {
            Ok(Self::I64)
        } else {
            Err(PyValueError::new_err(format!("dtype = {dtype}: choose uint32, int32 or int64")))
        }
    }
}

/// Returns `ids` as a numpy array of the type `kind`.
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

/// Returns a sequence of integers of any integer dtype as `i64`; `name` is for the error.
pub(crate) fn integers(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<i64>> {
    if let Ok(array) = value.extract::<PyReadonlyArray1<'_, i64>>() {
        return Ok(array.as_array().to_vec());
    }
    let array = as_array(value, name)?;
    let array = array.call_method1("astype", ("int64",))?;
    Ok(array.extract::<PyReadonlyArray1<'_, i64>>()?.as_array().to_vec())
}

/// Returns a sequence of ids of any integer dtype; KeyError for one outside of 0 to 2^32 - 1.
pub(crate) fn ids_in(value: &Bound<'_, PyAny>) -> PyResult<Vec<TokenId>> {
    // copied, since another thread may write to the array meanwhile
    if let Ok(array) = value.cast::<PyArray1<u32>>() {
        return Ok(array.try_readonly()?.as_array().to_vec());
    }
    integers(value, "ids")?
        .into_iter()
        .map(|id| TokenId::try_from(id).map_err(|_| unknown_id(id)))
        .collect()
}

/// Returns `value` as a one-dimensional numpy array of integers; TypeError for anything else, and
/// KeyError of ids, else ValueError, for an integer beyond 64 bits.
fn as_array<'py>(value: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
    let dimensions: usize = array.getattr("ndim")?.extract()?;
    let size: usize = array.getattr("size")?.extract()?;
    let dtype = array.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    let itemsize: usize = dtype.getattr("itemsize")?.extract()?;
    // numpy keeps integers beyond 64 bits as objects, or makes floats of a list with some of uint64,
    // which astype would wrap around
    let is_wide = matches!(&*kind, "O" | "f") || (kind == "u" && itemsize == 8);
    if dimensions == 1 && size > 0 && is_wide {
        let exact = if kind == "f" {
            value.py().import("numpy")?.call_method1("asarray", (value, "object"))?
        } else {
            array.clone()
        };
        if let Ok(Some(number)) = beyond_64_bits(&exact) {
            return Err(match name {
                "ids" => unknown_id(number),
                _ => PyValueError::new_err(format!("{name} has {number}: must be below 2**63")),
            });
        }
    }
    // an empty list becomes an array of floats
    if dimensions != 1 || (size > 0 && kind != "i" && kind != "u") {
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
