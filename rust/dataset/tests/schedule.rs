//! A run whose sources, weights, lengths and shards change reads each source in its own order.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::{counting, write};
use lslm_dataset::loader::Position;
use lslm_dataset::{
    Access, Dataset, Layout, Loader, LoaderOptions, LoaderState, Manifest, OnChange, Packing, Plan,
    PlanOptions, PlanSource, ShardEntry,
};
use lslm_runtime::Error;
use proptest::prelude::*;

/// The longest sequence.
const L: usize = 8;

fn options(length: usize, seed: u64) -> PlanOptions {
    PlanOptions {
        sequence_length: length,
        max_sequence_length: Some(L),
        packing: Packing::Concat,
        mask_borders: false,
        seed,
        shuffle: true,
        verify: false,
        access: Access::Map,
    }
}

fn named(name: &str, dataset: &Dataset, weight: f64) -> PlanSource {
    PlanSource { dataset: dataset.clone(), name: Some(name.into()), weight: Some(weight) }
}

fn loader(plan: Plan) -> Loader {
    let options = LoaderOptions {
        batch_size: 1,
        rank: 0,
        world_size: 1,
        global_batch_size: None,
        epochs: None,
        prefetch: 0,
        layout: Layout::Rows,
    };
    Loader::new(Arc::new(plan), options).unwrap()
}

/// Saves the state of `loader` at sample `samples`, as text.
fn saved(loader: &Loader, samples: u64) -> String {
    loader.state(Position { samples, round: 0 }).to_json().unwrap()
}

/// The dataset of the first `n` shards of `whole`.
fn first_shards(folder: &Path, whole: &Dataset, n: usize) -> Dataset {
    let mut manifest = Manifest { shards: vec![], ..whole.manifest().clone() };
    (manifest.tokens, manifest.documents, manifest.bytes) = (0, 0, 0);
    std::fs::create_dir(folder).unwrap();
    for shard in &whole.manifest().shards[..n] {
        std::fs::copy(whole.folder().join(&shard.file), folder.join(&shard.file)).unwrap();
        manifest.push(ShardEntry::clone(shard));
    }
    manifest.write(folder).unwrap();
    Dataset::open(folder).unwrap()
}

/// What a source yields alone: (pass, first token) of its units, in order.
fn alone(name: &str, dataset: &Dataset, seed: u64, n: u64) -> Vec<(u64, u64)> {
    let plan = Arc::new(Plan::new([named(name, dataset, 1.0)], options(L, seed)).unwrap());
    let mut reader = plan.reader();
    let units = (0..n).map(|sample| reader.locate(sample).unwrap());
    units.map(|position| (position.epoch, position.start)).collect()
}

/// The units, as `alone` has them, that have a row in `rows`.
fn units(rows: &BTreeSet<(u64, u64)>, alone: &[(u64, u64)]) -> BTreeSet<(u64, u64)> {
    let offsets: BTreeMap<u64, u64> =
        alone.iter().map(|(pass, start)| (*pass, start % L as u64)).collect();
    let unit =
        |(pass, start): &(u64, u64)| (*pass, start - (start + L as u64 - offsets[pass]) % L as u64);
    rows.iter().map(unit).collect()
}

