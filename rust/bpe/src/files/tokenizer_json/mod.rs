//! Hugging Face's `tokenizer.json`.

mod read;
mod write;

pub(crate) use read::{Names, read};
pub(crate) use write::write;
