//! The hand-made tables of lslm-bpe beside hashbrown, each at its job in the library, one thread.
//!
//! All rows of a group have the same keys, in the order in which text has them. "ours" and
//! "hashbrown" also have the same hash; "foldhash" is `hashbrown::HashMap` with the hash that the
//! rest of the library uses. Results are compared once before anything is timed.
//!
//! The tables of training are in `train_table_jobs.rs`, whose place in the module tree their visibility
//! requires.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{TrainOptions, Trained, WordCounts};
use lslm_runtime::{Task, TokenId};

use crate::encode::cache::PieceCache;
use crate::encode::merge_tree::MergeTree;
use crate::encode::prefix::LongestPrefix;
use crate::train::jobs;
use crate::vocab::hash;
use crate::vocab::pair_ranks::{Lookup, PairRanks};
use crate::vocab::piece_key::{PieceKey, window};
use crate::vocab::symbol::{Merge, NONE, Symbol};
use crate::vocab::vocabulary::Vocabulary;
use crate::{Texts, texts};

/// `HashMap` with the hash that the rest of the library uses.
pub(crate) type FoldHashMap<K, V> = HashMap<K, V, FixedState>;

/// Ids of the vocabulary, 256 of them bytes.
const VOCAB_SIZE: usize = 32_768;

/// One kind of text, split into pieces, and a vocabulary trained on it.
pub(crate) struct Corpus {
    pub(crate) text: Vec<u8>,
    /// The ends of the pieces.
    pub(crate) ends: Vec<usize>,
    /// The start and end of each distinct piece, in the order in which they first occur.
    pub(crate) distinct: Vec<(usize, usize)>,
    trained: Trained,
    /// The symbol of each byte; symbols are ids.
    pub(crate) bytes: [Symbol; 256],
    pub(crate) merges: Vec<Merge>,
}

impl Corpus {
    fn new(kind: &Texts) -> Self {
        let text = kind.documents.concat().into_bytes();
        let mut ends = Vec::new();
        let pattern = Pattern::named("o200k_base").expect("a published name");
        pattern.for_each_batch(&text, |batch| ends.extend_from_slice(batch));
        let mut counts: FoldHashMap<&[u8], u64> = HashMap::default();
        let mut distinct = Vec::new();
        let mut start = 0;
        for &end in &ends {
            let count = counts.entry(&text[start..end]).or_default();
            if *count == 0 {
                distinct.push((start, end));
            }
            *count += 1;
            start = end;
        }
        let words = WordCounts::from_words(counts).expect("counts below 2^64");
        let options = TrainOptions::new(VOCAB_SIZE);
        let trained = lslm_bpe::train::train(words, &options, 1, &Task::default());
        let trained = trained.expect("a vocabulary");
        let mut bytes = [NONE; 256];
        for (token, id) in trained.tokens[..256].iter().zip(0..) {
            bytes[usize::from(token[0])] = id;
        }
        let merge = |merge: &lslm_bpe::train::Merge| Merge {
            left: merge.left,
            right: merge.right,
            result: merge.result,
        };
        let merges = trained.merges.iter().map(merge).collect();
        Self { text, ends, distinct, trained, bytes, merges }
    }

    fn tokens(&self) -> impl Iterator<Item = (TokenId, &[u8])> + Clone {
        (0..).zip(self.trained.tokens.iter().map(|token| &**token))
    }
}

/// Times `jobs`, named, after checking that all return the same.
pub(crate) fn compare<R: PartialEq>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    n_keys: usize,
    jobs: &mut [(&str, &mut dyn FnMut() -> R)],
) {
    let expected = jobs[0].1();
    for (name, job) in &mut jobs[1..] {
        assert!(job() == expected, "{name}: another result");
    }
    group.throughput(Throughput::Elements(n_keys as u64));
    for (name, job) in jobs {
        group.bench_function(*name, |b| b.iter(|| black_box(job())));
    }
}

/// `PieceCache`: each piece of up to 15 bytes is looked up, and inserted if it is new. Its ids are up
/// to four of its bytes. Prefetching is part of the table's job: a batch of lines is on its way before
/// the first is read.
fn piece_cache(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let Corpus { text, ends, .. } = corpus;
    let mut cache = PieceCache::default();
    let mut ours = || run_piece_cache(&mut cache, text, ends);
    let mut table: HashTable<(PieceKey, [TokenId; 4], usize)> = HashTable::new();
    let mut hashbrown = || {
        table.clear();
        let (mut sum, mut start) = (0, 0);
        for &end in ends {
            if end - start <= PieceKey::MAX_LEN {
                let key = PieceKey::read(text, start, end - start);
                let (_, ids, len) = table
                    .entry(key.hash(), |entry| entry.0 == key, |entry| entry.0.hash())
                    .or_insert_with(|| {
                        let (ids, len) = ids_of(&text[start..end]);
                        (key, ids, len)
                    })
                    .into_mut();
                sum = add(sum, &ids[..*len]);
            }
            start = end;
        }
        sum
    };
    let mut map: FoldHashMap<PieceKey, ([TokenId; 4], usize)> = HashMap::default();
    let mut foldhash = || {
        map.clear();
        let (mut sum, mut start) = (0, 0);
        for &end in ends {
            if end - start <= PieceKey::MAX_LEN {
                let key = PieceKey::read(text, start, end - start);
                let (ids, len) = map.entry(key).or_insert_with(|| ids_of(&text[start..end]));
                sum = add(sum, &ids[..*len]);
            }
            start = end;
        }
        sum
    };
    let mut group = c.benchmark_group(format!("tables/PieceCache/{kind}"));
    compare(
        &mut group,
        ends.len(),
        &mut [("ours", &mut ours), ("hashbrown", &mut hashbrown), ("foldhash", &mut foldhash)],
    );
    group.finish();
}

