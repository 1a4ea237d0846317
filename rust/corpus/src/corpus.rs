//! A list of inputs that is read in partitions.

use std::path::Path;
use std::sync::Arc;

use lslm_runtime::partition::{self, InputSize, Partition, SplitPoints};
use lslm_runtime::{Error, Result};
use tempfile::NamedTempFile;

use crate::discover::{self, Skipped};
use crate::encoding::TextEncoding;
use crate::input::{self, Input, Opened};
use crate::options::{ReadOptions, Split};
use crate::parquet::schema::{RowLayout, RowSchema};
use crate::parquet::write::Layout;
use crate::statistics::{BadFile, Statistics};

/// The inputs of a job, each with its format, in a fixed order. Cloning it is cheap.
///
/// ```
/// use lslm_corpus::{Corpus, Format, ReadOptions, Split};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// std::fs::write(folder.join("a.txt"), "one\ntwo\n")?;
/// std::fs::write(folder.join("b.py"), "pass\n")?;
///
/// let options = ReadOptions { split: Split::Lines, ..ReadOptions::default() };
/// let corpus = Corpus::open(&[folder.display().to_string()], options)?;
/// assert_eq!(corpus.inputs().len(), 1);
/// assert_eq!(corpus.inputs()[0].format(), Format::Text);
/// assert_eq!(corpus.skipped()[0].path, folder.join("b.py"));
/// assert_eq!(corpus.read_all().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Corpus {
    shared: Arc<CorpusData>,
}

#[derive(Debug)]
struct CorpusData {
    arguments: Vec<String>,
    options: ReadOptions,
    inputs: Vec<Input>,
    skipped: Vec<Skipped>,
    bad_files: Vec<BadFile>,
}

impl Corpus {
    /// Finds the files of `arguments` and determines their formats: files, folders with all files below them,
    /// globs, and `-` for standard input. They keep the order of the arguments; the files of one
    /// argument are in the order of their paths' bytes.
    ///
    /// In a folder, files of the known formats are read (`.txt`, `.text`, `.md`, `.jsonl`,
    /// `.ndjson`, `.jsonlines`, `.parquet`, `.pq`; `.json` only when compressed), or those of
    /// [`ReadOptions::extensions`]; the others are in [`Corpus::skipped`]. A file that is an
    /// argument itself is read whatever its name.
    ///
    /// # Errors
    /// A missing file, a glob without a match, a folder without a file to read, a file of another
    /// format than its name or the options say, broken compression, binary data.
    pub fn open(arguments: &[String], options: ReadOptions) -> Result<Self> {
        if let Split::Separator(line) = &options.split
            && (line.is_empty() || line.contains(['\n', '\r']))
        {
            return Err(Error::invalid(format!(
                "the separator {line:?} must be one line that is not empty; \
                 to split at empty lines choose blank-lines"
            )));
        }
        if options.text_key.is_empty() || options.text_key == options.id_key {
            return Err(Error::invalid(format!(
                "text key {:?}, id key {:?}: name two different fields",
                options.text_key, options.id_key
            )));
        }
        if let Some(name) = &options.encoding {
            TextEncoding::named(name)?;
        }
        if !(10..=31).contains(&options.zstd_long) {
            return Err(Error::invalid(format!(
                "zstd_long = {}: choose 10 to 31, as in zstd --long=31",
                options.zstd_long
            )));
        }
        let Opened { inputs, skipped, bad_files } = input::open_all(arguments, &options)?;
        if inputs.is_empty() {
            return Err(match bad_files.into_iter().next() {
                Some(BadFile { source, position, detail, .. }) => Error::format(
                    source,
                    position,
                    format!("{detail}; no other input is left to read"),
                ),
                None => Error::invalid("no input is left to read"),
            });
        }
        let arguments = arguments.to_vec();
        let shared = CorpusData { arguments, options, inputs, skipped, bad_files };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the corpus of one temporary file. Its documents have `name` as their source, and the
    /// last copy of the corpus removes the file.
    pub fn of_temporary(name: &str, file: NamedTempFile, options: ReadOptions) -> Result<Self> {
        let inputs = vec![input::open_temporary(name, file, &options)?];
        let (arguments, skipped, bad_files) = (Vec::new(), Vec::new(), Vec::new());
        let shared = CorpusData { arguments, options, inputs, skipped, bad_files };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the arguments that it was opened with; none for a temporary file.
    pub fn arguments(&self) -> &[String] {
        &self.shared.arguments
    }

    /// Returns the options of the reading.
    pub fn options(&self) -> &ReadOptions {
        &self.shared.options
    }

    /// Returns the inputs, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.shared.inputs
    }

    /// Returns the files and folders that were found and are not read.
    pub fn skipped(&self) -> &[Skipped] {
        &self.shared.skipped
    }

    /// Returns the counts with which a job on this corpus begins: the files that could not be opened,
    /// with [`OnBadFile::Skip`](crate::OnBadFile). The counts of its partitions are merged into them.
    pub fn statistics(&self) -> Statistics {
        Statistics { bad_files: self.shared.bad_files.clone(), ..Statistics::default() }
    }

    /// Returns the argument that a file or folder at `path` belongs to, whether it exists or not: it
    /// is the argument, it lies below it, or the argument is a glob that matches it or a folder
    /// above it. Links are followed.
    pub fn argument_of(&self, path: &Path) -> Option<&str> {
        let path = discover::resolved(path);
        let mut arguments = self.shared.arguments.iter();
        arguments.find(|argument| discover::includes(argument, &path)).map(String::as_str)
    }

    /// Returns the columns of a Parquet file for documents of this corpus: those of its files if all
    /// are Parquet, else text, id and metadata.
    pub(crate) fn layout(&self) -> Result<Layout> {
        let mut schemas: Vec<Arc<RowSchema>> = Vec::new();
        for input in self.inputs() {
            let Some(schema) = &input.schema else { return Ok(Layout::Documents) };
            if !schemas.iter().any(|known| Arc::ptr_eq(known, schema)) {
                schemas.push(Arc::clone(schema));
            }
        }
        RowLayout::unite(&schemas).map(Layout::Rows)
    }

    /// Returns the size of all inputs in bytes, as stored; a stream counts zero.
    pub fn total_bytes(&self) -> u64 {
        self.inputs().iter().map(Input::size).sum()
    }

    /// Returns how many partitions of `target` bytes the inputs that can be split anywhere become;
    /// [`Corpus::partitions`] returns at least as many.
    pub fn min_partitions(&self, target: u64) -> u64 {
        let extents = self.inputs().iter().map(|input| &input.extent);
        let bytes = extents.filter(|extent| extent.split_points == SplitPoints::Bytes);
        bytes.map(|extent| extent.size / target.max(1)).sum()
    }

    /// Divides the inputs into partitions of about `target` bytes, as stored; zero is an error.
    ///
    /// Read one after the other, they return the same documents in the same order for any target.
    pub fn partitions(&self, target: u64) -> Result<Vec<Partition>> {
        if target == 0 {
            return Err(Error::invalid("partitions of 0 bytes: choose at least 1"));
        }
        let sizes: Vec<InputSize> =
            self.inputs().iter().map(|input| input.extent.clone()).collect();
        Ok(partition::partition(&sizes, target))
    }
}
