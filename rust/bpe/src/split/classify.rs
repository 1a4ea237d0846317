//! The masks of ASCII characters, by the vector instructions the machine has.

use std::sync::OnceLock;

use super::blocks::Block;
use super::kinds::{ASCII, Kind};

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// No vector instructions.
    Scalar,
    /// AVX2
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
            if std::arch::is_x86_feature_detected!("avx2") {
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

/// The masks of 64 bytes, bit `i` for byte `i`.
#[derive(Default)]
pub(super) struct Masks {
    /// `[A-Z]`
    pub(super) upper: u64,
    /// `[a-z]`
    pub(super) lower: u64,
    /// `[0-9]`
    pub(super) digit: u64,
    /// `[\r\n]`
    pub(super) newline: u64,
    /// `[ \t\v\f]`
    pub(super) blank: u64,
    /// The other controls.
    pub(super) control: u64,
    /// `' '`
    pub(super) space: u64,
    /// `'`
    pub(super) quote: u64,
    /// `/`
    pub(super) slash: u64,
    /// 0x80 to 0xFF
    pub(super) high: u64,
    /// 0x80 to 0xBF
    pub(super) tails: u64,
    /// 0xE5 to 0xE9, 0xEB, 0xEC, and 0xE4 if 0xB7 does not follow in the same 64 bytes: the
    /// first bytes of three that are all letters (U+4000 to U+4DBF, U+4E00 to U+9FFF, Hangul).
    pub(super) easy: u64,
}

impl Masks {
    /// The masks of a block of text.
    #[inline(always)]
    pub(super) fn block(self) -> Block {
        let mut block = Block {
            space: self.space,
            quote: self.quote,
            slash: self.slash,
            high: self.high,
            tails: self.tails,
            easy: self.easy,
            valid: u64::MAX,
            ..Block::default()
        };
        let known = self.upper
            | self.lower
            | self.digit
            | self.newline
            | self.blank
            | self.control
            | self.high;
        block.kinds[Kind::Upper as usize] = self.upper;
        block.kinds[Kind::Lower as usize] = self.lower;
        block.kinds[Kind::Number as usize] = self.digit;
        block.kinds[Kind::Newline as usize] = self.newline;
        block.kinds[Kind::Space as usize] = self.blank;
        block.kinds[Kind::Other as usize] = self.control;
        block.kinds[Kind::Symbol as usize] = !known;
        block
    }
}

/// Makes the masks of `text` from byte `base` on, as far as single bytes decide them.
#[inline]
pub(super) fn ascii(level: Level, text: &[u8], base: usize, blocks: &mut [Block]) {
    let text = text.get(base..).unwrap_or_default();
    let whole = blocks.len().min(text.len() / 64);
    let (full, partial) = blocks.split_at_mut(whole);
    match level {
        Level::Scalar => scalar(text, full),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::x86::avx2(text, full),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::x86::avx512(text, full),
    }
    for (i, block) in partial.iter_mut().enumerate() {
        let rest = text.get((whole + i) * 64..).unwrap_or_default();
        let length = rest.len().min(64);
        if length == 0 {
            *block = Block::default();
            continue;
        }
        let mut bytes = [0; 64];
        bytes[..length].copy_from_slice(&rest[..length]);
        let mut whole = [Block::default()];
        match level {
            Level::Scalar => scalar(&bytes, &mut whole),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::x86::avx2(&bytes, &mut whole),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => super::x86::avx512(&bytes, &mut whole),
        }
        let valid = u64::MAX >> (64 - length);
        *block = whole[0].within(valid);
    }
}

/// One byte at a time.
fn scalar(text: &[u8], blocks: &mut [Block]) {
    for (bytes, block) in text.chunks_exact(64).zip(blocks) {
        let mut kinds = [0_u64; 16];
        let mut masks = Masks::default();
        for (i, &byte) in bytes.iter().enumerate() {
            let bit = 1 << i;
            if byte < 0x80 {
                kinds[ASCII[usize::from(byte)] as usize] |= bit;
                match byte {
                    b' ' => masks.space |= bit,
                    b'\'' => masks.quote |= bit,
                    b'/' => masks.slash |= bit,
                    _ => {}
                }
            } else {
                masks.high |= bit;
                match byte {
                    0x80..=0xBF => masks.tails |= bit,
                    0xE5..=0xE9 | 0xEB | 0xEC => masks.easy |= bit,
                    0xE4 if bytes.get(i + 1).is_some_and(|next| *next != 0xB7) => {
                        masks.easy |= bit;
                    }
                    _ => {}
                }
            }
        }
        masks.upper = kinds[Kind::Upper as usize];
        masks.lower = kinds[Kind::Lower as usize];
        masks.digit = kinds[Kind::Number as usize];
        masks.newline = kinds[Kind::Newline as usize];
        masks.blank = kinds[Kind::Space as usize];
        masks.control = kinds[Kind::Other as usize];
        *block = masks.block();
    }
}
