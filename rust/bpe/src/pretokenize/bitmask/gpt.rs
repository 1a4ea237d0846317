//! The families of GPT-2, cl100k_base and o200k_base: six steps from class masks to starts.
//!
//! ```text
//! 1 attach_line_ends     line ends (o200k: slashes, marks) after punctuation join it
//! 2 attach_contractions  o200k: contractions at the end of a word join it
//! 3 run_starts           first byte of each run of letters, punctuation, white space or numbers,
//!                        unless the character before begins the piece (" word", "(word")
//! 4 split_contractions   the others: a contraction at the start of punctuation is a piece
//! 5 capital_starts       o200k: words split before capitals
//! 6 number and white-space starts   groups of numbers; `\s*[\r\n]+`; `\s+(?!\S)`
//! ```

use super::state::{Carry, Ends, Window};
use super::steps::{after_line_ends, last_blanks, number_groups, ones, reach};
use crate::pretokenize::char_class::{CharClass, decode};
use crate::pretokenize::masks::ClassMasks;
use crate::pretokenize::scheme::{Rules, contraction, contraction_any_case};

/// The class masks of the block while the steps move bytes between them.
struct Classes {
    upper: u64,
    lower: u64,
    /// Letters without case; with `R::CASED` or `R::MARKS` also marks.
    caseless: u64,
    mark: u64,
    number: u64,
    /// White space except line ends.
    blank: u64,
    newline: u64,
    /// `[^\s\p{L}\p{N}]` as far as no other step has taken it.
    punctuation: u64,
    inner: u64,
    non_ascii: u64,
}

impl Classes {
    /// With `ASCII`, all of `block` is ASCII: the masks that are then empty are constants.
    #[inline(always)]
    fn new<const ASCII: bool>(block: &ClassMasks) -> Self {
        let wide = |mask: u64| if ASCII { 0 } else { mask };
        let mut classes = Self {
            upper: block.of(CharClass::Upper),
            lower: block.of(CharClass::Lower),
            caseless: wide(block.of(CharClass::Letter)),
            mark: wide(block.of(CharClass::Mark)),
            number: block.of(CharClass::Number),
            blank: block.of(CharClass::Space),
            newline: block.of(CharClass::Newline),
            punctuation: 0,
            inner: wide(block.inner),
            non_ascii: wide(block.non_ascii),
        };
        let other = classes.mark | classes.number | classes.blank | classes.newline;
        classes.punctuation = block.valid & !(classes.word() | other);
        classes
    }

    #[inline(always)]
    fn word(&self) -> u64 {
        self.upper | self.lower | self.caseless
    }
}

/// Returns the starts of pieces in the block; starts in earlier blocks go to `ends`.
#[inline(always)]
pub(super) fn starts<R: Rules, const ASCII: bool>(
    window: &Window<'_>,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let Window { block, next, .. } = window;
    let mut classes = Classes::new::<ASCII>(block);
    let tail = attach_line_ends::<R>(window, &mut classes, carry);
    let line = classes.newline & !tail;
    let white = classes.blank | line;
    let mut forced = std::mem::take(&mut carry.forced);
    if R::CASED && R::CONTRACTIONS {
        forced |= attach_contractions(window, &mut classes, carry);
    }

    let before_punctuation = classes.punctuation << 1 | carry.punctuation;
    let before_space = block.space << 1 | carry.space;
    let runs = classes.punctuation & !before_punctuation & !before_space;
    let mut starts = forced | runs | (white & !(white << 1 | carry.white));
    starts |= run_starts::<R>(&classes, runs, before_space, carry);
    if !R::CASED {
        starts = split_contractions::<R>(window, starts, block.quote & runs, carry);
    }
    if R::CASED {
        starts |= capital_starts(window, &classes, carry, ends);
    }
    let Classes { number, blank, inner, non_ascii, .. } = classes;
    if !R::GPT2 && number != 0 {
        starts |= number_groups::<R>(number, inner, non_ascii, carry);
    }
    if !R::GPT2 {
        starts |= after_line_ends::<R>(window, blank, line, carry, ends);
    }
    let ending = |block: &ClassMasks| if R::DIGITS { block.of(CharClass::Number) } else { 0 };
    let last = if R::GPT2 { blank | line } else { blank };
    let (stops, next_stops) = (ending(block), ending(next));
    starts |= last_blanks(window, last, stops, next_stops, inner, non_ascii);

    carry.word = classes.word() >> 63;
    carry.punctuation = classes.punctuation >> 63;
    carry.punctuation_block = classes.punctuation;
    carry.space = block.space >> 63;
    carry.space_block = block.space;
    carry.blank = blank >> 63;
    carry.white = white >> 63;
    carry.line = line >> 63;
    carry.number = number >> 63;
    starts & block.valid
}

