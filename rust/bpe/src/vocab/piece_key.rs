//! Pre-tokens as numbers, which are compared and hashed without following a pointer.
//!
//! ```text
//! PieceKey("lower")    6C 6F 77 65 72 00 00 00 00 00 00 00 00 00 00   05
//!                      the bytes, padded with zeros (byte 0 to 14)    their number (byte 15)
//! ```
//!
//! Most pre-tokens have at most 15 bytes. Such a key is the pre-token itself, so equal keys mean
//! equal pre-tokens, and no key of a pre-token is zero. [`PieceKey::read`] reads 16 bytes of text
//! whatever the length and masks the rest off, so it has no branch on the length.

use std::hash::{Hash, Hasher};

use crate::vocab::hash;

/// A pre-token of 1 to [`PieceKey::MAX_LEN`] bytes: its bytes and their number.
///
/// Two 64-bit halves instead of one `u128`, so that a table entry of a key and a 64-bit count has
/// 24 bytes, not 32.
#[derive(Clone, Copy, Debug, Default, Eq)]
pub(crate) struct PieceKey {
    /// Bytes 0 to 7, the first one lowest.
    pub(crate) low: u64,
    /// Bytes 8 to 14, and the length in the highest byte.
    pub(crate) high: u64,
}

impl PartialEq for PieceKey {
    /// Compares both halves at once: two branches would be mispredicted more often than one.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.low ^ other.low) | (self.high ^ other.high) == 0
    }
}

impl Hash for PieceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
        state.write_u64(self.high);
    }
}

impl PieceKey {
    /// The longest pre-token that has a key, in bytes: with the length they fill 16.
    pub(crate) const MAX_LEN: usize = 15;

    /// The key of no pre-token, which marks an empty table entry.
    pub(crate) const EMPTY: Self = Self { low: 0, high: 0 };

    /// Returns the key of the `len` bytes of `text` from `start` on, 1 to [`Self::MAX_LEN`].
    #[inline(always)]
    pub(crate) fn read(text: &[u8], start: usize, len: usize) -> Self {
        match text.get(start..).and_then(<[u8]>::first_chunk) {
            Some(window) => Self::from_window(u128::from_le_bytes(*window), len),
            None => Self::read_tail(&text[start..start + len]),
        }
    }

    /// Returns the key of the first `len` bytes of `window`, whatever its other bytes are.
    #[inline(always)]
    pub(crate) fn from_window(window: u128, len: usize) -> Self {
        let bits = window & MASKS[len % 16] | (len as u128) << 120;
        Self { low: bits as u64, high: (bits >> 64) as u64 }
    }

    /// [`Self::new`] for a pre-token at the end of the text, of which there is one in each text.
    #[cold]
    fn read_tail(piece: &[u8]) -> Self {
        Self::new(piece)
    }

    /// Returns the key of a pre-token of 1 to [`Self::MAX_LEN`] bytes with no text after it.
    #[inline(always)]
    pub(crate) fn new(piece: &[u8]) -> Self {
        let len = piece.len();
        let length = (len as u64) << 56;
        // Two reads that may overlap: where they do, both put the same bytes in the same place.
        if let (Some(first), Some(last)) = (piece.first_chunk(), piece.last_chunk()) {
            let rest = u64::from_le_bytes(*last).checked_shr(128 - 8 * len as u32).unwrap_or(0);
            return Self { low: u64::from_le_bytes(*first), high: rest | length };
        }
        let low = if let (Some(first), Some(last)) = (piece.first_chunk(), piece.last_chunk()) {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (len - 4))
        } else {
            let byte = |at: usize| u64::from(piece[at]) << (8 * at);
            byte(0) | byte(len / 2) | byte(len - 1)
        };
        Self { low, high: length }
    }

    /// Returns the number of bytes of the pre-token, the first bytes of [`Self::bytes`].
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.high >> 56) as usize & 0x7F
    }

    /// Returns another key for the same bytes as a part of a pre-token.
    #[inline(always)]
    pub(crate) fn of_part(self) -> Self {
        Self { high: self.high | 1 << 63, ..self }
    }

    /// Whether the key is one of [`Self::of_part`].
    #[inline(always)]
    pub(crate) fn is_part(self) -> bool {
        self.high >> 63 == 1
    }

    /// Returns the bytes of the pre-token, padded with zeros to 15, and their number.
    #[inline(always)]
    pub(crate) fn bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_le_bytes()
    }

    /// Returns the hash of the key, all of whose bits are good.
    #[inline(always)]
    pub(crate) fn hash(self) -> u64 {
        hash::fold(self.low, self.high)
    }
}

/// A pre-token of more than [`PieceKey::MAX_LEN`] and at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LongKey {
    /// Bytes 0 to 15.
    first: u128,
    /// Bytes 16 to 30, and the length in the highest byte.
    rest: u128,
}

