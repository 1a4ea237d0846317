//! The jobs of [`table_jobs`](crate::table_jobs) for the tables of training.

use criterion::{Criterion, Throughput};
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use lslm_runtime::Task;

use super::hot_words::HotWords;
use super::pair_counts::{PairCounts, key};
use super::word_table::WordTable;
use crate::table_corpus::Corpus;
use crate::table_jobs::{FoldHashMap, compare};
use crate::vocab::hash;
use crate::vocab::piece_key::PieceKey;
use crate::vocab::symbol::Symbol;

/// Words in the library's table or in a map.
fn sorted(mut words: Vec<(Vec<u8>, u64)>) -> Vec<(Vec<u8>, u64)> {
    words.sort_unstable();
    words
}

/// A hash table of short words with the library's hash, and a map of long ones.
#[derive(Default)]
struct Hashbrown {
    short: HashTable<(PieceKey, u64)>,
    long: FoldHashMap<Box<[u8]>, u64>,
}

impl Hashbrown {
    #[inline]
    fn add(&mut self, key: PieceKey, count: u64) {
        match self.short.entry(key.hash(), |entry| entry.0 == key, |entry| entry.0.hash()) {
            Entry::Occupied(mut entry) => entry.get_mut().1 += count,
            Entry::Vacant(entry) => {
                entry.insert((key, count));
            }
        }
    }
}

/// Counts a long word; a key is allocated only for a new one.
#[inline]
fn add_long(words: &mut FoldHashMap<Box<[u8]>, u64>, word: &[u8]) {
    if let Some(count) = words.get_mut(word) {
        *count += 1;
    } else {
        words.insert(word.into(), 1);
    }
}

/// `HotWords` before `WordTable`, which is hashbrown's: counts every piece.
pub(crate) fn count_words(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    let Corpus { text, ends, .. } = corpus;
    let listed = |table: &WordTable| {
        let mut words = Vec::new();
        table.for_each(|word, count| words.push((word.to_vec(), count)));
        sorted(words)
    };
    let with_hot_words = || {
        let (mut hot, mut table) = (HotWords::default(), WordTable::default());
        hot.add(&mut table, text, 0, ends);
        hot.flush(&mut table);
        table
    };
    let table_alone = || {
        let mut table = WordTable::default();
        let mut start = 0;
        for &end in ends {
            table.add(&text[start..end], 1);
            start = end;
        }
        table
    };
    let hashbrown = || {
        let mut table = Hashbrown::default();
        let mut start = 0;
        for &end in ends {
            if end - start <= PieceKey::MAX_LEN {
                table.add(PieceKey::read(text, start, end - start), 1);
            } else {
                add_long(&mut table.long, &text[start..end]);
            }
            start = end;
        }
        table
    };
    let foldhash = || {
        let mut short: FoldHashMap<PieceKey, u64> = HashMap::default();
        let mut long: FoldHashMap<Box<[u8]>, u64> = HashMap::default();
        let mut start = 0;
        for &end in ends {
            if end - start <= PieceKey::MAX_LEN {
                *short.entry(PieceKey::read(text, start, end - start)).or_default() += 1;
            } else {
                add_long(&mut long, &text[start..end]);
            }
            start = end;
        }
        (short, long)
    };
    let expected = listed(&with_hot_words());
    assert_eq!(listed(&table_alone()), expected);
    let short = |key: PieceKey| key.bytes()[..key.len()].to_vec();
    let Hashbrown { short: table, long } = hashbrown();
    let words = table.iter().map(|&(key, count)| (short(key), count));
    let long = long.into_iter().map(|(word, count)| (word.into_vec(), count));
    assert_eq!(sorted(words.chain(long).collect()), expected);

    let mut group = c.benchmark_group(format!("tables/HotWords and WordTable/{kind}"));
    group.throughput(Throughput::Elements(ends.len() as u64));
    group.bench_function("ours", |b| b.iter(with_hot_words));
    group.bench_function("WordTable alone", |b| b.iter(table_alone));
    group.bench_function("hashbrown", |b| b.iter(hashbrown));
    group.bench_function("foldhash", |b| b.iter(foldhash));
    group.finish();
}

