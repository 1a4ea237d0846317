//! The loader yields the same samples for every number of ranks, from every position.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{counting, write};
use lslm_dataset::loader::Position;
use lslm_dataset::{
    Access, Batch, Buffer, Dataset, Layout, Loader, LoaderOptions, Packing, Plan, PlanOptions,
    PlanSource,
};
use lslm_runtime::Error;
use proptest::prelude::*;

const T: usize = 8;

fn options(batch_size: usize, rank: usize, world_size: usize, prefetch: usize) -> LoaderOptions {
    LoaderOptions {
        batch_size,
        rank,
        world_size,
        global_batch_size: None,
        epochs: None,
        prefetch,
        layout: Layout::Rows,
    }
}

fn plan(sources: &[Dataset], weights: Option<&[f64]>, seed: u64, shuffle: bool) -> Arc<Plan> {
    let options = plan_options(seed, shuffle);
    Arc::new(Plan::new(weighted(sources, weights), options).unwrap())
}

fn plan_options(seed: u64, shuffle: bool) -> PlanOptions {
    PlanOptions {
        sequence_length: T,
        max_sequence_length: None,
        packing: Packing::Concat,
        mask_borders: false,
        seed,
        shuffle,
        verify: true,
        access: access(seed),
    }
}

fn weighted(sources: &[Dataset], weights: Option<&[f64]>) -> Vec<PlanSource> {
    let source = |(index, dataset): (usize, &Dataset)| PlanSource {
        dataset: dataset.clone(),
        name: None,
        weight: weights.and_then(|weights| weights.get(index).copied()),
    };
    sources.iter().enumerate().map(source).collect()
}

/// Tests read through maps for even seeds, and by calls for odd ones.
fn access(seed: u64) -> Access {
    if seed.is_multiple_of(2) { Access::Map } else { Access::Call }
}

fn next(loader: &mut Loader) -> Option<Vec<u16>> {
    loader.next(&mut || Ok(())).unwrap().map(|batch| narrow(&batch))
}

fn narrow(batch: &Batch) -> Vec<u16> {
    match batch.buffer() {
        Buffer::Narrow(tokens) => tokens.clone(),
        other => panic!("{other:?}"),
    }
}

/// The first `n` samples, read from the datasets one by one.
fn naive(plan: &Arc<Plan>, n: u64) -> Vec<Vec<u16>> {
    let samples = (0..n).map(|sample| {
        let position = plan.reader().locate(sample).unwrap();
        plan.sources()[position.source]
            .tokens(position.start, position.start + T as u64 + 1)
            .unwrap()
    });
    samples.collect()
}

#[test]
fn global_batches_do_not_depend_on_ranks_or_prefetch() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &counting(4000), 4000, 5000);
    let plan = plan(&[dataset], None, 7, true);
    let expected = naive(&plan, 24 * 60).concat();
    for (world_size, prefetch) in [(1, 0), (1, 2), (2, 1), (3, 3), (8, 2)] {
        let batch_size = 24 / world_size;
        let mut loaders: Vec<Loader> = (0..world_size)
            .map(|rank| {
                let options = options(batch_size, rank, world_size, prefetch);
                Loader::new(Arc::clone(&plan), options).unwrap()
            })
            .collect();
        let mut tokens = Vec::new();
        for _ in 0..60 {
            for loader in &mut loaders {
                tokens.extend(next(loader).unwrap());
            }
        }
        assert!(tokens == expected, "{world_size} ranks");
        assert!(loaders.iter().all(|loader| loader.position().samples == 24 * 60));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any sequence of stops, each resumed on another number of ranks, yields the same samples.
    #[test]
    fn a_run_resumes_at_any_step_on_any_number_of_ranks(
        seed: u64,
        shuffle: bool,
        mixed: bool,
        stages in proptest::collection::vec((1_usize..5, 1_usize..5, 0_usize..3, 1_usize..6), 1..5),
    ) {
        let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut sources = vec![write(folders.0.path(), &counting(300), 4000, 4300)];
        if mixed {
            sources.push(write(folders.1.path(), &counting(100), 4000, 4300));
        }
        let weights = [0.3, 0.7];
        let plan = plan(&sources, mixed.then_some(&weights[..]), seed, shuffle);
        let mut position = Position { samples: 0, round: 0 };
        let mut tokens = Vec::new();
        for (batch_size, world_size, prefetch, steps) in stages {
            let mut loaders: Vec<Loader> = (0..world_size)
                .map(|rank| {
                    let options = options(batch_size, rank, world_size, prefetch);
                    let mut loader = Loader::new(Arc::clone(&plan), options).unwrap();
                    loader.seek(position);
                    loader
                })
                .collect();
            for _ in 0..steps {
                for loader in &mut loaders {
                    tokens.extend(next(loader).unwrap());
                }
            }
            position = loaders[0].position();
        }
        prop_assert_eq!(tokens, naive(&plan, position.samples).concat());
    }
}

