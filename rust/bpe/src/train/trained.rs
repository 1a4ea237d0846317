//! [`Trained`]: the vocabulary that training returns.

use lslm_runtime::Result;

use crate::pretokenize::Pattern;
use crate::{TokenId, Tokenizer};

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
    pub fn into_tokenizer(self, pattern: &Pattern) -> Result<Tokenizer> {
        let mut tokens: Vec<Vec<u8>> = self.tokens.into_iter().map(Vec::from).collect();
        // A special token is not in the model's vocabulary, unless text can also give its id.
        for (_, id) in &self.special_tokens {
            let token = &mut tokens[*id as usize];
            if token.len() > 1 && self.merges.iter().all(|merge| merge.result != *id) {
                token.clear();
            }
        }
        let merges: Vec<_> = self.merges.iter().map(|merge| (merge.left, merge.right)).collect();
        Tokenizer::new(&tokens, &merges, pattern.clone(), &self.special_tokens)
    }
}

/// An adjacent pair of tokens and the token it merges into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The token on the left.
    pub left: TokenId,
    /// The token on the right.
    pub right: TokenId,
    /// The token that replaces both.
    pub result: TokenId,
}
