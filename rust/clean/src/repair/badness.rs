//! Sequences of characters that are much more likely mojibake than meant.
//!
//! Each sequence has an *anchor*, a character that clean text seldom has: a currency sign, an accented
//! capital, a quotation mark. Blocks of 64 bytes without the lead byte of an anchor are skipped; at
//! an anchor its neighbours decide.

#[cfg(target_arch = "x86_64")]
use lslm_runtime::simd::Level;
use lslm_unicode::{GeneralCategory, general_category};

use super::classes::Classes;
use crate::chars::{Properties, bits, properties_of};

/// The classes of anchors. `œ`, `°`, `Ù` and `Ђ` are anchors too.
const ANCHOR: Classes = Classes::C1
    .or(Classes::BAD)
    .or(Classes::LAW)
    .or(Classes::CURRENCY)
    .or(Classes::START)
    .or(Classes::END)
    .or(Classes::NUMERIC)
    .or(Classes::UPPER_ACCENTED)
    .or(Classes::BOX);

const ACCENTED: Classes = Classes::LOWER_ACCENTED.or(Classes::UPPER_ACCENTED);
const QUOTES: Classes = Classes::START.or(Classes::END);

/// Bytes that are tested together.
const BLOCK: usize = 64;

/// Returns whether `text`, one line, has a bad sequence.
pub(super) fn is_bad(text: &str) -> bool {
    find_bad(text, 0).is_some()
}

/// Returns the byte of the first anchor of a bad sequence at or after `from`. The start of a line
/// counts as that of a text.
pub(crate) fn find_bad(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some((block, mut leads)) = next_block(bytes, at) {
        at = block + BLOCK;
        while leads != 0 {
            let index = block + leads.trailing_zeros() as usize;
            leads &= leads - 1;
            if !stands_apart(bytes, index)
                && let Some(char) = text[index..].chars().next()
                && is_anchor(char)
                && is_bad_at(text, index, char)
            {
                return Some(index);
            }
        }
    }
    None
}

fn is_anchor(char: char) -> bool {
    Classes::of(char).has(ANCHOR) || matches!(char, 'œ' | '°' | 'Ù' | 'Ђ')
}

/// Returns whether the character at `at` is one of U+2000 to U+2FFF whose neighbours are ASCII or
/// Chinese, Japanese or Korean: those have no class, so that it is not part of a bad sequence.
fn stands_apart(bytes: &[u8], at: usize) -> bool {
    let has_no_class = |at: usize| match bytes[at..] {
        [] | [0..0x80 | 0xe3..=0xed, ..] => true,
        [0xef, second, ..] => matches!(second, 0xbc | 0xbd),
        _ => false,
    };
    let is_after = || {
        let lead = at.checked_sub(3).filter(|lead| bytes[*lead] >= 0xe3);
        at == 0 || bytes[at - 1] < 0x80 || lead.is_some_and(has_no_class)
    };
    bytes[at] == 0xe2 && has_no_class(at + 3) && is_after()
}

/// Returns the first block at or after `at`, in steps of a block, in which an anchor may begin, and a
/// bit for each byte where one may.
fn next_block(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    #[cfg(target_arch = "x86_64")]
    if Level::current() >= Level::Avx2 {
        // SAFETY: the machine has AVX2
        #[allow(unsafe_code)]
        return unsafe { next_block_avx2(bytes, at) };
    }
    scan(bytes, at)
}

/// [`scan`], compiled with vectors of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn next_block_avx2(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    scan(bytes, at)
}

#[inline(always)]
fn scan(bytes: &[u8], mut at: usize) -> Option<(usize, u64)> {
    while at < bytes.len() {
        let leads = if let Some(window) = bytes[at..].first_chunk() {
            leads(window)
        } else {
            let mut window = [b' '; BLOCK + 1];
            window[..bytes.len() - at].copy_from_slice(&bytes[at..]);
            leads(&window)
        };
        if leads != 0 {
            return Some((at, leads));
        }
        at += BLOCK;
    }
    None
}

