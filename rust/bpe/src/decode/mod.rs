//! From ids back to bytes and text.

mod decoder;
pub(crate) mod token_bytes;

pub use decoder::StreamDecoder;
