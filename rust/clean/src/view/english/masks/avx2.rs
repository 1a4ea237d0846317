//! The masks of 64 bytes, by vectors of 32.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8,
};

use super::block::{BLOCK, Block};

/// Appends the masks of each whole block of `bytes`; the same as [`Block::of`].
#[target_feature(enable = "avx2")]
pub(super) fn extend(blocks: &mut Vec<Block>, bytes: &[u8]) {
    blocks.reserve(bytes.len() / BLOCK + 2);
    for block in bytes.as_chunks::<BLOCK>().0 {
        let (low, high) = (load::<0>(block), load::<32>(block));
        blocks.push(Block {
            // as integers: compilers turn a disjunction of the two ranges into single bytes
            spaces: join(within(low, b'\t', 5), within(high, b'\t', 5))
                | join(within(low, 0x1c, 5), within(high, 0x1c, 5)),
            letters: join(letters(low), letters(high)),
            digits: join(within(low, b'0', 10), within(high, b'0', 10)),
            high: join(low, high),
        });
    }
}

#[target_feature(enable = "avx2")]
fn letters(bytes: __m256i) -> __m256i {
    within(_mm256_or_si256(bytes, _mm256_set1_epi8(0x20)), b'a', 26)
}

/// Returns 0xff for each byte among the `count` values from `low` on.
#[target_feature(enable = "avx2")]
fn within(bytes: __m256i, low: u8, count: i8) -> __m256i {
    // `low` becomes the smallest signed byte
    let moved = _mm256_add_epi8(bytes, _mm256_set1_epi8(0x80_u8.wrapping_sub(low).cast_signed()));
    _mm256_cmpgt_epi8(_mm256_set1_epi8(i8::MIN + count), moved)
}

/// Returns the highest bit of each byte.
#[target_feature(enable = "avx2")]
fn join(low: __m256i, high: __m256i) -> u64 {
    let mask = |bytes| u64::from(_mm256_movemask_epi8(bytes).cast_unsigned());
    mask(low) | mask(high) << 32
}

#[target_feature(enable = "avx2")]
fn load<const FROM: usize>(block: &[u8; BLOCK]) -> __m256i {
    const { assert!(FROM + 32 <= BLOCK) };
    // SAFETY: 32 bytes from FROM on are within the block
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(block.as_ptr().add(FROM).cast())
    }
}
