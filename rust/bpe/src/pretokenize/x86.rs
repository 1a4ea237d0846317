//! The masks of 64 bytes by AVX2 and by AVX-512, and the splitter compiled for those instructions.
#![allow(unsafe_code)] // vector instructions; nothing else is in this file

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
    _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::bitmask;
use super::char_class::CharClass;
use super::masks::{ClassMasks, Classify};
use super::scheme::Rules;

/// Runs [`bitmask::ends`] compiled for AVX2; the machine must have `Level::Avx2`.
pub(super) fn avx2<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn ends<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        bitmask::ends::<R, Avx2>(text, flush);
    }
    // SAFETY: `Level::Avx2` exists only where the processor has these instructions.
    unsafe { ends::<R>(text, flush) }
}

/// Runs [`bitmask::ends`] compiled for AVX-512; the machine must have `Level::Avx512`.
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
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks) {
        // SAFETY: only `avx2` uses this type, and only where the processor has AVX2.
        unsafe { avx2_masks::<R>(bytes, block) }
    }
}

/// 64 bytes at a time; used by [`avx512`] only.
struct Avx512;

impl Classify for Avx512 {
    #[inline(always)]
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks) {
        // SAFETY: only `avx512` uses this type, and only where the processor has AVX-512 BW.
        unsafe { avx512_masks::<R>(bytes, block) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn avx2_masks<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks) {
    // SAFETY: `bytes` is 64 bytes, and the load needs no alignment.
    let (a, b) = unsafe {
        let at = bytes.as_ptr();
        (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()))
    };
    let bits = |a: __m256i, b: __m256i| {
        u64::from(_mm256_movemask_epi8(a) as u32) | u64::from(_mm256_movemask_epi8(b) as u32) << 32
    };
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let equal = |byte: u8| bits(_mm256_cmpeq_epi8(a, set(byte)), _mm256_cmpeq_epi8(b, set(byte)));
    // The bytes from `first` to `last`, shifted so that `first` becomes the smallest signed number.
    let within = |v: __m256i, first: u8, last: u8| {
        let end = set((last - first + 1).wrapping_add(0x80));
        _mm256_cmpgt_epi8(end, _mm256_add_epi8(v, set(0x80_u8.wrapping_sub(first))))
    };
    let range = |first: u8, last: u8| bits(within(a, first, last), within(b, first, last));
    let either = |v: __m256i, x: u8, y: u8| {
        _mm256_or_si256(_mm256_cmpeq_epi8(v, set(x)), _mm256_cmpeq_epi8(v, set(y)))
    };
    let non_ascii = bits(a, b);
    let newline = bits(either(a, b'\n', b'\r'), either(b, b'\n', b'\r'));
    let control = bits(_mm256_cmpgt_epi8(set(32), a), _mm256_cmpgt_epi8(set(32), b));
    *block = ClassMasks { non_ascii, valid: u64::MAX, ..ClassMasks::default() };
    if R::CASED {
        block.classes[CharClass::Upper as usize] = range(b'A', b'Z');
        block.classes[CharClass::Lower as usize] = range(b'a', b'z');
        block.slash = equal(b'/');
    } else {
        let (a, b) = (_mm256_or_si256(a, set(0x20)), _mm256_or_si256(b, set(0x20)));
        block.classes[CharClass::Lower as usize] =
            bits(within(a, b'a', b'z'), within(b, b'a', b'z'));
    }
    block.classes[CharClass::Number as usize] = range(b'0', b'9');
    block.classes[CharClass::Newline as usize] = newline;
    block.space = equal(b' ');
    block.classes[CharClass::Space as usize] = block.space;
    block.quote = equal(b'\'');
    if control & !non_ascii & !newline != 0 {
        let tabs = avx2_tabs(a, b);
        block.classes[CharClass::Space as usize] |= tabs;
        if R::SYMBOLS {
            block.classes[CharClass::Other as usize] = control & !non_ascii & !newline & !tabs;
        }
    }
    if R::SYMBOLS {
        block.classes[CharClass::Other as usize] |= equal(127);
    }
    if non_ascii != 0 {
        block.continuation = range(0x80, 0xBF);
        block.two_leads = range(0xC2, 0xDF);
        block.three_leads = range(0xE0, 0xEF);
        let leads = |v: __m256i| {
            _mm256_andnot_si256(_mm256_cmpeq_epi8(v, set(0xEA)), within(v, 0xE4, 0xEC))
        };
        block.letter_leads = if R::SYMBOLS {
            range(0xE5, 0xE8)
        } else {
            let doubtful = equal(0xE4) & (equal(0xB7) >> 1 | 1 << 63);
            bits(leads(a), leads(b)) & !doubtful
        };
    }
}

/// Returns the mask of `[\t\v\f]`. Not inlined: in the branch that needs it, the compiler would
/// otherwise compute the mask bit by bit.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn avx2_tabs(a: __m256i, b: __m256i) -> u64 {
    let set = |byte: u8| _mm256_set1_epi8(byte as i8);
    let tabs = |v: __m256i| {
        let equal = |byte: u8| _mm256_cmpeq_epi8(v, set(byte));
        _mm256_movemask_epi8(_mm256_or_si256(
            equal(b'\t'),
            _mm256_or_si256(equal(0x0B), equal(0x0C)),
        )) as u32
    };
    u64::from(tabs(a)) | u64::from(tabs(b)) << 32
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512_masks<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks) {
    // SAFETY: `bytes` is 64 bytes, and the load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    let set = |byte: u8| _mm512_set1_epi8(byte as i8);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, set(byte));
    let range = |first: u8, last: u8| {
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, set(first)), set(last - first))
    };
    let non_ascii = _mm512_movepi8_mask(bytes);
    let newline = equal(b'\n') | equal(b'\r');
    let control = _mm512_cmplt_epu8_mask(bytes, set(32));
    *block = ClassMasks { non_ascii, valid: u64::MAX, ..ClassMasks::default() };
    if R::CASED {
        block.classes[CharClass::Upper as usize] = range(b'A', b'Z');
        block.classes[CharClass::Lower as usize] = range(b'a', b'z');
        block.slash = equal(b'/');
    } else {
        let folded = _mm512_sub_epi8(_mm512_or_si512(bytes, set(0x20)), set(b'a'));
        block.classes[CharClass::Lower as usize] = _mm512_cmple_epu8_mask(folded, set(25));
    }
    block.classes[CharClass::Number as usize] = range(b'0', b'9');
    block.classes[CharClass::Newline as usize] = newline;
    block.space = equal(b' ');
    block.classes[CharClass::Space as usize] = block.space;
    block.quote = equal(b'\'');
    if control & !newline != 0 {
        let tabs = equal(b'\t') | equal(0x0B) | equal(0x0C);
        block.classes[CharClass::Space as usize] |= tabs;
        if R::SYMBOLS {
            block.classes[CharClass::Other as usize] = control & !newline & !tabs;
        }
    }
    if R::SYMBOLS {
        block.classes[CharClass::Other as usize] |= equal(127);
    }
    if non_ascii != 0 {
        block.continuation = range(0x80, 0xBF);
        block.two_leads = range(0xC2, 0xDF);
        block.three_leads = range(0xE0, 0xEF);
        block.letter_leads = if R::SYMBOLS {
            range(0xE5, 0xE8)
        } else {
            let doubtful = equal(0xE4) & (equal(0xB7) >> 1 | 1 << 63);
            range(0xE4, 0xEC) & !equal(0xEA) & !doubtful
        };
    }
}
