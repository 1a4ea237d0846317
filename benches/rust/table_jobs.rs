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
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use lslm_runtime::TokenId;

use crate::encode::cache::PieceCache;
use crate::encode::chunk::Chunk;
use crate::encode::merge_tree::MergeTree;
use crate::encode::prefix::LongestPrefix;
use crate::table_corpus::Corpus;
use crate::train::jobs;
use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::piece_key::{LongKey, PieceKey, window};
use crate::vocab::symbol::Merge;
use crate::{many_languages, texts};

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

/// The ids of a piece as the cache has them: in the high byte of the first their number.
type Ids = [TokenId; 4];

/// `PieceCache`: each part of up to 15 bytes is looked up, its ids are copied to a block, and it is
/// inserted if it is new. Its ids are up to four of its bytes. Prefetching is part of the table's job: a
/// batch of lines is on its way before the first is read.
fn piece_cache(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let Corpus { text, parts, .. } = corpus;
    let mut cache = PieceCache::default();
    let mut ours = || run_piece_cache(&mut cache, text, parts);
    let mut table: HashTable<(PieceKey, Ids)> = HashTable::new();
    let mut hashbrown = || {
        table.clear();
        let find = |key: PieceKey, piece: &[u8]| match table.entry(
            key.hash(),
            |entry| entry.0 == key,
            |entry| entry.0.hash(),
        ) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(entry) => entry.insert((key, ids_of(piece))).get().1,
        };
        run_map(text, parts, find)
    };
    let mut map: FoldHashMap<PieceKey, Ids> = HashMap::default();
    let mut foldhash = || {
        map.clear();
        run_map(text, parts, |key, piece| *map.entry(key).or_insert_with(|| ids_of(piece)))
    };
    let mut group = c.benchmark_group(format!("tables/PieceCache/{kind}"));
    compare(
        &mut group,
        parts.len(),
        &mut [("ours", &mut ours), ("hashbrown", &mut hashbrown), ("foldhash", &mut foldhash)],
    );
    group.finish();
}

/// Ids summed together.
const BATCH: usize = 64;

/// Returns the sum of the ids of all parts of up to 15 bytes, through an empty cache and in chunks, as
/// the encoder does it.
fn run_piece_cache(cache: &mut PieceCache, text: &[u8], ends: &[usize]) -> u64 {
    cache.clear();
    let mut chunk = Chunk::default();
    chunk.prepare();
    let (mut out, mut marks) = (Vec::new(), Vec::new());
    let (mut sum, mut start, mut rest) = (0, 0, ends);
    while !rest.is_empty() {
        let count = chunk.add::<false>(cache, text, start, rest);
        chunk.probe(cache);
        start = rest[..count].last().copied().unwrap_or(start);
        rest = &rest[count..];
        if !chunk.is_full()
            && let Some((&end, others)) = rest.split_first()
        {
            (start, rest) = (end, others); // Too long for this table.
        }
        if chunk.is_full() || rest.is_empty() {
            insert_misses(cache, &mut chunk);
            chunk.append(cache, &mut out, &mut marks);
            sum = add(sum, &out);
            out.clear();
        }
    }
    sum
}

/// Inserts the pieces of `chunk` that are not in the cache.
fn insert_misses(cache: &mut PieceCache, chunk: &mut Chunk) {
    cache.make_room(chunk.n_misses());
    for miss in 0..chunk.n_misses() {
        let index = chunk.miss(miss);
        let key = chunk.key(index);
        let (found, slot) = cache.reserve(key, miss);
        *chunk.ids_mut(index) = slot.map_or(found, |slot| {
            let mut ids = ids_of(&key.bytes()[..key.len()]);
            let count = (ids[0] >> 24) as usize;
            ids[0] &= 0xFF_FFFF;
            cache.fill(key, slot, &ids[..count])
        });
    }
}

/// Returns the sum of the ids of all parts of up to 15 bytes, which `find` returns.
fn run_map(text: &[u8], ends: &[usize], mut find: impl FnMut(PieceKey, &[u8]) -> Ids) -> u64 {
    let mut block = [0; (BATCH + 1) * 4];
    let (mut sum, mut start, mut at) = (0, 0, 0);
    for &end in ends {
        if end - start <= PieceKey::MAX_LEN {
            let mut ids = find(PieceKey::read(text, start, end - start), &text[start..end]);
            let count = (ids[0] >> 24) as usize;
            ids[0] &= 0xFF_FFFF;
            block[at..at + 4].copy_from_slice(&ids);
            at += count;
            if at >= BATCH * 4 {
                sum = add(sum, &block[..at]);
                at = 0;
            }
        }
        start = end;
    }
    add(sum, &block[..at])
}

/// Returns up to four ids for `piece`, and in the high byte of the first their number.
fn ids_of(piece: &[u8]) -> Ids {
    let mut ids = [0; 4];
    for (id, &byte) in ids.iter_mut().zip(piece) {
        *id = TokenId::from(byte);
    }
    ids[0] |= (piece.len().min(4) as u32) << 24;
    ids
}

fn add(sum: u64, ids: &[TokenId]) -> u64 {
    ids.iter().fold(sum, |sum, &id| sum + u64::from(id))
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
