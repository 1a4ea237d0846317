//! Packed rows hold each document whole, through every change of a run.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Document, plain, write};
use lslm_dataset::loader::Position;
use lslm_dataset::{
    Access, Buffer, Dataset, Layout, Loader, LoaderOptions, LoaderState, OnChange, Packing, Plan,
    PlanOptions, PlanSource,
};
use proptest::prelude::*;

/// The longest sequence.
const L: usize = 8;

fn options(length: usize, packing: Packing, mask_borders: bool, seed: u64) -> PlanOptions {
    PlanOptions {
        sequence_length: length,
        max_sequence_length: Some(L),
        packing,
        mask_borders,
        seed,
        shuffle: true,
        verify: false,
        access: if seed.is_multiple_of(2) { Access::Map } else { Access::Call },
    }
}

/// Documents of these lengths, whose tokens are 1, 2, …: token t is at position t − 1.
fn documents(lengths: &[u32]) -> Vec<Document> {
    let mut next = 1;
    let document = |length: &u32| {
        next += length;
        plain((next - length..next).collect())
    };
    lengths.iter().map(document).collect()
}

fn loader(plan: Plan, layout: Layout, batch_size: usize) -> Loader {
    let options = LoaderOptions {
        batch_size,
        rank: 0,
        world_size: 1,
        global_batch_size: None,
        epochs: None,
        prefetch: 0,
        layout,
    };
    Loader::new(Arc::new(plan), options).unwrap()
}

