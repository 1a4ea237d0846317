//! The masks of ASCII characters, by the vector instructions the machine has.

use super::bitmask::{Block, Rules};
use super::char_class::Kind;

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
