//! Writes the folder that transformers' `AutoTokenizer.from_pretrained` loads.

use std::path::Path;

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result, files};
use serde_json::{Map, Value};

use crate::tokenizer::Tokenizer;

/// The usual contents of the token that begins a document.
const BOS_CONTENTS: &[&str] = &[
    "<s>",
    "<|begin_of_text|>",
    "<bos>",
    "<BOS>",
    "[BOS]",
    "<|bos|>",
    "<\u{FF5C}begin\u{2581}of\u{2581}sentence\u{FF5C}>",
];
/// The usual contents of the token that fills a batch of texts of different lengths.
const PAD_CONTENTS: &[&str] =
    &["<pad>", "<PAD>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|padding|>"];
/// The usual contents of the token for what the vocabulary lacks.
const UNK_CONTENTS: &[&str] = &["<unk>", "<UNK>", "[UNK]", "<|unk|>"];

/// Which special token has which role in transformers; `None` for the one with a usual name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialRoles {
    /// What begins a document.
    pub bos: Option<String>,
    /// What ends a document; by default that of [`Tokenizer::eos_id`].
    pub eos: Option<String>,
    /// What fills a batch of texts of different lengths; by default, without a token with a usual
    /// name, the one that ends a document.
    pub pad: Option<String>,
    /// What stands for text that the vocabulary lacks.
    pub unk: Option<String>,
}

impl Tokenizer {
    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into
    /// `folder`, each atomically; creates the folder.
    ///
    /// [`Error::Invalid`] for a role whose token is not a special token.
    ///
    /// ```
    /// use lslm_bpe::{SpecialRoles, Tokenizer};
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let token = r#"{"id": 1, "content": "</s>", "special": true, "single_word": false,
    ///     "lstrip": false, "rstrip": false, "normalized": false}"#;
    /// let tokenizer = Tokenizer::from_json(&format!(
    ///     r#"{{"model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": []}},
    ///         "pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false}},
    ///         "added_tokens": [{token}]}}"#
    /// ))?;
    /// tokenizer.save_pretrained(folder.path(), &SpecialRoles::default())?;
    /// let config = std::fs::read_to_string(folder.path().join("tokenizer_config.json")).unwrap();
    /// assert!(config.contains(r#""eos_token": "</s>""#));
    /// # Ok::<(), lslm_runtime::Error>(())
    /// ```
    pub fn save_pretrained(&self, folder: impl AsRef<Path>, roles: &SpecialRoles) -> Result<()> {
        let folder = folder.as_ref();
        let roles = self.roles(roles)?;
        let mut config = roles.clone();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        // else older releases remove the space before punctuation when they decode
        config.insert("clean_up_tokenization_spaces".into(), false.into());
        files::create_folder(folder)?;
        self.save(folder.join("tokenizer.json"))?;
        for (name, value) in [("tokenizer_config.json", config), ("special_tokens_map.json", roles)]
        {
            let text = format!("{:#}\n", Value::Object(value));
            files::write_atomically(folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the tokens of the roles that are given or have a usual name, as transformers names
    /// them.
    fn roles(&self, roles: &SpecialRoles) -> Result<Map<String, Value>> {
        let eos = self.eos_id();
        let eos = || self.special_tokens().find(|(_, id)| Some(*id) == eos).map(|(name, _)| name);
        let eos = self.role("eos_token", roles.eos.as_deref())?.or_else(eos);
        let bos = self.role("bos_token", roles.bos.as_deref())?;
        let pad = self.role("pad_token", roles.pad.as_deref())?;
        let unk = self.role("unk_token", roles.unk.as_deref())?;
        let entries = [
            ("bos_token", bos.or_else(|| self.only(BOS_CONTENTS))),
            ("eos_token", eos),
            ("pad_token", pad.or_else(|| self.only(PAD_CONTENTS)).or(eos)),
            ("unk_token", unk.or_else(|| self.only(UNK_CONTENTS))),
        ];
        let entries = entries.into_iter().filter_map(|(role, name)| Some((role, name?)));
        Ok(entries.map(|(role, name)| (role.to_owned(), name.into())).collect())
    }

    /// Returns the special token `name` of a role; an error that has the role's name for another.
    fn role(&self, role: &str, name: Option<&str>) -> Result<Option<&str>> {
        let Some(name) = name else { return Ok(None) };
        if let Some((found, _)) = self.special_tokens().find(|(special, _)| *special == name) {
            return Ok(Some(found));
        }
        let hint = match nearest(name, self.special_tokens().map(|(special, _)| special)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "choose one of special_tokens, or learn the tokenizer with it".to_owned(),
        };
        Err(Error::invalid(format!("{role} = {name:?} is not a special token: {hint}")))
    }

    /// Returns the only special token with one of these contents; `None` for none or several.
    fn only(&self, contents: &[&str]) -> Option<&str> {
        let mut found = self.special_tokens().filter(|(name, _)| contents.contains(name));
        let (first, _) = found.next()?;
        found.next().is_none().then_some(first)
    }
}
