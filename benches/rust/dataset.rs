//! Datasets: write, verify, read, and load batches, in MB of tokens per second.

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use lslm_benches::harness;
use lslm_dataset::{
    Access, Buffer, Dataset, DatasetWriter, Layout, Loader, LoaderOptions, Manifest, Packing, Plan,
    PlanOptions,
};
use lslm_runtime::Task;

/// Tokens of the dataset: 16 or 32 MiB, larger than most caches.
const TOKENS: usize = 8 << 20;
/// Tokens of a document.
const DOCUMENT: usize = 1000;
/// Inputs of a sample.
const LENGTH: usize = 1024;
/// Rows of a batch.
const ROWS: usize = 32;

fn write(folder: &Path, tokens: &[u32], vocab_size: u32) {
    let template = Manifest::new(vocab_size);
    let mut writer = DatasetWriter::create(folder, template, 1 << 30).expect("a new folder");
    let source = writer.source("bench");
    for document in tokens.chunks(DOCUMENT) {
        writer.push_document(document, 4000, source, None).expect("room on the disk");
    }
    writer.finish().expect("room on the disk");
}

fn loader(dataset: &Dataset, access: Access, layout: Layout) -> Loader {
    let plan = Plan::new(
        [dataset.clone()],
        PlanOptions {
            sequence_length: LENGTH,
            max_sequence_length: None,
            packing: Packing::Concat,
            mask_borders: false,
            seed: 1,
            shuffle: true,
            verify: false,
            access,
        },
    );
    let options = LoaderOptions {
        batch_size: ROWS,
        rank: 0,
        world_size: 1,
        global_batch_size: None,
        epochs: None,
        prefetch: 2,
        layout,
    };
    Loader::new(Arc::new(plan.expect("enough tokens")), options).expect("options that fit")
}

fn dataset(c: &mut Criterion) {
    let task = Task::default();
    for (name, vocab_size, width) in [("u16", 50_000_u32, 2), ("u32", 200_000, 4)] {
        // a Weyl sequence: spread over the vocabulary, and each token determines its successor
        let step = 0x9e37_79b9_u32 % vocab_size;
        let tokens: Vec<u32> = (0..TOKENS as u64)
            .map(|n| (n * u64::from(step) % u64::from(vocab_size)) as u32)
            .collect();
        let follows = |a: i64, b: i64| (a + i64::from(step)) % i64::from(vocab_size) == b;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("whole");
        write(&path, &tokens, vocab_size);
        let dataset = Dataset::open(&path).expect("a dataset");
        dataset.verify(Some(1), &task).expect("whole");
        assert!(dataset.tokens::<u32>(0, TOKENS as u64).expect("tokens") == tokens);

        let mut group = c.benchmark_group(format!("dataset/{name}"));
        group.throughput(Throughput::Bytes((TOKENS * width) as u64));
        group.bench_function("write", |b| {
            b.iter(|| {
                let folder = tempfile::tempdir().expect("a temporary folder");
                write(&folder.path().join("data"), &tokens, vocab_size);
            });
        });
        group.bench_function("verify", |b| b.iter(|| dataset.verify(Some(1), &task)));
        let mut out = vec![0_u32; TOKENS];
        group.bench_function("read", |b| b.iter(|| dataset.read(0, &mut out)));

        group.throughput(Throughput::Bytes((ROWS * LENGTH * width) as u64));
        for (access, how) in [(Access::Map, "map"), (Access::Call, "call")] {
            for (layout, what) in [(Layout::Pairs, "pairs"), (Layout::Rows, "rows")] {
                let mut loader = loader(&dataset, access, layout);
                let first = loader.next(&mut || Ok(())).expect("whole").expect("a batch");
                if let Buffer::Pairs(both) = first.buffer() {
                    let (inputs, targets) = both.split_at(ROWS * LENGTH);
                    assert!(inputs.iter().zip(targets).all(|(a, b)| follows(*a, *b)));
                }
                drop(first);
                group.bench_function(format!("load {what} by {how}"), |b| {
                    b.iter(|| loader.next(&mut || Ok(())));
                });
            }
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    dataset(&mut criterion);
    criterion.final_summary();
}
