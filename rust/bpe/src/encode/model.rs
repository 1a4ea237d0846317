//! The merge model: which two neighbours become which token, and which pair goes first.
//!
//! Two rules exist in the wild. Hugging Face's files list merges, and the earliest pair in the
//! list goes first. tiktoken has no list: two neighbours may merge whenever their joined bytes are
//! a token, the one with the lowest rank goes first, and a piece that is a token as a whole is
//! taken whole. Both are held here as a list of merges in order of priority.
//!
//! For a vocabulary in which every token of rank r is made, by the tokens below r, from exactly two
//! parts, the two rules agree ([`Model::from_ranks`] says why), so that its list is the one and
//! only: it is what a trainer would have written. Other vocabularies keep tiktoken's rule as it is.
//!
//! Inside, tokens are *symbols*: the 256 bytes first, then the results of the merges in order of
//! priority. What a pair's place in the list is and what it becomes is then mostly one number.

use std::collections::BTreeSet;

use crate::TokenId;
use crate::encode::backtrack::Backtrack;
use crate::encode::boundary::Cuts;
use crate::encode::merge;
use crate::encode::merge_tree::Tokens;
use crate::encode::prefix::Longest;
use crate::vocab::pair_ranks::Pairs;
use crate::vocab::vocabulary::Vocabulary;

/// A token's number inside the model.
pub(crate) type Symbol = u32;

/// Stands for "no symbol" and "no rank".
pub(crate) const NONE: u32 = u32::MAX;

/// Ranks have to fit 21 bits, so that a rank and a place in a short piece fill one word.
const MOST: usize = (1 << 21) - 1;

/// Two neighbours and what they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) left: TokenId,
    pub(crate) right: TokenId,
    pub(crate) token: TokenId,
}

/// What is asked of a model besides its tokens and merges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Consecutive merges into the same token share one priority (tiktoken's rule).
    pub(crate) ranked: bool,
    /// A piece that is a token as a whole is taken whole.
    pub(crate) whole_first: bool,
    /// What stands for a byte that has no token.
    pub(crate) unknown: Option<TokenId>,
    /// A run of unknown bytes is one token.
    pub(crate) fuse_unknown: bool,
}

/// Tokens, merges and the tables made of them.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) merges: Vec<Merge>,
    pub(crate) rules: Rules,
    /// Each merge is the one that its token is made by, as ranks say it.
    sound: bool,
    /// The symbol of each byte; [`NONE`] where the byte has no token and nothing stands for it.
    pub(crate) starts: [Symbol; 256],
    /// Some byte has no token of its own.
    pub(crate) incomplete: bool,
    pub(crate) pairs: Pairs,
    /// The rank of each pair of bytes, the left one first: the same as `pairs` says, but together,
    /// since every piece that is not known begins with these.
    pub(crate) byte_pairs: Vec<u32>,
    /// The faster way than merging; none when bytes are missing, or tokens are made out of order.
    pub(crate) backtrack: Option<Backtrack>,
    /// The symbol that a rank makes.
    results: Vec<Symbol>,
    /// Each rank makes the symbol of its own number behind those of the bytes, so that nobody has
    /// to ask.
    in_order: bool,
    /// The id of each symbol.
    ids: Vec<TokenId>,
    /// What the symbols behind those of the bytes are less than their ids, if that is one number.
    offset: Option<u32>,
}

impl Model {
    /// The model of a list of merges in order of priority.
    pub(crate) fn new(
        vocabulary: Vocabulary,
        merges: Vec<Merge>,
        rules: Rules,
    ) -> Result<Self, String> {
        Self::build(vocabulary, merges, rules, None)
    }

