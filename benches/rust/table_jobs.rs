//! The hand-made tables of lslm-bpe beside hashbrown, each at its job in the library, one thread.
//!
//! All rows of a group have the same keys, in the order in which text has them. "ours" and
//! "hashbrown" also have the same hash; "foldhash" is `hashbrown::HashMap` with the hash that the
//! rest of the library uses. Results are compared once before anything is timed.
//!
//! `PieceCache` is compared inside the encoder's own loops, which merge many new pieces together and so
//! look up thousands before any is inserted: `piece_cache_job.rs` and `chunk.rs` are compiled beside it,
//! beside `hashbrown_cache.rs`, and beside `hashbrown_list_cache.rs`.
//!
//! The tables of training are in `train_table_jobs.rs`, whose place in the module tree their visibility
//! requires.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use lslm_runtime::TokenId;

use crate::encode::merge_tree::MergeTree;
use crate::encode::prefix::LongestPrefix;
use crate::table_corpus::Corpus;
use crate::train::jobs;
use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::piece_key::{LongKey, PieceKey, window};
use crate::vocab::symbol::Merge;
use crate::{encode, encode_hashbrown, encode_hashbrown_list, many_languages, texts};

/// `HashMap` with the hash that the rest of the library uses.
pub(crate) type FoldHashMap<K, V> = HashMap<K, V, FixedState>;

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

/// `PieceCache`: the encoder's own loops over all parts of up to 15 bytes, around each table; once from
/// empty, where new parts are inserted, and once where all are known.
fn piece_cache(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let Corpus { text, parts, .. } = corpus;
    let mut new = c.benchmark_group(format!("tables/PieceCache/{kind}/new"));
    compare(
        &mut new,
        parts.len(),
        &mut [
            ("ours", &mut || encode::job::Job::new().run(text, parts)),
            ("hashbrown", &mut || encode_hashbrown::job::Job::new().run(text, parts)),
            ("hashbrown, list", &mut || encode_hashbrown_list::job::Job::new().run(text, parts)),
        ],
    );
    new.finish();
    let mut ours = encode::job::Job::new();
    let mut hashbrown = encode_hashbrown::job::Job::new();
    let mut list = encode_hashbrown_list::job::Job::new();
    let expected = ours.run(text, parts);
    assert!(hashbrown.run(text, parts) == expected && list.run(text, parts) == expected);
    let mut known = c.benchmark_group(format!("tables/PieceCache/{kind}/known"));
    compare(
        &mut known,
        parts.len(),
        &mut [
            ("ours", &mut || ours.run(text, parts)),
            ("hashbrown", &mut || hashbrown.run(text, parts)),
            ("hashbrown, list", &mut || list.run(text, parts)),
        ],
    );
    known.finish();
}

/// `LongestPrefix`: the longest token at the start of each rest of the parts of more than 31 bytes, from
/// left to right; shorter ones are merged. hashbrown has only the tokens, so that every length is
/// looked up.
fn longest_prefix(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let Corpus { vocabulary, .. } = corpus;
    let mut ranks = PairRanks::with_capacity(corpus.merges.len());
    for (rank, merge) in (0..).zip(&corpus.merges) {
        ranks.insert(merge.left, merge.right, rank);
    }
    let ids: Vec<TokenId> = (0..vocabulary.len()).collect();
    let symbols_of = |merge: &Merge| [merge.left, merge.right, merge.result];
    let tree = MergeTree::new(vocabulary, &ids, &corpus.merges, symbols_of, &ranks, true);
    let tree = tree.expect("a trained vocabulary");
    let prefixes = LongestPrefix::new(vocabulary, &corpus.bytes, |id| id);
    let mut max_len = 0;
    let mut table = HashTable::new();
    let mut map: FoldHashMap<PieceKey, TokenId> = HashMap::default();
    for (id, token) in vocabulary.iter().filter(|(_, token)| token.len() <= PieceKey::MAX_LEN) {
        let key = PieceKey::new(token);
        table.insert_unique(key.hash(), (key, id), |(key, _)| key.hash());
        map.insert(key, id);
        max_len = max_len.max(token.len());
    }
    // The windows, read once: what is compared is the search.
    let mut windows = Vec::new();
    let mut start = 0;
    for &end in &corpus.parts {
        let is_long = end - start > LongKey::MAX_LEN;
        let mut at = std::mem::replace(&mut start, end);
        while is_long && at < end {
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
    for kind in texts().iter().chain(&many_languages()) {
        let corpus = Corpus::new(kind);
        piece_cache(criterion, kind.name, &corpus);
        longest_prefix(criterion, kind.name, &corpus);
        jobs::count_words(criterion, kind.name, &corpus);
        jobs::pair_counts(criterion, kind.name, &corpus);
    }
}
