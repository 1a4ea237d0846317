//! A pseudorandom permutation of 0, …, n − 1 in constant memory: shuffling without a list.
//!
//! A Feistel network permutes the numbers of w bits, where w is the least width that holds n − 1.
//! Results of n or more are permuted again until they fall below n ("cycle walking", as in Black
//! and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): since the network is a bijection of
//! the larger set, following its cycles back into the smaller one is a bijection of that, for every
//! n. With w exact, fewer than two steps are needed on average.
//!
//! ```text
//! at(i):  x = i
//!         repeat  (high, low) = x split into ⌊w/2⌋ and ⌈w/2⌉ bits
//!                 for each pair of round keys (a, b):
//!                     high ^= mix(low, a);  low ^= mix(high, b)
//!                 x = (high, low)
//!         until x < n
//! ```
//!
//! The round function `mix` multiplies in 128 bits and folds, so every bit of one half depends on
//! every bit of the other, and not linearly. The inverse runs the rounds backwards. An order never
//! changes between versions: it is part of the contract of version 1 of the loader's state.

use sha2::{Digest, Sha256};

/// Rounds, in each of which one half changes. Six pass the tests of this crate; eight leave a
/// margin.
const ROUNDS: usize = 8;
/// 2^64 divided by the golden ratio, made odd: the usual multiplier of Fibonacci hashing.
const MULTIPLIER: u128 = 0x9e37_79b9_7f4a_7c15;

/// Streams: independent uses of one seed.
pub mod stream {
    use sha2::{Digest, Sha256};

    /// The bits of a source's streams that come from its name.
    const NAME_BITS: u64 = (1 << 62) - 1;

    /// Returns the stream of the order of the windows of the source `name`; 0 for a source that
    /// stands alone and has none.
    pub fn windows(name: &str) -> u64 {
        if name.is_empty() {
            return 0;
        }
        let digest = Sha256::new_with_prefix("lslm source 1\n").chain_update(name).finalize();
        let first = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        first & NAME_BITS
    }

    /// Returns the stream of the first token of each epoch of the source whose windows have the
    /// stream `windows`.
    pub fn offsets(windows: u64) -> u64 {
        windows | 1 << 62
    }

    /// The stream of the order of sources in the blocks of a mixture.
    pub const MIXTURE: u64 = 1 << 63;
}

/// Returns the round keys of (`seed`, `epoch`, `stream`), by SHA-256.
pub(crate) fn keys(seed: u64, epoch: u64, stream: u64) -> [u64; ROUNDS] {
    let mut keys = [0; ROUNDS];
    for (half, keys) in keys.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut hash = Sha256::new();
        hash.update(b"lslm order 1");
        for number in [seed, epoch, stream, half as u64] {
            hash.update(number.to_le_bytes());
        }
        let bytes: [u8; 32] = hash.finalize().into();
        for (key, bytes) in keys.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *key = u64::from_le_bytes(*bytes);
        }
    }
    keys
}

/// A pseudorandom permutation of the numbers below `n`.
///
/// ```
/// use lslm_dataset::Order;
///
/// let order = Order::new(5, 42, 0, 0);
/// let mut numbers: Vec<u64> = (0..5).map(|index| order.at(index)).collect();
/// assert!((0..5).all(|index| order.inverse(numbers[index as usize]) == index));
/// numbers.sort_unstable();
/// assert_eq!(numbers, [0, 1, 2, 3, 4]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    n: u64,
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
    keys: [u64; ROUNDS],
}

impl Order {
    /// Returns the permutation of the numbers below `n` that belongs to (`seed`, `epoch`,
    /// `stream`).
    pub fn new(n: u64, seed: u64, epoch: u64, stream: u64) -> Self {
        let width = u64::BITS - n.saturating_sub(1).leading_zeros();
        let low_bits = width.div_ceil(2);
        let mask = |bits: u32| (1_u64 << bits) - 1; // at most 32 bits
        Self {
            n,
            low_bits,
            low_mask: mask(low_bits),
            high_mask: mask(width - low_bits),
            keys: keys(seed, epoch, stream),
        }
    }

