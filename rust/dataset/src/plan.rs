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
//!
//! With a packing, a unit is a row of whole documents instead: `order.at(i)` is its number.

use std::ops::Range;
use std::sync::Arc;

use lslm_runtime::{Error, Result, Task, hex};

use crate::dataset::Dataset;
use crate::mixture::Mixture;
use crate::order::stream;
use crate::packed::{PackedRows, PackingCounts};
use crate::packing::Packing;
use crate::plan_segment::PlanSegment;
use crate::schedule::{Schedule, Segment, SourceKey, check_name, content_of, content_tokens};
use crate::sources::{PlanSource, check_same_tokenizer, fingerprint_of, keys_of};
use crate::stream::{Cursor, Rows, SampleStream};
use crate::weight::{Weight, normalised};
use crate::windows::Windows;

/// What the sequence depends on besides the datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// T: the number of inputs, and of targets, of a sample.
    pub sequence_length: usize,
    /// The longest sequence of the run, a multiple of T: the unit that is shuffled, so a shorter
    /// sequence keeps the order. `None` for T.
    pub max_sequence_length: Option<usize>,
    /// How documents become rows. Packed rows are planned for T, whatever the longest sequence is.
    pub packing: Packing,
    /// Whether the first token of a document is no target after the end of another one.
    pub mask_borders: bool,
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
    /// The position of its first token in the source.
    pub start: u64,
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
    pub(crate) streams: Vec<PlanStream>,
    segments: Vec<PlanSegment>,
    /// Packed rows with the source of each: they are planned once.
    packed: Vec<(usize, Arc<PackedRows>)>,
}

