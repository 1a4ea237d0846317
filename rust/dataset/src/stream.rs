//! The samples of one source, over all of its passes.
//!
//! A unit is a window of the longest sample, or a packed row. Units are numbered from 0 over all
//! passes; when the dataset has got more shards, the pass under way ends with the windows it began
//! with, and the next one has those of all shards. Another packing begins a pass at once.
//!
//! ```text
//! units of 4 windows, then of 6:   0 1 2 3 │ 4 5 6 7 │ 8 9 10 11 12 13 │ …
//! the dataset grows at unit 5:               ^ this pass has 4, the next 6
//! ```

use std::ops::Range;
use std::sync::Arc;

use crate::packed::PackedRows;
use crate::packing::Packing;
use crate::windows::{Epoch, Windows};

/// Which units of a source are still to be read.
///
/// A segment that ends inside a block of its mixture leaves some units of the block unread; the
/// next segment that has the source reads them first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    /// Units below `next` that were not read, ascending.
    unread: Arc<[u64]>,
    /// All units from here on.
    next: u64,
}

impl Cursor {
    /// Returns the unit that is read as number `index`, from 0.
    pub(crate) fn unit(&self, index: u64) -> u64 {
        let n = self.unread.len() as u64;
        if index < n { self.unread[index as usize] } else { self.next + (index - n) }
    }

    /// Returns the number in which `unit` is read, or `None` if it was read before.
    pub(crate) fn index_of(&self, unit: u64) -> Option<u64> {
        match unit.checked_sub(self.next) {
            Some(distance) => Some(self.unread.len() as u64 + distance),
            None => self.unread.binary_search(&unit).ok().map(|index| index as u64),
        }
    }

    /// Returns how many units were read.
    pub(crate) fn used(&self) -> u64 {
        self.next - self.unread.len() as u64
    }

    /// Returns the first unit of which no later one was read.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the units below [`next`](Self::next) that were not read.
    pub(crate) fn n_unread(&self) -> u64 {
        self.unread.len() as u64
    }

    /// Returns a cursor at `next` without unread units before it.
    pub(crate) fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Returns the cursor after the first `end` units from here, of which those with the numbers
    /// `unread`, ascending, were not read.
    pub(crate) fn after(&self, end: u64, unread: impl Iterator<Item = u64>) -> Self {
        let n = self.unread.len() as u64;
        let mut units: Vec<u64> = unread.map(|index| self.unit(index)).collect();
        units.extend(self.unread.iter().skip(end as usize));
        units.sort_unstable();
        Self { unread: units.into(), next: self.next + end.saturating_sub(n) }
    }
}

/// The rows of one pass over a source, and what decides their order.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// Windows of the longest sample.
    Windows(Windows),
    /// Whole documents.
    Packed { rows: Arc<PackedRows>, seed: u64, stream: u64, shuffle: bool },
}

/// Where the tokens of a unit are.
#[derive(Clone, Debug)]
pub(crate) enum UnitTokens {
    /// One after the other from here on.
    From(u64),
    /// In the pieces of a row.
    Row(Arc<PackedRows>, u64),
}

impl Rows {
    /// Returns the number of units of a pass.
    fn count(&self) -> u64 {
        match self {
            Self::Windows(windows) => windows.n_windows(),
            Self::Packed { rows, .. } => rows.n_rows(),
        }
    }

    fn epoch(&self, number: u64) -> Epoch {
        match self {
            Self::Windows(windows) => windows.epoch(number),
            Self::Packed { rows, seed, stream, shuffle } => {
                rows.epoch(number, *seed, *stream, *shuffle)
            }
        }
    }

    /// Returns the number of tokens of the dataset.
    pub(crate) fn n_tokens(&self) -> u64 {
        match self {
            Self::Windows(windows) => windows.n_tokens(),
            Self::Packed { rows, .. } => rows.n_tokens(),
        }
    }

    /// Returns the number of targets of a unit.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Windows(windows) => windows.length(),
            Self::Packed { rows, .. } => rows.length(),
        }
    }

    /// Returns how many tokens of a pass are in no unit.
    pub(crate) fn left_out(&self) -> u64 {
        match self {
            Self::Windows(windows) => windows.left_out(),
            Self::Packed { rows, .. } => rows.left_out(),
        }
    }

    /// Returns whether a pass of one may follow a pass of the other without a change of units.
    pub(crate) fn is_like(&self, packing: Packing, length: u64) -> bool {
        match self {
            Self::Windows(_) => packing == Packing::Concat,
            Self::Packed { rows, .. } => rows.packing() == packing && rows.length() == length,
        }
    }
}

