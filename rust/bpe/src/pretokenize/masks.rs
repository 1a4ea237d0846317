//! 64 bytes of text as one 64-bit mask for each character class; bit `i` is byte `i`.
//!
//! ```text
//! classify:        masks of what one byte decides (ASCII classes, lead and continuation bytes)
//! add_characters:  for each well-formed character above 127 that begins in a block:
//!                      set the bits of all its bytes in the mask of its class
//! ```
//!
//! All bytes of a character have its class, so that a run of letters is a run of set bits in any
//! script. A character may end in the next block, so two blocks are written. Most characters of
//! three bytes are letters by their lead byte alone (`letter_leads`); the others need a table load.

use super::char_class::{CharClass, decode};
use super::scheme::{NEW_NUMBERS, Rules, is_cjk};

/// The masks of 64 bytes of text. No bit after the end of the text is set.
#[derive(Clone, Copy, Default)]
pub(super) struct ClassMasks {
    /// By [`CharClass`]. Of `CharClass::Symbol` only those found by a table load: the symbols are
    /// the bytes that no other mask has, among them each ill-formed byte as the U+FFFD it counts
    /// as.
    pub(super) classes: [u64; 9],
    /// `' '`
    pub(super) space: u64,
    /// `'`
    pub(super) quote: u64,
    /// `/`
    pub(super) slash: u64,
    /// Bytes above 127.
    pub(super) non_ascii: u64,
    /// Bytes 0x80 to 0xBF.
    pub(super) continuation: u64,
    /// Lead bytes of letters that need no table load if two continuation bytes follow: 0xE5 to
    /// 0xE9, 0xEB, 0xEC, and 0xE4 unless 0xB7 follows in the block (U+4000 to U+4DBF, U+4E00 to
    /// U+9FFF, U+B000 to U+CFFF). With [`Rules::SYMBOLS`] 0xE5 to 0xE8, which are in `cjk` as well.
    pub(super) letter_leads: u64,
    /// What DeepSeek-V3's second step matches; only with [`Rules::SYMBOLS`].
    pub(super) cjk: u64,
    /// Lead bytes of characters of two bytes, 0xC2 to 0xDF.
    pub(super) two_leads: u64,
    /// Lead bytes of characters of three bytes, 0xE0 to 0xEF.
    pub(super) three_leads: u64,
    /// Bytes of the text.
    pub(super) valid: u64,
    /// Bytes of well-formed characters above 127 except the first of each.
    pub(super) inner: u64,
}

impl ClassMasks {
    /// Returns the masks with only the bits of `valid`.
    pub(super) fn within(mut self, valid: u64) -> Self {
        for class in &mut self.classes {
            *class &= valid;
        }
        for mask in [
            &mut self.space,
            &mut self.quote,
            &mut self.slash,
            &mut self.non_ascii,
            &mut self.continuation,
            &mut self.letter_leads,
            &mut self.two_leads,
            &mut self.three_leads,
            &mut self.valid,
        ] {
            *mask &= valid;
        }
        self
    }

    /// Returns the bytes of characters of `class`.
    pub(super) fn of(&self, class: CharClass) -> u64 {
        self.classes[class as usize]
    }

    fn add(&mut self, class: CharClass, bits: u64) {
        self.classes[class as usize] |= bits;
    }
}

/// Makes the masks that single bytes decide, with one kind of vector instructions.
pub(super) trait Classify {
    /// Replaces all of `block`. Masks that `R` does not use may be missing: without `R::CASED` all
    /// ASCII letters are lower-case.
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks);
}

/// Writes the masks of `text` from byte `base` on that single bytes decide.
#[inline(always)]
pub(super) fn classify<R: Rules, C: Classify>(text: &[u8], base: usize, blocks: &mut [ClassMasks]) {
    let text = text.get(base..).unwrap_or_default();
    let whole = blocks.len().min(text.len() / 64);
    let (full, partial) = blocks.split_at_mut(whole);
    for (bytes, block) in text.as_chunks().0.iter().zip(full) {
        C::classify::<R>(bytes, block);
    }
    for (i, block) in partial.iter_mut().enumerate() {
        let rest = text.get((whole + i) * 64..).unwrap_or_default();
        let length = rest.len().min(64);
        if length == 0 {
            *block = ClassMasks::default();
            continue;
        }
        let mut bytes = [0; 64];
        bytes[..length].copy_from_slice(&rest[..length]);
        C::classify::<R>(&bytes, block);
        *block = block.within(u64::MAX >> (64 - length));
    }
}

/// Adds the characters above 127 that begin in the first of two blocks to the masks of both.
#[inline(always)]
pub(super) fn add_characters<R: Rules>(text: &[u8], base: usize, blocks: &mut [ClassMasks]) {
    let [block, next] = blocks else { return };
    if block.non_ascii == 0 {
        return;
    }
    let second = block.continuation >> 1 | next.continuation << 63;
    let third = block.continuation >> 2 | next.continuation << 62;
    let letters = block.letter_leads & second & third;
    add_letters::<R>(letters, block, next);
    add_two_bytes(text, base, block.two_leads & second, block, next);
    add_three_bytes::<R>(text, base, block.three_leads & second & third & !letters, block, next);
    let four = block.non_ascii & !block.continuation & !block.two_leads & !block.three_leads;
    add_four_bytes::<R>(text, base, four, block, next);
}

