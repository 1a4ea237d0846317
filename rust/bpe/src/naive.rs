//! The two merge rules by their definitions, for tests to compare the engines with.

use std::collections::HashMap;

use lslm_runtime::TokenId;

use crate::encode::model::Model;
use crate::vocab::symbol::Merge;

/// Returns the ids of `piece` by tiktoken's rule, with ids as ranks.
///
/// A piece that is a token is taken whole; else the adjacent pair whose joined bytes are the token
/// of lowest rank is joined, the leftmost of equals, until no pair joins to a token.
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
        let Some((_, at)) = best else { break };
        let right = parts.remove(at + 1);
        parts[at].extend(right);
    }
    parts.iter().map(|part| ranks[part]).collect()
}

/// Returns the ids of `piece` by the rule of a list: the earliest merge that applies anywhere,
/// leftmost first, until none does.
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
            let applies = |merge: &Merge| merge.left == parts[i - 1] && merge.right == parts[i];
            // Of equal merges the last counts, as in Hugging Face's library.
            if let Some(order) = model.merges.iter().rposition(applies)
                && best.is_none_or(|(lowest, _, _)| order < lowest)
            {
                best = Some((order, i - 1, model.merges[order]));
            }
        }
        let Some((_, at, merge)) = best else { return parts };
        parts[at] = merge.result;
        parts.remove(at + 1);
    }
}
