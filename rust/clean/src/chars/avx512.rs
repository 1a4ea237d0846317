//! The search for a block that is not plain, with a vector for each block.
//!
//! ```text
//! for each byte b of a block, and the two bytes s, t after it:
//!     needs    = LEADS[b]                 which seconds it needs, 0 if none; 0 for ASCII
//!     accepted = needs & SECONDS[s]
//!     refused  = accepted & THIRDS[t]
//!     plain   if needs = 0 or accepted != 0, and refused = 0, and needs is not OTHER
//! ```
//!
//! An instruction of AVX-512 VBMI looks up 64 bytes in a table of 64 or 128 entries: all seconds and
//! thirds, or all bytes beyond ASCII. So unlike those of `avx2.rs` the tables say everything, and the
//! result is that of `scan` in `chars.rs`.

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
    _mm512_maskz_permutex2var_epi8, _mm512_movepi8_mask, _mm512_permutexvar_epi8, _mm512_set1_epi8,
    _mm512_test_epi8_mask, _mm512_testn_epi8_mask,
};

use super::window::{BLOCK, WINDOW};

/// U+00A1 to U+00BF without the soft hyphen.
const C2: u8 = 1;
/// Greek without U+0387.
const CE: u8 = 1 << 1;
/// E2, for U+2010 to U+2027 and U+2030 to U+203F.
const GENERAL: u8 = 1 << 2;
/// E3 80, for U+3001 to U+3029 and U+3030 to U+303F.
const CJK: u8 = 1 << 3;
/// E3 81 to E3 83, for kana without the marks of voicing.
const KANA: u8 = 1 << 4;
/// EA, for Hangul syllables.
const EA: u8 = 1 << 5;
/// ED, for Hangul syllables.
const ED: u8 = 1 << 6;
/// EF, for U+FF00 to U+FF7F.
const EF: u8 = 1 << 7;
/// Never plain.
const OTHER: u8 = 0xff;

/// What the bytes from 80 to FF need.
const LEADS: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0x80;
    while byte < 0x100 {
        table[byte - 0x80] = match byte {
            0xc2 => C2,
            0xce => CE,
            0xe2 => GENERAL,
            0xe3 => CJK | KANA,
            0xea => EA,
            0xed => ED,
            0xef => EF,
            0xcc..=0xcd | 0xd2..=0xe1 | 0xee | 0xf0.. => OTHER,
            _ => 0,
        };
        byte += 1;
    }
    table
};
/// What the bytes from 80 to BF satisfy as the second of a character.
const SECONDS: [u8; 64] = {
    let mut table = [0; 64];
    let mut byte = 0x80;
    while byte < 0xc0 {
        table[byte - 0x80] = bit(C2, byte >= 0xa1 && byte != 0xad)
            | bit(CE, byte != 0x87)
            | bit(GENERAL | CJK, byte == 0x80)
            | bit(KANA, byte >= 0x81 && byte <= 0x83)
            | bit(EA, byte >= 0xb0)
            | bit(ED, byte <= 0x9e)
            | bit(EF, byte == 0xbc || byte == 0xbd);
        byte += 1;
    }
    table
};
/// Of what they are refused for as the third.
const THIRDS: [u8; 64] = {
    let mut table = [0; 64];
    let mut byte = 0x80;
    while byte < 0xc0 {
        table[byte - 0x80] = bit(GENERAL, byte < 0x90 || (byte > 0xa7 && byte < 0xb0))
            | bit(CJK, byte < 0x81 || (byte > 0xa9 && byte < 0xb0))
            | bit(KANA, byte == 0x99 || byte == 0x9a);
        byte += 1;
    }
    table
};

const fn bit(bits: u8, is_set: bool) -> u8 {
    if is_set { bits } else { 0 }
}

/// Returns the first block at or after `at`, in steps of a block and among those with two bytes
/// after them, that has a character which is not plain; or the block after the last of them.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn scan(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
        if !is_plain(window) {
            return Ok(at);
        }
        at += BLOCK;
    }
    Err(at)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn is_plain(window: &[u8; WINDOW]) -> bool {
    let first = load::<0, WINDOW>(window);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(first, _mm512_set1_epi8(byte.cast_signed()));
    let low = _mm512_cmplt_epu8_mask(first, _mm512_set1_epi8(0x20));
    let controls = low & !equal(b'\t') & !equal(b'\n') | equal(0x7f);
    let high = _mm512_movepi8_mask(first);
    if high == 0 {
        return controls == 0;
    }
    let leads = [load::<0, 128>(&LEADS), load::<64, 128>(&LEADS)];
    let needs = _mm512_maskz_permutex2var_epi8(high, leads[0], first, leads[1]);
    let second = _mm512_permutexvar_epi8(load::<1, WINDOW>(window), load::<0, 64>(&SECONDS));
    let third = _mm512_permutexvar_epi8(load::<2, WINDOW>(window), load::<0, 64>(&THIRDS));
    let accepted = _mm512_and_si512(needs, second);
    let unmet = _mm512_test_epi8_mask(needs, needs) & _mm512_testn_epi8_mask(accepted, accepted);
    let refused = _mm512_test_epi8_mask(accepted, third);
    let other = _mm512_cmpeq_epi8_mask(needs, _mm512_set1_epi8(OTHER.cast_signed()));
    controls | unmet | refused | other == 0
}

#[target_feature(enable = "avx512f")]
fn load<const FROM: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> __m512i {
    const { assert!(FROM + 64 <= SIZE) };
    // SAFETY: 64 bytes from FROM on are within the array
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().add(FROM).cast())
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan as slow;
    use super::*;

    #[test]
    fn every_code_point_is_judged_as_by_the_scan_without_vectors() {
        if !std::arch::is_x86_feature_detected!("avx512vbmi") {
            return;
        }
        for char in '\0'..=char::MAX {
            let before = usize::from(u32::from(char) as u8) % 62;
            let text = format!("{}{char}中é{}", " ".repeat(before), " ".repeat(130));
            let bytes = text.as_bytes();
            // SAFETY: the machine has these instructions
            #[allow(unsafe_code)]
            let found = unsafe { scan(bytes, 0) };
            assert_eq!(found.ok(), slow(bytes, 0), "{char:?}");
        }
    }
}
