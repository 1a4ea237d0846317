//! Errors of the crates as Python exceptions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lslm_runtime::Error;
use lslm_runtime::files::{is_url, shown};
use pyo3::exceptions::{PyKeyError, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;

pyo3::import_exception!(lslm.exceptions, FormatError);
pyo3::import_exception!(lslm.exceptions, MismatchError);

#[doc = stub!("missing_path")]
#[pyfunction]
#[pyo3(signature = (path, /))]
pub(crate) fn missing_path(path: PathBuf) -> (String, &'static str) {
    (shown(&path), next_step(&path.to_string_lossy()))
}

/// Returns what to do about a missing path that looks like something else: a URL, or a name on the
/// hub.
fn next_step(path: &str) -> &'static str {
    if is_url(Path::new(path)) {
        return ": this is a URL, and lslm reads files of this machine only; download it first";
    }
    let Some((first, rest)) = path.split_once('/') else { return "" };
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let has_extension = rest
        .rsplit_once('.')
        .is_some_and(|(_, extension)| extension.chars().all(|c| c.is_ascii_lowercase()));
    if is_name(first) && is_name(rest) && !has_extension && !Path::new(first).exists() {
        return "; if it is on the Hugging Face hub, download it first (hf download NAME --local-dir \
                FOLDER, with --repo-type dataset for text) and name the folder";
    }
    ""
}

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
                    let mut words = words.split(" (os error").next().unwrap_or_default().to_owned();
                    if source.kind() == ErrorKind::NotFound {
                        words.push_str(next_step(&path.to_string_lossy()));
                    }
                    PyOSError::new_err((number, words, shown(&path)))
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
