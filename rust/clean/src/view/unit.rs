//! What counts as a word.

use serde::{Deserialize, Serialize};

/// What counts as one word.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WordUnit {
    /// A run of letters, marks and numbers; a run of Chinese or Japanese is one word.
    #[default]
    Word,
    /// The same, but each Chinese or Japanese character is a word of its own.
    Char,
}
