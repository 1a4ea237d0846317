//! Byte-level BPE: split, train, encode, decode, vocabulary files
pub mod split;
pub mod train;

/// The number of a token.
pub type TokenId = u32;