/// Step 1: returns the line ends that belong to the punctuation before them (`[\r\n]*`), and with
/// `R::SLASHES` slashes (`[\r\n/]*`). Marks become punctuation, or with `R::CASED` or
/// `R::MARKS` letters.
#[inline(always)]
fn attach_line_ends<R: Rules>(
    window: &Window<'_>,
    classes: &mut Classes,
    carry: &mut Carry,
) -> u64 {
    if R::CASED {
        classes.caseless |= classes.mark;
        let mut tail = slashed_tail::<R>(window, classes, carry);
        let before = classes.punctuation << 1 | carry.punctuation;
        let marks = classes.mark & before & !(classes.mark << 1);
        if marks != 0 {
            tail = absorb_marks::<R>(window, classes, marks, tail, carry);
        }
        classes.punctuation &= !tail;
        carry.tail = tail >> 63;
        return tail;
    }
    if R::MARKS {
        classes.caseless |= classes.mark;
    } else {
        classes.punctuation |= classes.mark;
    }
    if R::GPT2 {
        return 0;
    }
    let newline = classes.newline;
    let before = classes.punctuation << 1 | carry.punctuation;
    let from = (newline & before) | carry.tail;
    let tail = if from & newline == 0 { 0 } else { reach(from, newline) };
    carry.tail = tail >> 63;
    tail
}

/// Returns the line ends and slashes after punctuation that begin with a line end.
#[inline(always)]
fn slashed_tail<R: Rules>(window: &Window<'_>, classes: &Classes, carry: &Carry) -> u64 {
    let slash = if R::SLASHES { window.block.slash } else { 0 };
    let class = classes.newline | slash;
    let before = classes.punctuation << 1 | carry.punctuation;
    let from = (classes.newline & before) | carry.tail;
    if from & class == 0 { 0 } else { reach(from, class) }
}

/// Makes runs of marks after punctuation part of it (`[^\s\p{L}\p{N}]+`), unless that is a single
/// character without a space before it: then it begins the word that the marks are. `marks` are the
/// first bytes of the runs. Returns the new tail.
#[inline(always)]
fn absorb_marks<R: Rules>(
    window: &Window<'_>,
    classes: &mut Classes,
    mut marks: u64,
    mut tail: u64,
    carry: &Carry,
) -> u64 {
    let mark = classes.mark;
    while marks != 0 {
        let i = marks.trailing_zeros();
        marks &= marks - 1;
        classes.punctuation &= !tail;
        if !is_absorbed(window, classes.punctuation, i, carry) {
            continue;
        }
        let run = reach(1 << i, mark);
        classes.punctuation |= run;
        classes.caseless &= !run;
        tail = slashed_tail::<R>(window, classes, carry);
        // The run may lead to more punctuation, and that to more marks.
        let before = classes.punctuation << 1 | carry.punctuation;
        let begun = mark & classes.caseless & before & !(mark << 1);
        marks = begun & !1_u64.wrapping_shl(i).wrapping_sub(1) & !(1 << i);
    }
    tail
}

/// Returns whether the run of marks that begins at bit `i` follows two or more characters of
/// punctuation, or one after a space.
#[inline(always)]
fn is_absorbed(window: &Window<'_>, punctuation: u64, i: u32, carry: &Carry) -> bool {
    let seen = u128::from(punctuation) << 64 | u128::from(carry.punctuation_block);
    let space = u128::from(window.block.space) << 64 | u128::from(carry.space_block);
    if seen << 1 >> (64 + i) & 1 == 0 {
        return false; // after a slash of the tail
    }
    let before = previous(window.text, window.base + i as usize);
    let Some(at) = before.checked_sub(1) else { return false };
    // `at` is at most five bytes before this block.
    let bit = at + 64 - window.base;
    (seen | space) >> bit & 1 == 1
}

/// Returns the offset of the character that ends before `at`, which is not 0.
fn previous(text: &[u8], at: usize) -> usize {
    for length in 2..=4 {
        if let Some(begin) = at.checked_sub(length)
            && text[begin] >= 0xC0
            && decode(text, begin).1 == length
        {
            return begin;
        }
    }
    at - 1
}

