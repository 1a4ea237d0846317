//! The samples of one source, over all of its passes.
//!
//! A unit is a window of the longest sample. Units are numbered from 0 over all passes; when the
//! dataset has got more shards, the pass under way ends with the windows it began with, and the next
//! one has those of all shards:
//!
//! ```text
//! units of 4 windows, then of 6:   0 1 2 3 │ 4 5 6 7 │ 8 9 10 11 12 13 │ …
//! the dataset grows at unit 5:               ^ this pass has 4, the next 6
//! ```

use std::ops::Range;
use std::sync::Arc;

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

/// The samples of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleStream {
    /// The windows of the dataset as it was at first, then after each growth.
    versions: Vec<Version>,
}

#[derive(Clone, Debug)]
struct Version {
    /// The first unit, at which a pass begins, and the number of this pass.
    first_unit: u64,
    first_pass: u64,
    windows: Windows,
}

impl SampleStream {
    /// Appends the windows of a larger dataset, which was given when no unit from `used` on had been
    /// read.
    pub(crate) fn grow(&mut self, windows: Windows, used: u64) {
        let (first_unit, first_pass) = match self.versions.last() {
            None => (0, 0),
            Some(last) => {
                let n = last.windows.n_windows();
                let passes = used.saturating_sub(last.first_unit).div_ceil(n);
                (last.first_unit + passes * n, last.first_pass + passes)
            }
        };
        self.versions.push(Version { first_unit, first_pass, windows });
    }

    /// Returns the windows of the dataset as it is now, or `None` if it is not there.
    pub(crate) fn windows(&self) -> Option<&Windows> {
        self.versions.last().map(|version| &version.windows)
    }

    /// Returns whether all passes have the same windows.
    pub(crate) fn is_constant(&self) -> bool {
        self.versions.len() == 1
    }

    /// Returns the number of the pass of `unit`, and the first token of its window; `cached` is the
    /// pass of an earlier call. `None` without a dataset.
    pub(crate) fn locate(&self, unit: u64, cached: &mut Option<Epoch>) -> Option<(u64, u64)> {
        let index = match &*self.versions {
            [_] => 0,
            versions => versions.partition_point(|v| v.first_unit <= unit).checked_sub(1)?,
        };
        let Version { first_unit, first_pass, windows } = &self.versions[index];
        let n = windows.n_windows();
        let pass = first_pass + (unit - first_unit) / n;
        let epoch = cached.take_if(|epoch| epoch.number() == pass);
        let epoch = cached.insert(epoch.unwrap_or_else(|| windows.epoch(pass)));
        Some((pass, epoch.start((unit - first_unit) % n)))
    }

    /// Returns the units below `used` that have one of the tokens of `span`: each with its pass and
    /// its first token.
    pub(crate) fn units_of(&self, span: &Range<u64>, used: u64) -> Vec<(u64, u64, u64)> {
        let mut found = Vec::new();
        for (index, version) in self.versions.iter().enumerate() {
            let end = self.versions.get(index + 1).map_or(used, |next| next.first_unit.min(used));
            let n = version.windows.n_windows();
            for first in (version.first_unit..end).step_by(n as usize) {
                let pass = version.first_pass + (first - version.first_unit) / n;
                let epoch = version.windows.epoch(pass);
                let windows = epoch.windows_of(span.clone());
                let units = windows.map(|(index, start)| (first + index, pass, start));
                found.extend(units.filter(|(unit, _, _)| *unit < used));
            }
        }
        found
    }
}