    /// With `derived`, the ranks of all pairs and of those of bytes, each merge is known to be what
    /// its token is made by.
    fn build(
        vocabulary: Vocabulary,
        merges: Vec<Merge>,
        rules: Rules,
        derived: Option<(Pairs, Vec<u32>)>,
    ) -> Result<Self, String> {
        if merges.len() >= MOST || vocabulary.len() as usize + 257 >= MOST {
            return Err(format!("more than {} tokens or merges", MOST - 258));
        }
        let mut ids = vec![NONE; 256];
        let mut symbols = vec![NONE; vocabulary.len() as usize];
        let mut starts = [NONE; 256];
        for byte in 0..=255_u8 {
            if let Some(id) = vocabulary.find(&[byte]) {
                ids[usize::from(byte)] = id;
                symbols[id as usize] = Symbol::from(byte);
                starts[usize::from(byte)] = Symbol::from(byte);
            }
        }
        let incomplete = starts.contains(&NONE);
        for merge in &merges {
            let symbol = &mut symbols[merge.token as usize];
            if *symbol == NONE {
                *symbol = ids.len() as Symbol;
                ids.push(merge.token);
            }
        }
        if incomplete && let Some(unknown) = rules.unknown {
            // a symbol of its own: an unknown byte never merges with its neighbours
            starts.iter_mut().filter(|start| **start == NONE).for_each(|start| {
                *start = ids.len() as Symbol;
            });
            ids.push(unknown);
        }
        let sound = derived.is_some();
        let (mut pairs, bytes_known) = match derived {
            Some((pairs, byte_pairs)) => (pairs, Some(byte_pairs)),
            None => (Pairs::with_capacity(merges.len()), None),
        };
        let mut results = Vec::with_capacity(merges.len());
        let mut rank = 0;
        for (place, merge) in merges.iter().enumerate() {
            if !(rules.ranked && place > 0 && merges[place - 1].token == merge.token) {
                rank = place as u32;
            }
            results.push(symbols[merge.token as usize]);
            let left = symbols[merge.left as usize];
            let right = symbols[merge.right as usize];
            // a part that nothing makes never occurs
            if !sound && left != NONE && right != NONE {
                pairs.insert(left, right, rank);
            }
        }
        let byte_pairs = bytes_known.unwrap_or_else(|| byte_pairs(&pairs, &starts));
        let symbol =
            |merge: &Merge| [merge.left, merge.right, merge.token].map(|id| symbols[id as usize]);
        let backtrack = (!incomplete && !rules.ranked)
            .then(|| Tokens::new(&vocabulary, &ids, &merges, symbol, &pairs, sound))
            .flatten()
            .map(|tokens| {
                let longest = Longest::new(&vocabulary, &starts, |id| {
                    let symbol = symbols[id as usize];
                    if tokens.is_made(symbol) { symbol } else { NONE }
                });
                Backtrack { cuts: Cuts::new(&vocabulary), longest, tokens }
            });
        Ok(Self {
            vocabulary,
            merges,
            rules,
            sound,
            starts,
            incomplete,
            pairs,
            byte_pairs,
            backtrack,
            in_order: (256..).zip(&results).all(|(symbol, &result)| symbol == result),
            results,
            offset: offset(&ids),
            ids,
        })
    }

    /// The symbol that the merge of this rank makes.
    #[inline(always)]
    pub(crate) fn result(&self, rank: u32) -> Symbol {
        if self.in_order { rank + 256 } else { self.results[rank as usize] }
    }

    /// The id of `symbol`.
    #[inline(always)]
    pub(crate) fn id(&self, symbol: Symbol) -> TokenId {
        match self.offset {
            Some(offset) if symbol >= 256 => symbol.wrapping_add(offset),
            _ => self.ids[symbol as usize],
        }
    }

