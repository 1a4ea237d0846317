//! Steps that several families share: runs, groups of numbers, and white space.

use super::state::{Carry, Ends, Window};
use crate::pretokenize::char_class::CharClass;
use crate::pretokenize::masks::ClassMasks;
use crate::pretokenize::scheme::Rules;

/// Returns the bits of `class` that a run of set bits reaches from a bit of `from`, with those.
///
/// One addition: the carry of `from + class` runs through each run of ones that `from` touches.
#[inline(always)]
pub(super) fn reach(from: u64, class: u64) -> u64 {
    let from = from & class;
    ((from.wrapping_add(class) ^ class) | from) & class
}

/// Returns the number of set bits from bit `at` of `mask` up to the first that is not set.
#[inline(always)]
pub(super) fn ones(mask: u64, at: u32) -> u32 {
    (!(mask >> at)).trailing_zeros().min(64 - at)
}

/// Returns the starts of white space after the last line end of its run (`\s*[\r\n]+` ends there).
///
/// The run's end decides, which the next block must show, since the last character of the run may
/// begin a piece in this block.
#[inline(always)]
pub(super) fn after_line_ends<R: Rules>(
    window: &Window<'_>,
    blank: u64,
    line: u64,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let before_line = line << 1 | carry.line;
    let is_start = |at: usize, from: u32, carry: &mut Carry| {
        let mut end = from + ones(blank, from);
        let mut lines = line;
        if end == 64 {
            let length = ones(window.next.of(CharClass::Space), 0);
            if length == 64 {
                carry.line_at = Some(at);
                return false;
            }
            end += length;
            lines = window.next.of(CharClass::Newline);
        }
        let is_tail = R::TAIL && window.base + end as usize == window.text.len();
        lines >> (end % 64) & 1 == 0 && !is_tail
    };
    if let Some(at) = carry.line_at.take()
        && is_start(at, 0, carry)
    {
        ends.push(at);
    }
    let mut starts = 0;
    let mut candidates = blank & before_line;
    while candidates != 0 {
        let i = candidates.trailing_zeros();
        candidates &= candidates - 1;
        if is_start(window.base + i as usize, i, carry) {
            starts |= 1 << i;
        }
    }
    starts
}

/// Returns the start of the last character of each run of white space (`\s+(?!\S)`), among those of
/// `last` that do not end the text. Bytes of `stops` in the block and of `next_stops` in the next
/// one end a run as the end of the text does.
#[inline(always)]
pub(super) fn last_blanks(
    window: &Window<'_>,
    last: u64,
    stops: u64,
    next_stops: u64,
    inner: u64,
    non_ascii: u64,
) -> u64 {
    let white = |block: &ClassMasks| {
        block.of(CharClass::Space) | block.of(CharClass::Newline) | !block.valid
    };
    let (stops, next_stops) = (stops | white(window.block), next_stops | white(window.next));
    let mut starts = last & !non_ascii & !(stops >> 1 | next_stops << 63);
    let long = last & non_ascii & !inner;
    if long != 0 {
        let third = inner >> 2 | window.next.inner << 62;
        starts |= long & !third & !(stops >> 2 | next_stops << 62);
        starts |= long & third & !(stops >> 3 | next_stops << 61);
    }
    starts
}

/// Returns the starts of groups of up to `R::GROUP` numbers.
#[inline(always)]
pub(super) fn number_groups<R: Rules>(
    number: u64,
    inner: u64,
    non_ascii: u64,
    carry: &mut Carry,
) -> u64 {
    if R::GROUP == 1 {
        return number & !inner;
    }
    let before = number << 1 | carry.number;
    if number & non_ascii != 0 {
        return long_number_groups::<R>(number, before, inner, carry);
    }
    let first = number & !before;
    let mut starts = 0;
    let mut group = first;
    if number & before & 1 == 1 {
        let begin = R::GROUP - carry.n_numbers;
        if ones(number, 0) as usize > begin {
            group |= 1 << begin;
        } else {
            carry.n_numbers += ones(number, 0) as usize;
        }
    }
    while group != 0 {
        starts |= group;
        group = group << 3 & number & number << 1 & number << 2;
    }
    if number >> 63 == 1 {
        // The run reaches the end; its last group began here.
        carry.n_numbers = 64 - (63 - starts.leading_zeros() as usize);
    }
    starts
}

/// Returns the same for numbers of several bytes, one character at a time.
#[cold]
fn long_number_groups<R: Rules>(number: u64, before: u64, inner: u64, carry: &mut Carry) -> u64 {
    let mut starts = 0;
    let mut count = carry.n_numbers;
    let mut characters = number & !inner;
    while characters != 0 {
        let i = characters.trailing_zeros();
        characters &= characters - 1;
        if before >> i & 1 == 0 || count == R::GROUP {
            starts |= 1 << i;
            count = 0;
        }
        count += 1;
    }
    carry.n_numbers = count;
    starts
}
