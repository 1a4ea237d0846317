//! The search for a block that is not plain, with vectors of 32 bytes.
//!
//! ```text
//! for each byte b of a block, and the two bytes s, t after it:
//!     needs    = LEADS[b]                       which seconds it needs, 0 if none
//!     accepted = needs & SECOND_HIGH[s >> 4] & SECOND_LOW[s & 15]
//!     refused  = accepted & THIRD_HIGH[t >> 4] & THIRD_LOW[t & 15]
//!     plain   if needs = 0 or accepted != 0, and refused = 0
//! ```
//!
//! Each table has 16 entries, so that one instruction looks up 32 bytes. A bit of an entry is one
//! kind of lead byte, below. What the tables cannot say (U+00A0, U+00AD, U+0387, U+FF00 to U+FF7F,
//! ASCII controls) is compared. `scan` in `chars.rs` is the same without vectors, up to some plain
//! characters that this form calls not plain.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
    _mm256_max_epu8, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
    _mm256_testz_si256,
};

use super::window::{BLOCK, WINDOW};

/// E2, for U+2010 to U+2027 and U+2030 to U+203F: two bits, since two ranges of thirds are refused.
const GENERAL: u8 = 0b11;
/// E3 80, for U+3001 to U+3029 and U+3030 to U+303F; likewise.
const CJK: u8 = 0b1100;
/// Never plain.
const OTHER: u8 = 1 << 4;
/// E3 81 to E3 83, for kana without the marks of voicing.
const KANA: u8 = 1 << 5;
/// EA, for Hangul syllables.
const EA: u8 = 1 << 6;
/// ED, for Hangul syllables.
const ED: u8 = 1 << 7;

/// What C0 to CF need.
const LEADS_C: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, OTHER, OTHER, 0, 0];
/// What D0 to DF need: all but the first two lead to Cyrillic from U+0480, Hebrew and Arabic.
const LEADS_D: [u8; 16] = {
    let mut table = [OTHER; 16];
    (table[0], table[1]) = (0, 0);
    table
};
const LEADS_E: [u8; 16] =
    [OTHER, OTHER, GENERAL, CJK | KANA, 0, 0, 0, 0, 0, 0, EA, 0, 0, ED, OTHER, 0];
const SECOND_HIGH: [u8; 16] = {
    let mut table = [0; 16];
    (table[8], table[9], table[0xb]) = (GENERAL | CJK | KANA | ED, ED, EA);
    table
};
const SECOND_LOW: [u8; 16] = {
    let mut table = [EA | ED; 16];
    table[0] |= GENERAL | CJK;
    (table[1], table[2], table[3]) = (KANA | EA | ED, KANA | EA | ED, KANA | EA | ED);
    table[0xf] = EA;
    table
};
const THIRD_HIGH: [u8; 16] = {
    let mut table = [0; 16];
    (table[8], table[9], table[0xa]) = (0b101, KANA, 0b1010);
    table
};
const THIRD_LOW: [u8; 16] = {
    let mut table = [0b1; 16];
    table[0] |= 0b100;
    (table[8], table[9], table[0xa]) = (0b11, 0b11 | KANA, 0b1011 | KANA);
    let mut low = 0xb;
    while low < 16 {
        table[low] = 0b1011;
        low += 1;
    }
    table
};

/// Returns the first block at or after `at`, in steps of a block and among those with two bytes
/// after them, that has a character which is not plain; or the block after the last of them.
#[target_feature(enable = "avx2")]
pub(super) fn scan(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
        if !is_plain(window) {
            return Ok(at);
        }
        at += BLOCK;
    }
    Err(at)
}

#[target_feature(enable = "avx2")]
fn is_plain(window: &[u8; WINDOW]) -> bool {
    let (low, high) = (load::<0>(window), load::<32>(window));
    let mut other = _mm256_or_si256(controls(low), controls(high));
    if _mm256_movemask_epi8(_mm256_or_si256(low, high)) != 0 {
        let leads = others(low, load::<1>(window), load::<2>(window));
        other = _mm256_or_si256(other, leads);
        let leads = others(high, load::<33>(window), load::<34>(window));
        other = _mm256_or_si256(other, leads);
    }
    _mm256_testz_si256(other, other) == 1
}

