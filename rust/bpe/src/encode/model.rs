//! A vocabulary with its merges, and all that is computed from them to encode.
//!
//! Two merge rules exist. Hugging Face's files list merges, and the earliest pair in the list goes
//! first. tiktoken's files list no merges; [`super::rank_rule`] turns them into such a list, or,
//! where none gives the same ids, into all pairs that join to a token, with one rank for the pairs
//! of the same token. So both rules are a list of merges in the order of their priority, and
//! [`Rules`].

use std::collections::HashSet;

use foldhash::fast::FixedState;
use lslm_runtime::{Error, Result, Task, TokenId};

use crate::encode::backtrack::Backtrack;
use crate::encode::boundary::BoundaryFilter;
use crate::encode::merge;
use crate::encode::merge_tree::MergeTree;
use crate::encode::prefix::LongestPrefix;
use crate::encode::rank_rule::{RankMerges, all_joins};
use crate::encode::scratch::Scratch;
use crate::vocab::merge_table::{MergeTable, Symbols};
use crate::vocab::symbol::{Merge, NONE};
use crate::vocab::vocabulary::Vocabulary;

/// How a piece becomes ids, besides the tokens and merges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Consecutive merges into the same token share one rank (tiktoken's rule).
    pub(crate) is_ranked: bool,
    /// A piece that is a token as a whole is taken whole (`ignore_merges` in a `tokenizer.json`).
    pub(crate) whole_first: bool,
    /// The token of a byte that has none (`unk_token`).
    pub(crate) unknown: Option<TokenId>,
    /// Adjacent unknown bytes are one token (`fuse_unk`).
    pub(crate) fuse_unknown: bool,
}

/// Ids that stand for several others: they follow those of the file, and no output has them.
#[derive(Clone, Debug)]
pub(crate) struct Expansions {
    /// The first such id.
    pub(crate) first: TokenId,
    /// By id, from the first on: what it stands for.
    pub(crate) ids: Vec<Vec<TokenId>>,
}

impl Expansions {
    /// Appends `ids` to `out`, each as what it stands for.
    #[cold]
    fn extend(&self, ids: &[TokenId], out: &mut Vec<TokenId>) {
        for id in ids {
            match id.checked_sub(self.first).and_then(|index| self.ids.get(index as usize)) {
                Some(ids) => out.extend_from_slice(ids),
                None => out.push(*id),
            }
        }
    }
}

/// A vocabulary, its merges, and the tables made of them.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) merges: Vec<Merge>,
    pub(crate) rules: Rules,
    /// Whether the merges are those of [`RankMerges`].
    has_rank_merges: bool,
    pub(crate) table: MergeTable,
    expansions: Option<Expansions>,
    /// With `whole_first`: the tokens that merging does not make of their bytes, so that they occur as
    /// whole pieces only.
    unmade: HashSet<TokenId, FixedState>,
    /// A faster way than merging; `None` when bytes are missing, or where it would give other ids.
    pub(crate) backtrack: Option<Backtrack>,
}

impl Model {
    /// Returns the model of a list of merges in the order of their priority.
    pub(crate) fn new(
        vocabulary: Vocabulary,
        merges: Vec<Merge>,
        rules: Rules,
    ) -> Result<Self, String> {
        let symbols = Symbols::new(&vocabulary, &merges, rules.unknown)?;
        let table = MergeTable::new(&symbols, &merges, rules.is_ranked);
        Ok(Self::with_table(vocabulary, merges, rules, table, &symbols, false))
    }

    /// Returns the model of tiktoken's rule, with ids as ranks.
    pub(crate) fn from_ranks(vocabulary: Vocabulary) -> Result<Self, String> {
        if let Some(RankMerges { merges, pairs, byte_pairs }) = RankMerges::new(&vocabulary) {
            let symbols = Symbols::new(&vocabulary, &merges, None)?;
            let table = MergeTable::with_ranks(&symbols, &merges, pairs, byte_pairs);
            return Ok(Self::with_table(
                vocabulary,
                merges,
                Rules::default(),
                table,
                &symbols,
                true,
            ));
        }
        let merges = all_joins(&vocabulary);
        let rules = Rules { is_ranked: true, whole_first: true, ..Rules::default() };
        Self::new(vocabulary, merges, rules)
    }