#[test]
fn targets_are_inputs_shifted_by_one() {
    let folder = tempfile::tempdir().unwrap();
    for vocab_size in [4000, 100_000] {
        let folder = folder.path().join(vocab_size.to_string());
        let plan = plan(&[write(&folder, &counting(4000), vocab_size, 5000)], None, 1, true);
        let mut pairs = options(3, 0, 1, 2);
        pairs.layout = Layout::Pairs;
        let mut pairs = Loader::new(Arc::clone(&plan), pairs).unwrap();
        let mut rows = Loader::new(plan, options(3, 0, 1, 2)).unwrap();
        for _ in 0..300 {
            let pair = pairs.next(&mut || Ok(())).unwrap().unwrap();
            let row = rows.next(&mut || Ok(())).unwrap().unwrap();
            let row: Vec<i64> = match row.buffer() {
                Buffer::Narrow(row) => row.iter().map(|id| i64::from(*id)).collect(),
                Buffer::Wide(row) => row.iter().map(|id| i64::from(*id)).collect(),
                Buffer::Pairs(_) => panic!("pairs instead of rows"),
            };
            let Buffer::Pairs(pair) = pair.buffer() else { panic!("rows instead of pairs") };
            let (inputs, targets) = pair.split_at(3 * T);
            for (index, row) in row.chunks(T + 1).enumerate() {
                assert_eq!(&inputs[index * T..(index + 1) * T], &row[..T]);
                assert_eq!(&targets[index * T..(index + 1) * T], &row[1..]);
            }
        }
    }
}

#[test]
fn memory_is_reused_only_after_its_batch_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&[write(folder.path(), &counting(4000), 4000, 5000)], None, 1, true);
    let mut loader = Loader::new(Arc::clone(&plan), options(2, 0, 1, 2)).unwrap();
    let kept: Vec<Batch> = (0..40).map(|_| loader.next(&mut || Ok(())).unwrap().unwrap()).collect();
    let tokens: Vec<Vec<u16>> = kept.iter().map(narrow).collect();
    assert_eq!(tokens.concat(), naive(&plan, 80).concat());
    let addresses: std::collections::BTreeSet<*const u16> = kept.iter().map(address).collect();
    assert_eq!(addresses.len(), kept.len());
    drop(kept);
    let mut later = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        later.insert(address(&loader.next(&mut || Ok(())).unwrap().unwrap()));
    }
    // small batches are filled in groups of 64
    assert!(later.len() <= 10 + 4 * 64, "{} buffers for 4 groups", later.len());
}

