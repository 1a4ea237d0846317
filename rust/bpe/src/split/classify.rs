//! The masks of ASCII characters, by the vector instructions the machine has.

use std::sync::OnceLock;

use super::blocks::{Block, Rules};
use super::kinds::ASCII;

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// No vector instructions.
    Scalar,
    /// AVX2, and the bit instructions that came with it
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with byte instructions
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best the machine has, or what `LSLM_SIMD` says if the machine has it.
    pub(super) fn current() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let best = Self::available();
            let wanted = std::env::var("LSLM_SIMD").unwrap_or_default();
            let wanted = best.iter().find(|level| level.name() == wanted);
            *wanted.or(best.last()).unwrap_or(&Self::Scalar)
        })
    }

    /// What the machine has, the best last.
    pub(super) fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("bmi1")
                && std::arch::is_x86_feature_detected!("bmi2")
                && std::arch::is_x86_feature_detected!("lzcnt")
                && std::arch::is_x86_feature_detected!("popcnt")
            {
                levels.push(Self::Avx2);
                if std::arch::is_x86_feature_detected!("avx512bw") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    /// As `LSLM_SIMD` spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }
}

/// A way to make the masks of 64 bytes, as far as single bytes decide them.
pub(super) trait Classify {
    /// Replaces all of `block`. What `R` does not ask for may be missing: without `R::CASED` all
    /// ASCII letters are lower-case ones.
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut Block);
}

/// One byte at a time.
pub(super) struct Scalar;

impl Classify for Scalar {
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
        *block = Block { valid: u64::MAX, ..Block::default() };
        let mut kinds = [0_u64; 16];
        for (i, &byte) in bytes.iter().enumerate() {
            let bit = 1 << i;
            if byte < 0x80 {
                kinds[ASCII[usize::from(byte)] as usize] |= bit;
                match byte {
                    b' ' => block.space |= bit,
                    b'\'' => block.quote |= bit,
                    b'/' => block.slash |= bit,
                    _ => {}
                }
            } else {
                block.high |= bit;
                match byte {
                    0x80..=0xBF => block.tails |= bit,
                    0xE5..=0xE9 | 0xEB | 0xEC => block.easy |= bit,
                    0xE4 if bytes.get(i + 1).is_some_and(|next| *next != 0xB7) => {
                        block.easy |= bit;
                    }
                    _ => {}
                }
            }
        }
        for (mask, kind) in block.kinds.iter_mut().zip(kinds) {
            *mask = kind;
        }
    }
}
