//! Splits by the published patterns one character at a time: the readable twin of
//! [`bitmask`](super::bitmask).
//!
//! Each `*_end` function returns the end of the piece that begins at `at`, which is less than the
//! length of the text. They are derived from the expressions by hand:
//!
//! ```text
//! at = 0
//! while at < text.len():
//!     (class, length) = peek(text, at)     # one or two table loads
//!     at = end of the first alternative of the expression that matches at `at`
//!     emit(at)
//! ```
//!
//! The tests hold this file equal to [`regex`](super::regex), and `bitmask` equal to this file.

use super::char_class::{CharClass, decode, peek};
use super::scheme::{NEW_NUMBERS, Scheme, contraction, contraction_any_case, is_cjk, is_han};

/// Calls `emit` with the end of each piece of `text`.
pub(super) fn scan(scheme: Scheme, text: &[u8], mut emit: impl FnMut(usize)) {
    match scheme {
        Scheme::Whole if text.is_empty() => {}
        Scheme::Whole => emit(text.len()),
        Scheme::Gpt2 { digits: false } => each(text, emit, gpt2_end::<false>),
        Scheme::Gpt2 { digits: true } => each(text, emit, gpt2_end::<true>),
        Scheme::Cl100k { group, tail, marks: false } => {
            each(text, emit, |text, at| cl100k_end(text, at, group, tail, peek));
        }
        Scheme::Cl100k { group, tail, marks: true } => {
            each(text, emit, |text, at| cl100k_end(text, at, group, tail, peek_marks));
        }
        Scheme::O200k { group, contractions } => {
            each(text, emit, |text, at| o200k_end(text, at, group, contractions, true, peek));
        }
        Scheme::Kimi => each(text, emit, kimi_end),
        Scheme::DeepseekV3 => each(text, emit, deepseek_v3_end),
    }
}

/// Calls `emit` with the end of each piece, of which `end` returns one.
#[inline]
fn each(text: &[u8], mut emit: impl FnMut(usize), end: impl Fn(&[u8], usize) -> usize) {
    let mut at = 0;
    while at < text.len() {
        at = end(text, at);
        emit(at);
    }
}

/// Returns the end of the run of characters from `at` on whose class passes `test`.
#[inline]
fn run(text: &[u8], at: usize, test: impl Fn(CharClass) -> bool) -> usize {
    run_by(peek, text, at, test)
}

/// Returns the same with another `peek`, whose [`CharClass::End`] is where the text ends.
#[inline]
fn run_by(
    peek: impl Fn(&[u8], usize) -> (CharClass, usize),
    text: &[u8],
    mut at: usize,
    test: impl Fn(CharClass) -> bool,
) -> usize {
    loop {
        let (class, length) = peek(text, at);
        if !test(class) {
            return at;
        }
        at += length;
    }
}

/// Returns the end of up to `max` numbers from `at` on.
#[inline]
fn numbers(text: &[u8], mut at: usize, max: usize) -> usize {
    for _ in 0..max {
        let (class, length) = peek(text, at);
        if class != CharClass::Number {
            break;
        }
        at += length;
    }
    at
}

/// Returns the end of the run of line ends (and slashes, if `slashes`) from `at` on.
#[inline]
fn line_ends(text: &[u8], mut at: usize, slashes: bool) -> usize {
    while text.get(at).is_some_and(|&b| b == b'\r' || b == b'\n' || slashes && b == b'/') {
        at += 1;
    }
    at
}

