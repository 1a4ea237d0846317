//! The endless sequence of samples of one training run.
//!
//! Sample 0, 1, 2, … of a run depends on the datasets, their weights, the seed and the length of a
//! sequence, and on nothing else: not on the batch size, the number of ranks, threads or earlier
//! calls. So one number, the samples consumed, is the whole position.
//!
//! ```text
//! source, k  = 0, sample                    of one dataset
//!            = mixture.locate(sample)       of a mixture: which source, and its k-th sample
//! epoch, i   = k / n_windows, k % n_windows
//! start      = offset of the epoch + T × order.at(i)
//! sample     = tokens start … start + T of the source
//! ```

use std::sync::Arc;

use lslm_runtime::{Error, Result, hex};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, ReadBuffers};
use crate::element::Element;
use crate::mapped_shard::ShardFiles;
use crate::mixture::{Mixture, MixtureBlock};
use crate::windows::{Epoch, Windows};

/// Bytes of files that [`Access::Auto`] reads through maps, at most: maps are fastest, but their
/// pages count as this process's memory.
const MAX_MAPPED_BYTES: u64 = 256 << 20;

/// What the sequence depends on besides the datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// T: the number of inputs, and of targets, of a sample.
    pub sequence_length: usize,
    /// Selects one of 2^64 orders.
    pub seed: u64,
    /// Whether samples come in random order instead of that of the files.
    pub shuffle: bool,
    /// Whether the checksum of each block is checked before its first use.
    pub verify: bool,
    /// How tokens are read.
    pub access: Access,
}

/// How the tokens of samples are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// [`Map`](Self::Map) for files of up to 256 MiB together, else [`Call`](Self::Call).
    #[default]
    Auto,
    /// Through memory maps: fastest once the pages are in memory, where they count as this
    /// process's. A file that is truncated while it is open ends the process.
    Map,
    /// By one system call per sample: uses no memory, and every fault of the disk is an error. For
    /// large data and network file systems.
    Call,
}

/// The position of a sample in the datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplePosition {
    /// The index of the source.
    pub source: usize,
    /// The number of the pass over that source, from 0.
    pub epoch: u64,
    /// The position of its first token in the source; it has T + 1 tokens.
    pub start: u64,
}

/// The sequence of samples over one dataset or a mixture.
#[derive(Debug)]
pub struct Plan {
    sources: Vec<Dataset>,
    windows: Vec<Windows>,
    mixture: Option<Mixture>,
    options: PlanOptions,
    fingerprint: [u8; 32],
}

impl Plan {
    /// Returns the sequence over `sources`, mixed in proportion to `weights`, one for each source,
    /// or to their numbers of tokens if that is `None`.
    ///
    /// [`Error::Mismatch`] if the sources have different tokenizers, [`Error::Invalid`] if one is
    /// too short for a sample or a weight cannot be used.
    pub fn new(
        sources: Vec<Dataset>,
        weights: Option<&[f64]>,
        options: PlanOptions,
    ) -> Result<Self> {
        let Some(first) = sources.first() else {
            return Err(Error::invalid("a loader needs at least one dataset"));
        };
        sources[1..].iter().try_for_each(|other| check_same_tokenizer(first, other))?;
        let windows = sources.iter().enumerate().map(|(index, dataset)| {
            let PlanOptions { sequence_length, seed, shuffle, .. } = options;
            Windows::new(dataset.n_tokens(), sequence_length, seed, index, shuffle)
                .map_err(|error| Error::invalid(format!("{}: {error}", dataset.folder().display())))
        });
        let windows = windows.collect::<Result<Vec<_>>>()?;
        let by_tokens: Vec<f64> = sources.iter().map(|source| source.n_tokens() as f64).collect();
        let weights = weights.unwrap_or(&by_tokens);
        if weights.len() != sources.len() {
            let (given, needed) = (weights.len(), sources.len());
            return Err(Error::invalid(format!(
                "{given} weights for {needed} datasets: give one weight per dataset"
            )));
        }
        let (mixture, fingerprint) = if sources.len() == 1 {
            (None, first.fingerprint())
        } else {
            let mut hash = Sha256::new_with_prefix("lslm-mixture-1\n");
            for (source, weight) in sources.iter().zip(weights) {
                hash.update(format!("{} {weight}\n", hex(&source.fingerprint())));
            }
            (Some(Mixture::new(weights, options.seed)?), hash.finalize().into())
        };
        Ok(Self { sources, windows, mixture, options, fingerprint })
    }

    /// Returns what the sequence depends on besides the datasets.
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// Returns the datasets.
    pub fn sources(&self) -> &[Dataset] {
        &self.sources
    }

    /// Returns the hash that identifies the data: the fingerprint of the dataset, or one over those
    /// of a mixture and their weights.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Returns the number of samples of one pass, or `None` for a mixture, which has no pass of its
    /// own.
    pub fn samples_per_epoch(&self) -> Option<u64> {
        self.mixture.is_none().then(|| self.windows[0].n_windows())
    }

    /// Returns how many tokens of each pass are in no sample, summed over the sources.
    pub fn left_out(&self) -> u64 {
        self.windows.iter().map(Windows::left_out).sum()
    }

