//! One error type for the whole of lslm, sorted by what the caller can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what the caller can do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write `path`.
    Io {
        /// The file or folder that was used.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The content of `path` is not what its format asks for.
    Format {
        /// The file that is broken or of another kind.
        path: PathBuf,
        /// Where in the file, in bytes from its start, if known.
        offset: Option<u64>,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Two things that must belong together do not: tokenizer, dataset, checkpoint, configuration.
    Mismatch {
        /// What was compared, with the names of both sides.
        what: String,
        /// The value that was asked for.
        expected: String,
        /// The value that was met.
        found: String,
    },
    /// An argument has a value that cannot be used; the text names it and says what to do.
    Invalid(String),
    /// An id or a name that the tokenizer does not have.
    UnknownToken(String),
    /// The caller asked the work to stop.
    Cancelled,
}

impl Error {
    /// An [`Error::Io`] on `path`, as a function for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// An [`Error::Format`] for `path`; `offset` in bytes where it is known.
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

    /// An [`Error::Invalid`] with the message `text`.
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

/// The entry of `known` that is nearest to `name`, if one is near enough to be a slip of the pen.
///
/// For messages of the kind "unknown X, did you mean Y?". Nearness is the number of single-letter
/// changes, at most a third of the longer name.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= name.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in bytes, by the usual table with one row kept.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitution = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_and_the_place() {
        let error = Error::format("a.jsonl", 17, "not JSON");
        assert_eq!(error.to_string(), "a.jsonl, byte 17: not JSON");
        let missing = std::fs::read("no/such/file").map_err(Error::io("no/such/file"));
        assert!(missing.unwrap_err().to_string().starts_with("no/such/file: "));
    }

    #[test]
    fn nearest_suggests_slips_only() {
        assert_eq!(nearest("cl100k_bas", ["gpt2", "cl100k_base"]), Some("cl100k_base"));
        assert_eq!(nearest("something", ["gpt2", "cl100k_base"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
