//! The two parts and the rank of every token, and whether two tokens are a valid pair.
//!
//! Merges happen in the order of their ranks, so a rank is a moment in time. A token made at moment
//! r began as bytes; at every moment before r its first part and its last part are known, since
//! both lie on the way down the tree from the token through what it was made of. Two tokens are a
//! valid pair, which merging leaves side by side, exactly when at each moment the last part of the
//! left one and the first part of the right one do not merge before either is merged into its own
//! token:
//!
//! ```text
//! is_valid_pair(left, right):
//!     left_limit, right_limit ← ∞
//!     loop:
//!         if rank(left, right) < left_limit and ≤ right_limit: return false
//!         if both are bytes: return true
//!         replace the one made later by its part next to the border (the right one if equal);
//!         its limit ← the rank of the merge that was undone
//! ```
//!
//! What happens inside a span that no merge leaves depends on nothing around it. So a row of tokens
//! is what merging makes of their bytes exactly when each two neighbours are a valid pair (Berglund
//! and van der Merwe, "Formalizing BPE Tokenization", 2023, prove it): consider the first merge
//! that would cross a border in the row; until then both sides were as they are in the pair alone.
//!
//! That a rank is a moment holds only when a merge's parts are made before it. Where a list of
//! merges makes some token in another way, there is no [`MergeTree`], and pieces are merged step by
//! step.

use lslm_runtime::TokenId;

use crate::vocab::key_index::KeyIndex;
use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::piece_key::PieceKey;
use crate::vocab::symbol::{Merge, NONE, Symbol};
use crate::vocab::vocabulary::Vocabulary;

/// All that is looked up of a token, in half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Token {
    /// The key of its bytes; empty when they are more than [`PieceKey::MAX_LEN`].
    key: PieceKey,
    /// The parts that are merged into it.
    left: Symbol,
    right: Symbol,
    /// The moment: the rank of the merge plus one, 0 for a byte, [`NONE`] when merging the bytes of
    /// the token does not produce it.
    made: u32,
}

const _: () = assert!(size_of::<Token>() == 32);

/// All tokens, by symbol. Symbols ascend by rank, so that frequent tokens lie together.
#[derive(Clone, Debug)]
pub(crate) struct MergeTree {
    tokens: Vec<Token>,
    /// Finds the tokens of at most [`PieceKey::MAX_LEN`] bytes that merging produces.
    index: KeyIndex,
}

impl MergeTree {
    /// Returns the tree that `merges` make of the tokens with the ids `ids`, by symbol; `None` when
    /// some token is made other than from two parts made before it.
    ///
    /// `symbols_of` returns the symbols of a merge. With `is_sound` each merge is taken to be the
    /// one and only origin of its token.
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        ids: &[TokenId],
        merges: &[Merge],
        symbols_of: impl Fn(&Merge) -> [Symbol; 3],
        pairs: &PairRanks,
        is_sound: bool,
    ) -> Option<Self> {
        let token = |&id: &TokenId| {
            let bytes = vocabulary.get(id);
            let is_short = (1..=PieceKey::MAX_LEN).contains(&bytes.len());
            let key = if is_short { PieceKey::new(bytes) } else { PieceKey::EMPTY };
            Token { key, left: NONE, right: NONE, made: NONE }
        };
        let index = KeyIndex::with_capacity(ids.len());
        let mut tree = Self { tokens: ids.iter().map(token).collect(), index };
        for byte in &mut tree.tokens[..256] {
            byte.made = 0;
        }
        let mut skipped = Vec::new();
        for (rank, merge) in (0_u32..).zip(merges) {
            let [left, right, result] = symbols_of(merge);
            if left == NONE || right == NONE || (!is_sound && pairs.get(left, right) != rank) {
                continue; // The pair never occurs, or is listed again later.
            }
            if tree.is_made(result) {
                continue; // Wherever this merge could make the token, it has been made before.
            }
            let has_parts = tree.is_made(left) && tree.is_made(right);
            if has_parts && (is_sound || tree.is_valid_until(pairs, left, right, rank)) {
                let token = &mut tree.tokens[result as usize];
                (token.left, token.right, token.made) = (left, right, rank + 1);
            } else {
                skipped.push([left, right, result]);
            }
        }
        // Two parts of which one is made after the moment of their merge would merge late.
        let has_late_merge = skipped.iter().any(|&[left, right, result]| {
            !tree.is_made(result)
                && tree.is_made(left)
                && tree.is_made(right)
                && tree.is_valid_until(pairs, left, right, NONE)
        });
        if has_late_merge {
            return None;
        }
        for (symbol, token) in (0..).zip(&tree.tokens) {
            if token.made != NONE && token.key != PieceKey::EMPTY {
                tree.index.insert(token.key.hash(), symbol, |_| false);
            }
        }
        Some(tree)
    }

    /// Whether merging the bytes of `symbol` produces it.
    pub(crate) fn is_made(&self, symbol: Symbol) -> bool {
        self.tokens.get(symbol as usize).is_some_and(|token| token.made != NONE)
    }

    /// Returns the token with this key.
    #[inline(always)]
    pub(crate) fn find(&self, key: PieceKey) -> Option<Symbol> {
        self.index.find(key.hash(), |symbol| self.tokens[symbol as usize].key == key)
    }

    /// Whether merging leaves `left` and `right` side by side. Merging must produce both.
    #[inline]
    pub(crate) fn is_valid_pair(&self, pairs: &PairRanks, left: Symbol, right: Symbol) -> bool {
        pairs.get(left, right) == NONE && self.is_valid_until(pairs, left, right, NONE)
    }

    /// Whether no merge crosses the border between `left` and `right` before both are made, nor
    /// before the moment `until`.
    fn is_valid_until(
        &self,
        pairs: &PairRanks,
        mut left: Symbol,
        mut right: Symbol,
        until: u32,
    ) -> bool {
        // When the part on each side is merged into the one around it.
        let (mut left_limit, mut right_limit) = (until, until);
        loop {
            #[cfg(test)]
            crate::encode::steps::count(1);
            let (one, other) = (&self.tokens[left as usize], &self.tokens[right as usize]);
            // Back in time by one merge. Of two at the same moment the left one happened first.
            if other.made >= one.made {
                if other.made == 0 {
                    return true;
                }
                right = other.left;
                right_limit = other.made - 1;
            } else {
                left = one.right;
                left_limit = one.made - 1;
            }
            let rank = pairs.get(left, right);
            // Of equal pairs that overlap the left one is merged: the left side's own before the
            // one that crosses, and that one before the right side's own.
            if rank != NONE && rank < left_limit && rank <= right_limit {
                return false;
            }
        }
    }
}
