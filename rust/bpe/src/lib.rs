//! Byte-level BPE: split, train, encode, decode, vocabulary files
pub mod split;