/// `PairCounts`: adds every adjacent pair of the distinct words, as a round of training does; at
/// the start, when all tokens are bytes, and after 8,192 merges.
pub(crate) fn pair_counts(c: &mut Criterion, kind: &str, corpus: &Corpus) {
    for n_merges in [0, 8192] {
        let pairs = adjacent_pairs(corpus, n_merges);
        let n_tokens = 256 + n_merges;
        let mut distinct: FoldHashMap<(Symbol, Symbol), ()> = HashMap::default();
        distinct.extend(pairs.iter().map(|&pair| (pair, ())));
        // A round has the number of the round before.
        let expected = if n_merges == 0 { 0 } else { distinct.len() };
        let mut ours = || {
            let mut counts = PairCounts::new(n_tokens, expected);
            for &(left, right) in &pairs {
                counts.add(left, right, 3);
            }
            let mut sum = 0_u64;
            let add = |pair: u64, count: u64| sum = sum.wrapping_add(pair.wrapping_mul(count));
            counts.for_each(&Task::default(), add).expect("not cancelled");
            (counts.len(), sum)
        };
        let mut hashbrown = || {
            let mut table: HashTable<(u64, u64, u32)> = HashTable::with_capacity(expected);
            let hash = |pair: u64| hash::fold(pair, 0);
            for &(left, right) in &pairs {
                let pair = key(left, right);
                let entry = table.entry(hash(pair), |entry| entry.0 == pair, |entry| hash(entry.0));
                let (_, count, positions) = entry.or_insert((pair, 0, 0)).into_mut();
                *count += 3;
                *positions += 1;
            }
            let value = |&(pair, count, _): &(u64, u64, u32)| pair.wrapping_mul(count);
            (table.len(), table.iter().map(value).fold(0, u64::wrapping_add))
        };
        let mut foldhash = || {
            let mut map: FoldHashMap<u64, (u64, u32)> =
                HashMap::with_capacity_and_hasher(expected, Default::default());
            for &(left, right) in &pairs {
                let (count, positions) = map.entry(key(left, right)).or_default();
                *count += 3;
                *positions += 1;
            }
            let value = |(pair, &(count, _)): (&u64, &(u64, u32))| pair.wrapping_mul(count);
            (map.len(), map.iter().map(value).fold(0, u64::wrapping_add))
        };
        let mut group = c.benchmark_group(format!("tables/PairCounts, {n_merges} merges/{kind}"));
        compare(
            &mut group,
            pairs.len(),
            &mut [("ours", &mut ours), ("hashbrown", &mut hashbrown), ("foldhash", &mut foldhash)],
        );
        group.finish();
    }
}

/// The adjacent pairs of the distinct words after `n_merges` merges.
fn adjacent_pairs(corpus: &Corpus, n_merges: usize) -> Vec<(Symbol, Symbol)> {
    let mut ranks: FoldHashMap<(Symbol, Symbol), usize> = HashMap::default();
    for (rank, merge) in corpus.merges[..n_merges].iter().enumerate() {
        ranks.insert((merge.left, merge.right), rank);
    }
    let mut pairs = Vec::new();
    for &(start, end) in &corpus.distinct {
        let bytes = corpus.text[start..end].iter().take(64);
        let mut symbols: Vec<Symbol> = bytes.map(|&b| corpus.bytes[usize::from(b)]).collect();
        while let Some((rank, i)) = symbols
            .windows(2)
            .enumerate()
            .filter_map(|(i, pair)| Some((*ranks.get(&(pair[0], pair[1]))?, i)))
            .min()
        {
            symbols[i] = corpus.merges[rank].result;
            symbols.remove(i + 1);
        }
        pairs.extend(symbols.windows(2).map(|pair| (pair[0], pair[1])));
    }
    pairs
}
