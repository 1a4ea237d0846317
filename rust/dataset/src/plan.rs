//! The endless sequence of samples of one training run.
//!
//! Sample 0, 1, 2, … of a run depends on the schedule, the datasets, the seed and the longest
//! sequence, and on nothing else: not on the batch size, the number of ranks, threads or earlier
//! calls. So the schedule and one number, the samples consumed, are the whole position.
//!
//! ```text
//! segment    = the last one that begins at `sample` or before
//! source, k  = 0, sample − from                   of one dataset
//!            = mixture.locate(sample − from)      of a mixture: which source, and its k-th sample
//! unit, part = the k / P-th unit that is unread at its start, k % P       P: parts of the longest
//! pass, i    = unit / n_windows, unit % n_windows
//! start      = offset of the pass + L × order.at(i) + T × part       L = P × T
//! sample     = tokens start … start + T of the source
//! ```

use std::ops::Range;
use std::sync::Arc;

use lslm_runtime::{Error, Result, hex};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, ReadBuffers};
use crate::element::Element;
use crate::mixture::{Mixture, MixtureBlock};
use crate::order::stream;
use crate::schedule::{Schedule, SourceKey, check_name, content_of, content_tokens};
use crate::shards::ShardFiles;
use crate::stream::{Cursor, SampleStream};
use crate::weight::{Weight, normalised};
use crate::windows::{Epoch, Windows};

/// Samples of a block that are left unread when a segment ends inside it, at most: 128 MiB of
/// numbers. Only weights below 2^-24 have longer blocks.
const MAX_UNREAD: u64 = 1 << 24;

/// Bytes of files that [`Access::Auto`] reads through maps, at most: maps are fastest, but their
/// pages count as this process's memory.
const MAX_MAPPED_BYTES: u64 = 256 << 20;

/// What the sequence depends on besides the datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// T: the number of inputs, and of targets, of a sample.
    pub sequence_length: usize,
    /// The longest sequence of the run, a multiple of T: the unit that is shuffled, so a shorter
    /// sequence keeps the order. `None` for T.
    pub max_sequence_length: Option<usize>,
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

/// A dataset of a plan, with its name and weight.
#[derive(Clone, Debug)]
pub struct PlanSource {
    /// The dataset.
    pub dataset: Dataset,
    /// What its order depends on; `None` for its content.
    pub name: Option<String>,
    /// The proportion in which it is mixed; `None` in all sources for their numbers of tokens.
    pub weight: Option<f64>,
}

impl From<Dataset> for PlanSource {
    fn from(dataset: Dataset) -> Self {
        Self { dataset, name: None, weight: None }
    }
}

/// What happens when a state was saved by a loader of other sources, weights or lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// The state is refused.
    #[default]
    Refuse,
    /// The samples from the position on are a new segment of the schedule.
    NewSegment,
}

/// The sequence of samples over one dataset or a mixture.
#[derive(Clone, Debug)]
pub struct Plan {
    sources: Vec<Dataset>,
    /// For each source, the name that it was given.
    pub(crate) names: Vec<Option<String>>,
    /// For each source, its share.
    pub(crate) weights: Vec<Weight>,
    options: PlanOptions,
    fingerprint: [u8; 32],
    schedule: Schedule,
    /// The samples of each name in the schedule.
    streams: Vec<PlanStream>,
    segments: Vec<PlanSegment>,
}

/// The samples of a name in the schedule.
#[derive(Clone, Debug)]
struct PlanStream {
    name: String,
    /// The index of its dataset, unless that was not given.
    dataset: Option<usize>,
    samples: SampleStream,
}

/// A segment of the schedule, ready to compute with.
#[derive(Clone, Debug)]
struct PlanSegment {
    from: u64,
    sequence_length: u64,
    /// Samples in a unit.
    parts: u64,
    /// The stream of each source of the mixture.
    members: Vec<usize>,
    /// `None` for a single source.
    mixture: Option<Mixture>,
    /// For each stream, the units that are still to be read at the start.
    cursors: Vec<Cursor>,
}

impl PlanSegment {
    /// Returns the samples of the unit that source `member` reads as number `index` in this
    /// segment, if they have one of the tokens of `span`; the unit begins at token `start`.
    fn samples_of(
        &self,
        member: usize,
        index: u64,
        start: u64,
        span: &Range<u64>,
    ) -> impl Iterator<Item = u64> {
        let length = self.sequence_length;
        let (first, last) = (span.start, span.end);
        (0..self.parts)
            .filter(move |part| {
                let start = start + part * length;
                start < last && first <= start + length
            })
            .map(move |part| {
                let ordinal = index * self.parts + part;
                let mixture = self.mixture.as_ref();
                self.from + mixture.map_or(ordinal, |mixture| mixture.sample_of(member, ordinal))
            })
    }

