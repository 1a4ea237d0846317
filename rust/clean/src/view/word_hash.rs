//! The hash of a word.
//!
//! Words have 5 bytes on average, so the hash reads 8 or 16 bytes at once, also beyond the end of the
//! word in its text, and mixes them by one multiplication:
//!
//! ```text
//! 1 to 8 bytes    fold((bytes ^ A) * (length ^ B))         fold(x) = high half of x ^ low half
//! 9 to 16         fold((first 8 ^ A) * (last 8 ^ B ^ length))
//! more            hash = fold((hash ^ 8 bytes) * (next 8 ^ B)) for each 16, at the end for the last 16
//! ```
//!
//! A and B have bytes that UTF-8 never has, so no factor of the first two lines is 0.

const A: u64 = 0xff51_afd7_ed55_8ccd;
const B: u64 = 0xfec4_ceb9_fe1a_85ed;

#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

/// Returns the hash of the bytes `start..end` of `text`; it depends on these bytes alone.
#[inline(always)]
pub(crate) fn word_hash_at(text: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    match length {
        1..=8 => {
            let bytes = match text[start..].first_chunk::<8>() {
                Some(bytes) => u64::from_le_bytes(*bytes) & (u64::MAX >> (64 - 8 * length)),
                None => padded(&text[start..end]),
            };
            fold(bytes ^ A, length as u64 ^ B)
        }
        9..=16 => fold(load(text, start) ^ A, load(text, end - 8) ^ B ^ length as u64),
        _ => long_hash(&text[start..end]),
    }
}

/// Returns the hash of `word`.
pub fn word_hash(word: &str) -> u64 {
    word_hash_at(word.as_bytes(), 0, word.len())
}

/// Returns up to 8 bytes, and zeros after them.
#[cold]
fn padded(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline(never)]
fn long_hash(word: &[u8]) -> u64 {
    let length = word.len();
    let step = |hash: u64, at: usize| fold(hash ^ load(word, at), load(word, at + 8) ^ B);
    let start = length as u64 ^ A;
    match length {
        0 => start,
        _ => step((0..length - 16).step_by(16).fold(start, step), length - 16),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn different_words_have_different_hashes() {
        let mut seen = HashMap::new();
        let letters = ('a'..='z').chain('一'..='乿').map(String::from);
        let pairs = ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
        let lengths = (0..200).map(|n| "x".repeat(n));
        let numbers =
            (0..100_000).flat_map(|n| [format!("{n}"), format!("number {n} of many more")]);
        for word in letters.chain(pairs).chain(lengths).chain(numbers) {
            let hash = word_hash(&word);
            if let Some(other) = seen.insert(hash, word.clone()) {
                assert_eq!(other, word);
            }
        }
        assert!(seen.len() > 200_000);
    }

    proptest! {
        #[test]
        fn a_hash_depends_on_the_word_alone(
            before in "\\PC{0,9}", word in "\\PC{0,40}", after in "\\PC{0,9}", other in "\\PC{0,40}"
        ) {
            let text = format!("{before}{word}{after}");
            let end = before.len() + word.len();
            prop_assert_eq!(word_hash_at(text.as_bytes(), before.len(), end), word_hash(&word));
            prop_assert_eq!(word_hash(&word) == word_hash(&other), word == other);
        }
    }
}
