//! The merges of a vocabulary in the form that the engines compute on.
//!
//! ```text
//! symbols of a piece ← starts[byte] for each byte
//! rank of a pair     ← byte_pairs[left, right] for two bytes, pairs[left, right] for any two
//! symbol of a merge  ← result(rank)
//! id of a symbol     ← id(symbol)
//! ```

use lslm_runtime::TokenId;

use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::symbol::{Merge, NONE, Symbol};
use crate::vocab::vocabulary::Vocabulary;

/// Symbols and ranks must be below this. They have 21 bits, so that two of them and a rank fill one
/// 64-bit number, and a rank and a position in a short piece one of 32 bits.
pub(crate) const MAX_RANKS: usize = (1 << 21) - 1;

/// The symbols of a vocabulary's ids.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    /// By byte: its symbol; [`NONE`] where the byte has no token and no substitute.
    pub(crate) starts: [Symbol; 256],
    /// By symbol: its id; [`NONE`] for a byte without a token.
    pub(crate) ids: Vec<TokenId>,
    /// By id: its symbol; [`NONE`] when the token is neither a byte nor the result of a merge.
    of_ids: Vec<Symbol>,
    /// Whether some byte has no token of its own.
    has_unknown_bytes: bool,
}

impl Symbols {
    /// Numbers the bytes and the results of `merges`. Bytes without a token become `unknown`.
    ///
    /// Every id of `merges` must be in `vocabulary`. Fails when there are too many for 21 bits.
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        merges: &[Merge],
        unknown: Option<TokenId>,
    ) -> Result<Self, String> {
        if merges.len() >= MAX_RANKS || vocabulary.len() as usize + 257 >= MAX_RANKS {
            return Err(format!("more than {} tokens or merges", MAX_RANKS - 258));
        }
        let mut ids = vec![NONE; 256];
        let mut of_ids = vec![NONE; vocabulary.len() as usize];
        let mut starts = [NONE; 256];
        for byte in 0..=255_u8 {
            if let Some(id) = vocabulary.find(&[byte]) {
                ids[usize::from(byte)] = id;
                of_ids[id as usize] = Symbol::from(byte);
                starts[usize::from(byte)] = Symbol::from(byte);
            }
        }
        let has_unknown_bytes = starts.contains(&NONE);
        for merge in merges {
            let symbol = &mut of_ids[merge.result as usize];
            if *symbol == NONE {
                *symbol = ids.len() as Symbol;
                ids.push(merge.result);
            }
        }
        if has_unknown_bytes && let Some(unknown) = unknown {
            // A symbol of its own, since an unknown byte never merges with its neighbours.
            starts.iter_mut().filter(|start| **start == NONE).for_each(|start| {
                *start = ids.len() as Symbol;
            });
            ids.push(unknown);
        }
        Ok(Self { starts, ids, of_ids, has_unknown_bytes })
    }

    /// Returns the symbol of `id`, which must be in the vocabulary.
    #[inline]
    pub(crate) fn of_id(&self, id: TokenId) -> Symbol {
        self.of_ids[id as usize]
    }
}

/// Which pair of symbols merges into which, with which rank.
#[derive(Clone, Debug)]
pub(crate) struct MergeTable {
    /// By byte: its symbol; [`NONE`] where the byte has no token and no substitute.
    pub(crate) starts: [Symbol; 256],
    /// Whether some byte has no token of its own.
    pub(crate) has_unknown_bytes: bool,
    pub(crate) pairs: PairRanks,
    /// By two bytes, the left one high: the rank of their pair. The same as in `pairs`, but
    /// together: every piece that is merged begins with these lookups.
    pub(crate) byte_pairs: Vec<u32>,
    /// By rank: the symbol that the merge produces.
    results: Vec<Symbol>,
    /// Whether each merge produces symbol `rank + 256`, so that no lookup is needed.
    results_are_consecutive: bool,
    /// By symbol: its id.
    ids: Vec<TokenId>,
    /// The id of each symbol from 256 on minus that symbol, if it is the same for all.
    id_offset: Option<u32>,
}

impl MergeTable {
    /// Returns the table of `merges` in the order of their priority.
    ///
    /// With `is_ranked`, consecutive merges into the same token share one rank.
    pub(crate) fn new(symbols: &Symbols, merges: &[Merge], is_ranked: bool) -> Self {
        let mut pairs = PairRanks::with_capacity(merges.len());
        let mut rank = 0;
        for (position, merge) in merges.iter().enumerate() {
            if !(is_ranked && position > 0 && merges[position - 1].result == merge.result) {
                rank = position as u32;
            }
            let (left, right) = (symbols.of_id(merge.left), symbols.of_id(merge.right));
            // A part that no merge produces never occurs.
            if left != NONE && right != NONE {
                pairs.insert(left, right, rank);
            }
        }
        let byte_pairs = byte_pairs(&pairs, &symbols.starts);
        Self::with_ranks(symbols, merges, pairs, byte_pairs)
    }

    /// Returns the table of `merges` whose ranks are in `pairs` and `byte_pairs` already.
    pub(crate) fn with_ranks(
        symbols: &Symbols,
        merges: &[Merge],
        pairs: PairRanks,
        byte_pairs: Vec<u32>,
    ) -> Self {
        let results: Vec<_> = merges.iter().map(|merge| symbols.of_id(merge.result)).collect();
        Self {
            starts: symbols.starts,
            has_unknown_bytes: symbols.has_unknown_bytes,
            pairs,
            byte_pairs,
            results_are_consecutive: (256..).zip(&results).all(|(symbol, &made)| symbol == made),
            results,
            id_offset: id_offset(&symbols.ids),
            ids: symbols.ids.clone(),
        }
    }

    /// Returns the symbol that the merge of rank `rank` produces.
    #[inline(always)]
    pub(crate) fn result(&self, rank: u32) -> Symbol {
        if self.results_are_consecutive { rank + 256 } else { self.results[rank as usize] }
    }

    /// Returns the id of `symbol`.
    #[inline(always)]
    pub(crate) fn id(&self, symbol: Symbol) -> TokenId {
        match self.id_offset {
            Some(offset) if symbol >= 256 => symbol.wrapping_add(offset),
            _ => self.ids[symbol as usize],
        }
    }
}

/// Returns the one difference between the ids of the symbols from 256 on and these symbols.
fn id_offset(ids: &[TokenId]) -> Option<u32> {
    let offset = ids.get(256)?.wrapping_sub(256);
    let all = (256_u32..).zip(&ids[256..]).all(|(symbol, id)| symbol.wrapping_add(offset) == *id);
    all.then_some(offset)
}

/// Returns the ranks of all pairs of bytes.
fn byte_pairs(pairs: &PairRanks, starts: &[Symbol; 256]) -> Vec<u32> {
    let mut ranks = Vec::with_capacity(1 << 16);
    for &left in starts {
        ranks.extend(starts.iter().map(|&right| {
            if left == NONE || right == NONE { NONE } else { pairs.get(left, right) }
        }));
    }
    ranks
}
