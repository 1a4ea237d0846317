//! Words and how often each occurs.

use std::collections::HashMap;

use lslm_runtime::{Error, Result};

/// Distinct words, each with the number of its occurrences.
#[derive(Clone, Debug, Default)]
pub struct WordCounts {
    pub(super) words: HashMap<Box<[u8]>, u64>,
}

impl WordCounts {
    /// From words with counts; a word that comes twice has the sum of both.
    ///
    /// Fails with [`Error::Invalid`] when such a sum passes 2^64.
    pub fn from_words<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Result<Self> {
        let mut counts = Self::default();
        for (word, count) in words {
            let sum = counts.words.entry(word.as_ref().into()).or_default();
            *sum = sum.checked_add(count).ok_or_else(too_many)?;
        }
        Ok(counts)
    }

    /// The number of distinct words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word at all.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Calls `f` with each word and its count, in no particular order.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for (word, &count) in &self.words {
            f(word, count);
        }
    }

    /// No sum of counts, however the words are cut into pairs, may pass 64 bits.
    pub(super) fn check_sum(&self) -> Result<()> {
        let mut bytes = 0u128;
        self.for_each(|word, count| bytes += word.len() as u128 * u128::from(count));
        u64::try_from(bytes).map(drop).map_err(|_| too_many())
    }
}

fn too_many() -> Error {
    Error::invalid("the words have more than 2^64 bytes in all; divide the counts")
}