/// Returns the end of the piece at `at`, which is white space.
///
/// `\s+(?!\S)|\s+`, with `lines` before it `\s*[\r\n]+`, with `tail` before that `\s+$`.
/// The text ends at the [`CharClass::End`] of `peek`.
#[inline]
fn white_space(
    text: &[u8],
    at: usize,
    lines: bool,
    tail: bool,
    peek: impl Fn(&[u8], usize) -> (CharClass, usize),
) -> usize {
    let (mut end, mut last, mut line) = (at, at, at);
    let class = loop {
        let (class, length) = peek(text, end);
        if !class.is_white_space() {
            break class;
        }
        last = end;
        end += length;
        if class == CharClass::Newline {
            line = end;
        }
    };
    let whole = class == CharClass::End;
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

/// Returns what [`peek`] does, with the end of the text at each number: Hugging Face's `Digits`.
#[inline]
fn peek_digits(text: &[u8], at: usize) -> (CharClass, usize) {
    match peek(text, at) {
        (CharClass::Number, length) => (CharClass::End, length),
        (CharClass::Other, 4)
            if NEW_NUMBERS.iter().any(|new| new.contains(&decode(text, at).0)) =>
        {
            (CharClass::End, 4)
        }
        other => other,
    }
}

/// GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`; with
/// `DIGITS` inside the pieces between single numbers.
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
    let (class, length) = peek(text, word);
    let from = word + length;
    match class {
        CharClass::Letter | CharClass::Upper | CharClass::Lower => {
            run(text, from, CharClass::is_letter)
        }
        CharClass::Number => run(text, from, |class| class == CharClass::Number),
        CharClass::Other | CharClass::Symbol | CharClass::Mark => {
            run_by(peek, text, from, CharClass::is_punctuation)
        }
        CharClass::End if word == at => from,
        _ => white_space(text, at, false, false, peek),
    }
}

/// Returns what [`peek`] does, with marks as letters.
#[inline]
fn peek_marks(text: &[u8], at: usize) -> (CharClass, usize) {
    match peek(text, at) {
        (CharClass::Mark, length) => (CharClass::Letter, length),
        other => other,
    }
}

/// cl100k_base: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,GROUP}|`
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, with the classes of `peek`
#[inline]
fn cl100k_end(
    text: &[u8],
    at: usize,
    group: usize,
    tail: bool,
    peek: impl Fn(&[u8], usize) -> (CharClass, usize) + Copy,
) -> usize {
    let (class, length) = peek(text, at);
    let second = at + length;
    match class {
        CharClass::Letter | CharClass::Upper | CharClass::Lower => {
            return run_by(peek, text, second, CharClass::is_letter);
        }
        CharClass::Number => return numbers(text, second, group - 1),
        CharClass::Newline => return white_space(text, at, true, tail, peek),
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
        return run_by(peek, text, second + next_length, CharClass::is_letter);
    }
    if class.is_punctuation() {
        line_ends(text, run_by(peek, text, second, CharClass::is_punctuation), false)
    } else if text[at] == b' ' && next.is_punctuation() {
        line_ends(text, run_by(peek, text, second + next_length, CharClass::is_punctuation), false)
    } else {
        white_space(text, at, true, tail, peek)
    }
}

/// Returns the end of o200k_base's word at `at`, without the character that may come before it; 0
/// if there is none.
///
/// With `U` = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and `L` = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]` this is
/// `U*L+|U+L*`. After the longest `U*` comes either a lower-case letter, and all of `L+` follows;
/// or none, and `U*` backtracks until `L+` can match, which is at the last character that is in
/// both; or there is none of those either, and the run is the `U+` of the second branch.
#[inline]
fn cased_word(
    text: &[u8],
    at: usize,
    peek: impl Fn(&[u8], usize) -> (CharClass, usize) + Copy,
) -> usize {
    let (mut end, mut both) = (at, at);
    loop {
        let (class, length) = peek(text, end);
        match class {
            CharClass::Upper => end += length,
            CharClass::Letter | CharClass::Mark => {
                end += length;
                both = end;
            }
            CharClass::Lower => {
                return run_by(peek, text, end + length, |class| {
                    matches!(class, CharClass::Lower | CharClass::Letter | CharClass::Mark)
                });
            }
            _ if both > at => return both,
            _ if end > at => return end,
            _ => return 0,
        }
    }
}

/// o200k_base and tekken, which differ in `group` and `contractions`; with the classes of `peek`, and
/// `/` as a line end after punctuation if `slashes`.
#[inline]
fn o200k_end(
    text: &[u8],
    at: usize,
    group: usize,
    contractions: bool,
    slashes: bool,
    peek: impl Fn(&[u8], usize) -> (CharClass, usize) + Copy,
) -> usize {
    let word_end = |end: usize| {
        if contractions && end < text.len() { end + contraction_any_case(text, end) } else { end }
    };
    let (class, length) = peek(text, at);
    let second = at + length;
    match class {
        // A mark may be the character before the word, or the word's own: the end is the same.
        CharClass::Letter | CharClass::Upper | CharClass::Lower | CharClass::Mark => {
            return word_end(cased_word(text, at, peek));
        }
        CharClass::Number => return numbers(text, second, group - 1),
        CharClass::Newline => return white_space(text, at, true, false, peek),
        _ => {}
    }
    let end = cased_word(text, second, peek);
    if end > 0 {
        return word_end(end);
    }
    if class != CharClass::Space {
        return line_ends(text, run_by(peek, text, second, CharClass::is_punctuation), slashes);
    }
    let (next, next_length) = peek(text, second);
    if text[at] == b' ' && next.is_punctuation() {
        line_ends(
            text,
            run_by(peek, text, second + next_length, CharClass::is_punctuation),
            slashes,
        )
    } else {
        white_space(text, at, true, false, peek)
    }
}