/// Returns a bit for each byte of a block, 1 where an anchor may begin.
#[inline(always)]
fn leads(window: &[u8; BLOCK + 1]) -> u64 {
    // no early exit within a loop: the compiler vectorises this form
    let high = window[..BLOCK].iter().fold(0, |high, byte| high | byte);
    if high < 0x80 {
        return 0;
    }
    let (mut ones, mut any) = ([0; BLOCK], 0);
    for index in 0..BLOCK {
        ones[index] = is_lead(window[index], window[index + 1]);
        any |= ones[index];
    }
    if any == 0 { 0 } else { bits(&ones) }
}

/// Returns 1 if the two bytes may begin an anchor, else 0.
#[inline(always)]
fn is_lead(first: u8, second: u8) -> u8 {
    let is = |byte: u8, value: u8| u8::from(byte == value);
    let within = |byte: u8, low: u8, high: u8| u8::from(byte.wrapping_sub(low) <= high - low);
    is(first, 0xc2)
        // without the small letters from U+00DE on, but for U+00F7
        | (is(first, 0xc3) & (u8::from(second <= 0x9d) | is(second, 0xb7)))
        | within(first, 0xc4, 0xcd)
        // Greek: U+0384 and U+0385
        | (is(first, 0xce) & u8::from(second <= 0x85))
        // Cyrillic: U+0402 and U+0490
        | (is(first, 0xd0) & is(second, 0x82))
        | is(first, 0xd2)
        | is(first, 0xe2)
        // without U+FF00 to U+FF7F
        | (is(first, 0xef) & (within(second, 0xbc, 0xbd) ^ 1))
}

/// The characters around an anchor.
struct Context<'t> {
    before: &'t str,
    after: &'t str,
}

impl Context<'_> {
    /// Returns the `n`-th character before the anchor; 0 is the nearest.
    fn back(&self, n: usize) -> Option<char> {
        self.before.chars().nth_back(n)
    }

    /// Returns the `n`-th character after the anchor.
    fn ahead(&self, n: usize) -> Option<char> {
        self.after.chars().nth(n)
    }

    fn back_has(&self, n: usize, classes: Classes) -> bool {
        self.back(n).is_some_and(|char| Classes::of(char).has(classes))
    }

    fn ahead_has(&self, n: usize, classes: Classes) -> bool {
        self.ahead(n).is_some_and(|char| Classes::of(char).has(classes))
    }

    fn is_back(&self, n: usize, test: impl Fn(char) -> bool) -> bool {
        self.back(n).is_some_and(test)
    }

    fn is_ahead(&self, n: usize, test: impl Fn(char) -> bool) -> bool {
        self.ahead(n).is_some_and(test)
    }
}

/// Returns whether the anchor `char` at byte `at` is part of a bad sequence.
pub(super) fn is_bad_at(text: &str, at: usize, char: char) -> bool {
    let classes = Classes::of(char);
    let context = Context { before: &text[..at], after: &text[at + char.len_utf8()..] };
    classes.has(Classes::C1)
        || (classes.has(Classes::BAD) && is_bad_sign(&context))
        || is_bad_pair(classes, &context)
        || is_bad_triple(classes, &context)
        || is_bad_spelling(char, &context)
        || is_between_capitals(char, classes, &context)
}

/// A sign that is nearly always mojibake, beside another character of it.
fn is_bad_sign(context: &Context<'_>) -> bool {
    const BESIDE: Classes = ACCENTED
        .or(Classes::BOX)
        .or(QUOTES)
        .or(Classes::CURRENCY)
        .or(Classes::NUMERIC)
        .or(Classes::LAW);
    context.back_has(0, BESIDE.or(Classes::BAD))
        || context.ahead_has(0, BESIDE)
        || (context.back_has(0, Classes::LOWER_COMMON.or(Classes::UPPER_COMMON))
            && context.is_back(1, |char| char.is_ascii_alphabetic()))
}

