//! Errors of the crates as Python exceptions.

use std::io::ErrorKind;

use lslm_runtime::Error;
use pyo3::exceptions::{PyKeyError, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;

pyo3::import_exception!(lslm.exceptions, FormatError);
pyo3::import_exception!(lslm.exceptions, MismatchError);

/// Returns the exception for `error`: a built-in one where Python has the notion, else one of ours.
pub(crate) fn to_python(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Io { path, source } => {
            // OSError(errno, text, filename) becomes FileNotFoundError or another subclass by itself
            let number = source.raw_os_error().or(match source.kind() {
                ErrorKind::NotFound => Some(2),
                ErrorKind::PermissionDenied => Some(13),
                ErrorKind::AlreadyExists => Some(17),
                _ => None,
            });
            match number {
                Some(number) => {
                    // the operating system's words, without the "(os error 2)" that Rust appends
                    let words = source.to_string();
                    let words = words.split(" (os error").next().unwrap_or_default().to_owned();
                    PyOSError::new_err((number, words, path.display().to_string()))
                }
                None => PyOSError::new_err(text),
            }
        }
        Error::Format { path, offset, .. } => {
            FormatError::new_err((text, path.display().to_string(), offset))
        }
        Error::Mismatch { .. } => MismatchError::new_err(text),
        Error::UnknownToken(_) => PyKeyError::new_err(text),
        Error::Cancelled => PyKeyboardInterrupt::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