    fn with_table(
        vocabulary: Vocabulary,
        merges: Vec<Merge>,
        rules: Rules,
        table: MergeTable,
        symbols: &Symbols,
        has_rank_merges: bool,
    ) -> Self {
        let symbols_of =
            |merge: &Merge| [merge.left, merge.right, merge.result].map(|id| symbols.of_id(id));
        let tree = (!table.has_unknown_bytes && !rules.is_ranked)
            .then(|| {
                let (ids, pairs) = (&symbols.ids, &table.pairs);
                MergeTree::new(&vocabulary, ids, &merges, symbols_of, pairs, has_rank_merges)
            })
            .flatten();
        let is_unmade = |tree: &MergeTree, id: TokenId| {
            let symbol = symbols.of_id(id);
            symbol == NONE || !tree.is_made(symbol)
        };
        let mut unmade = HashSet::default();
        if let Some(tree) = tree.as_ref().filter(|_| rules.whole_first) {
            unmade.extend(vocabulary.iter().map(|(id, _)| id).filter(|&id| is_unmade(tree, id)));
        }
        let backtrack = tree.map(|tree| {
            let prefixes = LongestPrefix::new(&vocabulary, &table.starts, |id| {
                let symbol = symbols.of_id(id);
                if tree.is_made(symbol) { symbol } else { NONE }
            });
            Backtrack { boundaries: BoundaryFilter::new(&vocabulary), prefixes, tree }
        });
        Self {
            vocabulary,
            merges,
            rules,
            has_rank_merges,
            table,
            expansions: None,
            unmade,
            backtrack,
        }
    }

    /// Returns the merges of [`RankMerges`], if these give the same ids as this model, so that it
    /// may as well be given by ranks.
    ///
    /// The model's own list may have more pairs. By the proof at [`super::rank_rule`] other pairs
    /// of a token, at the position of that token in the order, never meet; converted files have
    /// such pairs.
    pub(crate) fn merges_of_ranks(&self) -> Option<Vec<Merge>> {
        if self.has_rank_merges {
            return Some(self.merges.clone());
        }
        if self.rules.is_ranked || !self.merges.is_sorted_by_key(|merge| merge.result) {
            return None;
        }
        let derived = RankMerges::new(&self.vocabulary)?.merges;
        let mut own = self.merges.iter();
        derived.iter().all(|merge| own.any(|other| other == merge)).then_some(derived)
    }

    /// Whether merging the bytes of each token gives that token, so that taking a whole piece first
    /// changes nothing.
    pub(crate) fn every_token_makes_itself(&self) -> bool {
        let mut scratch = merge::Scratch::default();
        let mut out = Vec::new();
        let task = Task::default();
        self.vocabulary.iter().all(|(id, bytes)| {
            out.clear();
            bytes.iter().all(|&byte| self.table.starts[usize::from(byte)] != NONE)
                && merge::merge(&self.table, bytes, &mut scratch, &task, &mut out).is_ok()
                && out == [id]
        })
    }

    /// Returns the same model, some ids of which stand for several.
    pub(crate) fn with_expansions(self, expansions: Expansions) -> Self {
        Self { expansions: Some(expansions), ..self }
    }

    /// Returns one more than the largest id of the output.
    pub(crate) fn n_ids(&self) -> TokenId {
        self.expansions.as_ref().map_or(self.vocabulary.len(), |expansions| expansions.first)
    }