/// Returns the sum of the ids of all pieces of up to 15 bytes, through an empty cache.
fn run_piece_cache(cache: &mut PieceCache, text: &[u8], ends: &[usize]) -> u64 {
    /// As in the encoder.
    const BATCH: usize = 64;
    cache.clear();
    let mut block = [0; (BATCH + 1) * 4];
    let mut lines = [0; BATCH];
    let (mut sum, mut start, mut i) = (0, 0, 0);
    while i < ends.len() {
        let batch = &ends[i..ends.len().min(i + BATCH)];
        let count = cache.prepare::<false>(text, start, batch, &mut lines);
        let (found, at) = cache.write(text, start, &batch[..count], &lines, &mut block, 0);
        sum = add(sum, &block[..at]);
        i += found;
        start = i.checked_sub(1).map_or(0, |i| ends[i]);
        if found == batch.len() {
            continue;
        }
        // A new piece, or one that is too long.
        if found < count {
            let (ids, len) = ids_of(&text[start..ends[i]]);
            cache.insert(PieceKey::read(text, start, ends[i] - start), &ids[..len]);
            sum = add(sum, &ids[..len]);
        }
        start = ends[i];
        i += 1;
    }
    sum
}

/// Returns up to four ids for `piece`, and their number.
fn ids_of(piece: &[u8]) -> ([TokenId; 4], usize) {
    let mut ids = [0; 4];
    for (id, &byte) in ids.iter_mut().zip(piece) {
        *id = TokenId::from(byte);
    }
    (ids, piece.len().min(4))
}

fn add(sum: u64, ids: &[TokenId]) -> u64 {
    ids.iter().fold(sum, |sum, &id| sum + u64::from(id))
}

/// Lookups under way at a time: two for each of 16 pieces.
const LOOKUPS: usize = 32;

/// `PairRanks`: the rank of each adjacent pair that merging the distinct pieces looks up. Most pairs
/// do not merge.
fn pair_ranks(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let key = |left: Symbol, right: Symbol| u64::from(left) << 21 | u64::from(right);
    let mut ranks = PairRanks::with_capacity(corpus.merges.len());
    let hash = |key: u64| hash::fold(key, 0);
    let mut table = HashTable::new();
    let mut map: FoldHashMap<u64, u32> = HashMap::default();
    for (rank, merge) in (0..).zip(&corpus.merges) {
        let pair = key(merge.left, merge.right);
        ranks.insert(merge.left, merge.right, rank);
        table.insert_unique(hash(pair), (pair, rank), |&(pair, _)| hash(pair));
        map.insert(pair, rank);
    }
    let pairs = pairs_looked_up(corpus, &ranks);
    // As interleaved merging does it: lookups start together and are finished after that.
    let mut ours = || {
        let mut sum = 0_u64;
        for pairs in pairs.chunks(LOOKUPS) {
            let mut lookups = [Lookup::default(); LOOKUPS];
            for (lookup, &(left, right)) in lookups.iter_mut().zip(pairs) {
                *lookup = ranks.start(left, right);
            }
            let found = lookups[..pairs.len()].iter().map(|&lookup| ranks.finish(lookup));
            sum = found.map(u64::from).fold(sum, u64::wrapping_add);
        }
        sum
    };
    let mut hashbrown = || {
        let rank = |&(left, right): &(Symbol, Symbol)| {
            let pair = key(left, right);
            let found = table.find(hash(pair), |&(other, _)| other == pair);
            found.map_or(u64::from(NONE), |&(_, rank)| u64::from(rank))
        };
        pairs.iter().map(rank).fold(0, u64::wrapping_add)
    };
    let mut foldhash = || {
        let rank = |&(left, right): &(Symbol, Symbol)| {
            map.get(&key(left, right)).map_or(u64::from(NONE), |&rank| u64::from(rank))
        };
        pairs.iter().map(rank).fold(0, u64::wrapping_add)
    };
    let mut group = c.benchmark_group(format!("tables/PairRanks/{kind}"));
    compare(
        &mut group,
        pairs.len(),
        &mut [("ours", &mut ours), ("hashbrown", &mut hashbrown), ("foldhash", &mut foldhash)],
    );
    group.finish();
}

