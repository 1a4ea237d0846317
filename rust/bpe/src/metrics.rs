//! [`TextStatistics`]: bytes per token and tokens per word of a tokenizer on texts.

use lslm_runtime::{Result, Task, TokenId};

use crate::added_tokens::Special;
use crate::encode::workspace::Workspace;
use crate::tokenizer::Tokenizer;

/// Sums over texts, and their ratios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextStatistics {
    /// Texts.
    pub n_documents: u64,
    /// Bytes of text.
    pub n_bytes: u64,
    /// Words: the pieces of the tokenizer's pattern.
    pub n_words: u64,
    /// Words that are one token.
    pub n_whole_words: u64,
    /// Tokens.
    pub n_tokens: u64,
}

impl TextStatistics {
    /// Adds the sums of other texts.
    pub fn add(&mut self, other: &Self) {
        self.n_documents += other.n_documents;
        self.n_bytes += other.n_bytes;
        self.n_words += other.n_words;
        self.n_whole_words += other.n_whole_words;
        self.n_tokens += other.n_tokens;
    }

    /// Returns the mean number of bytes of text in a token, 0 without text. More is better.
    pub fn bytes_per_token(&self) -> f64 {
        ratio(self.n_bytes, self.n_tokens)
    }

    /// Returns the mean number of tokens in a word ("fertility"), 0 without text. 1 is the best.
    pub fn tokens_per_word(&self) -> f64 {
        ratio(self.n_tokens, self.n_words)
    }

    /// Returns the share of words that are one token, from 0 to 1.
    pub fn whole_word_share(&self) -> f64 {
        ratio(self.n_whole_words, self.n_words)
    }
}

/// Returns `numerator / denominator`, 0 for a denominator of 0.
fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

/// Measures texts with a tokenizer; one for each thread.
///
/// ```
/// use lslm_bpe::{Measurer, Tokenizer, pretokenize::Pattern};
/// use lslm_runtime::Task;
///
/// let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// tokens.extend([b"th".to_vec(), b"the".to_vec()]);
/// let merges = [(b't'.into(), b'h'.into()), (256, b'e'.into())];
/// let pattern = Pattern::named("gpt2").unwrap();
/// let tokenizer = Tokenizer::new(&tokens, &merges, pattern, &[])?;
///
/// let mut measurer = Measurer::new(&tokenizer);
/// let statistics = measurer.measure(b"the cat", &Task::default())?;
/// // "the" is one token, " cat" is four.
/// assert_eq!((statistics.n_words, statistics.n_tokens), (2, 5));
/// assert_eq!(statistics.whole_word_share(), 0.5);
/// assert_eq!(measurer.token_counts()[257], 1);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Measurer<'a> {
    tokenizer: &'a Tokenizer,
    /// The bytes of each id; zero for an id without a token.
    lengths: Vec<usize>,
    /// How often each id occurred.
    token_counts: Vec<u64>,
    workspace: Workspace,
    /// The ids of a text.
    ids: Vec<TokenId>,
    /// The bytes of those ids.
    decoded: Vec<u8>,
}

impl<'a> Measurer<'a> {
    /// Returns a measurer that has seen no text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let ids = 0..tokenizer.vocab_size() as TokenId;
        let length = |id| tokenizer.token_bytes(id).map_or(0, <[u8]>::len);
        Self {
            tokenizer,
            lengths: ids.map(length).collect(),
            token_counts: vec![0; tokenizer.vocab_size()],
            workspace: Workspace::default(),
            ids: Vec::new(),
            decoded: Vec::new(),
        }
    }

    /// Returns the statistics of one text, in which special tokens are ordinary text.
    ///
    /// Words are those of the decoded ids, which a tokenizer with a normalizer may have changed.
    pub fn measure(&mut self, text: &[u8], task: &Task) -> Result<TextStatistics> {
        let Self { tokenizer, lengths, token_counts, workspace, ids, decoded } = self;
        ids.clear();
        decoded.clear();
        tokenizer.encode_into_task(text, &Special::None, workspace, task, ids)?;
        for &id in &*ids {
            decoded.extend_from_slice(tokenizer.token_bytes(id)?);
            token_counts[id as usize] += 1;
        }
        let mut statistics = TextStatistics {
            n_documents: 1,
            n_bytes: text.len() as u64,
            n_tokens: ids.len() as u64,
            ..TextStatistics::default()
        };
        let mut rest = ids.iter();
        let mut at = 0;
        let mut start = 0;
        tokenizer.pattern().for_each_batch(decoded, |ends| {
            for &end in ends {
                let mut n_tokens = 0;
                let is_token_start = at == start;
                while at < end
                    && let Some(&id) = rest.next()
                {
                    at += lengths[id as usize];
                    n_tokens += 1;
                }
                statistics.n_words += 1;
                statistics.n_whole_words += u64::from(is_token_start && n_tokens == 1 && at == end);
                start = end;
            }
        });
        Ok(statistics)
    }

    /// Returns, by id, how often each token occurred in all texts.
    pub fn token_counts(&self) -> &[u64] {
        &self.token_counts
    }
}