    /// Returns the number of numbers that are permuted.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Returns the number at `index`; an index of n or more returns itself.
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        self.walk(index, |x| self.forward(x))
    }

    /// Returns the index of `number`: `inverse(at(i)) == i`.
    #[inline]
    pub fn inverse(&self, number: u64) -> u64 {
        self.walk(number, |x| self.backward(x))
    }

    /// Cycle walking: applies `permute` to `x` until the result is below n.
    #[inline]
    fn walk(&self, mut x: u64, permute: impl Fn(u64) -> u64) -> u64 {
        if x >= self.n {
            return x;
        }
        loop {
            x = permute(x);
            if x < self.n {
                return x;
            }
        }
    }

    #[inline]
    fn forward(&self, x: u64) -> u64 {
        let (mut low, mut high) = (x & self.low_mask, x >> self.low_bits);
        for keys in self.keys.as_chunks::<2>().0 {
            high ^= mix(low, keys[0]) & self.high_mask;
            low ^= mix(high, keys[1]) & self.low_mask;
        }
        high << self.low_bits | low
    }

    #[inline]
    fn backward(&self, x: u64) -> u64 {
        let (mut low, mut high) = (x & self.low_mask, x >> self.low_bits);
        for keys in self.keys.as_chunks::<2>().0.iter().rev() {
            low ^= mix(high, keys[1]) & self.low_mask;
            high ^= mix(low, keys[0]) & self.high_mask;
        }
        high << self.low_bits | low
    }
}

