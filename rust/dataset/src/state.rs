//! The state of a loader as JSON: its schedule, and the position in it.
//!
//! `docs/format.md` is the specification. A state is read strictly: a member of another type, a
//! number out of range or an unknown member is refused by name, before anything moves.

use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, Result, hex};
use serde::{Deserialize, Serialize};

use crate::packing::Packing;
use crate::schedule::{MAX_SAMPLES, Schedule, Segment, SourceKey, content_of};
use crate::weight::{Weight, decode, encode};

/// The version of the state that is written.
pub const VERSION: u64 = 2;

/// The position of a loader; with the plan, all that is needed to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of samples that all ranks have consumed.
    pub samples: u64,
    /// How often a loader that ends has restarted.
    pub round: u64,
}

/// The state of a loader: what a run reads, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderState {
    /// Selects one of 2^64 orders.
    pub seed: u64,
    /// Whether samples come in random order.
    pub shuffle: bool,
    /// The inputs of the longest sample: the unit that is shuffled.
    pub max_sequence_length: u64,
    /// The rows of all ranks between two updates of the model, of the loader that saved it.
    pub global_batch_size: u64,
    /// The position.
    pub position: Position,
    /// The sources and segments.
    pub schedule: Schedule,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateMembers {
    version: u64,
    seed: u64,
    shuffle: bool,
    sequence_length: u64,
    global_batch_size: u64,
    samples: u64,
    round: u64,
    sources: Vec<String>,
    segments: Vec<SegmentMembers>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentMembers {
    from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence_length: Option<u64>,
    /// If it differs from that of the segment before; that before the first is `concat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packing: Option<String>,
    /// Likewise; before the first it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask_borders: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<String>,
}

/// The state of version 1, of one dataset or of a mixture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstStateMembers {
    #[serde(rename = "version")]
    _version: u64,
    fingerprint: String,
    seed: u64,
    shuffle: bool,
    sequence_length: u64,
    global_batch_size: u64,
    samples: u64,
    round: u64,
}

fn refused(reason: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the state of a loader: {reason}; give what state_dict returned"))
}

impl LoaderState {
    /// Returns the state as one line of JSON.
    pub fn to_json(&self) -> Result<String> {
        let is_alone = self.schedule.sources.len() == 1;
        let mut before = (Packing::Concat, false);
        let segments = self.schedule.segments.iter().map(|segment| {
            let now = (segment.packing, segment.mask_borders);
            let (packing, mask_borders) = std::mem::replace(&mut before, now);
            SegmentMembers {
                from: segment.from,
                skip: Some(segment.skip).filter(|skip| *skip > 0),
                sequence_length: Some(segment.sequence_length)
                    .filter(|length| *length != self.max_sequence_length),
                packing: (now.0 != packing).then(|| now.0.name().to_owned()),
                mask_borders: Some(now.1).filter(|now| *now != mask_borders),
                weights: (!is_alone).then(|| encode(&segment.weights)),
            }
        });
        let members = StateMembers {
            version: VERSION,
            seed: self.seed,
            shuffle: self.shuffle,
            sequence_length: self.max_sequence_length,
            global_batch_size: self.global_batch_size,
            samples: self.position.samples,
            round: self.position.round,
            sources: self.schedule.sources.iter().map(SourceKey::text).collect(),
            segments: segments.collect(),
        };
        serde_json::to_string(&members).map_err(refused)
    }

    /// Parses and checks a state.
    ///
    /// [`Error::Mismatch`] for a version that is not read, [`Error::Invalid`] for anything that
    /// [`to_json`](Self::to_json) does not write.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct VersionMember {
            version: Option<serde_json::Value>,
        }
        let VersionMember { version } = serde_json::from_str(text).map_err(refused)?;
        let state = match version.as_ref().and_then(serde_json::Value::as_u64) {
            Some(VERSION) => Self::from_members(serde_json::from_str(text).map_err(refused)?)?,
            Some(1) => Self::from_first(&serde_json::from_str(text).map_err(refused)?)?,
            _ => {
                let found = version.map_or("none".to_owned(), |version| version.to_string());
                return Err(Error::Mismatch {
                    what: "the version of the state of a loader and this lslm".into(),
                    expected: format!("version {VERSION} or 1"),
                    found: format!("version {found}"),
                });
            }
        };
        let Position { samples, round } = state.position;
        if samples > MAX_SAMPLES || round > samples {
            return Err(refused(format!("samples = {samples}, round = {round} is out of range")));
        }
        if state.global_batch_size == 0 || state.max_sequence_length == 0 {
            return Err(refused("global_batch_size and sequence_length must be at least 1"));
        }
        state.schedule.check().map_err(refused)?;
        Ok(state)
    }

    fn from_members(members: StateMembers) -> Result<Self> {
        let keys = members.sources.iter().map(|text| {
            SourceKey::parse(text).ok_or_else(|| refused(format!("source {text:?} is none")))
        });
        let sources = keys.collect::<Result<Vec<SourceKey>>>()?;
        let is_alone = sources.len() == 1;
        let (mut packing, mut mask_borders) = (Packing::Concat, false);
        let segments = members.segments.into_iter().map(|segment| {
            let SegmentMembers { from, skip, sequence_length, weights, .. } = segment;
            let sequence_length = sequence_length.unwrap_or(members.sequence_length);
            let is_part =
                sequence_length > 0 && members.sequence_length.is_multiple_of(sequence_length);
            if let Some(name) = segment.packing {
                packing = Packing::parse(&name)
                    .ok_or_else(|| refused(format!("packing {name:?} is not known")))?;
            }
            mask_borders = segment.mask_borders.unwrap_or(mask_borders);
            let weights = match weights {
                None if is_alone => Some(vec![Weight::WHOLE]),
                weights => weights.as_deref().and_then(decode),
            };
            match weights.filter(|_| is_part && from <= MAX_SAMPLES) {
                Some(weights) => Ok(Segment {
                    from,
                    skip: skip.unwrap_or(0),
                    sequence_length,
                    packing,
                    mask_borders,
                    weights,
                }),
                None => Err(refused(format!("the segment from {from} is damaged"))),
            }
        });
        Ok(Self {
            seed: members.seed,
            shuffle: members.shuffle,
            max_sequence_length: members.sequence_length,
            global_batch_size: members.global_batch_size,
            position: Position { samples: members.samples, round: members.round },
            schedule: Schedule { segments: segments.collect::<Result<_>>()?, sources },
        })
    }

    /// Returns the state of a dataset that stands alone, as version 1 stored it. That of a mixture
    /// has a fingerprint that no dataset has, so it is refused when it is compared.
    fn from_first(members: &FirstStateMembers) -> Result<Self> {
        let Some(fingerprint) = from_hex(&members.fingerprint) else {
            return Err(refused("fingerprint must have 64 hexadecimal digits"));
        };
        let text = format!(":{}", hex(&content_of(&fingerprint)));
        Self::from_members(StateMembers {
            version: VERSION,
            seed: members.seed,
            shuffle: members.shuffle,
            sequence_length: members.sequence_length,
            global_batch_size: members.global_batch_size,
            samples: members.samples,
            round: members.round,
            sources: vec![text],
            segments: vec![SegmentMembers::default()],
        })
    }
}
