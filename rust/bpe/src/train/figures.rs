//! What a vocabulary makes of a text, in numbers.

use lslm_runtime::Result;

use super::WordCounts;
use crate::TokenId;

/// Sums over a text, or over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of text.
    pub bytes: u64,
    /// Words, as the pattern cuts them.
    pub words: u64,
    /// Words that are one token.
    pub whole_words: u64,
    /// Tokens.
    pub tokens: u64,
    /// How often each id occurs.
    pub uses: Vec<u64>,
}

impl Figures {
    /// Measures counted words with `encode`, which appends the ids of one word.
    ///
    /// `ids` is how many ids there are.
    pub fn measure(
        words: &WordCounts,
        ids: usize,
        mut encode: impl FnMut(&[u8], &mut Vec<TokenId>) -> Result<()>,
    ) -> Result<Self> {
        let mut figures = Self { uses: vec![0; ids], ..Self::default() };
        let mut tokens = Vec::new();
        words.for_each(|word, count| {
            tokens.clear();
            encode(word, &mut tokens)?;
            figures.bytes += word.len() as u64 * count;
            figures.words += count;
            figures.whole_words += if tokens.len() == 1 { count } else { 0 };
            figures.tokens += tokens.len() as u64 * count;
            for &token in &tokens {
                if let Some(uses) = figures.uses.get_mut(token as usize) {
                    *uses += count;
                }
            }
            Ok(())
        })?;
        Ok(figures)
    }

    /// Adds the sums of another text.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.words += other.words;
        self.whole_words += other.whole_words;
        self.tokens += other.tokens;
        if self.uses.len() < other.uses.len() {
            self.uses.resize(other.uses.len(), 0);
        }
        for (own, others) in self.uses.iter_mut().zip(&other.uses) {
            *own += others;
        }
    }

    /// Bytes of text in a token, on average; 0 without text. More is better.
    pub fn bytes_per_token(&self) -> f64 {
        ratio(self.bytes, self.tokens)
    }

    /// Tokens in a word, on average ("fertility"); 0 without text. 1 is the least.
    pub fn tokens_per_word(&self) -> f64 {
        ratio(self.tokens, self.words)
    }

    /// The share of words that are one token, between 0 and 1.
    pub fn whole_word_share(&self) -> f64 {
        ratio(self.whole_words, self.words)
    }

    /// The ids that do not occur.
    pub fn unused(&self) -> impl Iterator<Item = TokenId> {
        self.uses.iter().zip(0..).filter(|(uses, _)| **uses == 0).map(|(_, id)| id)
    }
}

fn ratio(above: u64, below: u64) -> f64 {
    if below == 0 { 0.0 } else { above as f64 / below as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_text() {
        let words = WordCounts::from_words([("aab", 3), ("b", 4)]).unwrap();
        let encode = |word: &[u8], out: &mut Vec<TokenId>| {
            // 0 = aa, 1 = b
            out.extend(if word == b"b" { &[1][..] } else { &[0, 1] });
            Ok(())
        };
        let mut figures = Figures::measure(&words, 3, encode).unwrap();
        let expected =
            Figures { bytes: 13, words: 7, whole_words: 4, tokens: 10, uses: vec![3, 7, 0] };
        assert_eq!(figures, expected);
        assert_eq!(figures.bytes_per_token().to_string(), "1.3");
        assert!((figures.tokens_per_word() - 10.0 / 7.0).abs() < 1e-12);
        assert!((figures.whole_word_share() - 4.0 / 7.0).abs() < 1e-12);
        assert_eq!(figures.unused().collect::<Vec<_>>(), [2]);
        figures.add(&expected);
        assert_eq!(figures.tokens, 20);
        assert_eq!(figures.uses, [6, 14, 0]);
        assert_eq!(Figures::default().bytes_per_token().to_string(), "0");
    }
}
