//! tiktoken's rule, ids as ranks, turned into a list of merges.
//!
//! A rank file has no merges: two adjacent tokens may merge whenever their joined bytes are a
//! token, the one of lowest rank first, and a piece that is a token as a whole is taken whole.
//!
//! ```text
//! merges ← []
//! for each token t of two bytes or more, in the order of the ids:
//!     parts ← what the merges so far make of the bytes of t
//!     if parts are two, (a, b): append (a, b) → t
//!     else: there is no such list
//! ```
//!
//! Where that list exists it gives the same ids. Write E_r(x) for what the tokens below rank r make
//! of the bytes x, so that E_r(t) = (a, b) for each token t of rank r. Go through the ranks in
//! order, and assume that both rules have made E_r of the text. Where adjacent x, y join to the
//! bytes of t, no merge has crossed the two ends of that span, so it holds E_r(t) = (a, b); thus
//! only (a, b) can meet there. And a merge never makes a lower rank q possible: the new token would
//! be a part of E_q+1(t_q), which is t_q alone. So the order of the ranks is the order in time, in
//! both. In particular E(t) = t, and taking a whole piece first changes nothing.

use std::collections::BTreeSet;

use lslm_runtime::TokenId;

use crate::encode::merge;
use crate::vocab::merge_table::MAX_RANKS;
use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::symbol::{Merge, NONE};
use crate::vocab::vocabulary::Vocabulary;

/// The one list of merges that gives what the ranks give, and the ranks of its pairs.
pub(crate) struct RankMerges {
    pub(crate) merges: Vec<Merge>,
    pub(crate) pairs: PairRanks,
    /// By two bytes, the left one high: the rank of their pair.
    pub(crate) byte_pairs: Vec<u32>,
}

impl RankMerges {
    /// Returns the list of `vocabulary`, or `None` if there is none.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Option<Self> {
        let mut ids: Vec<TokenId> = Vec::with_capacity(vocabulary.len() as usize);
        ids.extend((0..=255_u8).map(|byte| vocabulary.find(&[byte]).unwrap_or(NONE)));
        let count = (vocabulary.len() as usize).saturating_sub(256);
        let mut list = Self {
            merges: Vec::with_capacity(count),
            pairs: PairRanks::with_capacity(count),
            byte_pairs: vec![NONE; 1 << 16],
        };
        let mut scratch = merge::Scratch::default();
        for (result, bytes) in vocabulary.iter().filter(|(_, bytes)| bytes.len() > 1) {
            if bytes.iter().any(|&byte| ids[usize::from(byte)] == NONE) {
                return None;
            }
            // Symbols are ranks + 256 here.
            let Self { pairs, byte_pairs, .. } = &list;
            let [left, right] = merge::two_parts(pairs, byte_pairs, bytes, &mut scratch)?;
            let rank = list.merges.len();
            if rank >= MAX_RANKS - 257 {
                return None;
            }
            list.pairs.insert(left, right, rank as u32);
            if left < 256 && right < 256 {
                list.byte_pairs[(left << 8 | right) as usize] = rank as u32;
            }
            let [left, right] = [left, right].map(|symbol| ids[symbol as usize]);
            list.merges.push(Merge { left, right, result });
            ids.push(result);
        }
        Some(list)
    }
}

/// Returns all pairs of tokens that join to a token, by the id of what they produce; the longest
/// left part first.
///
/// The order also marks a file that was written for a vocabulary by ranks: see
/// `files::tokenizer_json`.
pub(crate) fn all_joins(vocabulary: &Vocabulary) -> Vec<Merge> {
    let mut merges = Vec::new();
    // Split a long token only into parts as long as some token is.
    let lengths: BTreeSet<usize> = vocabulary.iter().map(|(_, bytes)| bytes.len()).collect();
    for (result, bytes) in vocabulary.iter() {
        for &middle in lengths.range(..bytes.len()).rev() {
            let (left, right) = bytes.split_at(middle);
            if !lengths.contains(&right.len()) {
                continue;
            }
            if let (Some(left), Some(right)) = (vocabulary.find(left), vocabulary.find(right)) {
                merges.push(Merge { left, right, result });
            }
        }
    }
    merges
}
