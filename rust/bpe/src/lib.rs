//! Byte-level BPE: split, train, encode, decode, vocabulary files.
//!
//! [`Tokenizer`] is the whole of it: [`split`] cuts a text into pieces, a piece is merged by the
//! vocabulary's pairs in their order, and what came out is remembered in a [`Cache`].
//!
//! Errors are [`lslm_runtime::Error`]s: `Format` for a file that is broken or of a kind that is
//! not supported, `UnknownToken` for ids and names that are not there, `Invalid` for arguments.

mod abreast;
mod added;
mod backtrack;
mod batch;
mod bytes;
mod cache;
mod cuts;
mod decode;
mod encode;
mod fingerprint;
mod index;
mod json;
mod load;
mod longest;
mod matcher;
mod merge;
mod model;
#[cfg(test)]
mod naive;
mod newer;
mod normalize;
mod pairs;
mod prefetch;
mod pretokenize;
pub mod split;
mod template;
mod tokenizer;
mod tokens;
pub mod train;
mod vocabulary;

pub use added::{Special, SpecialSet};
pub use batch::Frame;
pub use cache::Cache;
pub use decode::StreamDecoder;
pub use template::Template;
pub use tokenizer::{Encoding, Tokenizer, Unit};

/// The number of a token.
pub type TokenId = u32;
