//! A list of inputs that is read in partitions.

use std::sync::Arc;

use lslm_runtime::partition::{self, Partition};
use lslm_runtime::{Error, Result};

use crate::find::Skipped;
use crate::input::{self, Input};
use crate::options::{ReadOptions, Split};
use crate::reader::Reader;

/// The inputs of one job, each recognised, in a fixed order. A clone is the same corpus.
#[derive(Clone, Debug)]
pub struct Corpus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ReadOptions,
    inputs: Vec<Input>,
    skipped: Vec<Skipped>,
}

impl Corpus {
    /// Finds and recognises `inputs`: files, folders with all that is in them, globs, and `-` for
    /// standard input. They keep the order of the arguments, and within one that of their paths'
    /// bytes.
    ///
    /// From folders, files of the known formats are taken (`.txt`, `.text`, `.md`, `.jsonl`,
    /// `.ndjson`, `.jsonlines`, `.parquet`, `.pq`; `.json` only when compressed), or those of
    /// [`ReadOptions::extensions`]; what is left out is in [`Corpus::skipped`]. A file that is
    /// named itself is read whatever it is called.
    ///
    /// # Errors
    /// A missing file, a pattern that nothing matches, a folder with nothing to read, a file that
    /// is of another kind than its name or the options say, broken compression, binary data.
    pub fn open(inputs: &[String], options: ReadOptions) -> Result<Self> {
        if let Split::Separator(line) = &options.split
            && (line.is_empty() || line.contains(['\n', '\r']))
        {
            return Err(Error::invalid(format!(
                "the separator {line:?} must be one line with something in it; \
                 to split at empty lines choose that rule"
            )));
        }
        if options.text_key.is_empty() || options.text_key == options.id_key {
            return Err(Error::invalid(format!(
                "text key {:?}, id key {:?}: name two different fields",
                options.text_key, options.id_key
            )));
        }
        if !(10..=31).contains(&options.zstd_long) {
            return Err(Error::invalid(format!(
                "zstd_long = {}: choose 10 to 31, as in zstd --long=31",
                options.zstd_long
            )));
        }
        let (inputs, skipped) = input::open_all(inputs, &options)?;
        if inputs.is_empty() {
            return Err(Error::invalid("no input is left to read"));
        }
        Ok(Self { inner: Arc::new(Inner { options, inputs, skipped }) })
    }

    /// How it is read.
    pub fn options(&self) -> &ReadOptions {
        &self.inner.options
    }

    /// What is read, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inner.inputs
    }

    /// What was met and is not read.
    pub fn skipped(&self) -> &[Skipped] {
        &self.inner.skipped
    }

    /// The size of all inputs in bytes, as stored; streams count zero.
    pub fn total_bytes(&self) -> u64 {
        self.inputs().iter().map(Input::size).sum()
    }

    /// Cuts the inputs into partitions of about `target` bytes, as stored; zero is an error.
    ///
    /// Read one after the other, they give the same documents in the same order for any target.
    pub fn partitions(&self, target: u64) -> Result<Vec<Partition>> {
        if target == 0 {
            return Err(Error::invalid("partitions of 0 bytes: choose at least 1"));
        }
        let inputs: Vec<partition::InputSize> = self
            .inputs()
            .iter()
            .map(|input| partition::InputSize {
                size: input.size,
                split_points: input.split_points.clone(),
            })
            .collect();
        Ok(partition::partition(&inputs, target))
    }

    /// Reads the documents of one partition. Nothing is opened before the first is asked for.
    pub fn read(&self, partition: &Partition) -> Reader {
        Reader::new(self.clone(), partition)
    }

    /// Reads all documents in order.
    pub fn read_all(&self) -> Reader {
        let segments = self.inputs().iter().enumerate();
        let segments = segments
            .map(|(input, of)| partition::Segment { input, range: None, size: of.size })
            .collect();
        self.read(&Partition { index: 0, segments })
    }
}
