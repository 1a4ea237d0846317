//! From a piece to its ids without merging: longest prefixes, each checked with its neighbour.
//!
//! ```text
//! taken ← []                                  a row of tokens in which each two are a valid pair
//! while at < piece length:
//!     token ← the longest token at `at` that is shorter than those tried before
//!     if there is one, `at + its length` is not dead, and (last of taken, token) is a valid pair:
//!         push token; at += its length
//!     if none is left: mark `at` dead; pop the last of taken and go on with a shorter one there
//! ```
//!
//! What has been taken is always what merging makes of the text so far, and that is one row of
//! tokens and no other. So an offset from which nothing fits is not a token border of any
//! continuation, and is never tried again: the work is linear in the length of the piece. (The
//! method is that of van Antwerpen and Neubeck, "So many tokens, so little time", GitHub 2024.)

use lslm_runtime::{Result, Task, TokenId};

use crate::encode::boundary::BoundaryFilter;
use crate::encode::merge_tree::MergeTree;
use crate::encode::prefix::LongestPrefix;
use crate::vocab::hash::fibonacci;
use crate::vocab::merge_table::MergeTable;
use crate::vocab::piece_key::{PieceKey, window};
use crate::vocab::symbol::Symbol;

/// The tables of a vocabulary whose tokens are all made in the order of their ranks.
#[derive(Clone, Debug)]
pub(crate) struct Backtrack {
    pub(crate) tree: MergeTree,
    pub(crate) prefixes: LongestPrefix,
    pub(crate) boundaries: BoundaryFilter,
}

/// A direct-mapped cache of pairs of tokens and whether they are valid.
#[derive(Debug, Default)]
struct PairCache(Vec<u64>);

impl PairCache {
    /// The base-2 logarithm of its entries: 128 KB.
    const BITS: u32 = 14;

    #[inline(always)]
    fn get_or(&mut self, left: Symbol, right: Symbol, compute: impl FnOnce() -> bool) -> bool {
        if self.0.is_empty() {
            self.0.resize(1 << Self::BITS, u64::MAX);
        }
        // Symbols have 21 bits.
        let pair = u64::from(left) << 21 | u64::from(right);
        let slot = &mut self.0[(fibonacci(pair) >> (64 - Self::BITS)) as usize];
        if *slot >> 1 != pair {
            *slot = pair << 1 | u64::from(compute());
        }
        *slot & 1 == 1
    }
}

/// Memory that is reused from piece to piece, with pairs of one vocabulary only.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    valid_pairs: PairCache,
    /// The tokens taken, each with its length.
    taken: Vec<(Symbol, u32)>,
    /// One bit for each offset in the piece: no token fits there.
    dead: Vec<u64>,
}

impl Backtrack {
    /// Whether merging leaves `before` and `symbol` side by side, whose border is at byte `at`.
    #[inline(always)]
    fn is_valid_pair(
        &self,
        table: &MergeTable,
        before: Symbol,
        symbol: Symbol,
        around: impl Fn() -> u128,
        at: usize,
        cache: &mut PairCache,
    ) -> bool {
        (at >= 3 && self.boundaries.is_boundary(around()))
            || cache
                .get_or(before, symbol, || self.tree.is_valid_pair(&table.pairs, before, symbol))
    }

    /// Appends the ids of `piece`; returns false, with `out` unchanged, when there is no row of
    /// valid pairs.
    ///
    /// Checks `task` every 65,536 steps.
    pub(crate) fn encode(
        &self,
        table: &MergeTable,
        piece: &[u8],
        scratch: &mut Scratch,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<bool> {
        let Scratch { taken, dead, valid_pairs } = scratch;
        taken.clear();
        dead.clear();
        dead.resize(piece.len() / 64 + 1, 0);
        let mut at = 0;
        let mut max_len = piece.len();
        let mut steps = 0_u32;
        while at < piece.len() {
            #[cfg(test)]
            crate::encode::steps::count(1);
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(1 << 16) {
                task.check()?;
            }
            if max_len == 0 {
                dead[at / 64] |= 1 << (at % 64);
                let Some((_, len)) = taken.pop() else { return Ok(false) };
                at -= len as usize;
                max_len = len as usize - 1;
                continue;
            }
            let long = (max_len > PieceKey::MAX_LEN)
                .then(|| self.prefixes.find_long(&piece[at..], max_len));
            let (symbol, len) = long.flatten().unwrap_or_else(|| {
                self.prefixes.find(&self.tree, window(piece, at), max_len.min(PieceKey::MAX_LEN))
            });
            let end = at + len;
            let is_alive = dead[end / 64] >> (end % 64) & 1 == 0;
            let fits = |before| {
                let around = || window(piece, at - 3);
                self.is_valid_pair(table, before, symbol, around, at, valid_pairs)
            };
            if is_alive && taken.last().map(|&(before, _)| before).is_none_or(fits) {
                taken.push((symbol, len as u32));
                at = end;
                max_len = piece.len() - at;
            } else {
                max_len = len - 1;
            }
        }
        out.extend(taken.iter().map(|&(symbol, _)| table.id(symbol)));
        Ok(true)
    }
}
