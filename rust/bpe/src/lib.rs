//! Byte-level BPE: pre-tokenise, train, encode, decode, vocabulary files.
//!
//! ```text
//! text ─ normalize ─▶ text ─ pretokenize ─▶ pieces ─ encode (cache, else merge) ─▶ ids ─ decode ─▶ bytes
//!                                             │
//!                                             └ train: count the pieces, learn the merges
//! ```
//!
//! [`Tokenizer`] is all of it for one vocabulary; [`mod@train`] makes one. A text may be any bytes:
//! `decode(encode(text)) == text`, except for tokenizers that normalise.
//!
//! ```
//! use lslm_bpe::pretokenize::Pattern;
//! use lslm_bpe::train::{TrainOptions, WordCounter, train};
//! use lslm_bpe::{Special, Tokenizer};
//! use lslm_runtime::Task;
//!
//! # fn main() -> lslm_runtime::Result<()> {
//! let task = Task::default();
//! let pattern = Pattern::named("gpt2").expect("a published pattern");
//!
//! let mut counter = WordCounter::new(&pattern);
//! counter.add(b"low lower lowest, slow slower slowest", &task)?;
//! let words = WordCounter::finish(vec![counter], 1, &task)?;
//! let tokenizer = train(words, &TrainOptions::new(260), 1, &task)?.into_tokenizer(&pattern)?;
//!
//! let ids = tokenizer.encode(b" lowest", &Special::None, &task)?;
//! assert!(ids.len() < 7, "merged");
//!
//! let mut bytes = Vec::new();
//! tokenizer.decode_into(&ids, &mut bytes)?;
//! assert_eq!(bytes, b" lowest");
//! # Ok(())
//! # }
//! ```
//!
//! Errors are [`lslm_runtime::Error`]s: `Format` for a file that is broken or not supported,
//! `UnknownToken` for ids and names that the vocabulary lacks, `Invalid` for arguments.

mod added_tokens;
mod decode;
mod encode;
mod files;
mod fingerprint;
mod metrics;
#[cfg(test)]
mod naive;
mod normalize;
mod pages;
mod post_processor;
mod prefetch;
pub mod pretokenize;
mod tokenizer;
pub mod train;
mod vocab;

pub use added_tokens::{Special, SpecialSet};
pub use decode::StreamDecoder;
pub use encode::offsets::{Encoding, Unit};
pub use encode::workspace::Workspace;
pub use files::SpecialRoles;
pub use lslm_runtime::TokenId;
pub use lslm_runtime::simd::simd_level;
pub use metrics::{Measurer, TextStatistics};
pub use post_processor::Template;
pub use tokenizer::Tokenizer;
