//! What a run reads: segments of samples, each with its sources and their weights.
//!
//! ```text
//! sources    web:5f0c…  code:91ab…  books:77d0…      a name decides the orders of a source
//! segments   from 0:          0.7        0.3
//!            from 40,960:     0.5        0.3         0.2
//! ```
//!
//! How far each source is at the start of a segment follows from the segments before it, so it is
//! computed, not stored. A source whose dataset has got more shards has a second entry with the same
//! name. Only names and contents are in a schedule, no paths: data may move.

use lslm_runtime::{Error, Result, hex};

use crate::dataset::Dataset;
use crate::packing::Packing;
use crate::weight::Weight;

/// Samples of a run, at most: a signed number of 64 bits.
pub(crate) const MAX_SAMPLES: u64 = i64::MAX as u64;
/// Segments in a schedule, at most.
pub const MAX_SEGMENTS: usize = 1 << 10;
/// Sources in a schedule, at most.
pub const MAX_SOURCES: usize = 1 << 16;
/// Bytes of the name of a source, at most.
pub const MAX_NAME_BYTES: usize = 64;

/// A source as a schedule names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceKey {
    /// What its orders depend on: the name it was given, or the hexadecimal digits of its content;
    /// empty for a dataset that stands alone.
    pub name: String,
    /// The first bytes of the dataset's fingerprint.
    pub content: [u8; 8],
}

impl SourceKey {
    /// Returns the key of a dataset with this fingerprint.
    pub(crate) fn new(name: &str, fingerprint: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), content: content_of(fingerprint) }
    }

    /// Returns the text of the key: `name:content`, or the content alone if it is the name.
    pub(crate) fn text(&self) -> String {
        let content = hex(&self.content);
        if self.name == content { content } else { format!("{}:{content}", self.name) }
    }

    /// Returns the key of a text, or `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, digits) = match text.rsplit_once(':') {
            Some((name, digits)) => (name, digits),
            None => (text, text),
        };
        let content = content_from_hex(digits)?;
        let key = Self { name: name.to_owned(), content };
        (name.is_empty() || check_name(name).is_ok())
            .then_some(key)
            .filter(|key| key.text() == text)
    }

    /// Returns how messages call the source.
    pub(crate) fn label(&self) -> String {
        if self.name.is_empty() { hex(&self.content) } else { self.name.clone() }
    }
}

/// Returns the part of a fingerprint that a schedule keeps.
pub(crate) fn content_of(fingerprint: &[u8; 32]) -> [u8; 8] {
    let mut content = [0; 8];
    content.copy_from_slice(&fingerprint[..8]);
    content
}

/// Returns the tokens of `dataset` when it had this content: of all its shards, or of the first
/// ones. `None` if it never had.
pub(crate) fn content_tokens(dataset: &Dataset, content: [u8; 8]) -> Option<u64> {
    if content_of(&dataset.fingerprint()) == content {
        return Some(dataset.n_tokens());
    }
    let mut prefixes = dataset.manifest().prefixes();
    prefixes.find(|(_, fingerprint)| content_of(fingerprint) == content).map(|(tokens, _)| tokens)
}

fn content_from_hex(digits: &str) -> Option<[u8; 8]> {
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != 16 || !is_hex {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().map(u64::to_be_bytes)
}

/// Checks the name of a source.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
        return Err(Error::invalid(format!(
            "name {name:?} of a source: must have 1 to {MAX_NAME_BYTES} bytes and no control \
             characters"
        )));
    }
    Ok(())
}

/// Samples of the same sources in the same proportions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first sample of the segment.
    pub from: u64,
    /// Samples that are left out before it: they would have come in the segment before, or, in the
    /// first segment, at its start.
    pub skip: u64,
    /// The inputs, and targets, of a sample.
    pub sequence_length: u64,
    /// How documents become rows.
    pub packing: Packing,
    /// Whether the first token of a document is no target after the end of another one.
    pub mask_borders: bool,
    /// The share of each source of the schedule; sources after the last one are not in it.
    pub weights: Vec<Weight>,
}

impl Segment {
    /// Returns the share of source `index` of the schedule.
    pub(crate) fn weight(&self, index: usize) -> Weight {
        self.weights.get(index).copied().unwrap_or_default()
    }
}

/// What a run reads: its sources, and segments of samples in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(crate) sources: Vec<SourceKey>,
    pub(crate) segments: Vec<Segment>,
}

