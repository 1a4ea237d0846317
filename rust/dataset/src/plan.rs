//! The endless sequence of samples of one training run.
//!
//! Sample 0, 1, 2, … of a run is decided by the datasets, their weights, the seed and the length of
//! a sequence, and by nothing else: not by the batch size, the number of ranks, threads or earlier
//! calls. One number, how many samples were used, is therefore the whole position.

use std::sync::Arc;

use lslm_runtime::{Error, Result, hex};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Files, Scratch};
use crate::element::Element;
use crate::mixture::{Block, Mixture};
use crate::windows::{Epoch, Windows};

/// Up to this size in bytes the files of a plan are read through their maps, which is fastest and
/// makes them count as this process's memory; larger ones are read by calls.
const MAPPED: u64 = 256 << 20;

/// What decides the sequence, beside the datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// T: how many inputs, and as many targets, a sample has.
    pub sequence_length: usize,
    /// Decides the order.
    pub seed: u64,
    /// Whether samples are in random order; else in the order of the files.
    pub shuffle: bool,
    /// Whether each block's checksum is checked before its first use.
    pub verify: bool,
    /// How tokens are read.
    pub access: Access,
}

/// How the tokens of samples are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// By map up to 256 MiB of files, else by call.
    #[default]
    Auto,
    /// Through the memory map: fastest once the pages are there, and they count as this process's
    /// memory. A file that is cut while it is open ends the process.
    Map,
    /// By one system call a sample: no memory, and every fault of the disk is an error. For large
    /// data and network file systems.
    Call,
}

/// Where a sample lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source, by its place in the list.
    pub source: usize,
    /// The pass over that source, from 0.
    pub epoch: u64,
    /// The position of the first of its T + 1 tokens.
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
    /// The sequence over `sources`. With `weights`, one for each source, it is a mixture in these
    /// proportions; without, each source counts by its tokens.
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
        for other in &sources[1..] {
            let name = |dataset: &Dataset| {
                let manifest = dataset.manifest();
                let fingerprint = manifest.tokenizer.fingerprint.as_deref().unwrap_or("unknown");
                let folder = dataset.folder().display();
                format!("{folder}: {} tokens, fingerprint {fingerprint}", manifest.vocab_size)
            };
            let (a, b) = (first.manifest(), other.manifest());
            if a.vocab_size != b.vocab_size || a.tokenizer.fingerprint != b.tokenizer.fingerprint {
                return Err(Error::Mismatch {
                    what: "the tokenizers of a mixture's datasets".into(),
                    expected: name(first),
                    found: name(other),
                });
            }
        }
        let windows = sources.iter().enumerate().map(|(index, dataset)| {
            let PlanOptions { sequence_length, seed, shuffle, .. } = options;
            Windows::new(dataset.n_tokens(), sequence_length, seed, index, shuffle)
                .map_err(|error| Error::invalid(format!("{}: {error}", dataset.folder().display())))
        });
        let windows = windows.collect::<Result<Vec<_>>>()?;
        let by_tokens: Vec<f64> = sources.iter().map(|source| source.n_tokens() as f64).collect();
        let weights = weights.unwrap_or(&by_tokens);
        if weights.len() != sources.len() {
            let text = format!("{} weights for {} datasets", weights.len(), sources.len());
            return Err(Error::invalid(text));
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

    /// What decides the sequence, beside the datasets.
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// The datasets.
    pub fn sources(&self) -> &[Dataset] {
        &self.sources
    }

    /// Identifies the data: the dataset's fingerprint, or one over those of a mixture and their
    /// weights.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// How many samples one pass has; `None` for a mixture, which has no pass of its own.
    pub fn samples_per_epoch(&self) -> Option<u64> {
        self.mixture.is_none().then(|| self.windows[0].count())
    }

    /// How many tokens of each pass are in no sample, summed over the sources.
    pub fn left_out(&self) -> u64 {
        self.windows.iter().map(Windows::left_out).sum()
    }

    /// The bytes that one id takes on disk, the same for all sources: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.sources[0].token_width()
    }

    /// A reader of the sequence.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let bytes: u64 =
            self.sources.iter().flat_map(|s| &s.manifest().shards).map(|s| s.size).sum();
        let by_call = match self.options.access {
            Access::Auto => bytes > MAPPED,
            Access::Map => false,
            Access::Call => true,
        };
        Reader {
            plan: Arc::clone(self),
            block: None,
            epochs: vec![None; self.sources.len()],
            files: by_call.then(Files::default),
            scratch: Scratch::default(),
        }
    }
}

/// Reads samples of a [`Plan`]; keeps what neighbouring samples share.
#[derive(Debug)]
pub struct Reader {
    plan: Arc<Plan>,
    block: Option<Block>,
    epochs: Vec<Option<Epoch>>,
    /// Where the files are too large to be read through their maps.
    files: Option<Files>,
    scratch: Scratch,
}

impl Reader {
    /// The sequence that is read.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Where sample `sample` lies.
    pub fn locate(&mut self, sample: u64) -> Place {
        let plan = &*self.plan;
        let (source, ordinal) = match &plan.mixture {
            None => (0, sample),
            Some(mixture) => {
                let block = self.block.take_if(|block| block.holds(sample));
                let block = block.unwrap_or_else(|| mixture.block_of(sample));
                self.block.insert(block).locate(sample)
            }
        };
        let windows = &plan.windows[source];
        let number = ordinal / windows.count();
        let epoch = self.epochs[source].take_if(|epoch| epoch.number() == number);
        let epoch = epoch.unwrap_or_else(|| windows.epoch(number));
        let epoch = self.epochs[source].insert(epoch);
        Place { source, epoch: number, start: epoch.start(ordinal % windows.count()) }
    }

    /// Fills `inputs` and `targets` with the T tokens of a sample, and the T that follow them by
    /// one.
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

    /// Calls `use_bytes` with the T + 1 tokens of a sample as they are stored.
    fn read(
        &mut self,
        sample: u64,
        use_bytes: impl FnOnce(&Dataset, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let place = self.locate(sample);
        let dataset = &self.plan.sources[place.source];
        let PlanOptions { sequence_length, verify, .. } = self.plan.options;
        let (files, scratch) = (self.files.as_mut(), &mut self.scratch);
        let bytes = dataset.stored(place.start, sequence_length + 1, verify, files, scratch)?;
        use_bytes(dataset, bytes)
    }
}