/// Returns a vector that is not zero where `first` is a control besides tab and line feed.
#[target_feature(enable = "avx2")]
fn controls(first: __m256i) -> __m256i {
    let low = _mm256_cmpeq_epi8(_mm256_min_epu8(first, splat(0x1f)), first);
    let allowed = _mm256_or_si256(equal(first, b'\t'), equal(first, b'\n'));
    _mm256_or_si256(_mm256_andnot_si256(allowed, low), equal(first, 0x7f))
}

/// Returns a vector that is not zero where `first`, with the two bytes after it, begins a character
/// beyond ASCII that is not plain.
#[target_feature(enable = "avx2")]
fn others(first: __m256i, second: __m256i, third: __m256i) -> __m256i {
    let (high, low) = (_mm256_and_si256(first, splat(0xf0)), low_bits(first));
    let leads =
        |table: &[u8; 16], lead: u8| _mm256_and_si256(look_up(table, low), equal(high, lead));
    let c_d = _mm256_or_si256(leads(&LEADS_C, 0xc0), leads(&LEADS_D, 0xd0));
    let f = _mm256_and_si256(equal(high, 0xf0), splat(OTHER));
    let needs = _mm256_or_si256(_mm256_or_si256(c_d, f), leads(&LEADS_E, 0xe0));
    let seconds = _mm256_and_si256(
        look_up(&SECOND_HIGH, high_bits(second)),
        look_up(&SECOND_LOW, low_bits(second)),
    );
    let accepted = _mm256_and_si256(needs, seconds);
    let thirds = _mm256_and_si256(
        look_up(&THIRD_HIGH, high_bits(third)),
        look_up(&THIRD_LOW, low_bits(third)),
    );
    let refused = _mm256_and_si256(accepted, thirds);
    let zero = _mm256_setzero_si256();
    let unmet =
        _mm256_andnot_si256(_mm256_cmpeq_epi8(needs, zero), _mm256_cmpeq_epi8(accepted, zero));
    // U+0080 to U+00A0 and U+00AD; U+0387; all of EF but U+FF00 to U+FF7F
    let early = _mm256_cmpeq_epi8(_mm256_max_epu8(second, splat(0xa0)), splat(0xa0));
    let latin = _mm256_and_si256(equal(first, 0xc2), _mm256_or_si256(early, equal(second, 0xad)));
    let greek = _mm256_and_si256(equal(first, 0xce), equal(second, 0x87));
    let wide = equal(_mm256_and_si256(second, splat(0xfe)), 0xbc);
    let wide = _mm256_andnot_si256(wide, equal(first, 0xef));
    let compared = _mm256_or_si256(_mm256_or_si256(latin, greek), wide);
    _mm256_or_si256(_mm256_or_si256(unmet, refused), compared)
}

#[target_feature(enable = "avx2")]
fn load<const FROM: usize>(window: &[u8; WINDOW]) -> __m256i {
    const { assert!(FROM + 32 <= WINDOW) };
    // SAFETY: 32 bytes from FROM on are within the window
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(window.as_ptr().add(FROM).cast())
    }
}

#[target_feature(enable = "avx2")]
fn splat(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

#[target_feature(enable = "avx2")]
fn equal(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, splat(byte))
}

#[target_feature(enable = "avx2")]
fn low_bits(bytes: __m256i) -> __m256i {
    _mm256_and_si256(bytes, splat(0xf))
}

#[target_feature(enable = "avx2")]
fn high_bits(bytes: __m256i) -> __m256i {
    low_bits(_mm256_srli_epi16::<4>(bytes))
}

/// Returns the entries of `table` at 32 indices below 16.
#[target_feature(enable = "avx2")]
fn look_up(table: &[u8; 16], indices: __m256i) -> __m256i {
    let table = u128::from_le_bytes(*table);
    let (low, high) = ((table as u64).cast_signed(), ((table >> 64) as u64).cast_signed());
    _mm256_shuffle_epi8(_mm256_set_epi64x(high, low, high, low), indices)
}