#[derive(Clone, Debug)]
struct Stage {
    /// The weight of each source; none for 0.
    weights: [u8; 3],
    length: usize,
    samples: u64,
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let weights = [0_u8..4, 0_u8..4, 1_u8..4];
    let stage = (weights, prop_oneof![Just(8_usize), Just(4), Just(2)], 0_u64..3000);
    let stage = stage.prop_map(|(weights, length, samples)| Stage { weights, length, samples });
    proptest::collection::vec(stage, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    /// Each change is resumed from text by a new plan, which lists the sources in another order and
    /// with other multiples of their weights.
    #[test]
    fn each_source_keeps_its_order_through_all_changes(seed: u64, stages in stages()) {
        let folder = tempfile::tempdir().unwrap();
        let names = ["web", "code", "books"];
        let datasets: Vec<Dataset> = names.iter().enumerate().map(|(index, name)| {
            write(&folder.path().join(name), &counting(300 + 100 * index as u32), 4000, 4300)
        }).collect();
        let passes: Vec<Vec<(u64, u64)>> = names.iter().zip(&datasets).map(|(name, dataset)| {
            alone(name, dataset, seed, 12_000)
        }).collect();
        let mut state: Option<String> = None;
        let mut position = 0;
        let mut rows: BTreeMap<usize, BTreeSet<(u64, u64)>> = BTreeMap::new();
        for stage in &stages {
            let present = (0..3).filter(|i| stage.weights[*i] > 0);
            let sources = |factor| {
                let source = |i: usize| {
                    named(names[i], &datasets[i], factor * f64::from(stage.weights[i]))
                };
                present.clone().map(source).collect::<Vec<_>>()
            };
            let mut loader = loader(Plan::new(sources(1.0), options(stage.length, seed)).unwrap());
            if let Some(state) = &state {
                let state = LoaderState::parse(state).unwrap();
                loader.resume(&state, OnChange::NewSegment).unwrap();
            }
            let given: Vec<usize> = present.clone().collect();
            let mut reader = loader.plan().reader();
            let mut expected = Vec::new();
            let first = loader.plan().schedule().segments().last().unwrap().from;
            for sample in position..position + stage.samples {
                let at = reader.locate(sample).unwrap();
                prop_assert!(rows.entry(given[at.source]).or_default().insert((at.epoch, at.start)));
                if at.source == 0 && at.start < 200 && at.start + stage.length as u64 >= 130 {
                    expected.push((sample, at.epoch));
                }
            }
            let mut found = loader.plan().samples_of(0, &(130..200), position + stage.samples).unwrap();
            found.retain(|(sample, _)| *sample >= position);
            prop_assert!(found == expected, "from {first}");
            position += stage.samples;
            let text = saved(&loader, position);
            // the same mixture, given otherwise, resumes without a change
            let mut other = sources(3.7);
            other.reverse();
            let plan = Plan::new(other, options(stage.length, seed)).unwrap();
            let parsed = LoaderState::parse(&text).unwrap();
            prop_assert_eq!(&parsed.to_json().unwrap(), &text);
            let resumed = Arc::new(plan.resumed(&parsed, OnChange::Refuse).unwrap());
            prop_assert_eq!(resumed.schedule(), loader.plan().schedule());
            for (name, _, used) in resumed.served(position).unwrap() {
                let index = names.iter().position(|known| *known == name).unwrap();
                let own = rows.get(&index).map_or(0, |own| units(own, &passes[index]).len());
                prop_assert_eq!(used, own as u64);
            }
            state = Some(text);
        }
        // what the blocks that a change cut off had left unread comes first where a source goes on
        for (index, name) in names.iter().enumerate() {
            let plan = Plan::new([named(name, &datasets[index], 1.0)], options(L, seed)).unwrap();
            let saved = LoaderState::parse(state.as_ref().unwrap()).unwrap();
            let goes_on = Arc::new(plan.resumed(&saved, OnChange::NewSegment).unwrap());
            let mut reader = goes_on.reader();
            let mut own = units(rows.get(&index).unwrap_or(&BTreeSet::new()), &passes[index]);
            let from = goes_on.schedule().segments().last().unwrap().from;
            let n = if from == position { 1100 } else { 0 };
            for sample in position..position + n {
                let at = reader.locate(sample).unwrap();
                prop_assert!(own.insert((at.epoch, at.start)));
            }
            let expected: BTreeSet<(u64, u64)> =
                alone(name, &datasets[index], seed, own.len() as u64).into_iter().collect();
            prop_assert!(n == 0 || own == expected, "{name}");
        }
    }

    /// No text makes a loader panic, whatever it says.
    #[test]
    fn any_state_is_refused_or_resumed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), "[0-9a-zA-Z:,\"{}\\[\\]e.-]{0,3}"), 0..4),
        cut in any::<prop::sample::Index>(), is_cut in prop::bool::weighted(0.1),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let (a, b) = (write(&a, &counting(100), 4000, 4300), write(&b, &counting(90), 4000, 4300));
        let plan = Plan::new([named("a", &a, 1.0), named("b", &b, 2.0)], options(4, 3)).unwrap();
        let mut text = saved(&loader(plan.clone()), 77);
        for (at, new) in changes {
            let at = at.index(text.len());
            let end = (at + new.len()).min(text.len());
            text.replace_range(at..end, &new);
        }
        if is_cut {
            text.truncate(cut.index(text.len()));
        }
        let Ok(state) = LoaderState::parse(&text) else { return Ok(()) };
        prop_assert_eq!(&LoaderState::parse(&state.to_json().unwrap()).unwrap(), &state);
        for on_change in [OnChange::Refuse, OnChange::NewSegment] {
            if let Ok(resumed) = plan.resumed(&state, on_change) {
                let resumed = Arc::new(resumed);
                let _ = resumed.reader().locate(state.position.samples);
                let _ = resumed.served(state.position.samples);
            }
        }
    }
}