impl LongKey {
    /// The longest pre-token that has such a key, in bytes: with the length they fill 32.
    pub(crate) const MAX_LEN: usize = 31;

    /// Returns the key of the `len` bytes of `text` from `start` on, 16 to [`Self::MAX_LEN`].
    #[inline]
    pub(crate) fn read(text: &[u8], start: usize, len: usize) -> Self {
        let first = text.get(start..start + 16).and_then(|bytes| bytes.try_into().ok());
        let first = first.map_or(0, u128::from_le_bytes);
        if len == 16 {
            return Self { first, rest: 16 << 120 };
        }
        let PieceKey { low, high } = PieceKey::read(text, start + 16, len - 16);
        let rest = u128::from(high) << 64 | u128::from(low);
        Self { first, rest: rest | 16 << 120 }
    }

    /// Returns the number of bytes of the pre-token, the first bytes of [`Self::bytes`].
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.rest >> 120) as usize & 0x7F
    }

    /// Returns the bytes of the pre-token, padded with zeros to 31, and their number.
    pub(crate) fn bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..].copy_from_slice(&self.rest.to_le_bytes());
        bytes
    }

    /// Returns another key for the same bytes as a part of a pre-token.
    pub(crate) fn of_part(self) -> Self {
        Self { rest: self.rest | 1 << 127, ..self }
    }

    /// Whether the key is one of [`Self::of_part`].
    pub(crate) fn is_part(self) -> bool {
        self.rest >> 127 == 1
    }

    /// Returns the hash of the key.
    #[inline(always)]
    pub(crate) fn hash(self) -> u64 {
        let Self { first, rest } = self;
        let first = hash::fold(first as u64, (first >> 64) as u64);
        hash::fold(first ^ (rest as u64).rotate_left(32), (rest >> 64) as u64)
    }
}

/// Returns up to 16 bytes of `text` from `start` on as a little-endian number, padded with zeros.
#[inline(always)]
pub(crate) fn window(text: &[u8], start: usize) -> u128 {
    match text.get(start..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u128::from_le_bytes(*bytes),
        None => tail_window(text, start),
    }
}

/// Returns [`window`] of the last bytes of a text.
#[inline(never)]
fn tail_window(text: &[u8], start: usize) -> u128 {
    if let Some(bytes) = text.last_chunk() {
        let n_before = (start + 16).saturating_sub(text.len()) as u32;
        u128::from_le_bytes(*bytes).checked_shr(8 * n_before).unwrap_or(0)
    } else {
        let rest = text.get(start..).unwrap_or_default();
        rest.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte))
    }
}

/// By a number of bytes: ones in that many of the lowest bytes.
const MASKS: [u128; 16] = {
    let mut masks = [0; 16];
    let mut len = 1;
    while len < 16 {
        masks[len] = masks[len - 1] << 8 | 0xFF;
        len += 1;
    }
    masks
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_holds_the_bytes_and_their_number() {
        let text = *b"0123456789abcdef";
        for len in 1..=PieceKey::MAX_LEN {
            let key = PieceKey::new(&text[..len]);
            assert_eq!(key, PieceKey::from_window(u128::from_le_bytes(text), len));
            assert_eq!(key, PieceKey::read(&text, 0, len));
            assert_eq!(key, PieceKey::read(&text[..len], 0, len));
            assert_eq!(key.len(), len);
            let mut bytes = [0; 16];
            bytes[..len].copy_from_slice(&text[..len]);
            bytes[15] = len as u8;
            assert_eq!(key.bytes(), bytes);
            assert_ne!(key, PieceKey::EMPTY);
        }
    }

    #[test]
    fn keys_of_different_pieces_differ() {
        let pieces: [&[u8]; 6] =
            [b"a", b"a\0", b"\0a", b"\0", b"123456789012345", b"12345678901234"];
        let keys = pieces.map(PieceKey::new);
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key));
            // the same with and without text after it
            let padded = [pieces[i], &[b'x'; 20]].concat();
            assert_eq!(PieceKey::read(&padded, 0, pieces[i].len()), *key);
        }
    }

    #[test]
    fn long_keys_of_different_pieces_differ() {
        let text: Vec<u8> = (0..40).collect();
        let mut keys = Vec::new();
        for len in PieceKey::MAX_LEN + 1..=LongKey::MAX_LEN {
            let key = LongKey::read(&text[..len], 0, len);
            assert_eq!(LongKey::read(&text, 0, len), key);
            keys.push(key);
        }
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn a_window_ends_with_the_text() {
        assert_eq!(window(b"xab", 1), 0x6261);
        assert_eq!(window(b"0123456789abcdefg", 1), u128::from_le_bytes(*b"123456789abcdefg"));
        assert_eq!(window(b"", 0), 0);
        assert_eq!(window(b"0123456789abcdefg", 15), 0x6766);
        assert_eq!(window(b"0123456789abcdefg", 17), 0);
    }
}
