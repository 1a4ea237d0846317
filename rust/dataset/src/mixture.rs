//! Which source each sample of a mixture is from.
//!
//! The samples are cut into blocks of B. After m blocks the sources up to s together have given
//! D_s(m) = ⌊m·B·(w_1 + … + w_s)⌋ samples, in whole numbers of 128 bits, so source s has given
//! D_s(m) − D_{s−1}(m): less than one sample from m·B·w_s, for every m, without a table and without
//! going through the blocks before. B is at least 1 / w for the smallest weight w, which keeps these
//! numbers from ever falling. Inside a block the sources' samples are permuted.

use lslm_runtime::{Error, Result};

use crate::order::{Order, stream};

/// Weights are whole parts of this, rounded once.
const PARTS: u64 = 1 << 40;
const SMALLEST_BLOCK: u64 = 1 << 10;

/// Mixes sources by weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// Sums of the parts of the first s sources; the first is 0, the last the whole.
    sums: Vec<u64>,
    block: u64,
    seed: u64,
}

/// The samples of one block.
#[derive(Clone, Debug)]
pub struct Block {
    number: u64,
    order: Order,
    /// Where the samples of each source begin in the block before it is permuted.
    starts: Vec<u64>,
    /// How many samples each source has given before.
    given: Vec<u64>,
}

impl Mixture {
    /// A mixture of `weights.len()` sources in these proportions, which need not sum to one.
    ///
    /// A weight that is not a positive number, or below 2^-32 of the sum, is an
    /// [`Error::Invalid`].
    pub fn new(weights: &[f64], seed: u64) -> Result<Self> {
        let sum: f64 = weights.iter().sum();
        let mut sums = vec![0];
        let mut smallest = PARTS;
        let mut total = 0;
        for weight in weights {
            let parts = (weight / sum * PARTS as f64).round() as u64;
            if !(weight.is_finite() && *weight > 0.0 && sum.is_finite()) || parts < PARTS >> 32 {
                return Err(Error::invalid(format!(
                    "weight {weight} of a mixture whose weights sum to {sum}: each must be above \
                     zero and at least 2^-32 of the sum"
                )));
            }
            smallest = smallest.min(parts);
            total += parts;
            sums.push(total);
        }
        if weights.is_empty() {
            return Err(Error::invalid("a mixture needs at least one source"));
        }
        let block = total.div_ceil(smallest).next_power_of_two();
        Ok(Self { sums, block: block.max(SMALLEST_BLOCK), seed })
    }

    /// How many samples a block has: at each multiple of this, every source's count is less than
    /// one from its share.
    pub fn block_size(&self) -> u64 {
        self.block
    }

    /// How many samples source `source` has given after `blocks` blocks.
    pub fn given(&self, source: usize, blocks: u64) -> u64 {
        self.sum(source + 1, blocks) - self.sum(source, blocks)
    }

    fn sum(&self, sources: usize, blocks: u64) -> u64 {
        let samples = u128::from(blocks) * u128::from(self.block);
        let total = self.sums[self.sums.len() - 1];
        (samples * u128::from(self.sums[sources]) / u128::from(total)) as u64
    }

    /// The block that holds sample `sample`.
    pub fn block_of(&self, sample: u64) -> Block {
        let number = sample / self.block;
        let sources = self.sums.len() - 1;
        let given: Vec<u64> = (0..sources).map(|source| self.given(source, number)).collect();
        let mut start = 0;
        let starts = (0..sources).map(|source| {
            let own = start;
            start += self.given(source, number + 1) - given[source];
            own
        });
        let starts = starts.collect();
        let order = Order::new(self.block, self.seed, number, stream::MIXTURE);
        Block { number, order, starts, given }
    }
}

impl Block {
    /// Whether `sample` is in this block.
    pub fn holds(&self, sample: u64) -> bool {
        sample / self.order.n() == self.number
    }

    /// The source of `sample`, which must be in this block, and which sample of that source it is.
    pub fn locate(&self, sample: u64) -> (usize, u64) {
        let place = self.order.at(sample % self.order.n());
        let source = self.starts.partition_point(|start| *start <= place) - 1;
        (source, self.given[source] + place - self.starts[source])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each source gives its samples in a row without gap, and its count keeps to its share.
        #[test]
        fn shares_are_exact(
            weights in proptest::collection::vec(prop_oneof![0.01_f64..10.0, Just(1.0)], 1..20),
            seed: u64,
        ) {
            let mixture = Mixture::new(&weights, seed).unwrap();
            let total: f64 = weights.iter().sum();
            let blocks = 12_000_u64.div_ceil(mixture.block_size());
            let mut given = vec![std::collections::BTreeSet::new(); weights.len()];
            for number in 0..blocks {
                let first = number * mixture.block_size();
                let block = mixture.block_of(first);
                for sample in first..first + mixture.block_size() {
                    prop_assert!(block.holds(sample));
                    let (source, ordinal) = block.locate(sample);
                    prop_assert!(given[source].insert(ordinal));
                }
                let done = (first + mixture.block_size()) as f64;
                for (own, weight) in given.iter().zip(&weights) {
                    let share = done * weight / total;
                    prop_assert!((own.len() as f64 - share).abs() < 1.0 + 1e-6 * share);
                    prop_assert_eq!(own.last().map_or(0, |last| last + 1), own.len() as u64);
                }
            }
        }

        /// Far along and with very unequal weights, counts still never fall and always add up.
        #[test]
        fn counts_never_fall(
            exponents in proptest::collection::vec(-20_i32..0, 1..30), first in 0_u64..1 << 20,
        ) {
            let weights: Vec<f64> = exponents.iter().map(|e| 2_f64.powi(*e) * 1.1).collect();
            let mixture = Mixture::new(&weights, 0).unwrap();
            for block in first..first + 20 {
                let mut sum = 0;
                for source in 0..weights.len() {
                    prop_assert!(mixture.given(source, block) <= mixture.given(source, block + 1));
                    sum += mixture.given(source, block);
                }
                prop_assert_eq!(sum, block * mixture.block_size());
            }
        }
    }

    #[test]
    fn weights_must_be_positive() {
        for weights in [&[1.0, 0.0][..], &[-1.0, 2.0], &[f64::NAN], &[f64::INFINITY, 1.0], &[]] {
            assert!(Mixture::new(weights, 0).is_err(), "{weights:?}");
        }
        assert!(Mixture::new(&[1.0, 1e-12], 0).is_err());
        assert!(Mixture::new(&[1.0, 1e-8], 0).is_ok());
    }
}
