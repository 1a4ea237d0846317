//! From ids back to bytes and text.

mod decoder;

pub use decoder::StreamDecoder;
pub(crate) use decoder::Table;
