//! The masks of 64 bytes.

use crate::chars::bits;

/// Bytes of a [`Block`].
pub(super) const BLOCK: usize = 64;

/// The masks of 64 bytes; the lowest bit is the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) spaces: u64,
    pub(super) letters: u64,
    pub(super) digits: u64,
    pub(super) high: u64,
}

impl Block {
    /// Returns the masks of `bytes`.
    pub(super) fn of(bytes: &[u8; BLOCK]) -> Self {
        Self {
            spaces: mask(bytes, |byte| matches!(byte, b'\t'..=b'\r' | 0x1c..=b' ')),
            letters: mask(bytes, |byte| byte.is_ascii_alphabetic()),
            digits: mask(bytes, |byte| byte.is_ascii_digit()),
            high: mask(bytes, |byte| !byte.is_ascii()),
        }
    }
}

/// Returns a bit for each byte, 1 where `test` holds.
#[inline(always)]
fn mask(bytes: &[u8; BLOCK], test: impl Fn(u8) -> bool) -> u64 {
    bits(&bytes.map(|byte| u8::from(test(byte))))
}