/// Two classes that do not stand side by side.
fn is_bad_pair(classes: Classes, context: &Context<'_>) -> bool {
    const AMOUNT: Classes = Classes::CURRENCY.or(Classes::NUMERIC).or(Classes::BOX);
    const BEFORE_CAPITAL: Classes =
        AMOUNT.or(Classes::LOWER_ACCENTED).or(Classes::LOWER_COMMON).or(Classes::END);
    const BEFORE_BOX: Classes =
        ACCENTED.or(Classes::CURRENCY).or(Classes::NUMERIC).or(QUOTES).or(Classes::LAW);
    (classes.has(Classes::UPPER_ACCENTED) && context.back_has(0, BEFORE_CAPITAL))
        || (classes.has(AMOUNT.or(Classes::END)) && context.ahead_has(0, Classes::LOWER_ACCENTED))
        || (classes.has(Classes::CURRENCY)
            && context.back_has(0, Classes::LOWER_ACCENTED.or(Classes::BOX).or(Classes::END)))
        || (classes.has(Classes::NUMERIC.or(Classes::LAW))
            && context.back_has(0, Classes::UPPER_ACCENTED.or(Classes::BOX)))
        || (classes.has(Classes::START) && context.back_has(0, AMOUNT))
        || (classes.has(Classes::BOX)
            && (context.ahead_has(0, Classes::KAOMOJI.or(Classes::END))
                || context.back_has(0, BEFORE_BOX)))
}

/// Three classes, or two and a letter or space.
fn is_bad_triple(classes: Classes, context: &Context<'_>) -> bool {
    let after_capital = context.back_has(0, Classes::UPPER_ACCENTED);
    let after_quote = ACCENTED.or(Classes::BOX).or(Classes::CURRENCY);
    (classes.has(Classes::CURRENCY) && after_capital && context.is_back(1, is_space))
        || (classes.has(Classes::START.or(Classes::CURRENCY))
            && after_capital
            && context.is_back(1, |char| char.is_ascii_lowercase()))
        || (classes.has(Classes::NUMERIC)
            && context.back_has(0, Classes::START)
            && context.back_has(1, after_quote.or(Classes::END)))
        || (classes.has(Classes::START)
            && context.back_has(0, Classes::END)
            && context.back_has(1, after_quote.or(Classes::NUMERIC).or(Classes::LAW)))
        || (classes.has(QUOTES) && context.back_has(0, ACCENTED) && context.is_ahead(0, is_word))
}

/// Characters that are what common bytes of UTF-8 become in one charset.
fn is_bad_spelling(char: char, context: &Context<'_>) -> bool {
    let next_is = |set: &str| context.is_ahead(0, |char| set.contains(char));
    match char {
        'Œ' | 'œ' => context.is_ahead(0, |char| !char.is_ascii_alphabetic()),
        '°' => context.back_has(0, Classes::UPPER_ACCENTED),
        '²' | '¹' | 'µ' | '¼' | '½' | '¾' => {
            context.back(0) == Some('à') || (char == '²' && context.back(0) == Some('×'))
        }
        '³' => context.back(0) == Some('×'),
        '€' => context.back(0) == Some('β') && next_is("™\u{a0}Ά\u{ad}®°"),
        'Â' | 'Ã' | 'Î' | 'Ð' => {
            next_is("€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»–—´")
                || context.ahead_has(0, QUOTES)
                || (matches!(char, 'Â' | 'Ã') && is_bad_a(char, context))
        }
        'Ø' | 'Ù' => {
            let is_arabic = |n: usize| {
                const SECONDS: Classes = Classes::COMMON
                    .or(Classes::CURRENCY)
                    .or(Classes::BAD)
                    .or(Classes::NUMERIC)
                    .or(Classes::START);
                context.ahead_has(n, SECONDS) || context.is_ahead(n, |c| "ŸŠ®°µ»".contains(c))
            };
            is_arabic(0) && context.is_ahead(1, |char| matches!(char, 'Ø' | 'Ù')) && is_arabic(2)
        }
        // MacRoman
        '√' => next_is("±∂†≠®™´≤≥¥µø"),
        '≈' => next_is("°¢"),
        '‚' => match context.ahead(0) {
            Some('Ä') => context.is_ahead(1, |char| "ìîïòôúùû†°¢π".contains(char)),
            Some('â' | 'ó') => context.is_ahead(1, |char| "àä°ê".contains(char)),
            _ => false,
        },
        // Windows-1251
        'Ђ' => {
            context.back(0) == Some('в')
                || (context.before.ends_with("ГўВ")
                    && context.ahead(0) == Some('В')
                    && context.is_ahead(1, |char| char != '\n')
                    && context.is_ahead(2, |char| char.is_ascii_alphabetic() || char == ' '))
        }
        _ => false,
    }
}