    /// The model of tiktoken's rule, with ids as ranks.
    ///
    /// Write E_r(x) for what the tokens below rank r make of the bytes x. If every token t of rank
    /// r and two bytes or more has E_r(t) = (a, b), then tiktoken's rule does what the list of
    /// these merges (a, b) → t does. Step by step through the ranks: assume that both have made
    /// E_r of the text. Where neighbours x, y join to the bytes of t, no merge has crossed the two
    /// ends of that span, so what lies in it is E_r(t) = (a, b); thus only (a, b) can meet there.
    /// And a merge never brings up a lower rank q: the new token would be a part of E_q+1(t_q),
    /// which is t_q alone. So the order by rank is the order in time, in both. In particular
    /// E(t) = t, and taking a whole piece first changes nothing.
    ///
    /// If some token fails, all ways to join two tokens into a third are listed, those of one token
    /// with one priority, and whole pieces go first: tiktoken's rule itself.
    pub(crate) fn from_ranks(vocabulary: Vocabulary) -> Result<Self, String> {
        if let Some(derived) = Derived::new(&vocabulary) {
            let Derived { merges, pairs, byte_pairs } = derived;
            return Self::build(vocabulary, merges, Rules::default(), Some((pairs, byte_pairs)));
        }
        let merges = all_joins(&vocabulary);
        let rules = Rules { ranked: true, whole_first: true, ..Rules::default() };
        Self::new(vocabulary, merges, rules)
    }

    /// The merges that a trainer would have written, if this model does what its ids, read as
    /// ranks, do: then it may as well be given by ranks.
    ///
    /// The list need not be that one itself. By the proof at [`Model::from_ranks`], other pairs for
    /// a token, at the place of that token in the order, never meet; converted files have them.
    pub(crate) fn merges_of_ranks(&self) -> Option<Vec<Merge>> {
        if self.sound {
            return Some(self.merges.clone());
        }
        if self.rules.ranked || !self.merges.is_sorted_by_key(|merge| merge.token) {
            return None;
        }
        let derived = Derived::new(&self.vocabulary)?.merges;
        let mut own = self.merges.iter();
        derived.iter().all(|merge| own.any(|other| other == merge)).then_some(derived)
    }

    /// Whether taking a whole piece first never changes what comes out.
    pub(crate) fn every_token_makes_itself(&self) -> bool {
        let mut scratch = merge::Scratch::default();
        let mut out = Vec::new();
        let task = lslm_runtime::Task::default();
        self.vocabulary.iter().all(|(id, bytes)| {
            out.clear();
            bytes.iter().all(|&byte| self.starts[usize::from(byte)] != NONE)
                && merge::merge(self, bytes, &mut scratch, &task, &mut out).is_ok()
                && out == [id]
        })
    }
}

/// What all symbols behind those of the bytes are less than their ids.
fn offset(ids: &[TokenId]) -> Option<u32> {
    let offset = ids.get(256)?.wrapping_sub(256);
    let all = (256_u32..).zip(&ids[256..]).all(|(symbol, id)| symbol.wrapping_add(offset) == *id);
    all.then_some(offset)
}

/// The ranks of all pairs of bytes.
fn byte_pairs(pairs: &Pairs, starts: &[Symbol; 256]) -> Vec<u32> {
    let mut ranks = Vec::with_capacity(1 << 16);
    for &left in starts {
        ranks.extend(starts.iter().map(|&right| {
            if left == NONE || right == NONE { NONE } else { pairs.get(left, right) }
        }));
    }
    ranks
}

/// The one list of merges that gives what ranks give.
struct Derived {
    merges: Vec<Merge>,
    pairs: Pairs,
    byte_pairs: Vec<u32>,
}

impl Derived {
    /// `None` if there is no such list.
    fn new(vocabulary: &Vocabulary) -> Option<Self> {
        let mut ids: Vec<TokenId> = Vec::with_capacity(vocabulary.len() as usize);
        ids.extend((0..=255_u8).map(|byte| vocabulary.find(&[byte]).unwrap_or(NONE)));
        let count = (vocabulary.len() as usize).saturating_sub(256);
        let mut derived = Self {
            merges: Vec::with_capacity(count),
            pairs: Pairs::with_capacity(count),
            byte_pairs: vec![NONE; 1 << 16],
        };
        let mut scratch = merge::Scratch::default();
        for (token, bytes) in vocabulary.iter().filter(|(_, bytes)| bytes.len() > 1) {
            if bytes.iter().any(|&byte| ids[usize::from(byte)] == NONE) {
                return None;
            }
            // symbols are ranks + 256 here
            let Self { pairs, byte_pairs, .. } = &derived;
            let [left, right] = merge::two_parts(pairs, byte_pairs, bytes, &mut scratch)?;
            let rank = derived.merges.len();
            if rank >= MOST - 257 {
                return None;
            }
            derived.pairs.insert(left, right, rank as u32);
            if left < 256 && right < 256 {
                derived.byte_pairs[(left << 8 | right) as usize] = rank as u32;
            }
            let [left, right] = [left, right].map(|symbol| ids[symbol as usize]);
            derived.merges.push(Merge { left, right, token });
            ids.push(token);
        }
        Some(derived)
    }
}