fn address(batch: &Batch) -> *const u16 {
    match batch.buffer() {
        Buffer::Narrow(tokens) => tokens.as_ptr(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn epochs_end_and_a_restart_continues_with_the_next_ones() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&[write(folder.path(), &counting(201), 4000, 5000)], None, 1, false);
    assert_eq!(plan.samples_per_epoch(), Some(25));
    for prefetch in [0, 3] {
        let mut ends = options(3, 0, 2, prefetch);
        ends.epochs = Some(2);
        ends.global_batch_size = Some(12);
        let mut loader = Loader::new(Arc::clone(&plan), ends).unwrap();
        assert_eq!((loader.n_batches(), loader.left_out()), (Some(8), 2));
        let first: Vec<_> = std::iter::from_fn(|| next(&mut loader)).collect();
        assert_eq!(first.len(), 8);
        assert!(next(&mut loader).is_none() && next(&mut loader).is_none());
        let end = loader.position();
        assert_eq!(end.samples, 48);
        // another loader that seeks to the end is at the end
        let mut other = Loader::new(Arc::clone(&plan), ends).unwrap();
        other.seek(end);
        assert!(next(&mut other).is_none());
        // without shuffling, the second round equals the first
        loader.restart();
        let second: Vec<_> = std::iter::from_fn(|| next(&mut loader)).collect();
        assert_eq!(first, second);
        assert_eq!(loader.position(), Position { samples: 98, round: 1 });
        loader.seek(Position { samples: 47, round: 0 });
        assert!(next(&mut loader).is_none());
        loader.seek(Position { samples: 42, round: 0 });
        assert!(next(&mut loader).is_some() && next(&mut loader).is_none());
    }
}

#[test]
fn every_window_occurs_once_per_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&[write(folder.path(), &counting(4000), 4000, 5000)], None, 3, true);
    let n = plan.samples_per_epoch().unwrap();
    let mut reader = plan.reader();
    let mut orders = Vec::new();
    for epoch in 0..3 {
        let starts: Vec<u64> =
            (0..n).map(|index| reader.locate(epoch * n + index).unwrap().start).collect();
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] == T as u64));
        orders.push(starts);
    }
    assert!(orders[0] != orders[1] && orders[1] != orders[2]);
}

#[test]
fn a_mixture_has_its_proportions_in_every_block() {
    let folder = tempfile::tempdir().unwrap();
    let sources: Vec<Dataset> = (0..3_u32)
        .map(|i| write(&folder.path().join(i.to_string()), &counting(900 * (i + 1)), 4000, 9000))
        .collect();
    let plan = plan(&sources, Some(&[1.0, 2.0, 5.0]), 5, true);
    let mut reader = plan.reader();
    let mut counts = BTreeMap::new();
    let mut epochs = BTreeMap::new();
    for sample in 0..8 * 1024 {
        let position = reader.locate(sample).unwrap();
        assert_eq!(plan.reader().locate(sample).unwrap(), position);
        *counts.entry(position.source).or_insert(0) += 1;
        *epochs.entry((position.source, position.epoch)).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [1024, 2048, 5120]);
    // a pass over a source is complete before its next one starts
    assert_eq!(epochs[&(0, 0)], 900 / 8 - 1);
    assert!(plan.samples_per_epoch().is_none());
}

