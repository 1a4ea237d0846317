//! Scanners for the published patterns: one pass, one or two table loads a character, no regular
//! expression engine.
//!
//! Each `*_end` function returns where the piece that begins at `at` ends; `at` is less than the
//! length of the text. They are derived from the expressions by hand; `engine` is what the tests
//! hold them equal to.

use super::bitmask::{self, Rules};
use super::char_class::{Kind, decode, kind_of, peek};
use super::masks::Scalar;
use super::published::NEW_NUMBERS;
use crate::simd::Level;

/// A published family of patterns with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The whole text is one piece.
    Whole,
    /// GPT-2's; with `digits`, each number is cut out first.
    Gpt2 { digits: bool },
    /// cl100k_base's: `group` numbers a piece; with `tail`, white space at the end is one piece.
    Cl100k { group: usize, tail: bool },
    /// o200k_base's: `group` numbers a piece; `contractions` are part of the word.
    O200k { group: usize, contractions: bool },
    /// DeepSeek-V3's three steps.
    DeepseekV3,
}

impl Scheme {
    /// Calls `flush` with the ends of the pieces of `text`, ascending, batch by batch; the last
    /// one is its length.
    pub(super) fn ends(self, level: Level, text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        match self {
            Self::Gpt2 { digits: false } => ends::<Gpt2>(level, text, flush),
            Self::Gpt2 { digits: true } => ends::<Starcoder>(level, text, flush),
            Self::Cl100k { group: 3, tail: false } => ends::<Cl100k>(level, text, flush),
            Self::Cl100k { group: 3, tail: true } => ends::<Cl100kTail>(level, text, flush),
            Self::Cl100k { group: 1, tail: false } => ends::<Qwen2>(level, text, flush),
            Self::O200k { group: 3, contractions: true } => ends::<O200k>(level, text, flush),
            Self::O200k { group: 1, contractions: false } => ends::<Tekken>(level, text, flush),
            Self::DeepseekV3 => ends::<DeepseekV3>(level, text, flush),
            _ => self.scan(text, |end| flush(&[end])),
        }
    }

    /// Calls `emit` with the end of each piece, found one character at a time.
    pub(super) fn scan(self, text: &[u8], mut emit: impl FnMut(usize)) {
        match self {
            Self::Whole if text.is_empty() => {}
            Self::Whole => emit(text.len()),
            Self::Gpt2 { digits: false } => each(text, emit, gpt2_end::<false>),
            Self::Gpt2 { digits: true } => each(text, emit, gpt2_end::<true>),
            Self::Cl100k { group, tail } => {
                each(text, emit, |text, at| cl100k_end(text, at, group, tail));
            }
            Self::O200k { group, contractions } => {
                each(text, emit, |text, at| o200k_end(text, at, group, contractions));
            }
            Self::DeepseekV3 => each(text, emit, deepseek_v3_end),
        }
    }
}

fn ends<R: Rules>(level: Level, text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    match level {
        Level::Scalar => bitmask::ends::<R, Scalar>(text, flush),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => super::x86::avx2::<R>(text, flush),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::x86::avx512::<R>(text, flush),
    }
}

macro_rules! rules {
    ($($name:ident: $gpt2:literal $digits:literal $cased:literal $contractions:literal $group:literal $tail:literal $symbols:literal;)*) => {
        $(
            struct $name;
            impl Rules for $name {
                const GPT2: bool = $gpt2;
                const DIGITS: bool = $digits;
                const CASED: bool = $cased;
                const CONTRACTIONS: bool = $contractions;
                const GROUP: usize = $group;
                const TAIL: bool = $tail;
                const SYMBOLS: bool = $symbols;
            }
        )*
    };
}

rules! {
    Gpt2: true false false true 0 false false;
    Starcoder: true true false true 0 false false;
    Cl100k: false false false true 3 false false;
    Cl100kTail: false false false true 3 true false;
    Qwen2: false false false true 1 false false;
    O200k: false false true true 3 false false;
    Tekken: false false true false 1 false false;
    DeepseekV3: false false false false 3 false true;
}

#[inline]
fn each(text: &[u8], mut emit: impl FnMut(usize), end: impl Fn(&[u8], usize) -> usize) {
    let mut at = 0;
    while at < text.len() {
        at = end(text, at);
        emit(at);
    }
}

/// The end of the run of characters from `at` on whose kind passes `test`.
#[inline]
fn run(text: &[u8], at: usize, test: impl Fn(Kind) -> bool) -> usize {
    run_by(peek, text, at, test)
}

/// [`run`] by another `peek`, which says where the text ends.
#[inline]
fn run_by(
    peek: impl Fn(&[u8], usize) -> (Kind, usize),
    text: &[u8],
    mut at: usize,
    test: impl Fn(Kind) -> bool,
) -> usize {
    loop {
        let (kind, length) = peek(text, at);
        if !test(kind) {
            return at;
        }
        at += length;
    }
}

