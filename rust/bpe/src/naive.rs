//! The two merge rules as plainly as they can be said, to hold the fast ones against.

use std::collections::HashMap;

use crate::TokenId;
use crate::encode::model::{Merge, Model};

/// tiktoken's rule: whole pieces first; else, among neighbours whose joined bytes are a token, the
/// lowest rank, leftmost of equals, until none is left. Ids are ranks.
pub(crate) fn by_ranks(ranks: &HashMap<Vec<u8>, TokenId>, piece: &[u8]) -> Vec<TokenId> {
    if let Some(&id) = ranks.get(piece) {
        return vec![id];
    }
    let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
    loop {
        let mut best: Option<(TokenId, usize)> = None;
        for i in 1..parts.len() {
            let joined = [&parts[i - 1][..], &parts[i][..]].concat();
            if let Some(&rank) = ranks.get(&joined)
                && best.is_none_or(|(lowest, _)| rank < lowest)
            {
                best = Some((rank, i - 1));
            }
        }
        let Some((_, place)) = best else { break };
        let right = parts.remove(place + 1);
        parts[place].extend(right);
    }
    parts.iter().map(|part| ranks[part]).collect()
}

/// The rule of a list: the earliest merge that applies anywhere, leftmost first, until none does.
pub(crate) fn by_list(model: &Model, piece: &[u8]) -> Vec<TokenId> {
    if model.rules.whole_first
        && let Some(id) = model.vocabulary.find(piece)
    {
        return vec![id];
    }
    let mut parts: Vec<TokenId> =
        piece.iter().map(|&byte| model.vocabulary.find(&[byte]).unwrap()).collect();
    loop {
        let mut best: Option<(usize, usize, Merge)> = None;
        for i in 1..parts.len() {
            let here = |merge: &Merge| merge.left == parts[i - 1] && merge.right == parts[i];
            // the last of equal merges counts, as in the reference
            if let Some(order) = model.merges.iter().rposition(here)
                && best.is_none_or(|(lowest, _, _)| order < lowest)
            {
                best = Some((order, i - 1, model.merges[order]));
            }
        }
        let Some((_, place, merge)) = best else { return parts };
        parts[place] = merge.token;
        parts.remove(place + 1);
    }
}