    /// Returns `ids` with each that stands for several expanded; `out` is the memory of the result.
    #[inline]
    pub(crate) fn expanded<'i>(
        &self,
        ids: &'i [TokenId],
        out: &'i mut Vec<TokenId>,
    ) -> &'i [TokenId] {
        match &self.expansions {
            Some(expansions) if ids.iter().any(|&id| id >= expansions.first) => {
                out.clear();
                expansions.extend(ids, out);
                out
            }
            _ => ids,
        }
    }

    /// Returns how pieces are merged, for display.
    pub(crate) fn method(&self) -> &'static str {
        if self.table.has_unknown_bytes {
            "one piece at a time, since some bytes have no token"
        } else if self.backtrack.is_some() {
            "16 pieces in turns, Chinese in parts"
        } else {
            "16 pieces in turns, Chinese in whole pieces, since some token is not made in the order of ranks"
        }
    }

    /// Returns the id that `piece` has as a whole, whatever merging makes of it.
    #[inline]
    pub(crate) fn whole(&self, piece: &[u8]) -> Option<TokenId> {
        if self.rules.whole_first { self.vocabulary.find(piece) } else { None }
    }

    /// Whether there are tokens that merging does not make of their bytes. Known only with
    /// `whole_first`.
    pub(crate) fn has_unmade(&self) -> bool {
        !self.unmade.is_empty()
    }

    /// Whether merging does not make the token `id` of its bytes. Known only with `whole_first`.
    #[inline]
    pub(crate) fn is_unmade(&self, id: TokenId) -> bool {
        self.unmade.contains(&id)
    }

    /// Appends what merging makes of `piece`, a piece or a part of one, to `out`.
    ///
    /// [`Error::Invalid`] when a byte has no token and the vocabulary has no unknown token.
    pub(crate) fn merge(
        &self,
        piece: &[u8],
        scratch: &mut Scratch,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        let start = out.len();
        self.merge_unexpanded(piece, scratch, task, out)?;
        if let Some(expansions) = &self.expansions {
            let ids = out.split_off(start);
            expansions.extend(&ids, out);
        }
        Ok(())
    }

    fn merge_unexpanded(
        &self,
        piece: &[u8],
        scratch: &mut Scratch,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        if let Some(backtrack) = &self.backtrack
            && backtrack.encode(&self.table, piece, &mut scratch.backtrack, task, out)?
        {
            return Ok(());
        }
        if !self.table.has_unknown_bytes {
            return merge::merge(&self.table, piece, &mut scratch.merge, task, out);
        }
        self.encode_unknown(piece, &mut scratch.merge, task, out)
    }

    /// [`Self::merge`] for a vocabulary that lacks some bytes.
    fn encode_unknown(
        &self,
        piece: &[u8],
        scratch: &mut merge::Scratch,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        let has_no_symbol = |byte: &&u8| self.table.starts[usize::from(**byte)] == NONE;
        if let Some(byte) = piece.iter().find(has_no_symbol) {
            return Err(Error::invalid(format!(
                "the vocabulary has no token for the byte 0x{byte:02X} and no unknown token: train \
                 one with all 256 bytes"
            )));
        }
        let start = out.len();
        merge::merge(&self.table, piece, scratch, task, out)?;
        if self.rules.fuse_unknown
            && let Some(unknown) = self.rules.unknown
        {
            let mut kept = start;
            for i in start..out.len() {
                let is_repeated = i > start && out[i] == unknown && out[kept - 1] == unknown;
                if !is_repeated {
                    out[kept] = out[i];
                    kept += 1;
                }
            }
            out.truncate(kept);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(words: &[&str]) -> Vocabulary {
        let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let words = words.iter().map(|word| word.as_bytes());
        let tokens: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).chain(words).collect();
        Vocabulary::new(tokens.iter().enumerate().map(|(id, bytes)| (id as u32, *bytes))).unwrap()
    }

    fn merge(left: TokenId, right: TokenId, result: TokenId) -> Merge {
        Merge { left, right, result }
    }

    #[test]
    fn ranks_give_the_merges_that_a_trainer_would_have_written() {
        let model = Model::from_ranks(vocabulary(&["ab", "abc", "cd", "abab"])).unwrap();
        assert_eq!(
            model.merges,
            [merge(97, 98, 256), merge(256, 99, 257), merge(99, 100, 258), merge(256, 256, 259)]
        );
        assert!(!model.rules.whole_first && model.every_token_makes_itself());
        assert_eq!(model.merges_of_ranks(), Some(model.merges.clone()));
        // A converted file lists other pairs too.
        let mut merges = model.merges.clone();
        merges.insert(1, merge(97, 99, 257));
        let converted = Model::new(model.vocabulary.clone(), merges, Rules::default()).unwrap();
        assert_eq!(converted.merges_of_ranks(), Some(model.merges));
    }

    #[test]
    fn tokens_too_long_to_scan_have_two_parts_as_well() {
        let blanks: Vec<String> = (1..=18).map(|n| " ".repeat(1 << n)).collect();
        let other = " ".repeat(96);
        let words: Vec<&str> = blanks.iter().chain([&other]).map(String::as_str).collect();
        let model = Model::from_ranks(vocabulary(&words)).unwrap();
        let doubled = (257..274).map(|result| merge(result - 1, result - 1, result));
        let first = [merge(32, 32, 256)];
        let merges: Vec<Merge> =
            first.into_iter().chain(doubled).chain([merge(261, 260, 274)]).collect();
        assert_eq!(model.merges, merges);
    }

    #[test]
    fn ranks_without_such_merges_keep_their_own_rule() {
        // "abc" is not made of two tokens below it.
        let model = Model::from_ranks(vocabulary(&["abc", "bc"])).unwrap();
        assert!(model.rules.whole_first && model.rules.is_ranked);
        assert!(model.merges_of_ranks().is_none());
        assert_eq!(model.merges[0], merge(97, 257, 256));
    }
}
