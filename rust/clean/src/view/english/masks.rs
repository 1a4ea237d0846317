//! Which bytes of a text are white space, letters, digits or beyond ASCII: one bit a byte.
//!
//! ```text
//! text     the 2 cats,␠
//! spaces   000101000001…     the length of a run: trailing zeros of `spaces` from its start
//! letters  111000111100…     its letters: trailing ones of `letters`
//! ```
//!
//! Bytes after the end of the text count as white space.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;

#[cfg(target_arch = "x86_64")]
use lslm_runtime::simd::Level;

use crate::view::english::masks::block::{BLOCK, Block};

/// The masks of one text.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// One for each 64 bytes, and one of white space after them.
    blocks: Vec<Block>,
}

impl Masks {
    /// Computes the masks of `bytes`.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.blocks.clear();
        #[cfg(target_arch = "x86_64")]
        if Level::current() >= Level::Avx512 {
            // SAFETY: the machine has AVX-512 with byte instructions
            #[allow(unsafe_code)]
            unsafe {
                avx512::extend(&mut self.blocks, bytes);
            }
            return self.finish(bytes);
        }
        #[cfg(target_arch = "x86_64")]
        if Level::current() >= Level::Avx2 {
            // SAFETY: the machine has AVX2
            #[allow(unsafe_code)]
            unsafe {
                avx2::extend(&mut self.blocks, bytes);
            }
            return self.finish(bytes);
        }
        self.blocks.extend(bytes.as_chunks().0.iter().map(Block::of));
        self.finish(bytes);
    }

    /// Appends the last bytes of a text, which are less than a block, and the white space after it.
    fn finish(&mut self, bytes: &[u8]) {
        let mut last = [b' '; BLOCK];
        let rest = &bytes[bytes.len() - bytes.len() % BLOCK..];
        last[..rest.len()].copy_from_slice(rest);
        self.blocks.extend([Block::of(&last), Block::of(&[b' '; BLOCK])]);
    }

    /// Returns the mask that `pick` selects, of the 64 bytes from `at` on.
    #[inline(always)]
    fn window(&self, at: usize, pick: impl Fn(&Block) -> u64) -> u64 {
        let (block, offset) = (at / BLOCK, at % BLOCK);
        let Some([low, high]) = self.blocks[block..].first_chunk() else { return 0 };
        pick(low) >> offset | (pick(high) << 1) << (BLOCK - 1 - offset)
    }

    #[inline(always)]
    pub(super) fn spaces(&self, at: usize) -> u64 {
        self.window(at, |block| block.spaces)
    }

    #[inline(always)]
    pub(super) fn letters(&self, at: usize) -> u64 {
        self.window(at, |block| block.letters)
    }

    #[inline(always)]
    pub(super) fn digits(&self, at: usize) -> u64 {
        self.window(at, |block| block.digits)
    }

    /// Returns the bytes that belong to characters beyond ASCII.
    #[inline(always)]
    pub(super) fn high(&self, at: usize) -> u64 {
        self.window(at, |block| block.high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_equal_a_look_at_each_byte(bytes in "([a-zA-Z]|[0-9]| |\\PC|[\\x00-\\x7f]|é){0,200}") {
            let bytes = bytes.as_bytes();
            let mut masks = Masks::default();
            masks.fill(bytes);
            for at in 0..=bytes.len() {
                for bit in 0..BLOCK {
                    let byte = bytes.get(at + bit).copied().unwrap_or(b' ');
                    let is = |mask: u64| mask >> bit & 1 == 1;
                    prop_assert_eq!(is(masks.letters(at)), byte.is_ascii_alphabetic());
                    prop_assert_eq!(is(masks.digits(at)), byte.is_ascii_digit());
                    prop_assert_eq!(is(masks.high(at)), !byte.is_ascii());
                    prop_assert_eq!(is(masks.spaces(at)), matches!(byte, 9..=13 | 28..=32));
                }
            }
        }
    }
}
