//! The endless sequence of samples of one training run.
//!
//! Sample 0, 1, 2, … of a run is decided by the datasets, their weights, the seed and the length of
//! a sequence, and by nothing else: not by the batch size, the number of ranks, threads or earlier
//! calls. One number, how many samples were used, is therefore the whole position.

use std::sync::Arc;

use lslm_runtime::{Error, Result};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Token};
use crate::format::hex;
use crate::mixture::{Block, Mixture};
use crate::windows::{Epoch, Windows};

/// How much of the files may stay in this process's resident memory.
const RESIDENT: u64 = 256 << 20;
/// What the system maps at once around a byte that is read.
const AROUND: u64 = 64 << 10;

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
        Reader {
            plan: Arc::clone(self),
            block: None,
            epochs: vec![None; self.sources.len()],
            bounded: bytes > RESIDENT,
            touched: Vec::new(),
            resident: 0,
        }
    }
}

/// Reads samples of a [`Plan`]; keeps what neighbouring samples share.
#[derive(Debug)]
pub struct Reader {
    plan: Arc<Plan>,
    block: Option<Block>,
    epochs: Vec<Option<Epoch>>,
    /// Whether the files are larger than what may stay resident.
    bounded: bool,
    /// Source and shard of what was read since the last release.
    touched: Vec<(usize, usize)>,
    /// About how many bytes that made resident.
    resident: u64,
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
        let place = self.prepare(sample)?;
        let dataset = &self.plan.sources[place.source];
        dataset.read(place.start, inputs)?;
        dataset.read(place.start + 1, targets)
    }

    /// Fills `row` with the T + 1 tokens of a sample.
    pub fn fill_row<T: Token>(&mut self, sample: u64, row: &mut [T]) -> Result<()> {
        let place = self.prepare(sample)?;
        self.plan.sources[place.source].read(place.start, row)
    }

    fn prepare(&mut self, sample: u64) -> Result<Place> {
        let place = self.locate(sample);
        let dataset = &self.plan.sources[place.source];
        let count = self.plan.options.sequence_length + 1;
        if self.plan.options.verify {
            dataset.check(place.start, count)?;
        }
        if self.bounded {
            let shard = (place.source, dataset.shard_at(place.start));
            if self.touched.last() != Some(&shard) {
                self.touched.push(shard);
            }
            self.resident += (count * dataset.token_width()) as u64 + AROUND;
            if self.resident > RESIDENT {
                self.release();
            }
        }
        Ok(place)
    }

    fn release(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for (source, shard) in self.touched.drain(..) {
            // a sample that reaches into the next shard makes little of that resident
            self.plan.sources[source].release(shard);
            self.plan.sources[source].release(shard + 1);
        }
        self.resident = 0;
    }
}
