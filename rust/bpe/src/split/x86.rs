//! The masks of 64 bytes with AVX2 and AVX-512, and all that follows compiled for such machines.
#![allow(unsafe_code)] // vector instructions; nothing else is in this file

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
    _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8,
};

use super::blocks::{self, Block, Rules};
use super::classify::Classify;
use super::kinds::Kind;

/// [`blocks::ends`] on a machine that has what `Level::Avx2` stands for.
pub(super) fn avx2<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn ends<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        blocks::ends::<R, Avx2>(text, flush);
    }
    // SAFETY: `Level::Avx2` exists only where the processor has these instructions.
    unsafe { ends::<R>(text, flush) }
}

/// [`blocks::ends`] on a machine that has what `Level::Avx512` stands for.
pub(super) fn avx512<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    #[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn ends<R: Rules>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        blocks::ends::<R, Avx512>(text, flush);
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

/// Masks as both ways find them.
struct Masks {
    upper: u64,
    /// All letters unless the rules ask for capitals.
    lower: u64,
    digit: u64,
    newline: u64,
    /// Bytes below 32.
    control: u64,
    /// Bytes 9 to 13, if there are controls but line ends.
    gaps: u64,
    space: u64,
    quote: u64,
    slash: u64,
    delete: u64,
    high: u64,
    tails: u64,
    easy: u64,
}

impl Masks {
    #[inline(always)]
    fn fill(self, block: &mut Block) {
        let blank = (self.gaps & !self.newline) | self.space;
        let other = (self.control & !self.gaps & !self.newline) | self.delete;
        let known = self.upper | self.lower | self.digit | self.newline | blank | other | self.high;
        block.kinds = [0; 9];
        block.kinds[Kind::Upper as usize] = self.upper;
        block.kinds[Kind::Lower as usize] = self.lower;
        block.kinds[Kind::Number as usize] = self.digit;
        block.kinds[Kind::Newline as usize] = self.newline;
        block.kinds[Kind::Space as usize] = blank;
        block.kinds[Kind::Other as usize] = other;
        block.kinds[Kind::Symbol as usize] = !known;
        block.space = self.space;
        block.quote = self.quote;
        block.slash = self.slash;
        block.high = self.high;
        block.tails = self.tails;
        block.easy = self.easy;
        block.valid = u64::MAX;
        block.formed = 0;
        block.rest = 0;
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
    let (upper, lower) = if R::CASED {
        (range(b'A', b'Z'), range(b'a', b'z'))
    } else {
        let (a, b) = (_mm256_or_si256(a, set(0x20)), _mm256_or_si256(b, set(0x20)));
        (0, bits(within(a, b'a', b'z'), within(b, b'a', b'z')))
    };
    let below = bits(_mm256_cmpgt_epi8(set(32), a), _mm256_cmpgt_epi8(set(32), b));
    let control = below & !high;
    let mut masks = Masks {
        upper,
        lower,
        digit: range(b'0', b'9'),
        newline,
        control,
        gaps: 0,
        space: equal(b' '),
        quote: equal(b'\''),
        slash: if R::CASED { equal(b'/') } else { 0 },
        delete: if R::SYMBOLS { equal(127) } else { 0 },
        high,
        tails: 0,
        easy: 0,
    };
    if control & !newline != 0 {
        masks.gaps = range(9, 13);
    }
    if high != 0 {
        masks.tails = range(0x80, 0xBF);
        let known = |v: __m256i| {
            let hangul = set(0xEA);
            let outside =
                _mm256_or_si256(_mm256_cmpgt_epi8(v, hangul), _mm256_cmpgt_epi8(hangul, v));
            _mm256_and_si256(within(v, 0xE4, 0xEC), outside)
        };
        masks.easy = bits(known(a), known(b));
        let doubtful = equal(0xE4);
        if doubtful != 0 {
            masks.easy &= !(doubtful & (equal(0xB7) >> 1 | 1 << 63));
        }
    }
    masks.fill(block);
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
    let (upper, lower) = if R::CASED {
        (range(b'A', b'Z'), range(b'a', b'z'))
    } else {
        let folded = _mm512_sub_epi8(_mm512_or_si512(bytes, set(0x20)), set(b'a'));
        (0, _mm512_cmple_epu8_mask(folded, set(25)))
    };
    let control = _mm512_cmplt_epu8_mask(bytes, set(32));
    let mut masks = Masks {
        upper,
        lower,
        digit: range(b'0', b'9'),
        newline,
        control,
        gaps: 0,
        space: equal(b' '),
        quote: equal(b'\''),
        slash: if R::CASED { equal(b'/') } else { 0 },
        delete: if R::SYMBOLS { equal(127) } else { 0 },
        high,
        tails: 0,
        easy: 0,
    };
    if control & !newline != 0 {
        masks.gaps = range(9, 13);
    }
    if high != 0 {
        masks.tails = range(0x80, 0xBF);
        masks.easy = range(0xE4, 0xEC) & !equal(0xEA);
        let doubtful = equal(0xE4);
        if doubtful != 0 {
            masks.easy &= !(doubtful & (equal(0xB7) >> 1 | 1 << 63));
        }
    }
    masks.fill(block);
}
