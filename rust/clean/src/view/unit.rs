//! What counts as a word.

use serde::{Deserialize, Serialize};

/// What counts as one word: the segmenter. It is part of a configuration and of its fingerprint.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordUnit {
    /// A run of letters, marks and numbers; a run of Chinese or Japanese is one word.
    #[default]
    Word,
    /// The same, but each Chinese or Japanese character is a word of its own.
    Char,
    /// The words of spaCy's tokenizer for English, which datatrove uses.
    SpacyEn,
    /// The words of jieba with its default dictionary, which datatrove uses for Chinese.
    Jieba,
}

impl WordUnit {
    /// All segmenters.
    pub const ALL: [Self; 4] = [Self::Word, Self::Char, Self::SpacyEn, Self::Jieba];

    /// Returns the name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Char => "char",
            Self::SpacyEn => "spacy-en",
            Self::Jieba => "jieba",
        }
    }

    /// Returns the version, which increases when the same text gives other words.
    pub const fn version(self) -> u32 {
        match self {
            Self::Word | Self::Char | Self::SpacyEn | Self::Jieba => 1,
        }
    }
}
