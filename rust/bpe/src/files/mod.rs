//! Vocabulary files: Hugging Face's `tokenizer.json`, `vocab.json` with `merges.txt`, `.tiktoken`,
//! Mistral's `tekken.json`.

pub(crate) mod byte_alphabet;
pub(crate) mod character_model;
mod pretrained;
mod spelled_model;
mod tekken;
mod tiktoken;
mod tokenizer_json;
mod vocab_merges;

pub use pretrained::SpecialRoles;

use std::path::Path;

use lslm_runtime::{Error, Result, files};

use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// Returns the tokenizer in `path`: a `tokenizer.json` or `tekken.json`, a folder with one,
    /// `vocab.json` or `merges.txt` in the same folder, or a rank file with the name that tiktoken's
    /// has, such as `o200k_base.tiktoken`.
    ///
    /// [`Error::Io`] when it cannot be read; [`Error::Format`] when it is broken or has something
    /// that is not supported, with what that is.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            let json = path.join("tokenizer.json");
            let vocab = path.join("vocab.json");
            let tekken = path.join("tekken.json");
            if tekken.is_file() && !json.is_file() {
                return Self::load(tekken);
            }
            if json.is_file() || !vocab.is_file() {
                return tokenizer_json::read(&read_text(&json)?, &json);
            }
            return load_pair(&vocab, &path.join("merges.txt"));
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some("vocab.json") => load_pair(path, &path.with_file_name("merges.txt")),
            Some("merges.txt") => load_pair(&path.with_file_name("vocab.json"), path),
            Some(name) if name.ends_with(".tiktoken") => Self::from_published_ranks(path),
            _ => tokenizer_json::read(&read_text(path)?, path),
        }
    }

    /// Returns the tokenizer that the text of a `tokenizer.json` describes; errors as
    /// [`Tokenizer::load`], with `<text>` for the path.
    pub fn from_json(text: &str) -> Result<Self> {
        tokenizer_json::read(text, Path::new("<text>"))
    }

    /// Writes the tokenizer to `path`, atomically: as tiktoken's rank file if the name ends in
    /// `.tiktoken`, else as a `tokenizer.json`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.extension().is_some_and(|extension| extension == "tiktoken") {
            return self.save_tiktoken(path);
        }
        files::write_atomically(path, self.to_json().as_bytes())
    }

    /// Returns the text of a `tokenizer.json` from which this tokenizer can be loaded again, and by
    /// Hugging Face's library one with equal ids.
    pub fn to_json(&self) -> String {
        tokenizer_json::write(self)
    }
}

fn load_pair(vocab_path: &Path, merges_path: &Path) -> Result<Tokenizer> {
    vocab_merges::read(&read_text(vocab_path)?, vocab_path, &read_text(merges_path)?, merges_path)
}

fn read_text(path: &Path) -> Result<String> {
    let content = std::fs::read(path).map_err(Error::io(path))?;
    String::from_utf8(content).map_err(|error| {
        let offset = error.utf8_error().valid_up_to() as u64;
        Error::format(path, offset, "not a vocabulary file: it is not text in UTF-8")
    })
}
