//! A segment of a schedule: which unit of which source each of its samples is.

use std::ops::Range;

use lslm_runtime::{Error, Result};

use crate::mixture::Mixture;
use crate::stream::Cursor;

/// Samples of a block that are left unread when a segment ends inside it, at most: 128 MiB of
/// numbers. Only weights below 2^-24 have longer blocks.
const MAX_UNREAD: u64 = 1 << 24;

/// A segment of the schedule, ready to compute with.
#[derive(Clone, Debug)]
pub(crate) struct PlanSegment {
    pub(crate) from: u64,
    pub(crate) sequence_length: u64,
    pub(crate) mask_borders: bool,
    /// Samples in a unit.
    pub(crate) parts: u64,
    /// The stream of each source of the mixture.
    pub(crate) members: Vec<usize>,
    /// `None` for a single source.
    pub(crate) mixture: Option<Mixture>,
    /// For each stream, the units that are still to be read at the start.
    pub(crate) cursors: Vec<Cursor>,
    /// The targets that the change from the segment before leaves unread.
    pub(crate) unread: u64,
}

impl PlanSegment {
    /// Returns the samples of the unit that source `member` reads as number `index` in this
    /// segment, if they have one of the tokens of `span`; the unit begins at token `start`, or is
    /// a row that has.
    pub(crate) fn samples_of(
        &self,
        member: usize,
        index: u64,
        start: Option<u64>,
        span: &Range<u64>,
    ) -> impl Iterator<Item = u64> {
        let length = self.sequence_length;
        let (first, last) = (span.start, span.end);
        (0..self.parts)
            .filter(move |part| {
                start.is_none_or(|start| {
                    let start = start + part * length;
                    start < last && first <= start + length
                })
            })
            .map(move |part| {
                let ordinal = index * self.parts + part;
                let mixture = self.mixture.as_ref();
                self.from + mixture.map_or(ordinal, |mixture| mixture.sample_of(member, ordinal))
            })
    }

    /// Returns, for each stream, the units that are still to be read at sample `sample`.
    ///
    /// [`Error::Invalid`] if the rest of the mixture's block is too long to go through.
    pub(crate) fn cursors_at(&self, sample: u64) -> Result<Vec<Cursor>> {
        Ok(self.end_at(sample)?.0)
    }

    /// Returns the cursors at sample `sample`, and the targets that nothing reads if the segment
    /// ends there: a unit of which some rows were read counts as read.
    pub(crate) fn end_at(&self, sample: u64) -> Result<(Vec<Cursor>, u64)> {
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
        let (mut cursors, mut n_unread) = (self.cursors.clone(), 0);
        for (stream, (count, rows)) in self.members.iter().zip(unread) {
            // a unit is unread if none of its rows up to `count` was read
            let is_unread = |unit: &u64| {
                let rows_of = unit * self.parts..((unit + 1) * self.parts).min(count);
                rows_of.into_iter().all(|row| rows.binary_search(&row).is_ok())
            };
            let first_rows = rows.iter().filter(|row| row.is_multiple_of(self.parts));
            let units: Vec<u64> =
                first_rows.map(|row| row / self.parts).filter(is_unread).collect();
            let n_units = count.div_ceil(self.parts);
            let n_rows = rows.len() as u64 + n_units * self.parts - count;
            n_unread += (n_rows - units.len() as u64 * self.parts) * self.sequence_length;
            cursors[*stream] = cursors[*stream].after(n_units, units.into_iter());
        }
        Ok((cursors, n_unread))
    }
}
