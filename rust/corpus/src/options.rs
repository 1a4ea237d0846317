//! Options of reading, and the formats they name.

use std::str::FromStr;

use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

/// The format of a file after decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Plain text, which becomes documents by [`Split`].
    Text,
    /// One JSON object per line, each a document.
    Jsonl,
    /// Parquet, each row a document.
    Parquet,
    /// Comma- or tab-separated values with a first row of names, each other row a document.
    Csv,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Jsonl, Self::Parquet, Self::Csv];

    /// Returns the name in options and reports: `text`, `jsonl`, `parquet` or `csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }

    /// Returns the format of a file extension (lower case, without the dot).
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "txt" | "text" | "md" => Some(Self::Text),
            "jsonl" | "ndjson" | "jsonlines" | "json" => Some(Self::Jsonl),
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" | "tsv" | "tab" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Uncompressed.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

impl Compression {
    /// Returns the compression of a last extension (lower case, without the dot).
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the compression whose magic number `head` starts with.
    pub(crate) fn of_magic(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // a frame, or one of the sixteen kinds of skippable frame (RFC 8878, 3.1)
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How a plain-text file becomes documents.
///
/// Lines end with `\n` or `\r\n`. Empty documents are skipped.
///
/// ```
/// use lslm_corpus::Split;
///
/// assert_eq!("blank-lines".parse::<Split>()?, Split::BlankLines(1));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The whole file is one document, with its last line break.
    #[default]
    File,
    /// Each line is a document, without its line break.
    Lines,
    /// Runs of at least this many empty lines separate documents, which lose the line breaks at
    /// their end. Zero counts as one.
    BlankLines(u32),
    /// Lines equal to this separate documents, which lose the line break before such a line.
    Separator(String),
}

impl FromStr for Split {
    type Err = Error;

    /// Parses `file`, `line` or `blank-lines` (one empty line is enough). Any other name is an
    /// [`Error::Invalid`]; a [`Split::Separator`] has none.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "file" => Ok(Self::File),
            "line" => Ok(Self::Lines),
            "blank-lines" => Ok(Self::BlankLines(1)),
            _ => Err(Error::invalid(format!("split = {name:?}: choose file, line or blank-lines"))),
        }
    }
}

/// The treatment of bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Utf8Policy {
    /// Each maximal ill-formed sequence becomes one U+FFFD, as in the WHATWG decoder and
    /// [`String::from_utf8_lossy`], and is counted; likewise an unpaired surrogate in a JSON `\u`
    /// escape.
    #[default]
    Replace,
    /// The document is counted as bad and skipped.
    Refuse,
}

impl FromStr for Utf8Policy {
    type Err = Error;

    /// Parses `replace` or `refuse`. Any other name is an [`Error::Invalid`].
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "replace" => Ok(Self::Replace),
            "refuse" => Ok(Self::Refuse),
            _ => Err(Error::invalid(format!("utf8 = {name:?}: choose replace or refuse"))),
        }
    }
}

/// What happens at a file that cannot be opened or whose content is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadFile {
    /// It is an error that names the file.
    #[default]
    Error,
    /// It is listed in [`Statistics::bad_files`](crate::Statistics) and left out.
    ///
    /// Of a file that breaks in the middle the documents that are complete before the break count,
    /// and nothing after it; of Parquet, the row groups after the broken one count too. So the
    /// result depends neither on threads nor on partitions. A missing argument, and a file that
    /// changes while it is read, stay errors.
    Skip,
}

impl FromStr for OnBadFile {
    type Err = Error;

    /// Parses `error` or `skip`. Any other name is an [`Error::Invalid`].
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "error" => Ok(Self::Error),
            "skip" => Ok(Self::Skip),
            _ => Err(Error::invalid(format!("on_bad_file = {name:?}: choose error or skip"))),
        }
    }
}

/// How inputs are found and read. `ReadOptions::default()` suits most files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The JSONL field or Parquet column of the text; `a.b` is the field `b` of the object `a`,
    /// unless there is a field `a.b`.
    pub text_key: String,
    /// The field or column of the document's id, a string or a number.
    pub id_key: String,
    /// How a plain-text file becomes documents.
    pub split: Split,
    /// The format of every input; by default each input's extension and content decide.
    pub format: Option<Format>,
    /// The treatment of bytes that are not UTF-8.
    pub utf8: Utf8Policy,
    /// The character encoding of all text, by a name of the WHATWG Encoding Standard such as
    /// `gb18030` or `windows-1251`. By default it is UTF-8, or the legacy encoding that a file's
    /// first bytes show; see [`Input::encoding`](crate::Input::encoding).
    pub encoding: Option<String>,
    /// The extensions of the files to read in a folder, such as `py`, with or without the dot; a
    /// file may have `.gz` or `.zst` after it. By default those of the known formats.
    pub extensions: Option<Vec<String>>,
    /// Names of files and folders to skip anywhere below a folder, such as `site-packages`.
    pub exclude: Vec<String>,
    /// The base-2 logarithm of the largest allowed zstd window in bytes, as in `zstd --long=27`.
    /// Each open stream takes up to that much memory. From 10 to 31; by default 27, 128 MiB.
    pub zstd_long: u32,
    /// What happens at a broken file.
    pub on_bad_file: OnBadFile,
    /// Whether the first bad document is an error instead of being counted.
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
            encoding: None,
            extensions: None,
            exclude: Vec::new(),
            zstd_long: 27,
            on_bad_file: OnBadFile::Error,
            strict: false,
        }
    }
}