/// All pairs of tokens that join to a token, by the rank of what they make; longest left part
/// first. This order is also the mark by which a file that lists them is known again.
pub(crate) fn all_joins(vocabulary: &Vocabulary) -> Vec<Merge> {
    let mut merges = Vec::new();
    // of a long token only the cuts into parts as long as some token is
    let lengths: BTreeSet<usize> = vocabulary.iter().map(|(_, bytes)| bytes.len()).collect();
    for (token, bytes) in vocabulary.iter() {
        for &cut in lengths.range(..bytes.len()).rev() {
            let (left, right) = bytes.split_at(cut);
            if !lengths.contains(&right.len()) {
                continue;
            }
            if let (Some(left), Some(right)) = (vocabulary.find(left), vocabulary.find(right)) {
                merges.push(Merge { left, right, token });
            }
        }
    }
    merges
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

    #[test]
    fn ranks_give_the_list_a_trainer_wrote() {
        let model = Model::from_ranks(vocabulary(&["ab", "abc", "cd", "abab"])).unwrap();
        let merge = |left, right, token| Merge { left, right, token };
        assert_eq!(
            model.merges,
            [merge(97, 98, 256), merge(256, 99, 257), merge(99, 100, 258), merge(256, 256, 259)]
        );
        assert!(!model.rules.whole_first && model.every_token_makes_itself());
        assert_eq!(model.merges_of_ranks(), Some(model.merges.clone()));
        // a converted file lists other pairs too
        let mut merges = model.merges.clone();
        merges.insert(1, merge(97, 99, 257));
        let converted = Model::new(model.vocabulary.clone(), merges, Rules::default()).unwrap();
        assert_eq!(converted.merges_of_ranks(), Some(model.merges));
    }

    #[test]
    fn long_tokens_have_two_parts_as_well() {
        let blanks: Vec<String> = (1..=18).map(|n| " ".repeat(1 << n)).collect();
        let other = " ".repeat(96);
        let words: Vec<&str> = blanks.iter().chain([&other]).map(String::as_str).collect();
        let model = Model::from_ranks(vocabulary(&words)).unwrap();
        let merge = |left, right, token| Merge { left, right, token };
        let doubled = (257..274).map(|token| merge(token - 1, token - 1, token));
        let first = [merge(32, 32, 256)];
        let merges: Vec<Merge> =
            first.into_iter().chain(doubled).chain([merge(261, 260, 274)]).collect();
        assert_eq!(model.merges, merges);
    }

    #[test]
    fn ranks_without_such_a_list_keep_their_own_rule() {
        // "abc" is not made of two tokens below it
        let model = Model::from_ranks(vocabulary(&["abc", "bc"])).unwrap();
        assert!(model.rules.whole_first && model.rules.ranked && model.merges_of_ranks().is_none());
        assert_eq!(model.merges[0], Merge { left: 97, right: 257, token: 256 });
    }

    #[test]
    fn pairs_are_found_among_collisions() {
        let mut pairs = Pairs::with_capacity(1000);
        for i in 0..1000_u32 {
            pairs.insert(i * 7 % 1000, i * 13 % 1000, i);
        }
        for i in 0..1000_u32 {
            assert_eq!(pairs.get(i * 7 % 1000, i * 13 % 1000), i);
            assert_eq!(pairs.get(i, 1000 + i), NONE);
        }
    }
}