#[test]
fn options_that_cannot_be_used_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(&folder.path().join("a"), &counting(100), 4000, 9000);
    let other = write(&folder.path().join("b"), &counting(100), 4001, 9000);
    let longer = write(&folder.path().join("c"), &counting(200), 4000, 9000);
    let base = PlanOptions {
        sequence_length: 8,
        max_sequence_length: None,
        packing: Packing::Concat,
        mask_borders: false,
        seed: 0,
        shuffle: true,
        verify: false,
        access: Access::Auto,
    };
    let make = |sources: &[&Dataset], weights: Option<&[f64]>, options| {
        let sources: Vec<Dataset> = sources.iter().map(|d| (*d).clone()).collect();
        Plan::new(weighted(&sources, weights), options)
    };
    let message = |result: Result<Plan, Error>| result.unwrap_err().to_string();
    let long = PlanOptions { sequence_length: 100, ..base };
    assert!(message(make(&[&dataset], None, long)).contains("needs 101 tokens"));
    let none = PlanOptions { sequence_length: 0, ..base };
    assert!(message(make(&[&dataset], None, none)).contains("sequence_length = 0"));
    let most = PlanOptions { sequence_length: usize::MAX, ..base };
    assert!(make(&[&dataset], None, most).is_err());
    assert!(make(&[], None, base).is_err());
    assert!(message(make(&[&dataset, &longer], Some(&[1.0]), base)).contains("1 weights for 2"));
    assert!(message(make(&[&dataset, &dataset], None, base)).contains("give each its own name"));
    let parts = PlanOptions { max_sequence_length: Some(12), ..base };
    assert!(message(make(&[&dataset], None, parts)).contains("a multiple"));
    assert!(matches!(make(&[&dataset, &other], None, base), Err(Error::Mismatch { .. })));

    let plan = Arc::new(make(&[&dataset], None, base).unwrap());
    let refused = |options: LoaderOptions| {
        Loader::new(Arc::clone(&plan), options).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(options(0, 0, 1, 1)).contains("batch_size = 0"));
    assert!(refused(options(1, 2, 2, 1)).contains("rank = 2"));
    let large = refused(options(usize::MAX, 0, 2, 1));
    assert!(large.contains("a batch has at most 268435456"), "{large}");
    assert!(refused(options((1 << 25) + 1, 0, 1, 1)).contains("that is 268435464 tokens"));
    let ahead = LoaderOptions { prefetch: 1025, ..options(1, 0, 1, 1) };
    assert!(refused(ahead).contains("prefetch = 1025"));
    assert!(refused(options(4, 0, usize::MAX, 1)).contains("world_size = "));
    let odd = LoaderOptions { global_batch_size: Some(7), ..options(2, 0, 2, 1) };
    assert!(refused(odd).contains("must be a multiple"));
    let large = LoaderOptions { epochs: Some(1), ..options(50, 0, 1, 1) };
    assert!(refused(large).contains("only 11 samples"));
    let never = LoaderOptions { epochs: Some(0), ..options(1, 0, 1, 1) };
    assert!(refused(never).contains("epochs = 0"));
}

#[test]
fn damage_is_reported_before_a_damaged_batch() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &counting(400), 4000, 1 << 20);
    let path = folder.path().join(&dataset.manifest().shards[0].file);
    drop(dataset);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for (prefetch, seed) in [(0, 0), (0, 1), (2, 0), (2, 1)] {
        let plan = plan(&[Dataset::open(folder.path()).unwrap()], None, seed, true);
        let mut loader = Loader::new(Arc::clone(&plan), options(2, 0, 1, prefetch)).unwrap();
        let error = loader.next(&mut || Ok(())).unwrap_err();
        assert!(matches!(error, Error::Format { path: ref at, .. } if *at == path), "{error}");
        assert_eq!(loader.position().samples, 0);
    }
}

#[test]
fn a_truncated_file_is_an_error_when_read_by_call() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &counting(4000), 4000, 5000);
    let path = folder.path().join(&dataset.manifest().shards[1].file);
    let plan = plan(&[dataset], None, 1, false);
    let mut reader = plan.reader();
    let mut row = [0_u16; T + 1];
    for sample in 0..400 {
        reader.fill_row(sample, &mut row).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let mut late = plan.reader();
    let errors: Vec<Error> =
        (0..400).filter_map(|sample| late.fill_row(sample, &mut row).err()).collect();
    assert!(!errors.is_empty() && errors.len() < 400);
    for error in errors {
        assert!(matches!(error, Error::Format { path: ref at, .. } if *at == path), "{error}");
    }
    // the file that was open before fails only for samples after its new end
    let errors = (0..400).filter(|sample| reader.fill_row(*sample, &mut row).is_err()).count();
    assert!(errors > 0 && errors < 400);
}
