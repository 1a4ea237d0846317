//! The error type of all lslm crates. Variants differ by what the caller can do about them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A [`std::result::Result`] whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// ```
/// use lslm_runtime::Error;
///
/// let error = Error::format("a.jsonl", 17, "not JSON");
/// assert_eq!(error.to_string(), "a.jsonl, byte 17: not JSON");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read or write `path`.
    Io {
        /// The file or folder of the failed operation.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The content of `path` breaks the rules of its format.
    Format {
        /// The file that is broken, or of another format.
        path: PathBuf,
        /// The offset of the fault in bytes, if known.
        offset: Option<u64>,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Two parts do not belong together, such as a tokenizer and a dataset.
    Mismatch {
        /// The parts that were compared, in the plural: "the tokenizers of a mixture's datasets".
        what: String,
        /// The value that was required.
        expected: String,
        /// The value that is there.
        found: String,
    },
    /// An argument is unusable. The text names the value and what to do instead.
    Invalid(String),
    /// An id or a name that the tokenizer does not define.
    UnknownToken(String),
    /// The caller cancelled the work.
    Cancelled,
}

impl Error {
    /// Returns a function for `map_err` that makes an [`Error::Io`] on `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// Returns an [`Error::Format`] for `path`; `offset` is in bytes, or `None`.
    pub fn format(
        path: impl AsRef<Path>,
        offset: impl Into<Option<u64>>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.as_ref().to_owned(),
            offset: offset.into(),
            reason: reason.into(),
        }
    }

    /// Returns an [`Error::Invalid`] with the message `text`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format { path, offset: Some(offset), reason } => {
                write!(f, "{}, byte {offset}: {reason}", path.display())
            }
            Self::Format { path, offset: None, reason } => {
                write!(f, "{}: {reason}", path.display())
            }
            Self::Mismatch { what, expected, found } => {
                write!(f, "{what} do not belong together: expected {expected}, found {found}")
            }
            Self::Invalid(text) | Self::UnknownToken(text) => f.write_str(text),
            Self::Cancelled => f.write_str("stopped by the caller"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_contain_the_path_and_the_offset() {
        let error = Error::format("a.jsonl", 17, "not JSON");
        assert_eq!(error.to_string(), "a.jsonl, byte 17: not JSON");
        let missing = std::fs::read("no/such/file").map_err(Error::io("no/such/file"));
        assert!(missing.unwrap_err().to_string().starts_with("no/such/file: "));
    }
}