fn packed() -> impl Strategy<Value = Packing> {
    prop_oneof![Just(Packing::BestFit), Just(Packing::Document)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_has_each_document_whole_and_each_target_once(
        lengths in proptest::collection::vec(prop_oneof![0_u32..12, 0_u32..40], 1..60),
        packing in packed(), mask_borders: bool, seed: u64,
    ) {
        prop_assume!(lengths.iter().any(|length| *length > 0));
        let folder = tempfile::tempdir().unwrap();
        let dataset = write(folder.path(), &documents(&lengths), 4000, 4300);
        let plan = Plan::new([dataset.clone()], options(L, packing, mask_borders, seed)).unwrap();
        let (n, counts) = (plan.samples_per_epoch().unwrap(), plan.packing_counts());
        prop_assert_eq!((plan.left_out(), counts.n_rows), (0, n));
        let n_long = lengths.iter().filter(|length| **length > L as u32 + 1).count();
        prop_assert_eq!(counts.n_cut, n_long as u64);
        let plan = Arc::new(plan);
        let mut rows = loader(Plan::clone(&plan), Layout::Rows, n as usize);
        let mut pairs = loader(Plan::clone(&plan), Layout::Pairs, n as usize);
        let found = plan.reader().documents(0, n as usize).unwrap();
        let batch = rows.next(&mut || Ok(())).unwrap().unwrap();
        let Buffer::Narrow(tokens) = batch.buffer() else { panic!("wide") };
        let ignored: BTreeSet<i64> = batch.ignored.iter().copied().collect();
        let pair = pairs.next(&mut || Ok(())).unwrap().unwrap();
        let Buffer::Pairs(pair) = pair.buffer() else { panic!("rows") };
        let (inputs, targets) = pair.split_at(n as usize * L);

        let (mut targets_seen, mut n_padding, mut pieces) = (Vec::new(), 0, Vec::new());
        for (row, tokens) in tokens.chunks(L + 1).enumerate() {
            let mut at = 0;
            while at <= L && tokens[at] != 0 {
                // a piece: tokens that follow each other, of one document
                let start = u64::from(tokens[at]) - 1;
                let document = dataset.document_at(start).unwrap();
                let span = dataset.document_span(document).unwrap();
                let length = (span.end - start).min((L + 1 - at) as u64) as usize;
                for (index, token) in tokens[at..at + length].iter().enumerate() {
                    prop_assert_eq!(u64::from(*token) - 1, start + index as u64);
                    let place = at + index;
                    if place < L {
                        prop_assert_eq!(found.ids[row * L + place], document as i64);
                        prop_assert_eq!(found.positions[row * L + place], index as i32);
                        prop_assert_eq!(inputs[row * L + place], i64::from(*token));
                    }
                    if place > 0 {
                        let target = row * L + place - 1;
                        let is_border = index == 0;
                        let is_ignored = is_border && mask_borders;
                        prop_assert_eq!(ignored.contains(&(target as i64)), is_ignored);
                        let expected = if is_ignored { -100 } else { i64::from(*token) };
                        prop_assert_eq!(targets[target], expected);
                        if !is_border {
                            targets_seen.push(*token);
                        }
                    }
                }
                prop_assert!(start == span.start || span.end - span.start > L as u64 + 1, "cut");
                pieces.push((start, length));
                prop_assert!(packing == Packing::BestFit || at == 0);
                at += length;
            }
            for (place, token) in tokens.iter().enumerate().skip(at) {
                prop_assert_eq!(*token, 0);
                n_padding += 1;
                if place < L {
                    prop_assert_eq!(found.ids[row * L + place], -1);
                }
                if place > 0 {
                    let target = row * L + place - 1;
                    prop_assert!(ignored.contains(&(target as i64)) && targets[target] == -100);
                }
            }
        }
        targets_seen.sort_unstable();
        let own: Vec<u16> = (0..dataset.n_documents())
            .flat_map(|index| dataset.document::<u16>(index).unwrap().into_iter().skip(1))
            .collect();
        prop_assert_eq!(targets_seen, own);
        let begun = pieces.iter().filter(|(start, _)| {
            dataset.document_span(dataset.document_at(*start).unwrap()).unwrap().start == *start
        });
        prop_assert_eq!(begun.count(), lengths.iter().filter(|length| **length > 0).count());
        prop_assert_eq!(counts.n_padding, n_padding);
    }
}

#[derive(Clone, Debug)]
struct Stage {
    packing: Packing,
    mask_borders: bool,
    length: usize,
    weights: [u8; 2],
    samples: u64,
    skip: u64,
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let packing = prop_oneof![Just(Packing::Concat), packed()];
    let length = prop_oneof![Just(8_usize), Just(4)];
    let skip = prop_oneof![Just(0_u64), 0_u64..200];
    let stage = (packing, any::<bool>(), length, [0_u8..3, 1_u8..3], 0_u64..1500, skip).prop_map(
        |(packing, mask_borders, length, weights, samples, skip)| Stage {
            packing,
            mask_borders,
            length,
            weights,
            samples,
            skip,
        },
    );
    proptest::collection::vec(stage, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    /// Each stage is resumed from text; the last plan still yields every sample of all stages.
    #[test]
    fn a_run_keeps_its_rows_through_all_changes(seed: u64, stages in stages()) {
        let folder = tempfile::tempdir().unwrap();
        let datasets: Vec<Dataset> = ["a", "b"].iter().zip([7_u32, 11]).map(|(name, factor)| {
            let lengths: Vec<u32> = (0..120).map(|i| (i * factor + 3) % 23).collect();
            write(&folder.path().join(name), &documents(&lengths), 4000, 4300)
        }).collect();
        let (mut state, mut position): (Option<String>, u64) = (None, 0);
        let mut read: Vec<(usize, u64, u64, Vec<u16>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut last = None;
        for stage in &stages {
            let given: Vec<usize> = (0..2).filter(|index| stage.weights[*index] > 0).collect();
            let sources = given.iter().map(|index| PlanSource {
                dataset: datasets[*index].clone(),
                name: Some(["a", "b"][*index].into()),
                weight: Some(f64::from(stage.weights[*index])),
            });
            let options = options(stage.length, stage.packing, stage.mask_borders, seed);
            let mut loader = loader(Plan::new(sources, options).unwrap(), Layout::Rows, 1);
            if let Some(state) = &state {
                let state = LoaderState::parse(state).unwrap();
                loader.resume(&state, OnChange::NewSegment).unwrap();
            }
            if stage.skip > 0 {
                loader.skip(position, stage.skip).unwrap();
            }
            let mut reader = loader.plan().reader();
            let mut row = vec![0; stage.length + 1];
            for sample in position..position + stage.samples {
                let at = reader.locate(sample).unwrap();
                reader.fill_row(sample, &mut row).unwrap();
                let source = given[at.source];
                prop_assert!(seen.insert((source, at.epoch, at.start, stage.length)), "twice");
                read.push((source, at.epoch, at.start, row.clone()));
            }
            position += stage.samples;
            let text = loader.state(Position { samples: position, round: 0 }).to_json().unwrap();
            prop_assert_eq!(&LoaderState::parse(&text).unwrap().to_json().unwrap(), &text);
            state = Some(text);
            last = Some((loader.plan().clone(), given, stage.length));
        }
        let (plan, given, length) = last.unwrap();
        let mut reader = plan.reader();
        for (sample, (source, epoch, start, row)) in (0..).zip(&read) {
            let Some(index) = given.iter().position(|known| known == source) else { continue };
            if row.len() == length + 1 {
                let at = reader.locate(sample).unwrap();
                prop_assert_eq!((at.source, at.epoch, at.start), (index, *epoch, *start));
                let mut again = vec![0; length + 1];
                reader.fill_row(sample, &mut again).unwrap();
                prop_assert_eq!(&again, row);
            }
        }
        // the samples of a document are those that have one of its tokens
        for (index, source) in given.iter().enumerate() {
            let found = plan.samples_of(index, &(299..340), position).unwrap();
            let has = |token: &u16| (300..=340).contains(token);
            let expected: Vec<(u64, u64)> = (0..).zip(&read)
                .filter(|(_, (other, _, _, row))| other == source && row.iter().any(has))
                .map(|(sample, (_, epoch, _, _))| (sample, *epoch))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn what_a_change_leaves_unread_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &documents(&[30, 5, 9, 4, 4, 17]), 4000, 9000);
    let source = || PlanSource { dataset: dataset.clone(), name: Some("a".into()), weight: None };
    let plan = |length, packing| Plan::new([source()], options(length, packing, false, 2)).unwrap();
    let unread = |from: Plan, samples: u64, to: &Plan| {
        let text = loader(from, Layout::Rows, 1).state(Position { samples, round: 0 });
        to.resumed(&text, OnChange::NewSegment).unwrap().unread()
    };
    let n = plan(8, Packing::Concat).samples_per_epoch().unwrap();
    // three of the four quarters of a unit were read
    let short = plan(2, Packing::Concat);
    assert_eq!(unread(short.clone(), 7, &plan(8, Packing::Concat)), [0, 2]);
    assert_eq!(unread(short, 8, &plan(8, Packing::Concat)), [0, 0]);
    // another packing begins a new pass
    assert_eq!(unread(plan(8, Packing::Concat), 2, &plan(8, Packing::BestFit)), [0, (n - 2) * 8]);
    assert_eq!(unread(plan(8, Packing::Concat), n, &plan(8, Packing::BestFit)), [0, 0]);
    let rows = plan(8, Packing::Document).samples_per_epoch().unwrap();
    let left = (rows - 3) * 8;
    assert_eq!(unread(plan(8, Packing::Document), 3, &plan(4, Packing::Document)), [0, left]);
}

#[test]
fn samples_are_left_out_once_and_only_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &documents(&[400]), 4000, 9000);
    let plan = Plan::new([dataset], options(8, Packing::Concat, false, 4)).unwrap();
    let starts = |plan: &Arc<Plan>| -> Vec<u64> {
        let mut reader = plan.reader();
        (0..30).map(|sample| reader.locate(sample).unwrap().start).collect()
    };
    let whole = starts(&Arc::new(plan.clone()));
    let first = plan.clone();
    let mut loader = loader(plan, Layout::Rows, 1);
    for _ in 0..4 {
        loader.next(&mut || Ok(())).unwrap();
    }
    assert!(loader.skip(3, 1).unwrap_err().to_string().contains("was read"));
    loader.skip(6, 5).unwrap();
    assert_eq!(starts(loader.plan())[..20], [&whole[..6], &whole[11..25]].concat());
    loader.skip(6, 1).unwrap();
    loader.skip(8, 2).unwrap();
    let expected = [&whole[..6], &whole[12..14], &whole[16..28]].concat();
    assert_eq!(starts(loader.plan())[..20], expected);
    assert!(loader.skip(7, 1).unwrap_err().to_string().contains("must be made first"));
    let text = loader.state(loader.position()).to_json().unwrap();
    let state = LoaderState::parse(&text).unwrap();
    let fresh = Arc::new(loader.plan().resumed(&state, OnChange::Refuse).unwrap());
    assert_eq!(starts(&fresh)[..20], expected);
    // and at the very beginning
    assert_eq!(starts(&Arc::new(first.skipping(0, 5).unwrap()))[..20], whole[5..25]);
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("a.bin");
    std::fs::write(&bin, [1; 2000]).unwrap();
    let dataset = Dataset::open_bin(&[bin], Some(300), None).unwrap();
    let error = Plan::new([dataset], options(8, Packing::BestFit, false, 0)).unwrap_err();
    assert!(error.to_string().contains("eos_id="), "{error}");
    let dataset = write(&folder.path().join("b"), &documents(&[9]), 4000, 9000);
    let long =
        PlanOptions { max_sequence_length: None, ..options(1 << 20, Packing::BestFit, false, 0) };
    let error = Plan::new([dataset.clone()], long).unwrap_err().to_string();
    assert!(error.contains("must be below"), "{error}");
    let plan = Plan::new([dataset], options(8, Packing::BestFit, true, 0)).unwrap();
    let text = loader(plan, Layout::Rows, 1).state(Position { samples: 1, round: 0 });
    let text = text.to_json().unwrap();
    assert!(text.contains("\"packing\":\"best_fit\",\"mask_borders\":true"), "{text}");
    let other = LoaderState::parse(&text.replace("best_fit", "worst_fit")).unwrap_err();
    assert!(other.to_string().contains("\"worst_fit\" is not known"), "{other}");
}

/// 10^5 documents through stages of packing, lengths and weights: where a document was read is what
/// the rows say that were read.
#[test]
fn a_hundred_thousand_documents_are_found_in_the_rows_that_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = 12_345_u64;
    let mut next = |n: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    // the tokens of a document are all its number, but for a factor
    let value = |document: usize| 1 + document as u32 % 3989;
    let datasets: Vec<Dataset> = [60_000_u64, 40_000]
        .iter()
        .zip(["a", "b"])
        .map(|(n, name)| {
            let lengths = (0..*n).map(|_| 1 + (next(100) * next(100) / 450) as u32);
            let documents: Vec<Document> = (0..)
                .zip(lengths)
                .map(|(index, length)| plain(vec![value(index); length as usize]))
                .collect();
            write(&folder.path().join(name), &documents, 4000, 1 << 20)
        })
        .collect();
    let stages = [
        (Packing::BestFit, 8, [3.0, 1.0], 20_000_u64),
        (Packing::BestFit, 8, [1.0, 1.0], 60_000),
        (Packing::Concat, 4, [1.0, 2.0], 30_001),
        (Packing::Document, 8, [1.0, 1.0], 90_000),
        (Packing::BestFit, 8, [2.0, 1.0], 70_000),
    ];
    let (mut state, mut position) = (None, 0);
    let mut read: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); 100_000];
    let mut last_tokens = Vec::new();
    let mut last = None;
    for (packing, length, weights, samples) in stages {
        let sources =
            datasets.iter().zip(["a", "b"]).zip(weights).map(|((dataset, name), weight)| {
                PlanSource {
                    dataset: dataset.clone(),
                    name: Some(name.into()),
                    weight: Some(weight),
                }
            });
        let plan = Plan::new(sources, options(length, packing, false, 6)).unwrap();
        let mut loader = loader(plan, Layout::Rows, 1);
        if let Some(state) = &state {
            loader.resume(state, OnChange::NewSegment).unwrap();
        }
        let mut reader = loader.plan().reader();
        let mut row = [0_u16; L + 1];
        for sample in position..position + samples {
            let found = reader.documents(sample, 1).unwrap();
            let first = if found.sources[0] == 0 { 0 } else { 60_000 };
            reader.fill_row(sample, &mut row[..=length]).unwrap();
            last_tokens.push(u32::from(row[length]));
            for id in found.ids.iter().filter(|id| **id >= 0) {
                read[first + *id as usize].insert(sample);
            }
        }
        position += samples;
        state = Some(loader.state(Position { samples: position, round: 0 }));
        last = Some(loader.plan().clone());
    }
    let plan = last.unwrap();
    for index in (0..100_000).step_by(331) {
        let (source, document) = if index < 60_000 { (0, index) } else { (1, index - 60_000) };
        let span = datasets[source].document_span(document as u64).unwrap();
        let found = plan.samples_of(source, &span, position).unwrap();
        let mut found: BTreeSet<u64> = found.into_iter().map(|(sample, _)| sample).collect();
        assert!(read[index].is_subset(&found), "document {index}");
        // the last token of a row is a target only, which `documents` does not list
        found.retain(|sample| !read[index].contains(sample));
        assert!(found.iter().all(|sample| last_tokens[*sample as usize] == value(document)));
    }
}