/// The end of up to `most` numbers from `at` on.
#[inline]
fn numbers(text: &[u8], mut at: usize, most: usize) -> usize {
    for _ in 0..most {
        let (kind, length) = peek(text, at);
        if kind != Kind::Number {
            break;
        }
        at += length;
    }
    at
}

/// The end of a run of line ends from `at` on, and of slashes if `slashes`.
#[inline]
fn line_ends(text: &[u8], mut at: usize, slashes: bool) -> usize {
    while text.get(at).is_some_and(|&b| b == b'\r' || b == b'\n' || slashes && b == b'/') {
        at += 1;
    }
    at
}

/// The length of `'s|'t|'re|'ve|'m|'ll|'d` at `at`, 0 if there is none.
#[inline]
pub(super) fn contraction(text: &[u8], at: usize) -> usize {
    match text[at..] {
        [b'\'', b's' | b't' | b'm' | b'd', ..] => 2,
        [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => 3,
        _ => 0,
    }
}

/// The same without regard to case, by which U+017F is an s as well.
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

/// The end of the white space piece at `at`, where white space stands.
///
/// `\s+(?!\S)|\s+`, with `lines` before it `\s*[\r\n]+`, with `tail` before that `\s+$`.
/// `peek` says where the text ends.
#[inline]
fn white_space(
    text: &[u8],
    at: usize,
    lines: bool,
    tail: bool,
    peek: impl Fn(&[u8], usize) -> (Kind, usize),
) -> usize {
    let (mut end, mut last, mut line) = (at, at, at);
    let kind = loop {
        let (kind, length) = peek(text, end);
        if !kind.is_white_space() {
            break kind;
        }
        last = end;
        end += length;
        if kind == Kind::Newline {
            line = end;
        }
    };
    let whole = kind == Kind::End;
    if whole && tail {
        end
    } else if lines && line > at {
        line
    } else if whole || last == at {
        end
    } else {
        last
    }
}

/// [`peek`] in the pieces that Hugging Face's `Digits` leaves.
#[inline]
fn peek_digits(text: &[u8], at: usize) -> (Kind, usize) {
    match peek(text, at) {
        (Kind::Number, length) => (Kind::End, length),
        (Kind::Other, 4) if NEW_NUMBERS.iter().any(|new| new.contains(&decode(text, at).0)) => {
            (Kind::End, 4)
        }
        other => other,
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`; with `DIGITS`
/// inside the pieces that single numbers leave.
#[inline]
fn gpt2_end<const DIGITS: bool>(text: &[u8], at: usize) -> usize {
    let peek = if DIGITS { peek_digits } else { peek };
    let first = text[at];
    if first == b'\'' {
        let length = contraction(text, at);
        if length > 0 {
            return at + length;
        }
    }
    let word = at + usize::from(first == b' ');
    let (kind, length) = peek(text, word);
    let from = word + length;
    match kind {
        Kind::Letter | Kind::Upper | Kind::Lower => run(text, from, Kind::is_letter),
        Kind::Number => run(text, from, |kind| kind == Kind::Number),
        Kind::Other | Kind::Symbol | Kind::Mark => run_by(peek, text, from, Kind::is_rest),
        Kind::End if word == at => from,
        _ => white_space(text, at, false, false, peek),
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,GROUP}| ?[^\s\p{L}\p{N}]+[\r\n]*|`
/// `\s*[\r\n]+|\s+(?!\S)|\s+`
#[inline]
fn cl100k_end(text: &[u8], at: usize, group: usize, tail: bool) -> usize {
    let (kind, length) = peek(text, at);
    let second = at + length;
    match kind {
        Kind::Letter | Kind::Upper | Kind::Lower => return run(text, second, Kind::is_letter),
        Kind::Number => return numbers(text, second, group - 1),
        Kind::Newline => return white_space(text, at, true, tail, peek),
        _ => {}
    }
    if text[at] == b'\'' {
        let length = contraction_any_case(text, at);
        if length > 0 {
            return at + length;
        }
    }
    let (next, next_length) = peek(text, second);
    if next.is_letter() {
        return run(text, second + next_length, Kind::is_letter);
    }
    if kind.is_rest() {
        line_ends(text, run(text, second, Kind::is_rest), false)
    } else if text[at] == b' ' && next.is_rest() {
        line_ends(text, run(text, second + next_length, Kind::is_rest), false)
    } else {
        white_space(text, at, true, tail, peek)
    }
}

/// The end of the word of o200k at `at` without what may stand before it, 0 if there is none.
///
/// With `U` = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and `L` = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]` this is
/// `U*L+|U+L*`. After the longest `U*` there is either a lower-case letter, and all of `L+`
/// follows; or none, and `U*` gives back until `L+` can begin, which is at the last character of
/// both; or there is none of those either, and the run is the `U+` of the second branch.
#[inline]
fn cased_word(text: &[u8], at: usize) -> usize {
    let (mut end, mut both) = (at, at);
    loop {
        let (kind, length) = peek(text, end);
        match kind {
            Kind::Upper => end += length,
            Kind::Letter | Kind::Mark => {
                end += length;
                both = end;
            }
            Kind::Lower => {
                return run(text, end + length, |kind| {
                    matches!(kind, Kind::Lower | Kind::Letter | Kind::Mark)
                });
            }
            _ if both > at => return both,
            _ if end > at => return end,
            _ => return 0,
        }
    }
}

/// o200k_base, and tekken.
#[inline]
fn o200k_end(text: &[u8], at: usize, group: usize, contractions: bool) -> usize {
    let word_end = |end: usize| {
        if contractions && end < text.len() { end + contraction_any_case(text, end) } else { end }
    };
    let (kind, length) = peek(text, at);
    let second = at + length;
    match kind {
        // A mark may be what stands before the word, or the word's own: the end is the same.
        Kind::Letter | Kind::Upper | Kind::Lower | Kind::Mark => {
            return word_end(cased_word(text, at));
        }
        Kind::Number => return numbers(text, second, group - 1),
        Kind::Newline => return white_space(text, at, true, false, peek),
        _ => {}
    }
    let end = cased_word(text, second);
    if end > 0 {
        return word_end(end);
    }
    if kind != Kind::Space {
        return line_ends(text, run(text, second, Kind::is_rest), true);
    }
    let (next, next_length) = peek(text, second);
    if text[at] == b' ' && next.is_rest() {
        line_ends(text, run(text, second + next_length, Kind::is_rest), true)
    } else {
        white_space(text, at, true, false, peek)
    }
}

/// Whether DeepSeek-V3 cuts `code` out as Chinese or Japanese: `[一-龥぀-ゟ゠-ヿ]`.
#[inline]
pub(super) fn is_cjk(code: u32) -> bool {
    matches!(code, 0x4E00..=0x9FA5 | 0x3040..=0x30FF)
}

/// [`peek`] in the pieces of [`is_cjk`], or in those that numbers and these leave.
#[inline]
fn peek_deepseek<const CJK: bool>(text: &[u8], at: usize) -> (Kind, usize) {
    if text.get(at).is_some_and(|&byte| byte >= 0x80) {
        let (code, length) = decode(text, at);
        let kind = kind_of(code);
        let outside = is_cjk(code) != CJK || kind == Kind::Number;
        return (if outside { Kind::End } else { kind }, length);
    }
    match peek(text, at) {
        (kind, length) if CJK || kind == Kind::Number => (Kind::End, length),
        other => other,
    }
}

/// DeepSeek-V3: numbers by up to three, runs of [`is_cjk`], and inside and between those
/// ``[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|``
/// `\s*[\r\n]+|\s+(?!\S)|\s+`, which leaves gaps.
fn deepseek_v3_end(text: &[u8], at: usize) -> usize {
    if text[at] < 0x80 {
        if text[at].is_ascii_digit() {
            return numbers(text, at, 3);
        }
        return deepseek_rest(text, at, peek_deepseek::<false>);
    }
    let (code, _) = decode(text, at);
    if is_cjk(code) {
        deepseek_rest(text, at, peek_deepseek::<true>)
    } else if kind_of(code) == Kind::Number {
        numbers(text, at, 3)
    } else {
        deepseek_rest(text, at, peek_deepseek::<false>)
    }
}

/// The third step of DeepSeek-V3 in a piece whose end `peek` knows.
#[inline]
fn deepseek_rest(
    text: &[u8],
    at: usize,
    peek: impl Fn(&[u8], usize) -> (Kind, usize) + Copy,
) -> usize {
    let is_word = |kind: Kind| kind.is_letter() || kind == Kind::Mark;
    let is_symbol = |kind: Kind| kind == Kind::Symbol;
    let is_newline = |kind: Kind| kind == Kind::Newline;
    let (kind, length) = peek(text, at);
    let second = at + length;
    match kind {
        Kind::Letter | Kind::Upper | Kind::Lower | Kind::Mark => {
            return run_by(peek, text, second, is_word);
        }
        Kind::Newline => return white_space(text, at, true, false, peek),
        Kind::Symbol => {
            if text[at] < 0x80 {
                let letters = text[second..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
                if letters > 0 {
                    return second + letters;
                }
            }
            let end = run_by(peek, text, second, is_symbol);
            return run_by(peek, text, end, is_newline);
        }
        _ => {}
    }
    let (next, next_length) = peek(text, second);
    if is_word(next) {
        return run_by(peek, text, second + next_length, is_word);
    }
    if kind == Kind::Space {
        return if text[at] == b' ' && next == Kind::Symbol {
            let end = run_by(peek, text, second + next_length, is_symbol);
            run_by(peek, text, end, is_newline)
        } else {
            white_space(text, at, true, false, peek)
        };
    }
    // A gap, up to the first place where something matches.
    let mut end = second;
    loop {
        let (kind, length) = peek(text, end);
        if kind != Kind::Other || is_word(peek(text, end + length).0) {
            return end;
        }
        end += length;
    }
}
