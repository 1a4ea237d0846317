//! Which source each sample of a mixture comes from.
//!
//! The samples are divided into blocks of B. The first m blocks contain D_s(m) = ⌊m·B·(w_1 + … +
//! w_s)⌋ samples of the sources up to s, computed in 128-bit integers, so source s has D_s(m) −
//! D_{s−1}(m) of them: less than one from m·B·w_s, for every m, without a table and without going
//! through earlier blocks. B is at least 1 / w for the smallest weight w, so these numbers never
//! decrease. Within a block the samples of the sources are permuted:
//!
//! ```text
//! locate(sample):
//!     m = sample / B;  slot = Order(B, seed, m).at(sample % B)
//!     s = the source whose range in the unpermuted block contains slot
//!     return s, D_s(m) − D_{s−1}(m) + (slot − start of its range)
//! ```

use lslm_runtime::{Error, Result};

use crate::order::{Order, stream};
use crate::weight::{Weight, normalised};

/// Samples in a block, at least: with fewer, sources would alternate almost regularly.
const MIN_BLOCK: u64 = 1 << 10;

/// Mixes sources in the proportions of their weights.
///
/// ```
/// use lslm_dataset::Mixture;
///
/// let mixture = Mixture::new(&[3.0, 1.0], 0)?;
/// let block = mixture.block_of(0);
/// let (source, _) = block.locate(5);
/// assert!(source < 2);
/// assert_eq!(mixture.samples_after(0, 1), 3 * mixture.block_size() / 4);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// For each s, the sum of the parts of the first s sources.
    sums: Vec<u64>,
    block: u64,
    seed: u64,
    /// Selects the orders of the blocks, besides the seed.
    first: u64,
}

/// The samples of one block.
#[derive(Clone, Debug)]
pub struct MixtureBlock {
    number: u64,
    order: Order,
    /// For each source, the start of its range in the block before it is permuted.
    starts: Vec<u64>,
    /// For each source, its samples in earlier blocks.
    before: Vec<u64>,
}

impl Mixture {
    /// Returns a mixture of `weights.len()` sources in these proportions, which need not sum to
    /// one.
    ///
    /// A weight that is not a positive number, or below 2^-32 of the sum, is an
    /// [`Error::Invalid`].
    pub fn new(weights: &[f64], seed: u64) -> Result<Self> {
        Self::of(&normalised(weights)?, seed, 0)
    }

    /// Returns a mixture of normalised weights whose first block has the order of block `first` of
    /// a mixture that begins at sample 0.
    pub(crate) fn of(weights: &[Weight], seed: u64, first: u64) -> Result<Self> {
        let mut sums = vec![0];
        let mut total = 0;
        for weight in weights {
            total += weight.parts();
            sums.push(total);
        }
        let Some(smallest) = weights.iter().map(|weight| weight.parts()).min() else {
            return Err(Error::invalid("a mixture needs at least one source"));
        };
        let block = total.div_ceil(smallest.max(1)).next_power_of_two();
        Ok(Self { sums, block: block.max(MIN_BLOCK), seed, first })
    }

    /// Returns the number of samples of a block. At each multiple of it, the samples of every
    /// source are less than one from its share.
    pub fn block_size(&self) -> u64 {
        self.block
    }

    /// Returns how many samples of source `source` the first `blocks` blocks contain.
    pub fn samples_after(&self, source: usize, blocks: u64) -> u64 {
        self.sum(source + 1, blocks) - self.sum(source, blocks)
    }

    /// Returns D: how many samples of the first `sources` sources the first `blocks` blocks
    /// contain.
    fn sum(&self, sources: usize, blocks: u64) -> u64 {
        let samples = u128::from(blocks) * u128::from(self.block);
        let total = self.sums[self.sums.len() - 1];
        (samples * u128::from(self.sums[sources]) / u128::from(total)) as u64
    }

    /// Returns which sample of the mixture is sample `ordinal` of source `source`: the inverse of
    /// [`MixtureBlock::locate`].
    pub fn sample_of(&self, source: usize, ordinal: u64) -> u64 {
        // the last block with at most `ordinal` samples of the source before it
        let (mut low, mut high) = (0, u64::MAX / self.block);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.samples_after(source, middle) <= ordinal {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let block = self.block_of(low * self.block);
        let slot = block.starts[source] + (ordinal - block.before[source]);
        low * self.block + block.order.inverse(slot)
    }

    /// Returns, for each source, how many samples it has in the blocks up to the one that `samples`
    /// samples end in, and which of them, in ascending order, are not among the first `samples`.
    ///
    /// It visits the rest of the block: see [`rest`](Self::rest).
    pub(crate) fn unread(&self, samples: u64) -> Vec<(u64, Vec<u64>)> {
        let rest = self.rest(samples);
        let number = samples.div_ceil(self.block);
        let sources = 0..self.sums.len() - 1;
        let mut unread: Vec<(u64, Vec<u64>)> =
            sources.map(|source| (self.samples_after(source, number), Vec::new())).collect();
        if rest > 0 {
            let block = self.block_of(samples);
            for sample in samples..samples + rest {
                let (source, ordinal) = block.locate(sample);
                unread[source].1.push(ordinal);
            }
        }
        for (_, ordinals) in &mut unread {
            ordinals.sort_unstable();
        }
        unread
    }

    /// Returns how many samples follow the first `samples` in the same block; 0 at its end.
    pub(crate) fn rest(&self, samples: u64) -> u64 {
        samples.next_multiple_of(self.block) - samples
    }

    /// Returns the block that contains sample `sample`.
    pub fn block_of(&self, sample: u64) -> MixtureBlock {
        let number = sample / self.block;
        let sources = self.sums.len() - 1;
        let before: Vec<u64> =
            (0..sources).map(|source| self.samples_after(source, number)).collect();
        let mut start = 0;
        let starts = (0..sources).map(|source| {
            let own = start;
            start += self.samples_after(source, number + 1) - before[source];
            own
        });
        let starts = starts.collect();
        let epoch = self.first.wrapping_add(number);
        let order = Order::new(self.block, self.seed, epoch, stream::MIXTURE);
        MixtureBlock { number, order, starts, before }
    }
}

impl MixtureBlock {
    /// Returns whether `sample` is in this block.
    pub fn contains(&self, sample: u64) -> bool {
        sample / self.order.n() == self.number
    }