#[test]
fn a_pass_under_way_ends_before_appended_shards_join() {
    let folder = tempfile::tempdir().unwrap();
    let whole = write(&folder.path().join("whole"), &counting(900), 4000, 4300);
    let small = first_shards(&folder.path().join("small"), &whole, 3);
    let plan = |dataset: &Dataset| Plan::new([dataset.clone()], options(L, 5)).unwrap();
    let n = plan(&small).samples_per_epoch().unwrap();
    let grown_n = plan(&whole).samples_per_epoch().unwrap();
    assert!(n > 10 && grown_n > 2 * n);
    for stop in [0, 1, n - 1, n, n + 3] {
        let state = saved(&loader(plan(&small)), stop);
        let state = LoaderState::parse(&state).unwrap();
        let refused = plan(&whole).resumed(&state, OnChange::Refuse).unwrap_err();
        assert!(matches!(refused, Error::Mismatch { .. }), "{refused}");
        let mut grown = loader(plan(&whole));
        grown.resume(&state, OnChange::NewSegment).unwrap();
        // and once more from the state of the grown run
        let later = LoaderState::parse(&saved(&grown, stop + 2)).unwrap();
        let again = Arc::new(plan(&whole).resumed(&later, OnChange::Refuse).unwrap());
        let before = alone_small(&plan(&small), stop.div_ceil(n) * n);
        let mut reader = again.reader();
        let end = stop.div_ceil(n) * n;
        for (sample, expected) in before.iter().enumerate() {
            let at = reader.locate(sample as u64).unwrap();
            assert_eq!((at.epoch, at.start), *expected);
        }
        let mut starts: Vec<u64> = (end..end + grown_n)
            .map(|sample| {
                let at = reader.locate(sample).unwrap();
                assert_eq!(at.epoch, stop.div_ceil(n));
                at.start
            })
            .collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == L as u64));
        assert!(*starts.last().unwrap() > small.n_tokens());
    }
}

fn alone_small(plan: &Plan, n: u64) -> Vec<(u64, u64)> {
    let plan = Arc::new(plan.clone());
    let mut reader = plan.reader();
    let units = (0..n).map(|sample| reader.locate(sample).unwrap());
    units.map(|position| (position.epoch, position.start)).collect()
}

#[test]
fn changes_are_refused_by_name_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        write(&folder.path().join(name), &counting(300 + u32::from(name.as_bytes()[0])), 4000, 4300)
    });
    let plan = |sources: Vec<PlanSource>, length| Plan::new(sources, options(length, 1)).unwrap();
    let first = plan(vec![named("a", &a, 1.0), named("b", &b, 1.0)], 8);
    let state = LoaderState::parse(&saved(&loader(first), 50)).unwrap();
    let cases = [
        (plan(vec![named("a", &a, 1.0), named("b", &b, 2.0)], 8), "weights", true),
        (plan(vec![named("a", &a, 1.0), named("b", &b, 1.0)], 4), "sequence_length", true),
        (plan(vec![named("a", &a, 1.0)], 8), "data", true),
        (
            plan(vec![named("a", &a, 1.0), named("b", &b, 1.0), named("c", &c, 1.0)], 8),
            "data",
            true,
        ),
        (plan(vec![named("a", &a, 1.0), named("b", &c, 1.0)], 8), "source \"b\"", false),
        (Plan::new([named("a", &a, 1.0)], options(8, 2)).unwrap(), "seed", false),
    ];
    for (given, what, is_allowed) in cases {
        let error = given.resumed(&state, OnChange::Refuse).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        let changed = given.resumed(&state, OnChange::NewSegment);
        assert_eq!(changed.is_ok(), is_allowed, "{what}");
        if let Ok(changed) = changed {
            assert_eq!(changed.schedule().segments().len(), 2);
            assert_eq!(changed.schedule().segments()[1].from, 50);
        }
    }
    // other names of the same data are the same sources
    let renamed = plan(vec![named("x", &a, 1.0), named("y", &b, 1.0)], 8);
    assert!(renamed.resumed(&state, OnChange::Refuse).is_ok());
}

