//! The bytes that are tested together, and what is found in them as bits.

/// Bytes that are tested together. A character of the block may end in the two bytes after it.
pub(super) const BLOCK: usize = 64;
/// Bytes of a block and of the characters that begin in it, as far as they are tested.
pub(super) const WINDOW: usize = BLOCK + 2;

/// Returns a bit for each byte of `ones`, which are 0 or 1; the lowest is the first.
#[inline(always)]
pub(crate) fn bits(ones: &[u8; BLOCK]) -> u64 {
    // the product moves the lowest bits of eight bytes side by side, into its highest byte
    const GATHER: u64 = 0x0102_0408_1020_4080;
    ones.as_chunks().0.iter().rev().fold(0, |mask, eight: &[u8; 8]| {
        mask << 8 | u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56
    })
}
