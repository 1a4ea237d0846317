//! What a vocabulary makes of a text, in numbers.

use lslm_runtime::{Result, Task};
use serde::Serialize;

use crate::{Special, TokenId, Tokenizer, Workspace};

/// Sums over texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// How many texts there are.
    pub documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Words, as the pattern cuts them.
    pub words: u64,
    /// Words that are one token.
    pub whole_words: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Figures {
    /// Adds the sums of other texts.
    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.words += other.words;
        self.whole_words += other.whole_words;
        self.tokens += other.tokens;
    }

    /// Bytes of text in a token, on average; 0 without text. More is better.
    pub fn bytes_per_token(&self) -> f64 {
        ratio(self.bytes, self.tokens)
    }

    /// Tokens in a word, on average ("fertility"); 0 without text. 1 is the least.
    pub fn tokens_per_word(&self) -> f64 {
        ratio(self.tokens, self.words)
    }

    /// The share of words that are one token, between 0 and 1.
    pub fn whole_word_share(&self) -> f64 {
        ratio(self.whole_words, self.words)
    }
}

fn ratio(above: u64, below: u64) -> f64 {
    if below == 0 { 0.0 } else { above as f64 / below as f64 }
}

/// Measures texts with a tokenizer; one for each thread.
#[derive(Debug)]
pub struct Measure<'a> {
    tokenizer: &'a Tokenizer,
    /// The bytes of each id; zero where there is no token.
    lengths: Vec<usize>,
    /// How often each id came.
    uses: Vec<u64>,
    workspace: Workspace,
    ids: Vec<TokenId>,
    spelled: Vec<u8>,
}

impl<'a> Measure<'a> {
    /// A measure that has seen nothing.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let ids = 0..tokenizer.vocab_size() as TokenId;
        let length = |id| tokenizer.token_bytes(id).map_or(0, <[u8]>::len);
        Self {
            tokenizer,
            lengths: ids.map(length).collect(),
            uses: vec![0; tokenizer.vocab_size()],
            workspace: Workspace::default(),
            ids: Vec::new(),
            spelled: Vec::new(),
        }
    }

    /// The figures of one text, in which special tokens are text like any other.
    ///
    /// Words are counted in the text that the ids spell, which a tokenizer with a normalizer may
    /// have changed.
    pub fn text(&mut self, text: &[u8], task: &Task) -> Result<Figures> {
        let Self { tokenizer, lengths, uses, workspace, ids, spelled } = self;
        ids.clear();
        spelled.clear();
        tokenizer.encode_into_task(text, &Special::None, workspace, task, ids)?;
        for &id in &*ids {
            spelled.extend_from_slice(tokenizer.token_bytes(id)?);
            uses[id as usize] += 1;
        }
        let mut figures = Figures {
            documents: 1,
            bytes: text.len() as u64,
            tokens: ids.len() as u64,
            ..Figures::default()
        };
        let mut rest = ids.iter();
        let mut at = 0;
        let mut start = 0;
        tokenizer.pattern().for_each_batch(spelled, |ends| {
            for &end in ends {
                let mut tokens = 0;
                let begins = at == start;
                while at < end
                    && let Some(&id) = rest.next()
                {
                    at += lengths[id as usize];
                    tokens += 1;
                }
                figures.words += 1;
                figures.whole_words += u64::from(begins && tokens == 1 && at == end);
                start = end;
            }
        });
        Ok(figures)
    }

    /// How often each id came in all texts.
    pub fn uses(&self) -> &[u64] {
        &self.uses
    }
}
