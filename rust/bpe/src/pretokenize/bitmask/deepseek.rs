//! DeepSeek-V3: numbers, then Chinese and Japanese, then the rest, all cut out of each other.
//!
//! A break is where a piece of one of the first two steps begins or ends. For the third step the
//! text ends there: no rule looks back or ahead across it.

use super::{Block, Carry, Ends, Kind, Rules, behind_lines, last_blanks, numbers, reach};

/// The beginnings of pieces in `block`; positions of earlier blocks go to `ends`.
#[inline(always)]
pub(super) fn step<R: Rules>(
    text: &[u8],
    base: usize,
    block: &Block,
    next: &Block,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let word = |block: &Block| {
        block.kind(Kind::Upper)
            | block.kind(Kind::Lower)
            | block.kind(Kind::Letter)
            | block.kind(Kind::Mark)
    };
    let next_word = word(next);
    let word = word(block);
    let ascii_word = word & !block.high;
    let number = block.kind(Kind::Number);
    let blank = block.kind(Kind::Space);
    let all_lines = block.kind(Kind::Newline);
    let gap = block.kind(Kind::Other);
    let symbol = block.valid & !(word | number | blank | all_lines | gap);

    let before_number = number << 1 | carry.number;
    let breaks = (number ^ before_number) | (block.cjk ^ (block.cjk << 1 | carry.cjk));
    let before = |mask: u64, last: u64| (mask << 1 | last) & !breaks;

    // Line ends behind symbols belong to their piece.
    let from = all_lines & (before(symbol, carry.other) | carry.tail);
    let tail = if from == 0 { 0 } else { reach(from, all_lines) };
    let line = all_lines & !tail;
    let white = blank | line;

    let words = word & !before(word, carry.word);
    let symbols = symbol & !before(symbol, carry.other) & !before(block.space, carry.space);
    let before_gap = before(gap, carry.gap);
    let mut starts = breaks | symbols | (white & !(white << 1 | carry.white)) | (gap & !before_gap);

    // A single ASCII symbol takes the ASCII letters behind it, and only those.
    let joined = ((symbols & !block.high) << 1 | carry.successor) & ascii_word;
    starts |= words & !joined & !before(blank, carry.blank) & !before_gap;
    let run = if joined | carry.joined_run == 0 {
        0
    } else {
        reach(joined | carry.joined_run, ascii_word)
    };
    starts |= (run << 1 | carry.joined_run) & word & !ascii_word;

    // The last of several gaps is the beginning of a word behind it.
    if gap != 0 {
        let here = word & !breaks;
        let there = next_word & !(next.cjk ^ (next.cjk << 1 | block.cjk >> 63));
        starts |= gap & !block.high & (here >> 1 | there << 63);
        let wide = gap & block.high & !block.rest;
        if wide != 0 {
            let third = block.rest >> 2 | next.rest << 62;
            let fourth = third & (block.rest >> 3 | next.rest << 61);
            starts |= wide & !third & (here >> 2 | there << 62);
            starts |= wide & third & !fourth & (here >> 3 | there << 61);
            starts |= wide & fourth & (here >> 4 | there << 60);
        }
    }

    if number != 0 {
        starts |= numbers::<R>(number, before_number, block.rest, block.high, carry);
    }
    let before_line = line << 1 | carry.line;
    starts |= behind_lines::<R>(text, base, blank, line, before_line, next, carry, ends);
    let ending = |block: &Block| block.kind(Kind::Number) | block.cjk;
    let (here, there) = (ending(block), ending(next));
    starts |= last_blanks(block, next, blank, here, there, block.rest, block.high);

    carry.word = word >> 63;
    carry.other = symbol >> 63;
    carry.space = block.space >> 63;
    carry.blank = blank >> 63;
    carry.white = white >> 63;
    carry.line = line >> 63;
    carry.number = number >> 63;
    carry.tail = tail >> 63;
    carry.cjk = block.cjk >> 63;
    carry.gap = gap >> 63;
    carry.successor = (symbols & !block.high) >> 63;
    carry.joined_run = run >> 63;
    starts & block.valid
}