    /// Returns, for each stream, the units that are still to be read at sample `sample`. A unit of
    /// which some rows were read counts as read.
    ///
    /// [`Error::Invalid`] if the rest of the mixture's block is too long to go through.
    fn cursors_at(&self, sample: u64) -> Result<Vec<Cursor>> {
        let n = sample - self.from;
        let unread = match &self.mixture {
            None => vec![(n, Vec::new())],
            Some(mixture) if mixture.rest(n) <= MAX_UNREAD => mixture.unread(n),
            Some(mixture) => {
                return Err(Error::invalid(format!(
                    "sample {sample} is inside a block of the mixture, of {} samples because its \
                     weights are so unequal: a segment can end at sample {}",
                    mixture.block_size(),
                    sample.saturating_add(mixture.rest(n))
                )));
            }
        };
        let mut cursors = self.cursors.clone();
        for (stream, (count, rows)) in self.members.iter().zip(unread) {
            // a unit is unread if none of its rows up to `count` was read
            let is_unread = |unit: &u64| {
                let rows_of = unit * self.parts..((unit + 1) * self.parts).min(count);
                rows_of.into_iter().all(|row| rows.binary_search(&row).is_ok())
            };
            let first_rows = rows.iter().filter(|row| row.is_multiple_of(self.parts));
            let units = first_rows.map(|row| row / self.parts).filter(is_unread);
            cursors[*stream] = cursors[*stream].after(count.div_ceil(self.parts), units);
        }
        Ok(cursors)
    }
}

impl Plan {
    /// Returns the sequence over `sources`, mixed in proportion to their weights, or to their
    /// numbers of tokens.
    ///
    /// [`Error::Mismatch`] if the sources have different tokenizers, [`Error::Invalid`] if one is
    /// too short for a sample, or a weight or a name cannot be used.
    pub fn new<S: Into<PlanSource>>(
        sources: impl IntoIterator<Item = S>,
        options: PlanOptions,
    ) -> Result<Self> {
        let sources: Vec<PlanSource> = sources.into_iter().map(Into::into).collect();
        let Some(first) = sources.first() else {
            return Err(Error::invalid("a loader needs at least one dataset"));
        };
        sources[1..].iter().try_for_each(|o| check_same_tokenizer(&first.dataset, &o.dataset))?;
        sources.iter().filter_map(|source| source.name.as_deref()).try_for_each(check_name)?;
        let given: Vec<f64> = sources.iter().filter_map(|source| source.weight).collect();
        let weights = match given.len() {
            0 => sources.iter().map(|source| source.dataset.n_tokens() as f64).collect(),
            n if n == sources.len() => given,
            n => {
                return Err(Error::invalid(format!(
                    "{n} weights for {} datasets: give one weight per dataset",
                    sources.len()
                )));
            }
        };
        let weights = if sources.len() == 1 { vec![Weight::WHOLE] } else { normalised(&weights)? };
        let keys = keys_of(&sources)?;
        let length = options.sequence_length as u64;
        let unit = options.max_sequence_length.map_or(length, |length| length as u64);
        if length == 0 || !unit.is_multiple_of(length) {
            return Err(Error::invalid(format!(
                "sequence_length = {length}: choose at least 1, and max_sequence_length a multiple \
                 of it"
            )));
        }
        let fingerprint = fingerprint_of(&sources, &keys, &weights);
        let schedule =
            Schedule::new(keys.into_iter().zip(weights.iter().copied()).collect(), length);
        let (names, sources) = sources.into_iter().map(|s| (s.name, s.dataset)).unzip();
        Self {
            sources,
            names,
            weights,
            options,
            fingerprint,
            schedule: schedule.clone(),
            streams: Vec::new(),
            segments: Vec::new(),
        }
        .with_schedule(schedule)
    }

    /// Returns the plan of the same datasets by another schedule.
    pub(crate) fn with_schedule(mut self, schedule: Schedule) -> Result<Self> {
        self.streams = self.unfilled_streams(&schedule);
        self.segments.clear();
        for index in 0..schedule.segments.len() {
            let segment = &schedule.segments[index];
            let cursors = match self.segments.last() {
                None => vec![Cursor::default(); self.streams.len()],
                Some(last) => last.cursors_at(segment.from)?,
            };
            let members = schedule.members(index);
            let shares: Vec<Weight> = members.iter().map(|m| segment.weight(*m)).collect();
            let streams = members.iter().map(|m| self.stream_of(&schedule.sources[*m].name));
            let streams: Vec<usize> = streams.collect();
            for (member, stream) in members.iter().zip(&streams) {
                self.fill_stream(*stream, &schedule.sources[*member], cursors[*stream].next())?;
            }
            let mixture = (members.len() > 1)
                .then(|| Mixture::of(&shares, self.options.seed, segment.from))
                .transpose()?;
            self.segments.push(PlanSegment {
                from: segment.from,
                sequence_length: segment.sequence_length,
                parts: self.unit() / segment.sequence_length,
                members: streams,
                mixture,
                cursors,
            });
        }
        self.schedule = schedule;
        Ok(self)
    }