/// Adds letters of three bytes that begin at `leads`, all at once.
#[inline(always)]
fn add_letters<R: Rules>(leads: u64, block: &mut ClassMasks, next: &mut ClassMasks) {
    let inner = leads << 1 | leads << 2;
    let over = leads >> 63 | leads >> 62;
    block.add(CharClass::Letter, leads | inner);
    next.add(CharClass::Letter, over);
    block.inner |= inner;
    next.inner |= over;
    if R::SYMBOLS {
        block.cjk |= leads | inner;
        next.cjk |= over;
    }
}

/// Adds the characters of two bytes that begin at `leads`.
#[inline(always)]
fn add_two_bytes(
    text: &[u8],
    base: usize,
    leads: u64,
    block: &mut ClassMasks,
    next: &mut ClassMasks,
) {
    block.inner |= leads << 1;
    next.inner |= leads >> 63;
    let mut left = leads;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let Some([a, b, ..]) = text.get(base + i as usize..) else { break };
        let class = CharClass::of_two_bytes(*a, *b);
        block.add(class, 3 << i);
        if i == 63 {
            next.add(class, 1);
        }
    }
}

/// Adds the characters of three bytes that begin at `leads`, if they are well-formed.
#[inline(always)]
fn add_three_bytes<R: Rules>(
    text: &[u8],
    base: usize,
    leads: u64,
    block: &mut ClassMasks,
    next: &mut ClassMasks,
) {
    let mut left = leads;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let Some([a, b, c, ..]) = text.get(base + i as usize..) else { break };
        let code = u32::from(a & 0x0F) << 12 | u32::from(b & 0x3F) << 6 | u32::from(c & 0x3F);
        if code < 0x800 || code & 0xF800 == 0xD800 {
            continue; // over-long forms and surrogates
        }
        let class = CharClass::of(code);
        block.add(class, 7 << i);
        block.inner |= 6 << i;
        if i > 61 {
            next.add(class, 7 >> (64 - i));
            next.inner |= 7 >> (64 - i);
        }
        if R::SYMBOLS && is_cjk(code) {
            block.cjk |= 7 << i;
            next.cjk |= if i > 61 { 7 >> (64 - i) } else { 0 };
        }
    }
}

/// Adds the characters of four bytes that begin at `leads`, if they are well-formed.
#[inline(always)]
fn add_four_bytes<R: Rules>(
    text: &[u8],
    base: usize,
    leads: u64,
    block: &mut ClassMasks,
    next: &mut ClassMasks,
) {
    let mut left = leads;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let (code, length) = decode(text, base + i as usize);
        if length == 1 {
            continue;
        }
        let mut class = CharClass::of(code);
        if R::DIGITS
            && class == CharClass::Other
            && NEW_NUMBERS.iter().any(|new| new.contains(&code))
        {
            class = CharClass::Number;
        }
        let bits = ((1_u128 << length) - 1) << i;
        let inner = bits & (bits - 1);
        block.add(class, bits as u64);
        next.add(class, (bits >> 64) as u64);
        block.inner |= inner as u64;
        next.inner |= (inner >> 64) as u64;
    }
}

/// [`Classify`] in plain Rust that compilers vectorise; on aarch64 this is NEON.
pub(super) struct Portable;

/// Returns the bytes of `bytes` that pass `test`.
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

impl Classify for Portable {
    #[inline(always)]
    fn classify<R: Rules>(bytes: &[u8; 64], block: &mut ClassMasks) {
        *block = ClassMasks { valid: u64::MAX, ..ClassMasks::default() };
        block.non_ascii = mask(bytes, |byte| byte >= 0x80);
        if R::CASED {
            block.classes[CharClass::Upper as usize] =
                mask(bytes, |byte| byte.is_ascii_uppercase());
            block.classes[CharClass::Lower as usize] =
                mask(bytes, |byte| byte.is_ascii_lowercase());
            block.slash = mask(bytes, |byte| byte == b'/');
        } else {
            block.classes[CharClass::Lower as usize] =
                mask(bytes, |byte| byte.is_ascii_alphabetic());
        }
        block.classes[CharClass::Number as usize] = mask(bytes, |byte| byte.is_ascii_digit());
        block.space = mask(bytes, |byte| byte == b' ');
        block.quote = mask(bytes, |byte| byte == b'\'');
        block.classes[CharClass::Space as usize] = block.space;
        let control = mask(bytes, |byte| byte < 0x20);
        if control != 0 {
            let newline = mask(bytes, |byte| byte == b'\n' || byte == b'\r');
            let tabs = mask(bytes, |byte| (9..=13).contains(&byte)) & !newline;
            block.classes[CharClass::Newline as usize] = newline;
            block.classes[CharClass::Space as usize] |= tabs;
            block.classes[CharClass::Other as usize] = control & !newline & !tabs;
        }
        if R::SYMBOLS {
            block.classes[CharClass::Other as usize] |= mask(bytes, |byte| byte == 0x7F);
        }
        if block.non_ascii != 0 {
            block.continuation = mask(bytes, |byte| (0x80..=0xBF).contains(&byte));
            block.two_leads = mask(bytes, |byte| (0xC2..=0xDF).contains(&byte));
            block.three_leads = mask(bytes, |byte| (0xE0..=0xEF).contains(&byte));
            if R::SYMBOLS {
                block.letter_leads = mask(bytes, |byte| (0xE5..=0xE8).contains(&byte));
            } else if block.three_leads != 0 {
                let third = mask(bytes, |byte| byte == 0xB7);
                let doubtful = mask(bytes, |byte| byte == 0xE4) & (third >> 1 | 1 << 63);
                let leads = mask(bytes, |byte| (0xE4..=0xEC).contains(&byte) && byte != 0xEA);
                block.letter_leads = leads & !doubtful;
            }
        }
    }
}
