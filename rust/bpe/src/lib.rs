//! Byte-level BPE: split, train, encode, decode, vocabulary files.
//!
//! [`Tokenizer`] is the whole of it: [`pretokenize`] cuts a text into pieces, a piece is merged by the
//! vocabulary's pairs in their order, and what came out is remembered in a [`Cache`].
//!
//! Errors are [`lslm_runtime::Error`]s: `Format` for a file that is broken or of a kind that is
//! not supported, `UnknownToken` for ids and names that are not there, `Invalid` for arguments.

mod added_tokens;
mod decode;
mod encode;
mod files;
mod fingerprint;
mod metrics;
#[cfg(test)]
mod naive;
mod normalize;
mod post_processor;
mod prefetch;
pub mod pretokenize;
mod simd;
mod tokenizer;
pub mod train;
mod vocab;

pub use added_tokens::{Special, SpecialSet};
pub use decode::StreamDecoder;
pub use encode::batch::Frame;
pub use encode::cache::Cache;
pub use metrics::{Figures, Measure};
pub use post_processor::Template;
pub use simd::simd_level;
pub use tokenizer::{Encoding, Tokenizer, Unit};

pub use lslm_runtime::TokenId;
