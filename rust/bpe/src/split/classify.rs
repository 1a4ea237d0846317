//! The masks of ASCII characters, by the vector instructions the machine has.

use std::sync::OnceLock;

use lslm_runtime::{Error, Result};

use super::blocks::{Block, Rules};
use super::kinds::Kind;

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
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
    pub(crate) fn current() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| Self::wanted().unwrap_or_else(|_| Self::best()))
    }

    /// What `LSLM_SIMD` asks for, the best when it is not set; an error for anything that this
    /// machine cannot do, since who sets it means to measure or test that one path.
    pub(super) fn wanted() -> Result<Self> {
        match std::env::var_os("LSLM_SIMD") {
            None => Ok(Self::best()),
            Some(name) => Self::named(&name.to_string_lossy()),
        }
    }

    fn named(name: &str) -> Result<Self> {
        let levels = Self::available();
        levels.iter().find(|level| level.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = levels.into_iter().map(Self::name).collect();
            Error::invalid(format!(
                "LSLM_SIMD={name:?}: this machine has {}; unset it for the best of them",
                names.join(", ")
            ))
        })
    }

    fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// What the machine has, the best last.
    pub(crate) fn available() -> Vec<Self> {
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

/// Without vector instructions by name, in a form compilers make such of: on aarch64 this is NEON.
pub(super) struct Scalar;

/// The bytes of `bytes` that pass `test`.
#[inline(always)]
fn mask(bytes: &[u8; 64], test: impl Fn(u8) -> bool) -> u64 {
    // Byte `i` of eight keeps bit `i`; the product's highest byte is then the sum of all eight.
    let mut bits = [0_u8; 64];
    for (i, (bit, byte)) in bits.iter_mut().zip(bytes).enumerate() {
        *bit = u8::from(test(*byte)) << (i % 8);
    }
    let (eights, _) = bits.as_chunks::<8>();
    let mut mask = 0;
    for (i, eight) in eights.iter().enumerate() {
        let sum = u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        mask |= sum << (8 * i);
    }
    mask
}

impl Classify for Scalar {
    #[inline(always)]
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut Block) {
        *block = Block { valid: u64::MAX, ..Block::default() };
        block.high = mask(bytes, |byte| byte >= 0x80);
        if R::CASED {
            block.kinds[Kind::Upper as usize] = mask(bytes, |byte| byte.is_ascii_uppercase());
            block.kinds[Kind::Lower as usize] = mask(bytes, |byte| byte.is_ascii_lowercase());
            block.slash = mask(bytes, |byte| byte == b'/');
        } else {
            block.kinds[Kind::Lower as usize] = mask(bytes, |byte| byte.is_ascii_alphabetic());
        }
        block.kinds[Kind::Number as usize] = mask(bytes, |byte| byte.is_ascii_digit());
        block.space = mask(bytes, |byte| byte == b' ');
        block.quote = mask(bytes, |byte| byte == b'\'');
        block.kinds[Kind::Space as usize] = block.space;
        let below = mask(bytes, |byte| byte < 0x20);
        if below != 0 {
            let newline = mask(bytes, |byte| byte == b'\n' || byte == b'\r');
            let gaps = mask(bytes, |byte| (9..=13).contains(&byte)) & !newline;
            block.kinds[Kind::Newline as usize] = newline;
            block.kinds[Kind::Space as usize] |= gaps;
            block.kinds[Kind::Other as usize] = below & !newline & !gaps;
        }
        if R::SYMBOLS {
            block.kinds[Kind::Other as usize] |= mask(bytes, |byte| byte == 0x7F);
        }
        if block.high != 0 {
            block.tails = mask(bytes, |byte| (0x80..=0xBF).contains(&byte));
            block.two = mask(bytes, |byte| (0xC2..=0xDF).contains(&byte));
            block.three = mask(bytes, |byte| (0xE0..=0xEF).contains(&byte));
            if R::SYMBOLS {
                block.easy = mask(bytes, |byte| (0xE5..=0xE8).contains(&byte));
            } else if block.three != 0 {
                let third = mask(bytes, |byte| byte == 0xB7);
                let doubtful = mask(bytes, |byte| byte == 0xE4) & (third >> 1 | 1 << 63);
                let known = mask(bytes, |byte| (0xE4..=0xEC).contains(&byte) && byte != 0xEA);
                block.easy = known & !doubtful;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_by_their_names() {
        for level in Level::available() {
            assert_eq!(Level::named(level.name()).unwrap(), level);
        }
        for unknown in ["", "AVX2", "neon", "avx2 ", "best"] {
            let message = Level::named(unknown).unwrap_err().to_string();
            assert!(message.contains(&format!("{unknown:?}")), "{message}");
            assert!(message.contains("scalar"), "{message}");
        }
    }
}