/// The pairs that are looked up when the distinct pieces are merged by definition.
fn pairs_looked_up(corpus: &Corpus, ranks: &PairRanks) -> Vec<(Symbol, Symbol)> {
    let mut pairs = Vec::new();
    for &(start, end) in &corpus.distinct {
        let bytes = corpus.text[start..end].iter().take(64);
        let mut symbols: Vec<Symbol> = bytes.map(|&b| corpus.bytes[usize::from(b)]).collect();
        pairs.extend(symbols.windows(2).map(|pair| (pair[0], pair[1])));
        loop {
            let rank = |i: usize| (ranks.get(symbols[i], symbols[i + 1]), i);
            let Some((rank, i)) = (0..symbols.len().saturating_sub(1)).map(rank).min() else {
                break;
            };
            if rank == NONE {
                break;
            }
            symbols[i] = corpus.merges[rank as usize].result;
            symbols.remove(i + 1);
            if i > 0 {
                pairs.push((symbols[i - 1], symbols[i]));
            }
            if i + 1 < symbols.len() {
                pairs.push((symbols[i], symbols[i + 1]));
            }
        }
    }
    pairs
}

/// `LongestPrefix`: the longest token at the start of each rest of the distinct pieces, from left to
/// right. hashbrown has only the tokens, so that every length is looked up.
fn longest_prefix(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let vocabulary = Vocabulary::new(corpus.tokens()).expect("distinct tokens");
    let mut ranks = PairRanks::with_capacity(corpus.merges.len());
    for (rank, merge) in (0..).zip(&corpus.merges) {
        ranks.insert(merge.left, merge.right, rank);
    }
    let ids: Vec<TokenId> = (0..vocabulary.len()).collect();
    let symbols_of = |merge: &Merge| [merge.left, merge.right, merge.result];
    let tree = MergeTree::new(&vocabulary, &ids, &corpus.merges, symbols_of, &ranks, true);
    let tree = tree.expect("a trained vocabulary");
    let prefixes = LongestPrefix::new(&vocabulary, &corpus.bytes, |id| id);
    let mut max_len = 0;
    let mut table = HashTable::new();
    let mut map: FoldHashMap<PieceKey, TokenId> = HashMap::default();
    for (id, token) in corpus.tokens().filter(|(_, token)| token.len() <= PieceKey::MAX_LEN) {
        let key = PieceKey::new(token);
        table.insert_unique(key.hash(), (key, id), |(key, _)| key.hash());
        map.insert(key, id);
        max_len = max_len.max(token.len());
    }
    // The windows, read once: what is compared is the search.
    let mut windows = Vec::new();
    for &(start, end) in &corpus.distinct {
        let mut at = start;
        while at < end {
            let len = (end - at).min(PieceKey::MAX_LEN);
            let window = window(&corpus.text, at);
            windows.push((window, len));
            at += prefixes.find(&tree, window, len).1;
        }
    }
    let mut ours = || {
        let find = |&(window, len)| prefixes.find(&tree, window, len);
        windows.iter().map(find).map(|(id, len)| u64::from(id) << 4 | len as u64).sum::<u64>()
    };
    let search = |find: &dyn Fn(PieceKey) -> Option<TokenId>, window: u128, len: usize| {
        let at = |len: usize| {
            find(PieceKey::from_window(window, len)).map(|id| u64::from(id) << 4 | len as u64)
        };
        (1..=len.min(max_len)).rev().find_map(at).unwrap_or_default()
    };
    let mut hashbrown = || {
        let find =
            |key: PieceKey| table.find(key.hash(), |(other, _)| *other == key).map(|&(_, id)| id);
        windows.iter().map(|&(window, len)| search(&find, window, len)).sum::<u64>()
    };
    let mut foldhash = || {
        let find = |key: PieceKey| map.get(&key).copied();
        windows.iter().map(|&(window, len)| search(&find, window, len)).sum::<u64>()
    };
    let mut group = c.benchmark_group(format!("tables/LongestPrefix/{kind}"));
    compare(
        &mut group,
        windows.len(),
        &mut [("ours", &mut ours), ("hashbrown", &mut hashbrown), ("foldhash", &mut foldhash)],
    );
    group.finish();
}

/// Runs all comparisons on all texts.
pub fn run(criterion: &mut Criterion) {
    for kind in texts() {
        let corpus = Corpus::new(&kind);
        piece_cache(criterion, kind.name, &corpus);
        pair_ranks(criterion, kind.name, &corpus);
        longest_prefix(criterion, kind.name, &corpus);
        jobs::count_words(criterion, kind.name, &corpus);
        jobs::word_table(criterion, kind.name, &corpus);
        jobs::pair_counts(criterion, kind.name, &corpus);
    }
}