/// `Â` or `Ã` before a space, where `Â` or `Ã` is a lead byte whose 0xa0 became a space.
fn is_bad_a(char: char, context: &Context<'_>) -> bool {
    let is_lower = |n: usize| context.is_back(n, |char| char.is_ascii_lowercase());
    let before_space = context.ahead(0) == Some(' ');
    let at_start = matches!(context.back(0), None | Some('\n'));
    let after_word = is_lower(0) || (context.is_back(0, is_space) && is_lower(1));
    let after_stop = context.is_back(0, |char| ".,?!".contains(char))
        || context.back_has(0, Classes::END)
        || is_lower(0);
    (before_space && (at_start || after_word))
        || (char == 'Â' && after_stop && (before_space || context.ahead_has(0, QUOTES)))
}

/// A sign between two of the capitals that lead bytes become in Windows-1251 or Windows-1253.
fn is_between_capitals(char: char, classes: Classes, context: &Context<'_>) -> bool {
    const SIGNS: Classes = Classes::BAD.or(QUOTES).or(Classes::CURRENCY);
    let between = |set: &str| {
        context.is_back(0, |c| set.contains(c)) && context.is_ahead(0, |c| set.contains(c))
    };
    let is_sign = classes.has(SIGNS) || char == '°';
    (is_sign && between("ΒΓΞΟ")) || ((is_sign || char == 'µ') && between("ВГРС"))
}

/// Returns whether `char` is white space, as in Python.
fn is_space(char: char) -> bool {
    properties_of(char).has(Properties::SPACE)
}

/// Returns whether `char` matches `\w` in Python.
fn is_word(char: char) -> bool {
    use GeneralCategory::{DecimalNumber, LetterNumber, OtherNumber};
    char == '_'
        || properties_of(char).has(Properties::LETTER)
        || matches!(general_category(char), DecimalNumber | LetterNumber | OtherNumber)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_search_equals_a_look_at_each_character(
            text in "(plain text |中文，|“|”|‘|…|—|€|°|Ã|é|â|œ|Î|№|│|▒|β|в|Г|ð|ﬁ|\u{a0}|\u{85}|。|ｱ|！|한|\n|\\PC){0,60}",
            from in 0..40_usize,
        ) {
            let from = text.floor_char_boundary(from);
            let is_bad = |(at, char): &(usize, char)| is_anchor(*char) && is_bad_at(&text, *at, *char);
            let expected = text.char_indices().filter(|(at, _)| *at >= from).find(is_bad);
            let expected = expected.map(|(at, _)| at);
            prop_assert_eq!(find_bad(&text, from), expected);
            let mut at = from;
            let mut found = None;
            while let Some((block, leads)) = scan(text.as_bytes(), at) {
                at = block + BLOCK;
                found = found.or((leads != 0).then_some(block));
            }
            prop_assert!(expected.is_none() || found.is_some_and(|block| Some(block) <= expected));
        }
    }
}
