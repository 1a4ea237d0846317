//! Chooses the compiled splitter for a family of patterns and the machine's vector instructions.

use lslm_runtime::simd::Level;

use super::masks::Portable;
use super::scheme::{self, Rules, Scheme};
use super::{bitmask, kimi, scalar};

/// Calls `flush` with the ends of the pieces of `text`, ascending, in batches; the last end is the
/// length of `text`. An empty text has no pieces.
pub(super) fn ends(scheme: Scheme, level: Level, text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    match scheme {
        Scheme::Gpt2 { digits: false } => by_level::<scheme::Gpt2>(level, text, flush),
        Scheme::Gpt2 { digits: true } => by_level::<scheme::Starcoder>(level, text, flush),
        Scheme::Cl100k { group: 3, tail: false, marks: false } => {
            by_level::<scheme::Cl100k>(level, text, flush);
        }
        Scheme::Cl100k { group: 3, tail: true, marks: false } => {
            by_level::<scheme::Cl100kTail>(level, text, flush);
        }
        Scheme::Cl100k { group: 1, tail: false, marks: false } => {
            by_level::<scheme::Qwen2>(level, text, flush);
        }
        Scheme::Cl100k { group: 1, tail: false, marks: true } => {
            by_level::<scheme::Qwen35>(level, text, flush);
        }
        Scheme::O200k { group: 3, contractions: true } => {
            by_level::<scheme::O200k>(level, text, flush);
        }
        Scheme::O200k { group: 1, contractions: false } => {
            by_level::<scheme::Tekken>(level, text, flush);
        }
        Scheme::Kimi => {
            kimi::ends(text, |text, flush| by_level::<scheme::Kimi>(level, text, flush), flush);
        }
        Scheme::DeepseekV3 => by_level::<scheme::DeepseekV3>(level, text, flush),
        _ => scalar::scan(scheme, text, |end| flush(&[end])),
    }
}

/// Returns by which code a family is split, for display.
pub(super) fn method(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Whole => "nothing",
        _ => "a scanner of this pattern",
    }
}

fn by_level<R: Rules>(level: Level, text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    match level {
        Level::Scalar => bitmask::ends::<R, Portable>(text, flush),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::x86::avx2::<R>(text, flush),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::x86::avx512::<R>(text, flush),
    }
}