/// Returns what [`peek`] does for the rules of Kimi K2 but the first, for which letters that are Han
/// are in no class: like numbers they are neither letters nor punctuation nor white space.
#[inline]
fn peek_kimi(text: &[u8], at: usize) -> (CharClass, usize) {
    match peek(text, at) {
        (class, length @ 3..) if is_han(decode(text, at).0) => match class {
            CharClass::Letter => (CharClass::Number, length),
            // Marks that are Han are in no word.
            CharClass::Mark => (CharClass::Other, length),
            other => (other, length),
        },
        other => other,
    }
}

/// Kimi K2: `[\p{Han}]+`, then o200k_base without those characters in words and without `/` after
/// punctuation.
pub(super) fn kimi_end(text: &[u8], at: usize) -> usize {
    let han = |at: usize| {
        let (code, length) = if at < text.len() { decode(text, at) } else { (0, 0) };
        is_han(code).then_some(length)
    };
    let mut end = at;
    while let Some(length) = han(end) {
        end += length;
    }
    if end > at { end } else { o200k_end(text, at, 3, true, false, peek_kimi) }
}

/// Returns what [`peek`] does in runs of [`is_cjk`], or in the text between those and numbers;
/// beyond them is the end of the text.
#[inline]
fn peek_deepseek<const CJK: bool>(text: &[u8], at: usize) -> (CharClass, usize) {
    if text.get(at).is_some_and(|&byte| byte >= 0x80) {
        let (code, length) = decode(text, at);
        let class = CharClass::of(code);
        let outside = is_cjk(code) != CJK || class == CharClass::Number;
        return (if outside { CharClass::End } else { class }, length);
    }
    match peek(text, at) {
        (class, length) if CJK || class == CharClass::Number => (CharClass::End, length),
        other => other,
    }
}

/// DeepSeek-V3: up to three numbers, runs of [`is_cjk`], and inside and between those
/// ``[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|``
/// `\s*[\r\n]+|\s+(?!\S)|\s+`. What none of these matches is a piece: a gap.
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
    } else if CharClass::of(code) == CharClass::Number {
        numbers(text, at, 3)
    } else {
        deepseek_rest(text, at, peek_deepseek::<false>)
    }
}

/// Returns the end of the third step's piece at `at`, inside a piece of the first two steps that
/// ends at the [`CharClass::End`] of `peek`.
#[inline]
fn deepseek_rest(
    text: &[u8],
    at: usize,
    peek: impl Fn(&[u8], usize) -> (CharClass, usize) + Copy,
) -> usize {
    let is_word = |class: CharClass| class.is_letter() || class == CharClass::Mark;
    let is_symbol = |class: CharClass| class == CharClass::Symbol;
    let is_newline = |class: CharClass| class == CharClass::Newline;
    let (class, length) = peek(text, at);
    let second = at + length;
    match class {
        CharClass::Letter | CharClass::Upper | CharClass::Lower | CharClass::Mark => {
            return run_by(peek, text, second, is_word);
        }
        CharClass::Newline => return white_space(text, at, true, false, peek),
        CharClass::Symbol => {
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
    if class == CharClass::Space {
        return if text[at] == b' ' && next == CharClass::Symbol {
            let end = run_by(peek, text, second + next_length, is_symbol);
            run_by(peek, text, end, is_newline)
        } else {
            white_space(text, at, true, false, peek)
        };
    }
    // A gap, up to the first offset where something matches.
    let mut end = second;
    loop {
        let (class, length) = peek(text, end);
        if class != CharClass::Other || is_word(peek(text, end + length).0) {
            return end;
        }
        end += length;
    }
}
