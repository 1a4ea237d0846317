//! The identity of a tokenizer: SHA-256 over everything that decides ids.

use sha2::{Digest, Sha256};

use crate::tokenizer::Tokenizer;

/// Hashes the parts of a tokenizer in their one canonical form.
///
/// Every string is preceded by its length, every list by its number of entries, all little-endian,
/// so that no two different tokenizers give the same bytes.
pub(crate) fn fingerprint(tokenizer: &Tokenizer) -> [u8; 32] {
    let inner = &tokenizer.0;
    let model = &inner.model;
    let mut hash = Fields(Sha256::new());
    hash.bytes(b"lslm tokenizer 1");
    let tokens: Vec<_> = model.vocabulary.iter().collect();
    hash.number(tokens.len());
    for (id, bytes) in tokens {
        hash.number(id as usize);
        hash.bytes(bytes);
    }
    // one vocabulary by ranks may be listed in several ways that make no difference
    let derived = model.merges_of_ranks();
    let merges = derived.as_ref().unwrap_or(&model.merges);
    hash.number(merges.len());
    for merge in merges {
        hash.number(merge.left as usize);
        hash.number(merge.right as usize);
        hash.number(merge.token as usize);
    }
    hash.flag(model.rules.ranked);
    hash.flag(model.rules.whole_first && derived.is_none() && !model.every_token_makes_itself());
    if model.incomplete {
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
    // before or after normalising is the same when nothing is normalised; both at once are not
    let one_kind = added.windows(2).all(|pair| pair[0].normalized == pair[1].normalized);
    let same = inner.normalizer.is_identity() && one_kind;
    hash.number(added.len());
    for token in added {
        hash.number(token.id as usize);
        hash.bytes(token.content.as_bytes());
        hash.flag(token.single_word);
        hash.flag(token.lstrip);
        hash.flag(token.rstrip);
        hash.flag(token.normalized && !same);
        hash.flag(token.is_control());
    }
    hash.number(inner.odd.len());
    for (id, name) in &inner.odd {
        hash.number(*id as usize);
        hash.bytes(name.as_bytes());
    }
    hash.0.finalize().into()
}

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