    /// Returns the streams of the names in `schedule`, without windows.
    fn unfilled_streams(&self, schedule: &Schedule) -> Vec<PlanStream> {
        let mut streams: Vec<PlanStream> = Vec::new();
        for key in &schedule.sources {
            if streams.iter().all(|stream| stream.name != key.name) {
                let dataset = schedule.latest(&key.name).and_then(|latest| {
                    let content = schedule.sources[latest].content;
                    self.sources.iter().position(|s| content_of(&s.fingerprint()) == content)
                });
                let samples = SampleStream::default();
                streams.push(PlanStream { name: key.name.clone(), dataset, samples });
            }
        }
        streams
    }

    fn stream_of(&self, name: &str) -> usize {
        self.streams.iter().position(|stream| stream.name == name).unwrap_or_default()
    }

    /// Appends the windows of the dataset as it was under `key`, unless it has them.
    fn fill_stream(&mut self, index: usize, key: &SourceKey, used: u64) -> Result<()> {
        let Some(dataset) = self.streams[index].dataset.map(|dataset| &self.sources[dataset])
        else {
            return Ok(());
        };
        let n_tokens = content_tokens(dataset, key.content).ok_or_else(|| Error::Mismatch {
            what: format!("the data of source {:?} and the saved state's", key.label()),
            expected: hex(&key.content),
            found: hex(&content_of(&dataset.fingerprint())),
        })?;
        let stream = &self.streams[index];
        if stream.samples.windows().is_some_and(|windows| windows.n_tokens() == n_tokens) {
            return Ok(());
        }
        let PlanOptions { seed, shuffle, .. } = self.options;
        let windows =
            Windows::new(n_tokens, self.unit() as usize, seed, stream::windows(&key.name), shuffle)
                .map_err(|error| {
                    Error::invalid(format!("{}: {error}", dataset.folder().display()))
                })?;
        self.streams[index].samples.grow(windows, used);
        Ok(())
    }

    /// Returns the longest sequence: the unit that is shuffled.
    pub(crate) fn unit(&self) -> u64 {
        self.options.max_sequence_length.unwrap_or(self.options.sequence_length) as u64
    }

    /// Returns what the sequence depends on besides the schedule.
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// Returns the datasets.
    pub fn sources(&self) -> &[Dataset] {
        &self.sources
    }

    /// Returns the segments of samples.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Returns the hash that identifies the data: the fingerprint of the dataset, or one over those
    /// of a mixture, their names and shares, in any order.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Returns the number of samples of one pass, or `None` for a mixture and for a schedule of
    /// several segments, which have no pass of their own.
    pub fn samples_per_epoch(&self) -> Option<u64> {
        let [PlanSegment { members, mixture: None, parts, .. }] = &*self.segments else {
            return None;
        };
        let stream = &self.streams[*members.first()?].samples;
        stream.windows().filter(|_| stream.is_constant()).map(|w| w.n_windows() * parts)
    }

    /// Returns how many tokens of each pass are in no sample, summed over the sources.
    pub fn left_out(&self) -> u64 {
        let windows = self.streams.iter().filter_map(|stream| stream.samples.windows());
        windows.map(Windows::left_out).sum()
    }

    /// Returns, for each name, the index of its dataset, if it was given, and the samples of the
    /// longest sequence that were used before sample `sample`.
    pub fn served(&self, sample: u64) -> Result<Vec<(&str, Option<usize>, u64)>> {
        let cursors = self.segment_of(sample).cursors_at(sample)?;
        let streams = self.streams.iter().zip(cursors);
        Ok(streams.map(|(stream, at)| (&*stream.name, stream.dataset, at.used())).collect())
    }

