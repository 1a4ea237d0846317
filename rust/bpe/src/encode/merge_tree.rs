//! How merging makes each token, and so which two tokens can stand side by side.
//!
//! Merges happen in the order of their ranks, so a rank is a moment. A token made at moment r began
//! as bytes, and at every moment before r its last part is known, and its first part: both lie on
//! the way down from the token through what it was made of. Two tokens stay apart exactly when, at
//! each moment, the last part of the left one and the first part of the right one do not merge
//! before either is merged into its own token.
//!
//! What happens inside a span that no merge leaves depends on nothing around it. So a row of tokens
//! is what merging makes of their bytes exactly when each two neighbours stay apart (Berglund and
//! van der Merwe, "Formalizing BPE Tokenization", 2023, prove it): look at the first merge that
//! would cross a border in the row; until then both sides were as they are in the pair alone.
//!
//! That a rank is a moment holds only when a merge's parts are made before it. Where a list makes a
//! token in any other way, there are no [`Tokens`], and pieces are merged step by step.

use crate::TokenId;
use crate::encode::model::{Merge, NONE, Symbol};
use crate::vocab::index::Index;
use crate::vocab::pair_ranks::Pairs;
use crate::vocab::piece_key::PieceKey;
use crate::vocab::vocabulary::Vocabulary;

/// All that is asked of a token, in half of what a processor fetches at once.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Token {
    /// The key of its bytes; empty when they are more than [`PieceKey::MAX_LEN`].
    key: PieceKey,
    /// The parts that are merged into it.
    left: Symbol,
    right: Symbol,
    /// The moment: the rank of the merge and one, 0 for a byte, [`NONE`] when merging the bytes of
    /// the token does not make it.
    made: u32,
}

/// All tokens, by symbol. Symbols ascend by rank, so that frequent tokens lie together.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    tokens: Vec<Token>,
    /// Those of at most [`PieceKey::MAX_LEN`] bytes that merging makes.
    index: Index,
}

impl Tokens {
    /// The tokens with the `ids` by symbol, as `merges` make them, whose symbols `symbol` gives;
    /// `None` when some token is made other than from two parts made before.
    ///
    /// With `sound` every merge is known to be the one and only origin of its token.
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        ids: &[TokenId],
        merges: &[Merge],
        symbol: impl Fn(&Merge) -> [Symbol; 3],
        pairs: &Pairs,
        sound: bool,
    ) -> Option<Self> {
        let token = |&id: &TokenId| {
            let bytes = vocabulary.get(id);
            let is_short = (1..=PieceKey::MAX_LEN).contains(&bytes.len());
            let key = if is_short { PieceKey::new(bytes) } else { PieceKey::EMPTY };
            Token { key, left: NONE, right: NONE, made: NONE }
        };
        let index = Index::new(ids.len(), ids.len());
        let mut tokens = Self { tokens: ids.iter().map(token).collect(), index };
        for byte in &mut tokens.tokens[..256] {
            byte.made = 0;
        }
        let mut left_over = Vec::new();
        for (rank, merge) in (0_u32..).zip(merges) {
            let [left, right, token] = symbol(merge);
            if left == NONE || right == NONE || (!sound && pairs.get(left, right) != rank) {
                continue; // never met, or listed again later
            }
            if tokens.is_made(token) {
                continue; // wherever it could be made, it was made before
            }
            let there = tokens.is_made(left) && tokens.is_made(right);
            if there && (sound || tokens.parts_stay_apart(pairs, left, right, rank)) {
                let token = &mut tokens.tokens[token as usize];
                (token.left, token.right, token.made) = (left, right, rank + 1);
            } else {
                left_over.push([left, right, token]);
            }
        }
        // Two parts, one of them made after their merge's moment, would merge late.
        let late = left_over.iter().any(|&[left, right, token]| {
            !tokens.is_made(token)
                && tokens.is_made(left)
                && tokens.is_made(right)
                && tokens.parts_stay_apart(pairs, left, right, NONE)
        });
        if late {
            return None;
        }
        for (symbol, token) in (0..).zip(&tokens.tokens) {
            if token.made != NONE && token.key != PieceKey::EMPTY {
                tokens.index.insert(token.key.hash(), symbol, |_| false);
            }
        }
        Some(tokens)
    }

    /// Whether merging the bytes of `symbol` makes it.
    pub(crate) fn is_made(&self, symbol: Symbol) -> bool {
        self.tokens.get(symbol as usize).is_some_and(|token| token.made != NONE)
    }

    /// Returns the token with this key.
    #[inline(always)]
    pub(crate) fn find(&self, key: PieceKey) -> Option<Symbol> {
        self.index.find(key.hash(), |symbol| self.tokens[symbol as usize].key == key)
    }

    /// Whether merging leaves `left` and `right` side by side. Both must be made.
    #[inline]
    pub(crate) fn stay_apart(&self, pairs: &Pairs, left: Symbol, right: Symbol) -> bool {
        pairs.get(left, right) == NONE && self.parts_stay_apart(pairs, left, right, NONE)
    }

    /// Whether no merge crosses the border between `left` and `right` before both are made, nor
    /// before the moment `until`.
    fn parts_stay_apart(
        &self,
        pairs: &Pairs,
        mut left: Symbol,
        mut right: Symbol,
        until: u32,
    ) -> bool {
        // when the part on each side is merged into the one around it
        let (mut left_ends, mut right_ends) = (until, until);
        loop {
            let (one, other) = (&self.tokens[left as usize], &self.tokens[right as usize]);
            // Back in time by one merge. Of two at the same moment the left one was first.
            if other.made >= one.made {
                if other.made == 0 {
                    return true;
                }
                right = other.left;
                right_ends = other.made - 1;
            } else {
                left = one.right;
                left_ends = one.made - 1;
            }
            let rank = pairs.get(left, right);
            // Of equal pairs that overlap the left one is merged: the left side's own before the
            // one that crosses, and that before the right side's own.
            if rank != NONE && rank < left_ends && rank <= right_ends {
                return false;
            }
        }
    }
}
