//! What to train.

/// Where the ids of the special tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// They are the first ids: 0, 1, …
    Front,
    /// They are the last ids, as in the vocabularies of OpenAI and Qwen.
    #[default]
    End,
}

/// The options of [`train`](super::train).
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The number of ids, special tokens included. The result has fewer if the text has too few
    /// pairs.
    pub vocab_size: usize,
    /// Tokens without a text of their own, such as `<|endoftext|>`.
    pub special_tokens: Vec<String>,
    /// Where the ids of the special tokens are.
    pub placement: Placement,
    /// Pairs that occur less often are not merged; 0 and 1 are the same.
    pub min_frequency: u64,
    /// Tokens have fewer bytes than this; tokens of two bytes are always allowed.
    pub max_token_length: Option<usize>,
    /// The most bytes of memory that merging may use;
    /// [`Error::Invalid`](lslm_runtime::Error::Invalid) before it starts if the estimate is higher.
    /// The estimate holds for natural languages.
    pub memory: Option<u64>,
}

impl TrainOptions {
    /// Returns options for `vocab_size` ids, without special tokens or limits.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            special_tokens: Vec::new(),
            placement: Placement::default(),
            min_frequency: 0,
            max_token_length: None,
            memory: None,
        }
    }
}