impl Schedule {
    /// Returns a schedule of one segment, `segment` with these sources and weights. Its order does
    /// not depend on that of `sources`.
    pub(crate) fn new(mut sources: Vec<(SourceKey, Weight)>, segment: &Segment) -> Self {
        sources.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let (sources, weights) = sources.into_iter().unzip();
        Self { sources, segments: vec![Segment { weights, ..segment.clone() }] }
    }

    /// Returns the sources.
    pub fn sources(&self) -> &[SourceKey] {
        &self.sources
    }

    /// Returns the segments, in order; the first one begins at sample 0.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the sources of segment `index`, ordered by name.
    pub(crate) fn members(&self, index: usize) -> Vec<usize> {
        let segment = &self.segments[index];
        let is_member = |source: &usize| segment.weight(*source).is_present();
        let mut members: Vec<usize> = (0..self.sources.len()).filter(is_member).collect();
        members.sort_by(|a, b| self.sources[*a].name.cmp(&self.sources[*b].name));
        members
    }

    /// Returns the last source called `name`.
    pub(crate) fn latest(&self, name: &str) -> Option<usize> {
        self.sources.iter().rposition(|source| source.name == name)
    }

    /// Appends a segment, which replaces one that begins at the same sample; the samples that the
    /// other one leaves out stay left out.
    ///
    /// [`Error::Invalid`] if a segment begins later.
    pub(crate) fn begin_segment(&mut self, mut segment: Segment) -> Result<()> {
        self.check_is_last(segment.from)?;
        if let Some(replaced) = self.segments.pop_if(|earlier| earlier.from == segment.from) {
            segment.skip += replaced.skip;
        }
        self.segments.push(segment);
        self.drop_unused();
        self.check().map_err(Error::Invalid)
    }

    /// Leaves out `count` samples from sample `from` on: a new segment with what is read there.
    ///
    /// [`Error::Invalid`] if a segment begins later.
    pub(crate) fn skip(&mut self, from: u64, count: u64) -> Result<()> {
        self.check_is_last(from)?;
        if let Some(last) = self.segments.last().cloned() {
            self.begin_segment(Segment { from, skip: count, ..last })?;
        }
        Ok(())
    }

    fn check_is_last(&self, from: u64) -> Result<()> {
        match self.segments.last() {
            Some(last) if last.from > from => Err(Error::invalid(format!(
                "the schedule changes at sample {}: a change at sample {from}, before it, must be \
                 made first",
                last.from
            ))),
            _ => Ok(()),
        }
    }

    /// Removes sources that no segment has.
    fn drop_unused(&mut self) {
        for index in (0..self.sources.len()).rev() {
            if self.segments.iter().all(|segment| !segment.weight(index).is_present()) {
                self.sources.remove(index);
                for segment in &mut self.segments {
                    if index < segment.weights.len() {
                        segment.weights.remove(index);
                    }
                }
            }
        }
    }

    /// Checks the rules of a schedule; the error is the reason to refuse it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (n_sources, n_segments) = (self.sources.len(), self.segments.len());
        if !(1..=MAX_SOURCES).contains(&n_sources) || !(1..=MAX_SEGMENTS).contains(&n_segments) {
            return Err(format!(
                "{n_sources} sources and {n_segments} segments: must be 1 to {MAX_SOURCES} and 1 to \
                 {MAX_SEGMENTS}"
            ));
        }
        let is_increasing = self.segments.windows(2).all(|pair| pair[0].from < pair[1].from);
        if self.segments[0].from != 0 || !is_increasing {
            return Err("the segments must begin at 0 and then each after the one before".into());
        }
        let mut seen = vec![false; n_sources];
        for (index, segment) in self.segments.iter().enumerate() {
            let from = segment.from;
            if segment.weights.len() > n_sources || segment.sequence_length == 0 {
                return Err(format!("the segment from {from} has no length, or too many weights"));
            }
            if segment.skip > MAX_SAMPLES - from.min(MAX_SAMPLES) {
                return Err(format!("the segment from {from} leaves out too much"));
            }
            let members = self.members(index);
            if members.is_empty() {
                return Err(format!("the segment from {from} has no source"));
            }
            let is_twice =
                |pair: &[usize]| self.sources[pair[0]].name == self.sources[pair[1]].name;
            if members.windows(2).any(is_twice) {
                return Err(format!("the segment from {from} has a source twice"));
            }
            for member in members {
                seen[member] = true;
                let name = &self.sources[member].name;
                let is_later = |other: usize| seen[other] && self.sources[other].name == *name;
                if (member + 1..n_sources).any(is_later) {
                    return Err(format!("the segment from {from} has an outgrown source {name:?}"));
                }
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(index) => Err(format!("no segment has source {:?}", self.sources[index].text())),
            None => Ok(()),
        }
    }
}
