//! The rules of training by definition, for tests.

use std::collections::BTreeMap;

use super::options::TrainOptions;
use super::trained::{Merge, Trained};
use super::vocabulary_builder::VocabularyBuilder;
use super::word_counts::WordCounts;

/// Returns what [`train`](super::train) does; counts every pair of every word again for each merge.
pub(super) fn train(words: &WordCounts, options: &TrainOptions) -> Trained {
    let mut vocabulary = VocabularyBuilder::new(options).unwrap();
    let mut corpus: Vec<(Vec<u32>, u64)> = Vec::new();
    words
        .for_each(|word, count| {
            let ids = word.iter().map(|&byte| vocabulary.bytes[usize::from(byte)]).collect();
            corpus.push((ids, count));
            Ok(())
        })
        .unwrap();
    let mut merges: Vec<Merge> = Vec::new();
    while vocabulary.tokens.len() + vocabulary.reserved < options.vocab_size {
        let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (word, count) in &corpus {
            for pair in word.windows(2) {
                let length = vocabulary.length(pair[0]) + vocabulary.length(pair[1]);
                if length == 2 || options.max_token_length.is_none_or(|max| length < max) {
                    *counts.entry((pair[0], pair[1])).or_default() += count;
                }
            }
        }
        // The map ascends, so the first of the largest is the smallest pair.
        let mut best = ((0, 0), 0);
        for (pair, count) in counts {
            if count > best.1 {
                best = (pair, count);
            }
        }
        let ((left, right), count) = best;
        if count < options.min_frequency.max(1) {
            break;
        }
        let result = vocabulary.join(left, right).unwrap();
        merges.push(Merge { left, right, result });
        for (word, _) in &mut corpus {
            let mut joined = Vec::new();
            let mut at = 0;
            while at < word.len() {
                if word[at..].starts_with(&[left, right]) {
                    joined.push(result);
                    at += 2;
                } else {
                    joined.push(word[at]);
                    at += 1;
                }
            }
            *word = joined;
        }
    }
    vocabulary.finish(options, merges).unwrap()
}