/// The round function; see the [module](self).
#[inline]
fn mix(x: u64, key: u64) -> u64 {
    let product = u128::from(x ^ key) * (MULTIPLIER ^ u128::from(key << 1));
    let folded = product as u64 ^ (product >> 64) as u64;
    folded ^ folded >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_permutation(order: &Order) -> bool {
        let mut seen = vec![false; order.n() as usize];
        (0..order.n()).all(|i| {
            let x = order.at(i);
            order.inverse(x) == i && !std::mem::replace(&mut seen[x as usize], true)
        })
    }

    #[test]
    fn every_small_size_is_permuted() {
        for n in 0..=10_000 {
            assert!(is_permutation(&Order::new(n, n * 7, n % 3, 1)), "n = {n}");
        }
    }

    #[test]
    fn sizes_around_powers_of_two_are_permuted() {
        for k in 14..=20 {
            for n in (1_u64 << k) - 2..=(1 << k) + 2 {
                assert!(is_permutation(&Order::new(n, 5, k, 0)), "n = {n}");
            }
        }
    }

    #[test]
    fn large_sizes_are_inverted() {
        for k in 21..64 {
            for n in (1_u64 << k) - 2..=(1 << k) + 2 {
                let order = Order::new(n, 11, 3, 2);
                for i in (0..200).map(|i| i * (n / 200)).chain(n - 3..n) {
                    let x = order.at(i);
                    assert!(x < n && order.inverse(x) == i, "n = {n}, i = {i}");
                }
            }
        }
        let order = Order::new(u64::MAX, 1, 1, 1);
        assert_eq!(order.inverse(order.at(12_345)), 12_345);
    }

    /// Changing these numbers breaks the resume of every earlier run.
    #[test]
    fn the_order_of_version_1_is_unchanged() {
        let order = Order::new(10, 0, 0, 0);
        assert_eq!((0..10).map(|i| order.at(i)).collect::<Vec<_>>(), GOLDEN_10);
        let order = Order::new(1_000_003, 42, 7, 3);
        assert_eq!((0..4).map(|i| order.at(i)).collect::<Vec<_>>(), GOLDEN_MILLION);
    }

    const GOLDEN_10: [u64; 10] = [8, 5, 6, 3, 1, 7, 0, 2, 4, 9];
    const GOLDEN_MILLION: [u64; 4] = [902_266, 466_221, 873_381, 441_221];

    /// Pearson's chi-square of counts that should be equal, in standard deviations from its mean.
    fn chi_square(counts: &[u64]) -> f64 {
        let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        let square = |count: &u64| (*count as f64 - expected).powi(2) / expected;
        let freedom = (counts.len() - 1) as f64;
        (counts.iter().map(square).sum::<f64>() - freedom) / (2.0 * freedom).sqrt()
    }

    #[test]
    fn indices_and_numbers_are_independent() {
        const GRID: usize = 32;
        for n in [4096, 65_537, 300_000, (1 << 20) - 1, (1 << 40) + 12_345] {
            for seed in 0..4 {
                let order = Order::new(n, seed, 0, 0);
                let count = n.min(300_000);
                let cell = |x: u64, n: u64| (u128::from(x) * GRID as u128 / u128::from(n)) as usize;
                let mut counts = vec![0_u64; GRID * GRID];
                for i in 0..count {
                    counts[cell(i, count) * GRID + cell(order.at(i), n)] += 1;
                }
                // row and column sums are fixed, so the variance is a little smaller than assumed
                assert!(chi_square(&counts).abs() < 5.0, "n = {n}, seed {seed}");
            }
        }
    }

    #[test]
    fn neighbours_are_uncorrelated() {
        let n = 200_003;
        let order = Order::new(n, 9, 1, 0);
        let values: Vec<f64> = (0..n).map(|i| order.at(i) as f64 / n as f64 - 0.5).collect();
        for lag in 1..=64 {
            let products = values.iter().zip(&values[lag..]).map(|(a, b)| a * b * 12.0);
            let correlation = products.sum::<f64>() / n as f64;
            assert!(correlation.abs() < 5.0 / (n as f64).sqrt(), "lag {lag}: {correlation}");
        }
    }

    /// Each bit of the result against each exclusive-or of one or two bits of the index: the linear
    /// predictors that break networks whose round function is linear modulo a power of two.
    #[test]
    fn no_bit_is_a_linear_function() {
        for n in [1_u64 << 20, 1_000_003] {
            let order = Order::new(n, 3, 0, 0);
            let width = 20;
            let samples: Vec<(u64, u64)> = (0..40_000_u64)
                .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % n)
                .map(|i| (i, order.at(i)))
                .collect();
            let limit = 5.5 * (samples.len() as f64).sqrt() / 2.0;
            for out in 0..width {
                for a in 0..width {
                    for b in a..width {
                        let mask = 1_u64 << a | 1 << b;
                        let agree = samples
                            .iter()
                            .filter(|(i, x)| u64::from((i & mask).count_ones()) & 1 == x >> out & 1)
                            .count() as f64;
                        // the top bit is not balanced unless n is a power of two
                        let tolerance = if n.is_power_of_two() || out < width - 1 {
                            limit
                        } else {
                            limit * 20.0
                        };
                        let bias = (agree - samples.len() as f64 / 2.0).abs();
                        assert!(bias < tolerance, "n = {n}: bit {out} from {a}, {b}: {bias}");
                    }
                }
            }
        }
    }

    #[test]
    fn seeds_epochs_and_streams_differ() {
        let first = |seed, epoch, stream| Order::new(1 << 40, seed, epoch, stream).at(0);
        let all = [first(0, 0, 0), first(1, 0, 0), first(0, 1, 0), first(0, 0, 1)];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    /// And about equally often.
    #[test]
    fn three_numbers_take_all_six_orders() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6_000 {
            let order = Order::new(3, seed, 0, 0);
            *counts.entry([order.at(0), order.at(1), order.at(2)]).or_insert(0_u64) += 1;
        }
        let counts: Vec<u64> = counts.into_values().collect();
        assert_eq!(counts.len(), 6);
        assert!(counts.iter().all(|count| (600..1_500).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn inverse_undoes_at(n in 1_u64.., seed: u64, epoch: u64, stream: u64, i: u64) {
            let order = Order::new(n, seed, epoch, stream);
            let x = order.at(i % n);
            prop_assert!(x < n);
            prop_assert_eq!(order.inverse(x), i % n);
        }
    }
}
