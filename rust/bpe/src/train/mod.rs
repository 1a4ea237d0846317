//! Training: learns a BPE vocabulary from text.
//!
//! Two phases. A [`WordCounter`] splits documents with a [`Pattern`](crate::pretokenize::Pattern)
//! and counts the distinct pieces ("words"); [`train`] then merges, again and again, the adjacent
//! pair of tokens that occurs most often in the words.
//!
//! ```
//! use lslm_bpe::pretokenize::Pattern;
//! use lslm_bpe::train::{TrainOptions, WordCounter, train};
//! use lslm_runtime::Task;
//!
//! let pattern = Pattern::named("gpt2").unwrap();
//! let task = Task::default();
//! let mut counter = WordCounter::new(&pattern);
//! counter.add(b"low lower lowest", &task)?;
//! let words = WordCounter::finish(vec![counter], 1, &task)?;
//! let trained = train(words, &TrainOptions::new(258), 1, &task)?;
//! // The 256 bytes, then two merges: l + o, lo + w.
//! assert_eq!(&*trained.tokens[256], b"lo");
//! assert_eq!(&*trained.tokens[257], b"low");
//! # Ok::<(), lslm_runtime::Error>(())
//! ```
//!
//! The merges are those of Hugging Face `tokenizers` 0.23 (`BpeTrainer` with the byte-level
//! alphabet, one document at a time), in the same order. Its rules, which decide every id:
//!
//! * Ids: special tokens placed in front, then the 256 bytes in the order of the characters that
//!   stand for them in a `tokenizer.json`, then one id for each merge.
//! * The next merge is the pair with the largest count; among equals, the one with the smaller
//!   left id, then the smaller right id. Counts are of adjacent positions, so `aaa` has the pair
//!   `aa` twice, though only one of the two can merge.
//! * A pair is merged from left to right in each word.
//! * Training ends when the vocabulary is full or no pair occurs `min_frequency` times.
//! * With `max_token_length = n`, merges after the first two bytes stop *below* `n` bytes: a token
//!   of n bytes is not made unless n = 2.
//! * A token that is spelled like a special token shares that token's id and gets no new one.
//!
//! The result depends only on the words and their counts: not on the number of threads, the order
//! of the documents, or the files they come from. Counts are 64-bit; a sum that could exceed 2^64
//! is an error before merging starts.

mod hot_words;
mod layout;
#[cfg(test)]
mod naive;
mod options;
mod pair_counts;
mod sample;
mod shard;
mod spill;
#[cfg(test)]
mod tests;
mod trained;
mod trainer;
mod vocabulary_builder;
mod word_counter;
mod word_counts;
mod word_table;

pub use options::{Placement, TrainOptions};
pub use sample::Sample;
pub use trained::{Merge, Trained};
pub use trainer::train;
pub use word_counter::WordCounter;
pub use word_counts::WordCounts;