    /// Returns the bytes of one id on disk, equal for all sources: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.sources[0].token_width()
    }

    /// Checks that a saved state belongs to this sequence, by what it stores.
    ///
    /// [`Error::Mismatch`] names the first difference.
    pub fn check_state(
        &self,
        fingerprint: &str,
        sequence_length: u64,
        seed: u64,
        shuffle: bool,
    ) -> Result<()> {
        let own = self.options;
        let length = own.sequence_length.to_string();
        let pairs = [
            ("data", hex(&self.fingerprint), fingerprint.to_owned()),
            ("sequence_length", length, sequence_length.to_string()),
            ("seed", own.seed.to_string(), seed.to_string()),
            ("shuffle", own.shuffle.to_string(), shuffle.to_string()),
        ];
        match pairs.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((what, expected, found)) => Err(Error::Mismatch {
                what: format!("the loader's {what} and the saved state's"),
                expected,
                found,
            }),
        }
    }

    /// Returns a reader of the sequence.
    pub fn reader(self: &Arc<Self>) -> SampleReader {
        let bytes: u64 =
            self.sources.iter().flat_map(|s| &s.manifest().shards).map(|s| s.size).sum();
        let by_call = match self.options.access {
            Access::Auto => bytes > MAX_MAPPED_BYTES,
            Access::Map => false,
            Access::Call => true,
        };
        SampleReader {
            plan: Arc::clone(self),
            block: None,
            epochs: vec![None; self.sources.len()],
            files: by_call.then(ShardFiles::default),
            buffers: ReadBuffers::default(),
        }
    }
}

/// Returns an [`Error::Mismatch`] unless two datasets have the same tokenizer.
fn check_same_tokenizer(first: &Dataset, other: &Dataset) -> Result<()> {
    let (a, b) = (first.manifest(), other.manifest());
    if a.vocab_size == b.vocab_size && a.tokenizer.fingerprint == b.tokenizer.fingerprint {
        return Ok(());
    }
    let name = |dataset: &Dataset| {
        let manifest = dataset.manifest();
        let fingerprint = manifest.tokenizer.fingerprint.as_deref().unwrap_or("unknown");
        let folder = dataset.folder().display();
        format!("{folder}: {} tokens, fingerprint {fingerprint}", manifest.vocab_size)
    };
    Err(Error::Mismatch {
        what: "the tokenizers of a mixture's datasets".into(),
        expected: name(first),
        found: name(other),
    })
}

/// Reads samples of a [`Plan`]. Consecutive samples share the mixture's block, the epochs' orders
/// and open files, so a reader is kept.
#[derive(Debug)]
pub struct SampleReader {
    plan: Arc<Plan>,
    /// The block of the last sample of a mixture.
    block: Option<MixtureBlock>,
    /// For each source, the epoch of its last sample.
    epochs: Vec<Option<Epoch>>,
    /// Open files, if they are too large to be read through their maps.
    files: Option<ShardFiles>,
    buffers: ReadBuffers,
}

impl SampleReader {
    /// Returns the sequence that is read.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the position of sample `sample`.
    pub fn locate(&mut self, sample: u64) -> SamplePosition {
        let plan = &*self.plan;
        let (source, ordinal) = match &plan.mixture {
            None => (0, sample),
            Some(mixture) => {
                let block = self.block.take_if(|block| block.contains(sample));
                let block = block.unwrap_or_else(|| mixture.block_of(sample));
                self.block.insert(block).locate(sample)
            }
        };
        let windows = &plan.windows[source];
        let number = ordinal / windows.n_windows();
        let epoch = self.epochs[source].take_if(|epoch| epoch.number() == number);
        let epoch = epoch.unwrap_or_else(|| windows.epoch(number));
        let epoch = self.epochs[source].insert(epoch);
        SamplePosition { source, epoch: number, start: epoch.start(ordinal % windows.n_windows()) }
    }

    /// Fills `inputs` with the first T tokens of a sample, and `targets` with the last T.
    ///
    /// [`Error::Format`] names file and byte of an id that the vocabulary does not have.
    pub fn fill_pair(
        &mut self,
        sample: u64,
        inputs: &mut [i64],
        targets: &mut [i64],
    ) -> Result<()> {
        let width = self.plan.token_width();
        self.read(sample, |dataset, bytes| {
            dataset.widen(&bytes[..bytes.len() - width], inputs)?;
            dataset.widen(&bytes[width..], targets)
        })
    }

    /// Fills `row` with the T + 1 tokens of a sample.
    pub fn fill_row<T: Element>(&mut self, sample: u64, row: &mut [T]) -> Result<()> {
        self.read(sample, |dataset, bytes| dataset.widen(bytes, row))
    }

    /// Calls `convert` with the T + 1 tokens of a sample as they are stored.
    fn read(
        &mut self,
        sample: u64,
        convert: impl FnOnce(&Dataset, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let position = self.locate(sample);
        let dataset = &self.plan.sources[position.source];
        let PlanOptions { sequence_length, verify, .. } = self.plan.options;
        let (files, buffers) = (self.files.as_mut(), &mut self.buffers);
        let bytes = dataset.stored(position.start, sequence_length + 1, verify, files, buffers)?;
        dataset.check_ids(position.start, bytes)?;
        convert(dataset, bytes)
    }
}
