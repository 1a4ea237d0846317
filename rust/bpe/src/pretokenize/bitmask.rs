//! The published patterns as algebra on masks: 64 bytes of text at a time.
//!
//! ```text
//! for each block of 64 bytes:
//!     masks  = one 64-bit mask for each character class        (masks.rs)
//!     starts = bits where a piece begins                       (gpt.rs, deepseek.rs), e.g. for words
//!              words & ~(words << 1 | carry), the first byte of each run of letters
//!     emit(position of each bit of starts)                     (the end of the piece before)
//!     carry  = what the next block needs of this one           (state.rs)
//! ```
//!
//! A rule that looks back reads a mask shifted up by one, with the last bit of the block before. A
//! rule that looks ahead by a bounded distance reads the next block, whose masks are made first.
//! The two rules that look ahead without bound (`\s*[\r\n]+`, and capitals at the end of a word of
//! o200k_base) keep one undecided offset in the carry. [`scalar`](super::scalar) has the same rules
//! one character at a time; the tests hold the two equal.

mod deepseek;
mod gpt;
mod state;
mod steps;

use self::state::{BATCH, Carry, Ends, Window};
use super::masks::{self, ClassMasks, Classify};
use super::scheme::Rules;

/// Blocks whose pieces are found before the masks of the next ones are made. With [`AHEAD`], 1.6 KB
/// of masks.
const CHUNK: usize = 8;
/// Further blocks whose masks are needed: the next one for look-ahead, and the one after it for the
/// characters that the next one begins.
const AHEAD: usize = 2;

/// Calls `flush` with the ends of the pieces of `text`, ascending, batch by batch; the last one is
/// its length.
#[inline(always)]
pub(super) fn ends<R: Rules, C: Classify>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    if text.is_empty() {
        return;
    }
    let mut ends = Ends { buffer: [0; BATCH], length: 0, flush };
    let mut blocks = [ClassMasks::default(); CHUNK + AHEAD];
    let mut carry = Carry::default();
    let count = text.len().div_ceil(64);
    let mut first = 0;
    masks::classify::<R, C>(text, 0, &mut blocks[..AHEAD]);
    masks::add_characters::<R>(text, 0, &mut blocks[..2]);
    while first < count {
        let now = CHUNK.min(count - first);
        #[cfg(test)]
        crate::encode::steps::count(now);
        masks::classify::<R, C>(text, (first + AHEAD) * 64, &mut blocks[AHEAD..now + AHEAD]);
        for i in 1..=now {
            masks::add_characters::<R>(text, (first + i) * 64, &mut blocks[i..i + 2]);
        }
        for i in 0..now {
            let base = (first + i) * 64;
            let [block, next, ..] = &blocks[i..] else { break };
            let window = Window { text, base, block, next };
            let starts = if R::SYMBOLS {
                deepseek::starts::<R>(&window, &mut carry, &mut ends)
            } else if block.non_ascii == 0 {
                gpt::starts::<R, true>(&window, &mut carry, &mut ends)
            } else {
                gpt::starts::<R, false>(&window, &mut carry, &mut ends)
            };
            ends.push_bits(base, if base == 0 { starts & !1 } else { starts });
        }
        for i in 0..AHEAD {
            blocks[i] = blocks[now + i];
        }
        first += now;
    }
    if let Some(at) = carry.upper_at {
        ends.push(at);
    }
    ends.push(text.len());
    ends.flush();
}
