//! The masks of ASCII characters with AVX2 and AVX-512.
#![allow(unsafe_code)] // vector instructions; nothing else is in this file

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi8, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
    _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::blocks::Block;
use super::classify::Masks;

/// The masks of `blocks.len()` times 64 bytes of `text`; the machine has AVX2.
pub(super) fn avx2(text: &[u8], blocks: &mut [Block]) {
    assert!(text.len() >= blocks.len() * 64);
    // SAFETY: `Level::Avx2` exists only where the processor has it, and the text is long enough.
    unsafe { avx2_blocks(text.as_ptr(), blocks) }
}

/// The masks of `blocks.len()` times 64 bytes of `text`; the machine has AVX-512 BW.
pub(super) fn avx512(text: &[u8], blocks: &mut [Block]) {
    assert!(text.len() >= blocks.len() * 64);
    // SAFETY: `Level::Avx512` exists only where the processor has it, and the text is long enough.
    unsafe { avx512_blocks(text.as_ptr(), blocks) }
}

/// `at` must be readable for 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // the load asks for no alignment
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// `text` must be readable for 64 bytes a block.
#[target_feature(enable = "avx2")]
unsafe fn avx2_blocks(text: *const u8, blocks: &mut [Block]) {
    for (i, block) in blocks.iter_mut().enumerate() {
        // SAFETY: the caller grants 64 bytes a block.
        let (a, b) = unsafe {
            let at = text.add(i * 64);
            (load(at), load(at.add(32)))
        };
        *block = avx2_masks(a, b).block();
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn avx2_masks(a: __m256i, b: __m256i) -> Masks {
    let bits = |a: __m256i, b: __m256i| {
        u64::from(_mm256_movemask_epi8(a) as u32) | u64::from(_mm256_movemask_epi8(b) as u32) << 32
    };
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let equal = |byte: u8| bits(_mm256_cmpeq_epi8(a, set(byte)), _mm256_cmpeq_epi8(b, set(byte)));
    // The bytes from `first` to `last`: moved so that `first` is the smallest signed number.
    let range = |first: u8, last: u8| {
        let shift = set(0x80_u8.wrapping_sub(first));
        let end = set((last - first + 1).wrapping_add(0x80));
        let one = |v: __m256i| _mm256_cmpgt_epi8(end, _mm256_add_epi8(v, shift));
        (one(a), one(b))
    };
    let range_bits = |first: u8, last: u8| {
        let (a, b) = range(first, last);
        bits(a, b)
    };
    let high = bits(a, b);
    let space = equal(b' ');
    let newline = equal(b'\n') | equal(b'\r');
    let gaps = range_bits(9, 13);
    let mut masks = Masks {
        upper: range_bits(b'A', b'Z'),
        lower: range_bits(b'a', b'z'),
        digit: range_bits(b'0', b'9'),
        newline,
        blank: (gaps & !newline) | space,
        control: (range_bits(0, 31) & !gaps) | equal(127),
        space,
        quote: equal(b'\''),
        slash: equal(b'/'),
        high,
        ..Masks::default()
    };
    if high != 0 {
        masks.tails = range_bits(0x80, 0xBF);
        let (c, d) = range(0xE4, 0xEC);
        let hangul = set(0xEA);
        let c = _mm256_and_si256(
            c,
            _mm256_or_si256(_mm256_cmpgt_epi8(a, hangul), _mm256_cmpgt_epi8(hangul, a)),
        );
        let d = _mm256_and_si256(
            d,
            _mm256_or_si256(_mm256_cmpgt_epi8(b, hangul), _mm256_cmpgt_epi8(hangul, b)),
        );
        let doubtful = equal(0xE4);
        masks.easy = bits(c, d);
        if doubtful != 0 {
            masks.easy &= !(doubtful & (equal(0xB7) >> 1 | 1 << 63));
        }
    }
    masks
}

/// `text` must be readable for 64 bytes a block.
#[target_feature(enable = "avx512f,avx512bw")]
#[allow(clippy::cast_ptr_alignment)] // the load asks for no alignment
unsafe fn avx512_blocks(text: *const u8, blocks: &mut [Block]) {
    for (i, block) in blocks.iter_mut().enumerate() {
        // SAFETY: the caller grants 64 bytes a block.
        let bytes = unsafe { _mm512_loadu_si512(text.add(i * 64).cast()) };
        *block = avx512_masks(bytes).block();
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512_masks(bytes: __m512i) -> Masks {
    let set = |byte: u8| _mm512_set1_epi8(byte as i8);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, set(byte));
    let range = |first: u8, last: u8| {
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, set(first)), set(last - first))
    };
    let high = _mm512_movepi8_mask(bytes);
    let space = equal(b' ');
    let newline = equal(b'\n') | equal(b'\r');
    let gaps = range(9, 13);
    let mut masks = Masks {
        upper: range(b'A', b'Z'),
        lower: range(b'a', b'z'),
        digit: range(b'0', b'9'),
        newline,
        blank: (gaps & !newline) | space,
        control: (_mm512_cmplt_epu8_mask(bytes, set(32)) & !gaps) | equal(127),
        space,
        quote: equal(b'\''),
        slash: equal(b'/'),
        high,
        ..Masks::default()
    };
    if high != 0 {
        masks.tails = range(0x80, 0xBF);
        masks.easy = range(0xE4, 0xEC) & !equal(0xEA);
        let doubtful = equal(0xE4);
        if doubtful != 0 {
            masks.easy &= !(doubtful & (equal(0xB7) >> 1 | 1 << 63));
        }
    }
    masks
}
