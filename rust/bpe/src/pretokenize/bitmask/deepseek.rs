//! DeepSeek-V3: numbers, then Chinese and Japanese, then the rest, each step inside the pieces that
//! the steps before it left.
//!
//! ```text
//! breaks  = where numbers or CJK begin or end: for the third step the text ends there,
//!           so no rule looks back or ahead across a break
//! starts  = breaks
//!         | first byte of a run of letters, symbols, white space or gaps
//!         | ASCII symbol + ASCII letters are one piece: no start between, one after
//!         | last gap before a word | groups of three numbers | white space as in cl100k_base
//! ```

use super::state::{Carry, Ends, Window};
use super::steps::{after_line_ends, last_blanks, number_groups, reach};
use crate::pretokenize::char_class::CharClass;
use crate::pretokenize::masks::ClassMasks;
use crate::pretokenize::scheme::Rules;

/// Returns the starts of pieces in the block; starts in earlier blocks go to `ends`.
#[inline(always)]
pub(super) fn starts<R: Rules>(window: &Window<'_>, carry: &mut Carry, ends: &mut Ends<'_>) -> u64 {
    let Window { block, next, .. } = window;
    let word = word_mask(block);
    let ascii_word = word & !block.non_ascii;
    let number = block.of(CharClass::Number);
    let blank = block.of(CharClass::Space);
    let newline = block.of(CharClass::Newline);
    let gap = block.of(CharClass::Other);
    let symbol = block.valid & !(word | number | blank | newline | gap);

    let breaks =
        (number ^ (number << 1 | carry.number)) | (block.cjk ^ (block.cjk << 1 | carry.cjk));
    let before = |mask: u64, last: u64| (mask << 1 | last) & !breaks;

    // Line ends after symbols belong to their piece.
    let from = newline & (before(symbol, carry.punctuation) | carry.tail);
    let tail = if from == 0 { 0 } else { reach(from, newline) };
    let line = newline & !tail;
    let white = blank | line;

    let words = word & !before(word, carry.word);
    let symbols = symbol & !before(symbol, carry.punctuation) & !before(block.space, carry.space);
    let before_gap = before(gap, carry.gap);
    let mut starts = breaks | symbols | (white & !(white << 1 | carry.white)) | (gap & !before_gap);

    // A single ASCII symbol takes the ASCII letters after it, and only those.
    let joined = ((symbols & !block.non_ascii) << 1 | carry.lone) & ascii_word;
    starts |= words & !joined & !before(blank, carry.blank) & !before_gap;
    let from = joined | carry.symbol_word;
    let symbol_word = if from == 0 { 0 } else { reach(from, ascii_word) };
    starts |= (symbol_word << 1 | carry.symbol_word) & word & !ascii_word;

    if gap != 0 {
        starts |= last_gaps(window, gap, word & !breaks);
    }
    if number != 0 {
        starts |= number_groups::<R>(number, block.inner, block.non_ascii, carry);
    }
    starts |= after_line_ends::<R>(window, blank, line, carry, ends);
    let ending = |block: &ClassMasks| block.of(CharClass::Number) | block.cjk;
    let (stops, next_stops) = (ending(block), ending(next));
    starts |= last_blanks(window, blank, stops, next_stops, block.inner, block.non_ascii);

    carry.word = word >> 63;
    carry.punctuation = symbol >> 63;
    carry.space = block.space >> 63;
    carry.blank = blank >> 63;
    carry.white = white >> 63;
    carry.line = line >> 63;
    carry.number = number >> 63;
    carry.tail = tail >> 63;
    carry.cjk = block.cjk >> 63;
    carry.gap = gap >> 63;
    carry.lone = (symbols & !block.non_ascii) >> 63;
    carry.symbol_word = symbol_word >> 63;
    starts & block.valid
}

/// Returns `[\p{L}\p{M}]`.
#[inline(always)]
fn word_mask(block: &ClassMasks) -> u64 {
    block.of(CharClass::Upper)
        | block.of(CharClass::Lower)
        | block.of(CharClass::Letter)
        | block.of(CharClass::Mark)
}

/// Returns the start of the last of several gaps, which begins the word after it: the gaps whose
/// next character, one to four bytes on, is in `words` or in the next block's words.
#[inline(always)]
fn last_gaps(window: &Window<'_>, gap: u64, words: u64) -> u64 {
    let Window { block, next, .. } = window;
    let next_words = word_mask(next) & !(next.cjk ^ (next.cjk << 1 | block.cjk >> 63));
    let mut starts = gap & !block.non_ascii & (words >> 1 | next_words << 63);
    let long = gap & block.non_ascii & !block.inner;
    if long != 0 {
        let third = block.inner >> 2 | next.inner << 62;
        let fourth = third & (block.inner >> 3 | next.inner << 61);
        starts |= long & !third & (words >> 2 | next_words << 62);
        starts |= long & third & !fourth & (words >> 3 | next_words << 61);
        starts |= long & fourth & (words >> 4 | next_words << 60);
    }
    starts
}