#[test]
fn a_state_of_twenty_sources_and_ten_segments_is_below_2_kb() {
    let folder = tempfile::tempdir().unwrap();
    let sources: Vec<Dataset> = (0..20)
        .map(|i| write(&folder.path().join(i.to_string()), &counting(200 + i), 4000, 9000))
        .collect();
    let mut state: Option<String> = None;
    for segment in 0..10_u64 {
        let given = sources.iter().enumerate().map(|(index, dataset)| {
            let weight = 1.0 + (index as f64 * 7.3 + segment as f64 * 3.1).sin();
            named(&format!("source-{index}"), dataset, weight + 0.01)
        });
        let mut loader = loader(Plan::new(given, options(L, u64::MAX)).unwrap());
        if let Some(state) = &state {
            let state = LoaderState::parse(state).unwrap();
            loader.resume(&state, OnChange::NewSegment).unwrap();
        }
        state = Some(saved(&loader, (segment + 1) * 1_234_567_890));
    }
    let state = state.unwrap();
    assert!(state.len() < 2000, "{} bytes: {state}", state.len());
    assert_eq!(LoaderState::parse(&state).unwrap().schedule.segments().len(), 10);
}

#[test]
fn states_are_read_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(&folder.path().join("a"), &counting(300), 4000, 9000);
    let b = write(&folder.path().join("b"), &counting(200), 4000, 9000);
    let plan = Plan::new([named("a", &a, 1.0), named("b", &b, 1.0)], options(L, 1)).unwrap();
    let text = saved(&loader(plan), 50);
    let cases = [
        ("\"samples\":50", "\"samples\":\"3\"", "invalid type"),
        ("\"samples\":50", "\"samples\":1.5", "invalid type"),
        ("\"samples\":50", "\"samples\":-1", "invalid value"),
        ("\"samples\":50", "\"samples\":true", "invalid type"),
        ("\"samples\":50", "\"samples\":9223372036854775808", "out of range"),
        ("\"round\":0", "\"round\":18446744073709551615", "out of range"),
        ("\"round\":0,", "", "missing field `round`"),
        ("\"round\":0", "\"round\":0,\"more\":1", "unknown field `more`"),
        ("\"global_batch_size\":1", "\"global_batch_size\":0", "at least 1"),
        ("\"version\":2", "\"version\":3", "version 3"),
        ("\"version\":2", "\"version\":\"2\"", "version \"2\""),
        ("\"version\":2,", "", "version none"),
        ("\"from\":0", "\"from\":1", "must begin at 0"),
        ("gAAA", "AAAA", "damaged"),
        ("gAAA", "gAA", "damaged"),
        ("a:", "a", "is none"),
        ("\"b:", "\"a:", "twice"),
    ];
    for (from, to, expected) in cases {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text, "{from}");
        let error = LoaderState::parse(&bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn states_of_version_1_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(&folder.path().join("a"), &counting(300), 4000, 9000);
    let b = write(&folder.path().join("b"), &counting(200), 4000, 9000);
    let text = |dataset: &Dataset| {
        format!(
            "{{\"version\": 1, \"fingerprint\": \"{}\", \"seed\": 1, \"shuffle\": true, \
             \"sequence_length\": 8, \"global_batch_size\": 4, \"samples\": 12, \"round\": 0}}",
            lslm_runtime::hex(&dataset.fingerprint())
        )
    };
    let plan = Plan::new([a.clone()], options(L, 1)).unwrap();
    let state = LoaderState::parse(&text(&a)).unwrap();
    let resumed = plan.resumed(&state, OnChange::Refuse).unwrap();
    assert_eq!(resumed.schedule(), plan.schedule());
    let other = LoaderState::parse(&text(&b)).unwrap();
    assert!(plan.resumed(&other, OnChange::Refuse).is_err());
}
