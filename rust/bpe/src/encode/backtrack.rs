//! From a piece to its ids without merging: longest tokens, each held against the one before it.
//!
//! The longest token that fits is taken; when none fits, the last one taken is given up for a
//! shorter one. What has been taken is always what merging makes of the text so far, and that is
//! one row of tokens and no other. So a place from which nothing fits is no border in the end
//! either, and is never tried again: the work is linear in the length of the piece. (The method is
//! that of van Antwerpen and Neubeck, "So many tokens, so little time", GitHub 2024.)

use lslm_runtime::{Result, Task};

use crate::TokenId;
use crate::encode::boundary::Cuts;
use crate::encode::merge_tree::Tokens;
use crate::encode::model::{Model, Symbol};
use crate::encode::prefix::Longest;
use crate::vocab::hash::fibonacci;
use crate::vocab::piece_key::{PieceKey, window};

/// The tables of a model whose tokens are all made in order.
#[derive(Clone, Debug)]
pub(crate) struct Backtrack {
    pub(crate) tokens: Tokens,
    pub(crate) longest: Longest,
    pub(crate) cuts: Cuts,
}

/// Pairs of tokens that were asked for lately, and whether they stay apart.
#[derive(Debug, Default)]
struct Memo(Vec<u64>);

impl Memo {
    const BITS: u32 = 14;

    #[inline(always)]
    fn get_or(&mut self, left: Symbol, right: Symbol, find: impl FnOnce() -> bool) -> bool {
        if self.0.is_empty() {
            self.0.resize(1 << Self::BITS, u64::MAX);
        }
        // symbols have 21 bits
        let pair = u64::from(left) << 21 | u64::from(right);
        let place = fibonacci(pair) >> (64 - Self::BITS);
        let slot = &mut self.0[place as usize];
        if *slot >> 1 != pair {
            *slot = pair << 1 | u64::from(find());
        }
        *slot & 1 == 1
    }
}

/// Memory that is used again from piece to piece, of one model only.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    memo: Memo,
    taken: Vec<(Symbol, u32)>,
    /// One bit for each place of the piece: nothing fits there.
    dead: Vec<u64>,
}

impl Backtrack {
    /// Whether merging leaves `before` and `symbol` side by side, which meet at byte `at`.
    #[inline(always)]
    fn stay_apart(
        &self,
        model: &Model,
        before: Symbol,
        symbol: Symbol,
        around: impl Fn() -> u128,
        at: usize,
        memo: &mut Memo,
    ) -> bool {
        (at >= 3 && self.cuts.here(around()))
            || memo.get_or(before, symbol, || self.tokens.stay_apart(&model.pairs, before, symbol))
    }

    /// Appends the ids of `piece`; false when there is no answer, with `out` as it was.
    ///
    /// `task` is asked now and then whether to stop.
    pub(crate) fn any(
        &self,
        model: &Model,
        piece: &[u8],
        scratch: &mut Scratch,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<bool> {
        let Scratch { taken, dead, memo } = scratch;
        taken.clear();
        dead.clear();
        dead.resize(piece.len() / 64 + 1, 0);
        let mut at = 0;
        let mut most = piece.len();
        let mut steps = 0_u32;
        while at < piece.len() {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(1 << 16) {
                task.check()?;
            }
            if most == 0 {
                dead[at / 64] |= 1 << (at % 64);
                let Some((_, width)) = taken.pop() else { return Ok(false) };
                at -= width as usize;
                most = width as usize - 1;
                continue;
            }
            let long =
                (most > PieceKey::MAX_LEN).then(|| self.longest.find_long(&piece[at..], most));
            let (symbol, width) = long.flatten().unwrap_or_else(|| {
                self.longest.find(&self.tokens, window(piece, at), most.min(PieceKey::MAX_LEN))
            });
            let end = at + width;
            let alive = dead[end / 64] >> (end % 64) & 1 == 0;
            let fits = |before| {
                let around = || window(piece, at - 3);
                self.stay_apart(model, before, symbol, around, at, memo)
            };
            if alive && taken.last().map(|&(before, _)| before).is_none_or(fits) {
                taken.push((symbol, width as u32));
                at = end;
                most = piece.len() - at;
            } else {
                most = width - 1;
            }
        }
        out.extend(taken.iter().map(|&(symbol, _)| model.id(symbol)));
        Ok(true)
    }
}
