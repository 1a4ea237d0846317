//! Whole numbers that callers give: one function for each argument, for `from_py_with`.
//!
//! PyO3's own conversion says "can't convert negative int to unsigned", without name and value.

use lslm_bpe::TokenId;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

const MAX_COUNT: u64 = i64::MAX as u64;
/// Of `lslm_runtime::threads`.
const MAX_THREADS: u64 = 4096;
/// Most tokens: ids have 32 bits.
const MAX_VOCAB_SIZE: u64 = u32::MAX as u64;

/// Returns the argument `name`; TypeError for what is not a whole number, ValueError for one
/// outside of `at_least` to `at_most`.
fn whole(name: &str, value: &Bound<'_, PyAny>, at_least: u64, at_most: u64) -> PyResult<u64> {
    let limits = value.py().import("lslm.limits")?;
    limits.call_method1("whole_number", (name, value, at_least, at_most))?.extract()
}

/// Defines a function for each argument, with the range that its number must be in.
macro_rules! arguments {
    ($($name:ident: $type:ty, $at_least:expr, $at_most:expr;)*) => {$(
        /// Returns the argument of this name.
        pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<$type> {
            whole(stringify!($name), value, $at_least, $at_most).map(|number| number as $type)
        }
    )*};
}

/// The same for arguments that may be None.
macro_rules! optional_arguments {
    ($($name:ident: $type:ty, $at_least:expr, $at_most:expr;)*) => {$(
        /// Returns the argument of this name, if it is not None.
        pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<Option<$type>> {
            if value.is_none() {
                return Ok(None);
            }
            whole(stringify!($name), value, $at_least, $at_most)
                .map(|number| Some(number as $type))
        }
    )*};
}

arguments! {
    min_frequency: u64, 0, MAX_COUNT;
    n: usize, 0, MAX_COUNT;
    partition_bytes: u64, 1, MAX_COUNT;
    seed: u64, 0, u64::MAX;
    start: u64, 0, MAX_COUNT;
    vocab_size: usize, 1, MAX_VOCAB_SIZE;
    zstd_long: u32, 10, 31;
}

optional_arguments! {
    max_token_length: usize, 0, MAX_COUNT;
    memory: u64, 1, MAX_COUNT;
    n_bytes: u64, 0, MAX_COUNT;
    sample_bytes: u64, 1, MAX_COUNT;
    stop: u64, 0, MAX_COUNT;
    threads: usize, 1, MAX_THREADS;
}

/// Returns the index of a document, which counts from the end if negative; IndexError for one that
/// needs more than 64 bits.
pub(crate) fn index(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    value.extract().map_err(|error: PyErr| {
        if !error.is_instance_of::<PyOverflowError>(value.py()) {
            return error;
        }
        PyIndexError::new_err(format!("document {value}: no dataset has so many"))
    })
}

/// Returns one token id; KeyError for a whole number that is none, TypeError for another value.
pub(crate) fn id(value: &Bound<'_, PyAny>) -> PyResult<TokenId> {
    value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(value.py()) || value.is_instance_of::<PyInt>() {
            return unknown_id(value);
        }
        error
    })
}

/// Returns the KeyError for a number that is not the id of a token.
pub(crate) fn unknown_id(id: impl std::fmt::Display) -> PyErr {
    PyKeyError::new_err(format!("the id {id} is not in the vocabulary"))
}

/// Returns a number of `array`, one-dimensional and of whole numbers, that needs more than 63 bits
/// and a sign, if there is one.
pub(crate) fn beyond_64_bits<'py>(
    array: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = array.py();
    for extreme in ["min", "max"] {
        let number = array.call_method0(extreme)?;
        let number = py.import("operator")?.call_method1("index", (number,))?;
        if number.extract::<i64>().is_err() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
