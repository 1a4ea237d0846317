//! The masks of 64 bytes with AVX2 and AVX-512, and all that follows compiled for such machines.
#![allow(unsafe_code)] // vector instructions; nothing else is in this file

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
    _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::bitmask::{self, Block, Rules};
use super::char_class::Kind;
use super::masks::Classify;

/// [`bitmask::ends`] on a machine that has what `Level::Avx2` stands for.
pub(super) fn avx2<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn ends<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        bitmask::ends::<R, Avx2>(text, flush);
    }
    // SAFETY: `Level::Avx2` exists only where the processor has these instructions.
    unsafe { ends::<R>(text, flush) }
}

/// [`bitmask::ends`] on a machine that has what `Level::Avx512` stands for.
pub(super) fn avx512<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    #[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn ends<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        bitmask::ends::<R, Avx512>(text, flush);
    }
    // SAFETY: `Level::Avx512` exists only where the processor has these instructions.
    unsafe { ends::<R>(text, flush) }
}

/// 32 bytes at a time; used by [`avx2`] only.
struct Avx2;

impl Classify for Avx2 {
    #[inline(always)]
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
        // SAFETY: only `avx2` uses this type, and only where the processor has AVX2.
        unsafe { avx2_masks::<R>(bytes, block) }
    }
}

/// 64 bytes at a time; used by [`avx512`] only.
struct Avx512;

impl Classify for Avx512 {
    #[inline(always)]
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
        // SAFETY: only `avx512` uses this type, and only where the processor has AVX-512 BW.
        unsafe { avx512_masks::<R>(bytes, block) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn avx2_masks<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
    // SAFETY: 64 bytes are there, and the load asks for no alignment.
    let (a, b) = unsafe {
        let at = bytes.as_ptr();
        (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()))
    };
    let bits = |a: __m256i, b: __m256i| {
        u64::from(_mm256_movemask_epi8(a) as u32) | u64::from(_mm256_movemask_epi8(b) as u32) << 32
    };
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let equal = |byte: u8| bits(_mm256_cmpeq_epi8(a, set(byte)), _mm256_cmpeq_epi8(b, set(byte)));
    // The bytes from `first` to `last`: moved so that `first` is the smallest signed number.
    let within = |v: __m256i, first: u8, last: u8| {
        let end = set((last - first + 1).wrapping_add(0x80));
        _mm256_cmpgt_epi8(end, _mm256_add_epi8(v, set(0x80_u8.wrapping_sub(first))))
    };
    let range = |first: u8, last: u8| bits(within(a, first, last), within(b, first, last));
    let either = |v: __m256i, x: u8, y: u8| {
        _mm256_or_si256(_mm256_cmpeq_epi8(v, set(x)), _mm256_cmpeq_epi8(v, set(y)))
    };
    let high = bits(a, b);
    let newline = bits(either(a, b'\n', b'\r'), either(b, b'\n', b'\r'));
    let below = bits(_mm256_cmpgt_epi8(set(32), a), _mm256_cmpgt_epi8(set(32), b));
    *block = Block { high, valid: u64::MAX, ..Block::default() };
    if R::CASED {
        block.kinds[Kind::Upper as usize] = range(b'A', b'Z');
        block.kinds[Kind::Lower as usize] = range(b'a', b'z');
        block.slash = equal(b'/');
    } else {
        let (a, b) = (_mm256_or_si256(a, set(0x20)), _mm256_or_si256(b, set(0x20)));
        block.kinds[Kind::Lower as usize] = bits(within(a, b'a', b'z'), within(b, b'a', b'z'));
    }
    block.kinds[Kind::Number as usize] = range(b'0', b'9');
    block.kinds[Kind::Newline as usize] = newline;
    block.space = equal(b' ');
    block.kinds[Kind::Space as usize] = block.space;
    block.quote = equal(b'\'');
    if below & !high & !newline != 0 {
        let gaps = avx2_gaps(a, b);
        block.kinds[Kind::Space as usize] |= gaps;
        if R::SYMBOLS {
            block.kinds[Kind::Other as usize] = below & !high & !newline & !gaps;
        }
    }
    if R::SYMBOLS {
        block.kinds[Kind::Other as usize] |= equal(127);
    }
    if high != 0 {
        block.tails = range(0x80, 0xBF);
        block.two = range(0xC2, 0xDF);
        block.three = range(0xE0, 0xEF);
        let known = |v: __m256i| {
            _mm256_andnot_si256(_mm256_cmpeq_epi8(v, set(0xEA)), within(v, 0xE4, 0xEC))
        };
        block.easy = if R::SYMBOLS {
            range(0xE5, 0xE8)
        } else {
            let doubtful = equal(0xE4) & (equal(0xB7) >> 1 | 1 << 63);
            bits(known(a), known(b)) & !doubtful
        };
    }
}

/// `[\t\v\f]`. A function of its own, since the compiler would otherwise follow the bits of the
/// mask one by one through the branch that needs it.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn avx2_gaps(a: __m256i, b: __m256i) -> u64 {
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let gaps = |v: __m256i| {
        let gap = |byte: u8| _mm256_cmpeq_epi8(v, set(byte));
        _mm256_movemask_epi8(_mm256_or_si256(gap(b'\t'), _mm256_or_si256(gap(0x0B), gap(0x0C))))
            as u32
    };
    u64::from(gaps(a)) | u64::from(gaps(b)) << 32
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512_masks<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
    // SAFETY: 64 bytes are there, and the load asks for no alignment.
    let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    let set = |byte: u8| _mm512_set1_epi8(byte as i8);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, set(byte));
    let range = |first: u8, last: u8| {
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, set(first)), set(last - first))
    };
    let high = _mm512_movepi8_mask(bytes);
    let newline = equal(b'\n') | equal(b'\r');
    let below = _mm512_cmplt_epu8_mask(bytes, set(32));
    *block = Block { high, valid: u64::MAX, ..Block::default() };
    if R::CASED {
        block.kinds[Kind::Upper as usize] = range(b'A', b'Z');
        block.kinds[Kind::Lower as usize] = range(b'a', b'z');
        block.slash = equal(b'/');
    } else {
        let folded = _mm512_sub_epi8(_mm512_or_si512(bytes, set(0x20)), set(b'a'));
        block.kinds[Kind::Lower as usize] = _mm512_cmple_epu8_mask(folded, set(25));
    }
    block.kinds[Kind::Number as usize] = range(b'0', b'9');
    block.kinds[Kind::Newline as usize] = newline;
    block.space = equal(b' ');
    block.kinds[Kind::Space as usize] = block.space;
    block.quote = equal(b'\'');
    if below & !newline != 0 {
        let gaps = equal(b'\t') | equal(0x0B) | equal(0x0C);
        block.kinds[Kind::Space as usize] |= gaps;
        if R::SYMBOLS {
            block.kinds[Kind::Other as usize] = below & !newline & !gaps;
        }
    }
    if R::SYMBOLS {
        block.kinds[Kind::Other as usize] |= equal(127);
    }
    if high != 0 {
        block.tails = range(0x80, 0xBF);
        block.two = range(0xC2, 0xDF);
        block.three = range(0xE0, 0xEF);
        block.easy = if R::SYMBOLS {
            range(0xE5, 0xE8)
        } else {
            let doubtful = equal(0xE4) & (equal(0xB7) >> 1 | 1 << 63);
            range(0xE4, 0xEC) & !equal(0xEA) & !doubtful
        };
    }
}