/// Step 2: takes contractions after a word out of all classes, so that they are part of it, and
/// returns the starts after them.
#[inline(always)]
fn attach_contractions(window: &Window<'_>, classes: &mut Classes, carry: &mut Carry) -> u64 {
    let taken = std::mem::take(&mut carry.contraction);
    classes.upper &= !taken;
    classes.lower &= !taken;
    let mut starts = 0;
    let mut quotes = window.block.quote & classes.punctuation & (classes.word() << 1 | carry.word);
    while quotes != 0 {
        let i = quotes.trailing_zeros();
        quotes &= quotes - 1;
        let length = contraction_any_case(window.text, window.base + i as usize);
        // An earlier contraction may have taken the word before the quote.
        if length == 0 || (classes.word() << 1 | carry.word) >> i & 1 == 0 {
            continue;
        }
        let bits = ((1_u128 << length) - 1) << i;
        classes.punctuation &= !(bits as u64);
        classes.upper &= !(bits as u64);
        classes.lower &= !(bits as u64);
        carry.contraction = (bits >> 64) as u64;
        let end = 1_u128 << (i as usize + length);
        starts |= end as u64;
        carry.forced |= (end >> 64) as u64;
    }
    starts
}

/// Step 3: returns the starts of words, and for GPT-2 of numbers. `runs` are the starts of runs of
/// punctuation.
#[inline(always)]
fn run_starts<R: Rules>(classes: &Classes, runs: u64, before_space: u64, carry: &mut Carry) -> u64 {
    let word = classes.word();
    let words = word & !(word << 1 | carry.word);
    if R::GPT2 {
        let joined = std::mem::take(&mut carry.quote);
        let numbers = if R::DIGITS {
            classes.number & !classes.inner
        } else {
            classes.number & !(classes.number << 1 | carry.number) & !before_space
        };
        return (words & !before_space & !joined) | numbers;
    }
    // A single punctuation character begins the word after it. The addition moves its start past
    // its own inner bytes, to the first byte after it.
    let from = runs << 1 | carry.lone;
    let (sum, over) = from.overflowing_add(classes.inner);
    carry.lone = runs >> 63 | u64::from(over);
    let joined = sum & !classes.inner;
    words & !joined & !(classes.blank << 1 | carry.blank)
}

/// Step 4: returns `starts` with a contraction at each of `quotes`, if there is one, as a piece.
#[inline(always)]
fn split_contractions<R: Rules>(
    window: &Window<'_>,
    mut starts: u64,
    mut quotes: u64,
    carry: &mut Carry,
) -> u64 {
    while quotes != 0 {
        let i = quotes.trailing_zeros();
        quotes &= quotes - 1;
        let at = window.base + i as usize;
        let length = if R::GPT2 {
            contraction(window.text, at)
        } else {
            contraction_any_case(window.text, at)
        };
        if length > 0 {
            let end = 1_u128 << (i as usize + length);
            if R::GPT2 {
                starts &= !(1_u64 << i << 1);
                carry.quote = u64::from(i == 63);
            }
            starts |= end as u64;
            carry.forced |= (end >> 64) as u64;
        }
    }
    starts
}

/// Step 5: returns the capitals that begin a piece inside a word: after a lower-case letter, or
/// after letters without case if the capitals end the word.
#[inline(always)]
fn capital_starts(
    window: &Window<'_>,
    classes: &Classes,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let Classes { upper, lower, caseless, .. } = *classes;
    let word = classes.word();
    // Lower-case letters, and letters without case after those.
    let small = lower | reach(lower << 1 | carry.lower, caseless);
    let before_small = small << 1 | carry.lower;
    let mut starts = upper & before_small;
    if let Some(at) = carry.upper_at {
        let length = ones(upper, 0);
        if length < 64 {
            carry.upper_at = None;
            if word >> length & 1 == 0 {
                ends.push(at);
            }
        }
    }
    let mut capitals = upper & (caseless << 1 | carry.caseless) & !before_small;
    while capitals != 0 {
        let i = capitals.trailing_zeros();
        capitals &= capitals - 1;
        let end = i + ones(upper, i);
        if end == 64 {
            carry.upper_at = Some(window.base + i as usize);
        } else if word >> end & 1 == 0 {
            starts |= 1 << i;
        }
    }
    carry.lower = small >> 63;
    carry.caseless = caseless >> 63;
    starts
}
