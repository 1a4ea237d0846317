//! [`Trained`]: the vocabulary that training returns.

use lslm_runtime::{Result, TokenId};

use crate::pretokenize::Pattern;
use crate::tokenizer::Tokenizer;
pub use crate::vocab::symbol::Merge;

/// A trained vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trained {
    /// The bytes of each id; the name of a special token.
    pub tokens: Vec<Box<[u8]>>,
    /// The merges in the order in which they were chosen, which is their rank.
    pub merges: Vec<Merge>,
    /// The special tokens with their ids, in the order of the options.
    pub special_tokens: Vec<(String, TokenId)>,
}

impl Trained {
    /// Returns the tokenizer with this vocabulary; `pattern` is the one the words were counted
    /// with.
    pub fn into_tokenizer(mut self, pattern: &Pattern) -> Result<Tokenizer> {
        // A special token is not in the model's vocabulary, unless text can also give its id.
        for (_, id) in &self.special_tokens {
            let token = &mut self.tokens[*id as usize];
            if token.len() > 1 && self.merges.iter().all(|merge| merge.result != *id) {
                *token = Box::default();
            }
        }
        let Self { tokens, merges, special_tokens } = self;
        Tokenizer::from_trained(&tokens, merges, pattern.clone(), &special_tokens)
    }
}
