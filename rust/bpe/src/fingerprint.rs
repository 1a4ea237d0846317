//! The identity of a tokenizer: SHA-256 over everything that decides ids.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// Returns SHA-256 over everything that decides ids; equal for the same tokenizer whatever file
    /// it was loaded from.
    pub fn fingerprint(&self) -> [u8; 32] {
        *self.0.fingerprint.get_or_init(|| fingerprint(self))
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.fingerprint() == other.fingerprint()
    }
}

impl Eq for Tokenizer {}

/// Hashes the parts of a tokenizer in their one canonical form.
///
/// Every string is preceded by its length and every list by its number of entries, all
/// little-endian, so that no two different tokenizers give the same bytes.
fn fingerprint(tokenizer: &Tokenizer) -> [u8; 32] {
    let inner = &tokenizer.0;
    let model = &inner.model;
    let mut hash = Fields(Sha256::new());
    hash.bytes(b"lslm tokenizer 1");
    // The merges say what ids after those of the file are.
    let tokens: Vec<_> =
        model.vocabulary.iter().take_while(|(id, _)| *id < model.n_ids()).collect();
    hash.number(tokens.len());
    for (id, bytes) in tokens {
        hash.number(id as usize);
        hash.bytes(bytes);
    }
    // Several lists of merges give the ids of the same ranks.
    let derived = model.merges_of_ranks();
    let merges = derived.as_ref().unwrap_or(&model.merges);
    hash.number(merges.len());
    for merge in merges {
        hash.number(merge.left as usize);
        hash.number(merge.right as usize);
        hash.number(merge.result as usize);
    }
    hash.flag(model.rules.is_ranked);
    hash.flag(model.rules.whole_first && derived.is_none() && !model.every_token_makes_itself());
    if model.table.has_unknown_bytes {
        hash.number(model.rules.unknown.map_or(0, |id| id as usize + 1));
        hash.flag(model.rules.fuse_unknown);
    }
    for list in [inner.normalizer.description(), &inner.pretokenizer.description()] {
        hash.number(list.len());
        for step in list {
            hash.bytes(step.as_bytes());
        }
    }
    let added = &inner.added.tokens;
    // Before or after normalisation is the same when nothing is normalised, unless tokens differ.
    let is_uniform = added.windows(2).all(|pair| pair[0].normalized == pair[1].normalized);
    let ignores_normalized = inner.normalizer.is_identity() && is_uniform;
    hash.number(added.len());
    for token in added {
        hash.number(token.id as usize);
        hash.bytes(token.content.as_bytes());
        hash.flag(token.single_word);
        hash.flag(token.lstrip);
        hash.flag(token.rstrip);
        hash.flag(token.normalized && !ignores_normalized);
        hash.flag(token.is_special());
    }
    hash.number(inner.unspellable.len());
    for (id, name) in &inner.unspellable {
        hash.number(*id as usize);
        hash.bytes(name.as_bytes());
    }
    hash.0.finalize().into()
}

/// Hashes fields, each in a form that says where it ends.
struct Fields(Sha256);

impl Fields {
    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn flag(&mut self, flag: bool) {
        self.0.update([u8::from(flag)]);
    }
}