    /// Returns the source of `sample`, which must be in this block, and which sample of that source
    /// it is, from 0.
    pub fn locate(&self, sample: u64) -> (usize, u64) {
        let slot = self.order.at(sample % self.order.n());
        let source = self.starts.partition_point(|start| *start <= slot) - 1;
        (source, self.before[source] + slot - self.starts[source])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each source yields its samples in order without a gap, and its count stays within one of
        /// its share.
        #[test]
        fn counts_stay_within_one_of_the_shares(
            weights in proptest::collection::vec(prop_oneof![0.01_f64..10.0, Just(1.0)], 1..20),
            seed: u64,
        ) {
            let mixture = Mixture::new(&weights, seed).unwrap();
            let total: f64 = weights.iter().sum();
            let blocks = 12_000_u64.div_ceil(mixture.block_size());
            let mut yielded = vec![std::collections::BTreeSet::new(); weights.len()];
            for number in 0..blocks {
                let first = number * mixture.block_size();
                let block = mixture.block_of(first);
                for sample in first..first + mixture.block_size() {
                    prop_assert!(block.contains(sample));
                    let (source, ordinal) = block.locate(sample);
                    prop_assert!(yielded[source].insert(ordinal));
                }
                let done = (first + mixture.block_size()) as f64;
                for (own, weight) in yielded.iter().zip(&weights) {
                    let share = done * weight / total;
                    prop_assert!((own.len() as f64 - share).abs() < 1.0 + 4e-6 * share);
                    prop_assert_eq!(own.last().map_or(0, |last| last + 1), own.len() as u64);
                }
            }
        }

        /// Counts never decrease and always sum to the samples, far along and for very unequal
        /// weights.
        #[test]
        fn counts_never_decrease(
            exponents in proptest::collection::vec(-20_i32..0, 1..30), first in 0_u64..1 << 20,
        ) {
            let weights: Vec<f64> = exponents.iter().map(|e| 2_f64.powi(*e) * 1.1).collect();
            let mixture = Mixture::new(&weights, 0).unwrap();
            for block in first..first + 20 {
                let mut sum = 0;
                for source in 0..weights.len() {
                    prop_assert!(mixture.samples_after(source, block) <= mixture.samples_after(source, block + 1));
                    sum += mixture.samples_after(source, block);
                }
                prop_assert_eq!(sum, block * mixture.block_size());
            }
        }
    }

    proptest! {
        /// What is left of a block is what going through the samples before did not meet.
        #[test]
        fn the_unread_samples_of_a_block_are_found(
            weights in proptest::collection::vec(0.01_f64..10.0, 1..6), seed: u64,
            samples in 0_u64..5000, first in 0_u64..99,
        ) {
            let mixture = Mixture::of(&normalised(&weights).unwrap(), seed, first).unwrap();
            let mut met = vec![std::collections::BTreeSet::new(); weights.len()];
            for sample in 0..samples {
                let (source, ordinal) = mixture.block_of(sample).locate(sample);
                prop_assert_eq!(mixture.sample_of(source, ordinal), sample);
                met[source].insert(ordinal);
            }
            let blocks = samples.div_ceil(mixture.block_size());
            for (source, (count, unread)) in mixture.unread(samples).into_iter().enumerate() {
                prop_assert_eq!(count, mixture.samples_after(source, blocks));
                let expected: Vec<u64> =
                    (0..count).filter(|ordinal| !met[source].contains(ordinal)).collect();
                prop_assert_eq!(unread, expected);
            }
        }
    }

    #[test]
    fn weights_that_are_not_positive_are_refused() {
        for weights in [&[1.0, 0.0][..], &[-1.0, 2.0], &[f64::NAN], &[f64::INFINITY, 1.0], &[]] {
            assert!(Mixture::new(weights, 0).is_err(), "{weights:?}");
        }
        assert!(Mixture::new(&[1.0, 1e-12], 0).is_err());
        assert!(Mixture::new(&[1.0, 1e-8], 0).is_ok());
    }
}
