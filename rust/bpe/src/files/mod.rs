//! Vocabulary files: Hugging Face's `tokenizer.json`, `vocab.json` with `merges.txt`, `.tiktoken`.

pub(crate) mod byte_alphabet;
mod load;
pub(crate) mod tokenizer_json;
