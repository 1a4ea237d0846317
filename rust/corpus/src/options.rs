//! What a caller can choose about reading.

use std::str::FromStr;

use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a file holds, once any compression is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Plain text; [`Split`] says what a document is.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// Parquet: one document a row.
    Parquet,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Text, Self::Jsonl, Self::Parquet];

    /// The name in options and reports: `text`, `jsonl` or `parquet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The format that a file extension (lower case, without the dot) stands for.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "txt" | "text" | "md" => Some(Self::Text),
            "jsonl" | "ndjson" | "jsonlines" | "json" => Some(Self::Jsonl),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// How the bytes of a file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

impl Compression {
    /// The compression that a last extension (lower case, without the dot) promises.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The compression whose magic number `head` begins with.
    pub(crate) fn of_magic(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // a frame, or one of the sixteen kinds of skippable frame (RFC 8878, 3.1)
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a document is in a plain text file.
///
/// Lines end with `\n` or `\r\n`. Empty documents are never given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The whole file, with its last line break.
    #[default]
    File,
    /// Each line, without its line break.
    Lines,
    /// What lies between runs of at least this many empty lines, without the line breaks at its
    /// end. Zero counts as one.
    BlankLines(u32),
    /// What lies between lines that are exactly this, without the line break before them.
    Separator(String),
}

impl FromStr for Split {
    type Err = Error;

    /// Parses `file`, `line` or `blank-lines` (one empty line is enough); [`Error::Invalid`] for
    /// any other name. A [`Split::Separator`] has no name: it is given by its line.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "file" => Ok(Self::File),
            "line" => Ok(Self::Lines),
            "blank-lines" => Ok(Self::BlankLines(1)),
            _ => Err(Error::invalid(format!("split = {name:?}: choose file, line or blank-lines"))),
        }
    }
}

/// What to do with bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Utf8Policy {
    /// Each maximal ill-formed sequence becomes one U+FFFD, as the WHATWG decoder and
    /// [`String::from_utf8_lossy`] have it, and is counted. So does an unpaired surrogate in a
    /// JSON `\u` escape.
    #[default]
    Replace,
    /// The document is counted as bad and left out.
    Refuse,
}

impl FromStr for Utf8Policy {
    type Err = Error;

    /// Parses `replace` or `refuse`; [`Error::Invalid`] for any other name.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "replace" => Ok(Self::Replace),
            "refuse" => Ok(Self::Refuse),
            _ => Err(Error::invalid(format!("utf8 = {name:?}: choose replace or refuse"))),
        }
    }
}

/// How inputs are read. `ReadOptions::default()` suits most files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The JSONL field or Parquet column with the text; `a.b` reaches into an object when there
    /// is no field of that whole name.
    pub text_key: String,
    /// The field or column with the document's id, a string or a number.
    pub id_key: String,
    /// What a document is in plain text.
    pub split: Split,
    /// The format of every input; by default each one's extension and content decide.
    pub format: Option<Format>,
    /// What to do with bytes that are not UTF-8.
    pub utf8: Utf8Policy,
    /// Which files are taken from folders, by extension, such as `py` (with or without the dot;
    /// a `.gz` or `.zst` after it is fine). By default those of the known formats.
    pub extensions: Option<Vec<String>>,
    /// Names of files and folders that are left out wherever they are met within a named folder,
    /// such as `site-packages`.
    pub exclude: Vec<String>,
    /// The largest window that a zstd frame may ask for, in powers of two, as in `zstd --long=27`:
    /// a stream that is read takes up to that much memory. From 10 to 31, by default 27: 128 MiB.
    pub zstd_long: u32,
    /// Makes the first bad document an error instead of counting it.
    pub strict: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            text_key: "text".into(),
            id_key: "id".into(),
            split: Split::File,
            format: None,
            utf8: Utf8Policy::Replace,
            extensions: None,
            exclude: Vec::new(),
            zstd_long: 27,
            strict: false,
        }
    }
}
