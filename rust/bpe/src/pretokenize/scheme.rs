//! The families of published patterns, their parameters, and the predicates that the readable twin
//! ([`scalar`](super::scalar)) and the mask algebra ([`bitmask`](super::bitmask)) share.

use std::ops::RangeInclusive;

/// A family of published patterns with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The whole text is one piece.
    Whole,
    /// GPT-2; with `digits`, every number is a piece of its own first (StarCoder).
    Gpt2 { digits: bool },
    /// cl100k_base: up to `group` numbers a piece; with `tail`, white space at the end of the text
    /// is one piece; with `marks`, words have marks as letters.
    Cl100k { group: usize, tail: bool, marks: bool },
    /// o200k_base: up to `group` numbers a piece; with `contractions`, words include theirs.
    O200k { group: usize, contractions: bool },
    /// o200k_base, in which runs of Han characters are pieces.
    Kimi,
    /// The three steps of DeepSeek-V3.
    DeepseekV3,
}

/// The parameters of a family as constants, so that each family compiles to code of its own.
pub(super) trait Rules {
    /// Words and spaces split as in GPT-2; otherwise as in cl100k_base.
    const GPT2: bool;
    /// Every number is a piece of its own, before all other rules.
    const DIGITS: bool;
    /// o200k_base: capitals and marks decide where words split.
    const CASED: bool;
    /// Contractions end words (o200k_base), or are pieces (all others).
    const CONTRACTIONS: bool;
    /// Numbers in a piece, 1 or 3; 0 for GPT-2, where a run of numbers is a piece.
    const GROUP: usize;
    /// White space at the end of the text is one piece.
    const TAIL: bool;
    /// Marks are letters (Qwen 3.5).
    const MARKS: bool;
    /// `/` follows punctuation as line ends do; only with `CASED`.
    const SLASHES: bool;
    /// `[\p{P}\p{S}]` are distinguished from the other characters.
    const SYMBOLS: bool;
}

macro_rules! rules {
    ($($name:ident: $gpt2:literal $digits:literal $cased:literal $contractions:literal $group:literal $tail:literal $marks:literal $slashes:literal $symbols:literal;)*) => {
        $(
            pub(super) struct $name;
            impl Rules for $name {
                const GPT2: bool = $gpt2;
                const DIGITS: bool = $digits;
                const CASED: bool = $cased;
                const CONTRACTIONS: bool = $contractions;
                const GROUP: usize = $group;
                const TAIL: bool = $tail;
                const MARKS: bool = $marks;
                const SLASHES: bool = $slashes;
                const SYMBOLS: bool = $symbols;
            }
        )*
    };
}

// name: GPT2 DIGITS CASED CONTRACTIONS GROUP TAIL MARKS SLASHES SYMBOLS
rules! {
    Gpt2: true false false true 0 false false false false;
    Starcoder: true true false true 0 false false false false;
    Cl100k: false false false true 3 false false false false;
    Cl100kTail: false false false true 3 true false false false;
    Qwen2: false false false true 1 false false false false;
    Qwen35: false false false true 1 false true false false;
    O200k: false false true true 3 false false true false;
    Kimi: false false true true 3 false false false false;
    Tekken: false false true false 1 false false true false;
    DeepseekV3: false false false false 3 false false false true;
}

/// Characters that are numbers in Unicode 17 but not in Unicode 16.
///
/// Hugging Face's `Digits` uses Rust's standard library, which has 17.0.0; the regular expressions
/// beside it use tables of 16.0.0.
pub(super) const NEW_NUMBERS: [RangeInclusive<u32>; 2] = [0x1_1DE0..=0x1_1DE9, 0x1_6FF4..=0x1_6FF6];

/// Returns whether DeepSeek-V3's second step, `[一-龥぀-ゟ゠-ヿ]+`, matches `code`.
#[inline]
pub(super) fn is_cjk(code: u32) -> bool {
    matches!(code, 0x4E00..=0x9FA5 | 0x3040..=0x30FF)
}

/// Returns whether `code` is in the script Han (Unicode 16, `\p{Han}`).
#[inline]
pub(super) fn is_han(code: u32) -> bool {
    matches!(
        code,
        0x2E80..=0x2E99 | 0x2E9B..=0x2EF3 | 0x2F00..=0x2FD5 | 0x3005 | 0x3007
            | 0x3021..=0x3029 | 0x3038..=0x303B | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
            | 0xF900..=0xFA6D | 0xFA70..=0xFAD9 | 0x16FE2..=0x16FE3 | 0x16FF0..=0x16FF1
            | 0x20000..=0x2A6DF | 0x2A700..=0x2B739 | 0x2B740..=0x2B81D | 0x2B820..=0x2CEA1 | 0x2CEB0..=0x2EBE0
            | 0x2EBF0..=0x2EE5D | 0x2F800..=0x2FA1D | 0x30000..=0x3134A | 0x31350..=0x323AF
    )
}

/// Returns the length of `'s|'t|'re|'ve|'m|'ll|'d` at `at`, 0 if there is none.
#[inline]
pub(super) fn contraction(text: &[u8], at: usize) -> usize {
    match text[at..] {
        [b'\'', b's' | b't' | b'm' | b'd', ..] => 2,
        [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => 3,
        _ => 0,
    }
}

/// Returns the same without regard to case; U+017F (long s) folds to an s.
#[inline]
pub(super) fn contraction_any_case(text: &[u8], at: usize) -> usize {
    match text[at..] {
        [b'\'', b's' | b't' | b'm' | b'd' | b'S' | b'T' | b'M' | b'D', ..] => 2,
        [b'\'', b'r' | b'v' | b'R' | b'V', b'e' | b'E', ..]
        | [b'\'', b'l' | b'L', b'l' | b'L', ..]
        | [b'\'', 0xC5, 0xBF, ..] => 3,
        _ => 0,
    }
}
