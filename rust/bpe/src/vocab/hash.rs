//! The multiplicative hashes that every table of this crate uses.
//!
//! Keys are small numbers, so one multiplication is enough. No hash is trusted for equality: each
//! table compares the key itself, or allows for false positives.

/// 2^64 divided by the golden ratio, made odd (Knuth, The Art of Computer Programming, vol. 3,
/// 6.4: Fibonacci hashing).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// An odd constant without a pattern in its bits, so that a zero half does not cancel the other.
const SALT: u64 = 0xD6E8_FEB8_6659_FD93;

/// Returns a hash of both halves, in which every input bit reaches every output bit.
///
/// The 128-bit product of both halves, its two halves folded into one.
#[inline(always)]
pub(crate) fn fold(low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ GOLDEN).wrapping_mul(u128::from(high ^ SALT));
    (product as u64) ^ ((product >> 64) as u64)
}

/// Returns a Fibonacci hash, of which only the high bits are good: take them by shifting right.
#[inline(always)]
pub(crate) fn fibonacci(number: u64) -> u64 {
    number.wrapping_mul(GOLDEN)
}

/// [`fibonacci`] in 32 bits, where a vector unit or an address calculation has no more.
#[inline(always)]
pub(crate) fn fibonacci_u32(number: u32) -> u32 {
    // 2^32 divided by the golden ratio, made odd
    number.wrapping_mul(0x9E37_79B1)
}