/// The samples of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleStream {
    /// The rows of the dataset as they were at first, then after each change.
    versions: Vec<Version>,
}

#[derive(Clone, Debug)]
struct Version {
    /// The first unit, at which a pass begins, and the number of this pass.
    first_unit: u64,
    first_pass: u64,
    rows: Rows,
}

impl SampleStream {
    /// Appends the rows of a larger dataset, which was given when no unit from `used` on had been
    /// read.
    pub(crate) fn grow(&mut self, rows: Rows, used: u64) {
        let (first_unit, first_pass) = match self.versions.last() {
            None => (0, 0),
            Some(last) => {
                let n = last.rows.count();
                let passes = used.saturating_sub(last.first_unit).div_ceil(n);
                (last.first_unit + passes * n, last.first_pass + passes)
            }
        };
        self.versions.push(Version { first_unit, first_pass, rows });
    }

    /// Appends rows of another packing or length, which are read from unit `next` on, in a new pass;
    /// returns how many units the pass under way has from there on, which nothing reads.
    pub(crate) fn change(&mut self, rows: Rows, next: u64) -> u64 {
        while self.versions.last().is_some_and(|last| last.first_unit >= next) {
            self.versions.pop(); // no unit of it was read
        }
        let (first_pass, rest) = match self.versions.last() {
            None => (0, 0),
            Some(last) => {
                let (n, used) = (last.rows.count(), next - last.first_unit);
                (last.first_pass + used.div_ceil(n), used.next_multiple_of(n) - used)
            }
        };
        self.versions.push(Version { first_unit: next, first_pass, rows });
        rest
    }

    /// Returns the rows of the dataset as they are now, or `None` if it is not there.
    pub(crate) fn rows(&self) -> Option<&Rows> {
        self.versions.last().map(|version| &version.rows)
    }

    /// Returns the number of units of each pass, or `None` if it changes or there is no dataset.
    pub(crate) fn pass_length(&self) -> Option<u64> {
        match &*self.versions {
            [version] => Some(version.rows.count()),
            _ => None,
        }
    }

    /// Returns the number of the pass of `unit`, and its tokens; `cached` is the pass of an earlier
    /// call. `None` without a dataset.
    pub(crate) fn locate(
        &self,
        unit: u64,
        cached: &mut Option<Epoch>,
    ) -> Option<(u64, UnitTokens)> {
        let index = match &*self.versions {
            [_] => 0,
            versions => versions.partition_point(|v| v.first_unit <= unit).checked_sub(1)?,
        };
        let Version { first_unit, first_pass, rows } = &self.versions[index];
        let n = rows.count();
        let pass = first_pass + (unit - first_unit) / n;
        let epoch = cached.take_if(|epoch| epoch.number() == pass);
        let epoch = cached.insert(epoch.unwrap_or_else(|| rows.epoch(pass)));
        let start = epoch.start((unit - first_unit) % n);
        let tokens = match rows {
            Rows::Windows(_) => UnitTokens::From(start),
            Rows::Packed { rows, .. } => UnitTokens::Row(Arc::clone(rows), start),
        };
        Some((pass, tokens))
    }

    /// Returns the units below `used` that have one of the tokens of `span`: each with its pass, and
    /// with its first token if its tokens follow each other.
    pub(crate) fn units_of(&self, span: &Range<u64>, used: u64) -> Vec<(u64, u64, Option<u64>)> {
        let mut found = Vec::new();
        for (index, version) in self.versions.iter().enumerate() {
            let end = self.versions.get(index + 1).map_or(used, |next| next.first_unit.min(used));
            let n = version.rows.count();
            for first in (version.first_unit..end).step_by(n as usize) {
                let pass = version.first_pass + (first - version.first_unit) / n;
                let epoch = version.rows.epoch(pass);
                match &version.rows {
                    Rows::Windows(_) => {
                        let windows = epoch.windows_of(span.clone());
                        found.extend(windows.map(|(index, at)| (first + index, pass, Some(at))));
                    }
                    Rows::Packed { rows, .. } => {
                        let rows = rows.rows_of(span);
                        found.extend(rows.map(|row| (first + epoch.index_of_row(row), pass, None)));
                    }
                }
            }
            found.retain(|(unit, _, _)| *unit < end);
        }
        found
    }
}
