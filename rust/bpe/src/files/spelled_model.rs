//! A vocabulary and its merges as files spell them, in [`super::byte_alphabet`].

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use lslm_runtime::TokenId;

use crate::added_tokens::AddedToken;
use crate::encode::model::{Model, Rules};
use crate::encode::rank_rule::all_joins;
use crate::files::byte_alphabet;
use crate::vocab::symbol::Merge;
use crate::vocab::vocabulary::{MAX_IDS, Vocabulary};

/// A vocabulary and its merges as a file spells them.
pub(super) struct SpelledModel<'a> {
    pub(super) vocab: &'a [(Cow<'a, str>, TokenId)],
    pub(super) merges: &'a [(Cow<'a, str>, Cow<'a, str>)],
    pub(super) added: &'a [AddedToken],
    pub(super) unknown: Option<&'a str>,
    pub(super) fuse_unknown: bool,
    pub(super) whole_first: bool,
}

impl SpelledModel<'_> {
    /// Returns the model, and the tokens whose names spell no bytes; an error says what conflicts.
    pub(super) fn model(&self) -> Result<(Model, BTreeMap<TokenId, String>), String> {
        // The bytes of all tokens end to end, in one allocation.
        let mut flat = Vec::with_capacity(self.vocab.iter().map(|(name, _)| name.len()).sum());
        let mut tokens: Vec<(TokenId, Range<usize>)> = Vec::with_capacity(self.vocab.len());
        let mut unspellable = BTreeMap::new();
        let added: HashMap<&str, TokenId> =
            self.added.iter().map(|token| (token.content.as_str(), token.id)).collect();
        let mut candidates = HashSet::new();
        for (name, id) in self.vocab {
            if let Some(&other) = added.get(&**name) {
                if other != *id {
                    return Err(format!(
                        "the added token {name:?} has id {other}, but the vocabulary says {id}"
                    ));
                }
                candidates.insert(*id);
            }
            if *id >= MAX_IDS {
                return Err(format!(
                    "the token {name:?} has the id {id}; ids must be below {MAX_IDS}"
                ));
            }
            let start = flat.len();
            if byte_alphabet::unspell(name, &mut flat) && flat.len() > start {
                tokens.push((*id, start..flat.len()));
            } else if !candidates.contains(id)
                && unspellable.insert(*id, name.to_string()).is_some()
            {
                return Err(format!("two tokens have the id {id}"));
            }
        }
        let merges = self.merge_parts()?;
        // Added tokens that the vocabulary lists too, but that merging never produces.
        let unmerged = unmerged(&candidates, &tokens, &flat, &merges);
        let all = || tokens.iter().map(|(id, range)| (*id, &flat[range.clone()]));
        let mut vocabulary = Vocabulary::new(all().filter(|(id, _)| !unmerged.contains(id)))?;
        let list = merges_in_ids(&vocabulary, &merges)?;
        // `write` lists these merges, in this order, for a vocabulary by ranks without another list.
        let is_ranked = self.whole_first && list == all_joins(&vocabulary);
        if self.whole_first && !is_ranked && !unmerged.is_empty() {
            vocabulary = Vocabulary::new(all())?;
        }
        if let Some((id, name)) =
            unspellable.iter().find(|(id, _)| !vocabulary.get(**id).is_empty())
        {
            return Err(format!("the token {name:?} has the id {id} of another token"));
        }
        let unknown = match self.unknown {
            None => None,
            Some(name) => {
                let listed = || self.vocab.iter().find(|(other, _)| other == name);
                let id = added.get(name).copied().or_else(|| listed().map(|(_, id)| *id));
                Some(id.ok_or_else(|| format!("the unknown token {name:?} is not a token"))?)
            }
        };
        let rules = Rules {
            is_ranked,
            whole_first: self.whole_first,
            unknown,
            fuse_unknown: self.fuse_unknown,
        };
        Ok((Model::new(vocabulary, list, rules)?, unspellable))
    }

    /// Returns the bytes of the parts of each merge.
    fn merge_parts(&self) -> Result<Vec<MergeParts>, String> {
        let mut merges = Vec::with_capacity(self.merges.len());
        for (index, (left, right)) in self.merges.iter().enumerate() {
            let read = |name: &str| {
                let mut out = Vec::with_capacity(name.len());
                if !byte_alphabet::unspell(name, &mut out) || out.is_empty() {
                    return Err(format!(
                        "merge {index} has the part {name:?}, which does not spell bytes"
                    ));
                }
                Ok(out)
            };
            merges.push((read(left)?, read(right)?));
        }
        Ok(merges)
    }
}

/// The bytes of the two parts of a merge.
type MergeParts = (Vec<u8>, Vec<u8>);

/// Returns those of `candidates` that are neither a byte nor a part or the result of a merge.
fn unmerged(
    candidates: &HashSet<TokenId>,
    tokens: &[(TokenId, Range<usize>)],
    flat: &[u8],
    merges: &[MergeParts],
) -> HashSet<TokenId> {
    let is_long =
        |(id, range): &&(TokenId, Range<usize>)| candidates.contains(id) && range.len() > 1;
    let mut unmerged: HashMap<&[u8], TokenId> =
        tokens.iter().filter(is_long).map(|(id, range)| (&flat[range.clone()], *id)).collect();
    if !unmerged.is_empty() {
        for (left, right) in merges {
            unmerged.remove(&left[..]);
            unmerged.remove(&right[..]);
            unmerged.remove(&[&left[..], &right[..]].concat()[..]);
        }
    }
    unmerged.into_values().collect()
}

/// Returns the merges in ids.
fn merges_in_ids(vocabulary: &Vocabulary, merges: &[MergeParts]) -> Result<Vec<Merge>, String> {
    let mut joined = Vec::new();
    let merge = |(index, (left, right)): (usize, &MergeParts)| {
        joined.clear();
        joined.extend_from_slice(left);
        joined.extend_from_slice(right);
        let find = |bytes: &[u8]| {
            vocabulary.find(bytes).ok_or_else(|| {
                let text = String::from_utf8_lossy(bytes);
                format!("merge {index} needs the token {text:?}, which the vocabulary lacks")
            })
        };
        Ok(Merge { left: find(left)?, right: find(right)?, result: find(&joined)? })
    };
    merges.iter().enumerate().map(merge).collect()
}
