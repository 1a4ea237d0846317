//! Pre-tokenization by the published patterns, in MB of text per second, on one thread.
//!
//! `LSLM_SIMD=scalar|avx2|avx512` measures one of the vector levels.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use lslm_benches::{harness, texts};
use lslm_bpe::pretokenize::Pattern;

fn split(c: &mut Criterion) {
    for kind in texts() {
        let mut group = c.benchmark_group(format!("split/{}", kind.name));
        group.throughput(Throughput::Bytes(kind.size()));
        for name in Pattern::names() {
            let pattern = Pattern::named(name).expect("a published name");
            for text in &kind.documents {
                let mut pieces = Vec::new();
                pattern.for_each(text.as_bytes(), |piece| pieces.extend_from_slice(piece));
                assert!(pieces == text.as_bytes(), "{name}: the pieces together are not the text");
            }
            group.bench_function(*name, |b| {
                b.iter(|| {
                    let mut count = 0_usize;
                    for text in &kind.documents {
                        pattern.for_each(text.as_bytes(), |piece| {
                            black_box(piece);
                            count += 1;
                        });
                    }
                    count
                });
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    split(&mut criterion);
    criterion.final_summary();
}
