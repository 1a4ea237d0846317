//! The keys of `table_jobs.rs`: one kind of text, split into pieces, and a vocabulary.

use std::fs::File;

use hashbrown::HashMap;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{TrainOptions, WordCounts};
use lslm_runtime::Task;

use crate::encode::boundary::BoundaryFilter;
use crate::encode::char3::has_char3s;
use crate::encode::rank_rule::RankMerges;
use crate::table_jobs::FoldHashMap;
use crate::vocab::symbol::{Merge, NONE, Symbol};
use crate::vocab::vocabulary::Vocabulary;
use crate::{Texts, data_folder};

/// Ids of a vocabulary that is trained where the published one is missing, 256 of them bytes.
const VOCAB_SIZE: usize = 32_768;

/// One kind of text, split into pieces, and a vocabulary: `o200k_base` where it is on this machine,
/// else one trained on the text.
pub(crate) struct Corpus {
    pub(crate) text: Vec<u8>,
    /// The ends of the pieces.
    pub(crate) ends: Vec<usize>,
    /// The ends of the parts that are looked up and merged: pieces, split at boundaries.
    pub(crate) parts: Vec<usize>,
    /// The start and end of each distinct part, in the order in which they first occur.
    pub(crate) distinct: Vec<(usize, usize)>,
    pub(crate) vocabulary: Vocabulary,
    /// The symbol of each byte; symbols are ids.
    pub(crate) bytes: [Symbol; 256],
    pub(crate) merges: Vec<Merge>,
}

impl Corpus {
    pub(crate) fn new(kind: &Texts) -> Self {
        let text = kind.documents.concat().into_bytes();
        let mut ends = Vec::new();
        let pattern = Pattern::named("o200k_base").expect("a published name");
        pattern.for_each_batch(&text, |batch| ends.extend_from_slice(batch));
        let tokens = published().unwrap_or_else(|| trained(&text, &ends));
        let numbered = (0..).zip(tokens.iter().map(Vec::as_slice));
        let vocabulary = Vocabulary::new(numbered).expect("distinct tokens");
        let merges = RankMerges::new(&vocabulary).expect("a trained vocabulary").merges;
        let bytes = std::array::from_fn(|byte| vocabulary.find(&[byte as u8]).unwrap_or(NONE));
        let parts = split(&text, &ends, &BoundaryFilter::new(&vocabulary));
        let distinct = distinct(&text, &parts);
        Self { text, ends, parts, distinct, vocabulary, bytes, merges }
    }
}

/// Returns the tokens of `o200k_base` by id; `None` where the file is missing.
fn published() -> Option<Vec<Vec<u8>>> {
    let path = data_folder().join("tokenizers/o200k_base.tiktoken.zst");
    let ranks = zstd::decode_all(File::open(path).ok()?).expect("a whole zstd file");
    let folder = tempfile::tempdir().expect("a writable folder");
    let file = folder.path().join("o200k_base.tiktoken");
    std::fs::write(&file, ranks).expect("room on the disk");
    let pattern = Pattern::named("o200k_base").expect("a published name");
    let tok = lslm_bpe::Tokenizer::from_tiktoken(&file, pattern, &[]).expect("ranks");
    let bytes = |id| tok.token_bytes(id).expect("ids are contiguous").to_vec();
    Some((0..tok.vocab_size() as u32).map(bytes).collect())
}

/// Returns the tokens of a vocabulary that is trained on the pieces of `text`, by id.
fn trained(text: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
    let mut counts: FoldHashMap<&[u8], u64> = HashMap::default();
    let mut start = 0;
    for &end in ends {
        *counts.entry(&text[start..end]).or_default() += 1;
        start = end;
    }
    let words = WordCounts::from_words(counts).expect("counts below 2^64");
    let options = TrainOptions::new(VOCAB_SIZE);
    let trained = lslm_bpe::train::train(words, &options, 1, &Task::default());
    trained.expect("a vocabulary").tokens.iter().map(|token| token.to_vec()).collect()
}

/// Returns the ends of the parts that the encoder makes of the pieces.
fn split(text: &[u8], ends: &[usize], boundaries: &BoundaryFilter) -> Vec<usize> {
    let mut parts = Vec::new();
    let mut buffer = [0; 256];
    let mut start = 0;
    for &end in ends {
        while start < end {
            if has_char3s(text, start, end - start) {
                let (split_end, count) = boundaries.split(text, start, end, &mut buffer, 0);
                parts.extend_from_slice(&buffer[..count]);
                start = split_end;
            } else {
                parts.push(end);
                start = end;
            }
        }
    }
    parts
}

/// Returns the start and end of each distinct part, in the order in which they first occur.
fn distinct(text: &[u8], parts: &[usize]) -> Vec<(usize, usize)> {
    let mut seen: FoldHashMap<&[u8], ()> = HashMap::default();
    let mut distinct = Vec::new();
    let mut start = 0;
    for &end in parts {
        if seen.insert(&text[start..end], ()).is_none() {
            distinct.push((start, end));
        }
        start = end;
    }
    distinct
}