/// The samples of a name in the schedule.
#[derive(Clone, Debug)]
pub(crate) struct PlanStream {
    pub(crate) name: String,
    /// The index of its dataset, unless that was not given.
    pub(crate) dataset: Option<usize>,
    pub(crate) samples: SampleStream,
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
        Self::with_task(sources, options, &Task::default())
    }

    /// Does what [`new`](Self::new) does; packing many documents reports to `task`.
    pub fn with_task<S: Into<PlanSource>>(
        sources: impl IntoIterator<Item = S>,
        options: PlanOptions,
        task: &Task,
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
        let segment = Segment {
            from: 0,
            skip: 0,
            sequence_length: length,
            packing: options.packing,
            mask_borders: options.mask_borders,
            weights: Vec::new(),
        };
        let schedule =
            Schedule::new(keys.into_iter().zip(weights.iter().copied()).collect(), &segment);
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
            packed: Vec::new(),
        }
        .with_schedule(schedule, task)
    }

    /// Returns the plan of the same datasets by another schedule.
    pub(crate) fn with_schedule(mut self, schedule: Schedule, task: &Task) -> Result<Self> {
        self.streams = self.unfilled_streams(&schedule);
        self.segments.clear();
        for index in 0..schedule.segments.len() {
            let segment = self.prepared(&schedule, index, task)?;
            self.segments.push(segment);
        }
        self.schedule = schedule;
        Ok(self)
    }

    /// Returns segment `index` of `schedule`; those before it are prepared. Fills the streams.
    fn prepared(&mut self, schedule: &Schedule, index: usize, task: &Task) -> Result<PlanSegment> {
        let segment = &schedule.segments[index];
        let (mut cursors, mut unread) = match self.segments.last() {
            None => (vec![Cursor::default(); self.streams.len()], 0),
            Some(last) => last.end_at(segment.from.saturating_add(segment.skip))?,
        };
        let sources = schedule.members(index);
        let shares: Vec<Weight> = sources.iter().map(|source| segment.weight(*source)).collect();
        let members = sources.iter().map(|source| self.stream_of(&schedule.sources[*source].name));
        let members: Vec<usize> = members.collect();
        for (source, stream) in sources.iter().zip(&members) {
            let (key, cursor) = (&schedule.sources[*source], &mut cursors[*stream]);
            unread += self.fill_stream(*stream, key, segment, cursor, task)?;
        }
        let mixture = (members.len() > 1)
            .then(|| Mixture::of(&shares, self.options.seed, segment.from))
            .transpose()?;
        let parts = match segment.packing {
            Packing::Concat => self.unit() / segment.sequence_length,
            Packing::BestFit | Packing::Document => 1,
        };
        let mut prepared = PlanSegment {
            from: segment.from,
            sequence_length: segment.sequence_length,
            mask_borders: segment.mask_borders,
            parts,
            members,
            mixture,
            cursors,
            unread,
        };
        if index == 0 && segment.skip > 0 {
            (prepared.cursors, prepared.unread) = prepared.end_at(segment.skip)?;
        }
        Ok(prepared)
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

    /// Appends the rows of `segment` over the dataset as it was under `key`, unless the stream has
    /// them; returns the targets that this leaves unread. Another packing moves `cursor`.
    fn fill_stream(
        &mut self,
        index: usize,
        key: &SourceKey,
        segment: &Segment,
        cursor: &mut Cursor,
        task: &Task,
    ) -> Result<u64> {
        let Some(source) = self.streams[index].dataset else { return Ok(0) };
        let dataset = &self.sources[source];
        let n_tokens = content_tokens(dataset, key.content).ok_or_else(|| Error::Mismatch {
            what: format!("the data of source {:?} and the saved state's", key.label()),
            expected: hex(&key.content),
            found: hex(&content_of(&dataset.fingerprint())),
        })?;
        let length = segment.sequence_length;
        let before = self.streams[index].samples.rows();
        let is_like = before.is_none_or(|rows| rows.is_like(segment.packing, length));
        if is_like && before.is_some_and(|rows| rows.n_tokens() == n_tokens) {
            return Ok(0);
        }
        let unit = before.map_or(0, Rows::length);
        let rows = self.rows(source, n_tokens, key, segment, task)?;
        let samples = &mut self.streams[index].samples;
        if is_like {
            samples.grow(rows, cursor.next());
            return Ok(0);
        }
        let rest = samples.change(rows, cursor.next());
        let n_unread = cursor.n_unread() + rest;
        *cursor = Cursor::at(cursor.next());
        Ok(n_unread * unit)
    }

    /// Returns the rows of `segment` over the first `n_tokens` tokens of a source.
    fn rows(
        &mut self,
        source: usize,
        n_tokens: u64,
        key: &SourceKey,
        segment: &Segment,
        task: &Task,
    ) -> Result<Rows> {
        let PlanOptions { seed, shuffle, .. } = self.options;
        let (dataset, stream) = (&self.sources[source], stream::windows(&key.name));
        if segment.packing == Packing::Concat {
            let windows = Windows::new(n_tokens, self.unit() as usize, seed, stream, shuffle);
            return windows.map(Rows::Windows).map_err(|error| {
                Error::invalid(format!("{}: {error}", dataset.folder().display()))
            });
        }
        let (length, packing) = (segment.sequence_length, segment.packing);
        let is_of = |packed: &&(usize, Arc<PackedRows>)| {
            packed.0 == source && packed.1.is_of(n_tokens, length, packing)
        };
        let known = self.packed.iter().find(is_of).map(|(_, rows)| Arc::clone(rows));
        let rows = match known {
            Some(rows) => rows,
            None => Arc::new(PackedRows::new(dataset, n_tokens, length, packing, task)?),
        };
        if !self.packed.iter().any(|(_, known)| Arc::ptr_eq(known, &rows)) {
            self.packed.push((source, Arc::clone(&rows)));
        }
        Ok(Rows::Packed { rows, seed, stream, shuffle })
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
        self.streams[*members.first()?].samples.pass_length().map(|units| units * parts)
    }

    /// Returns how many tokens of each pass are in no sample, summed over the sources.
    pub fn left_out(&self) -> u64 {
        let rows = self.streams.iter().filter_map(|stream| stream.samples.rows());
        rows.map(Rows::left_out).sum()
    }

    /// Returns what packing came to in a pass over each source, summed; all 0 without packing.
    pub fn packing_counts(&self) -> PackingCounts {
        let rows = self.streams.iter().filter_map(|stream| stream.samples.rows());
        let counts = rows.filter_map(|rows| match rows {
            Rows::Windows(_) => None,
            Rows::Packed { rows, .. } => Some(rows.counts()),
        });
        counts.fold(PackingCounts::default(), |sum, counts| PackingCounts {
            n_rows: sum.n_rows + counts.n_rows,
            n_padding: sum.n_padding + counts.n_padding,
            n_cut: sum.n_cut + counts.n_cut,
        })
    }

    /// Returns for each segment how many targets the change from the one before it left unread:
    /// the rest of units of which some rows were read, and the rest of a pass where another packing
    /// begins. Samples that a segment leaves out on request are not among them.
    pub fn unread(&self) -> Vec<u64> {
        self.segments.iter().map(|segment| segment.unread).collect()
    }

    /// Returns the plan that leaves out `count` samples from sample `from` on.
    ///
    /// [`Error::Invalid`] if the schedule changes after that sample.
    pub fn skipping(&self, from: u64, count: u64) -> Result<Self> {
        let mut schedule = self.schedule.clone();
        schedule.skip(from, count)?;
        self.clone().with_schedule(schedule, &Task::default())
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

    pub(crate) fn segment_of(&self, sample: u64) -> &PlanSegment {
        let after = self.segments.partition_point(|segment| segment.from <= sample);
        &self.segments[after.saturating_sub(1)] // the first one begins at 0
    }

    /// Returns the bytes of one id on disk, equal for all sources: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.sources[0].token_width()
    }
}