    /// Returns the samples below `until` that have one of the tokens `span` of dataset `source`,
    /// among their inputs or targets, in order; each with its pass.
    pub fn samples_of(
        &self,
        source: usize,
        span: &Range<u64>,
        until: u64,
    ) -> Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let end = self.segments.get(index + 1).map_or(until, |next| next.from.min(until));
            if segment.from >= end {
                continue;
            }
            let ends = segment.cursors_at(end)?;
            for (member, stream) in segment.members.iter().enumerate() {
                if self.streams[*stream].dataset != Some(source) {
                    continue;
                }
                let samples = &self.streams[*stream].samples;
                for (unit, pass, start) in samples.units_of(span, ends[*stream].next()) {
                    if let Some(index) = segment.cursors[*stream].index_of(unit) {
                        let samples = segment.samples_of(member, index, start, span);
                        let samples = samples.filter(|sample| *sample < end);
                        found.extend(samples.map(|sample| (sample, pass)));
                    }
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn segment_of(&self, sample: u64) -> &PlanSegment {
        let after = self.segments.partition_point(|segment| segment.from <= sample);
        &self.segments[after.saturating_sub(1)] // the first one begins at 0
    }

    /// Returns the bytes of one id on disk, equal for all sources: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.sources[0].token_width()
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
            epochs: vec![None; self.streams.len()],
            files: by_call.then(ShardFiles::default),
            buffers: ReadBuffers::default(),
        }
    }
}

/// Returns the key of each source: its name, or its content; a dataset that stands alone has an
/// empty name.
fn keys_of(sources: &[PlanSource]) -> Result<Vec<SourceKey>> {
    let keys: Vec<SourceKey> = sources
        .iter()
        .map(|PlanSource { dataset, name, .. }| {
            let fingerprint = dataset.fingerprint();
            match name {
                Some(name) => SourceKey::new(name, &fingerprint),
                None if sources.len() == 1 => SourceKey::new("", &fingerprint),
                None => SourceKey::new(&hex(&content_of(&fingerprint)), &fingerprint),
            }
        })
        .collect();
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|other| other.name == key.name) {
            return Err(Error::invalid(format!(
                "two sources of a mixture are called {:?}: give each its own name, also where both \
                 are the same dataset",
                key.name
            )));
        }
    }
    Ok(keys)
}

/// Returns the hash of a dataset that stands alone, or of a mixture in any order.
fn fingerprint_of(sources: &[PlanSource], keys: &[SourceKey], weights: &[Weight]) -> [u8; 32] {
    if let [source] = sources {
        return source.dataset.fingerprint();
    }
    let mut lines: Vec<String> = sources
        .iter()
        .zip(keys)
        .zip(weights)
        .map(|((source, key), weight)| {
            format!("{} {} {}\n", hex(&source.dataset.fingerprint()), weight.parts(), key.name)
        })
        .collect();
    lines.sort_unstable();
    Sha256::new_with_prefix("lslm-mixture-2\n").chain_update(lines.concat()).finalize().into()
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
    /// The start of the segment of the last sample of a mixture, and its block.
    block: Option<(u64, MixtureBlock)>,
    /// For each stream, the epoch of its last sample.
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
    ///
    /// [`Error::Invalid`] if its dataset was not given, or if it has another length.
    pub fn locate(&mut self, sample: u64) -> Result<SamplePosition> {
        let plan = &*self.plan;
        let segment = plan.segment_of(sample);
        let (member, ordinal) = match &segment.mixture {
            None => (0, sample - segment.from),
            Some(mixture) => {
                let from = segment.from;
                let block = self.block.take_if(|(f, b)| *f == from && b.contains(sample - from));
                let block = block.unwrap_or_else(|| (from, mixture.block_of(sample - from)));
                self.block.insert(block).1.locate(sample - from)
            }
        };
        let (index, parts) = (segment.members[member], segment.parts);
        let stream = &plan.streams[index];
        let unit = segment.cursors[index].unit(ordinal / parts);
        let located = stream.samples.locate(unit, &mut self.epochs[index]);
        let (Some(source), Some((epoch, start))) = (stream.dataset, located) else {
            return Err(Error::invalid(format!(
                "sample {sample} is of source {:?}, which this loader was not given",
                stream.name
            )));
        };
        if segment.sequence_length != plan.options.sequence_length as u64 {
            return Err(Error::invalid(format!(
                "sample {sample} has sequence_length = {}, this loader {}",
                segment.sequence_length, plan.options.sequence_length
            )));
        }
        let start = start + ordinal % parts * segment.sequence_length;
        Ok(SamplePosition { source, epoch, start })
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
        let position = self.locate(sample)?;
        let dataset = &self.plan.sources[position.source];
        let PlanOptions { sequence_length, verify, .. } = self.plan.options;
        let (files, buffers) = (self.files.as_mut(), &mut self.buffers);
        let start = position.start;
        dataset.with_stored(start, sequence_length + 1, verify, files, buffers, |bytes| {
            dataset.check_ids(start, bytes)?;
            convert(dataset, bytes)
        })
    }
}
