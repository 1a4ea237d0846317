//! The masks of 64 bytes, by one vector.

use std::arch::x86_64::{
    __m512i, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_movepi8_mask, _mm512_or_si512,
    _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::block::{BLOCK, Block};

/// Appends the masks of each whole block of `bytes`; the same as [`Block::of`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn extend(blocks: &mut Vec<Block>, bytes: &[u8]) {
    blocks.reserve(bytes.len() / BLOCK + 2);
    for block in bytes.as_chunks::<BLOCK>().0 {
        let bytes = load(block);
        blocks.push(Block {
            spaces: within(bytes, b'\t', 5) | within(bytes, 0x1c, 5),
            letters: within(_mm512_or_si512(bytes, splat(0x20)), b'a', 26),
            digits: within(bytes, b'0', 10),
            high: _mm512_movepi8_mask(bytes),
        });
    }
}

/// Returns a bit for each byte among the `count` values from `low` on.
#[target_feature(enable = "avx512f,avx512bw")]
fn within(bytes: __m512i, low: u8, count: u8) -> u64 {
    _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, splat(low)), splat(count))
}

#[target_feature(enable = "avx512f")]
fn splat(byte: u8) -> __m512i {
    _mm512_set1_epi8(byte.cast_signed())
}

#[target_feature(enable = "avx512f")]
fn load(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: the block has 64 bytes
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(block.as_ptr().cast())
    }
}
