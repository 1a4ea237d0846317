//! Cleaning on one thread, in MB of text per second.

use criterion::{Criterion, Throughput};
use lslm_benches::{harness, texts};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, PROFILES};

fn clean(c: &mut Criterion) {
    for kind in texts() {
        let mut group = c.benchmark_group(format!("clean/{}", kind.name));
        group.throughput(Throughput::Bytes(kind.size()));
        for profile in PROFILES.iter().map(|profile| profile.name) {
            let config = CleanConfig::profile(profile).expect("a named profile");
            let cleaner = Cleaner::new(&config).expect("rules that can be used");
            let mut buffers = CleanBuffers::default();
            for text in &kind.documents {
                let once = cleaner.clean(text, &mut buffers);
                let again = cleaner.clean(&once.text, &mut buffers);
                assert!(again.text == once.text && again.changes.is_empty(), "{profile}");
            }
            group.bench_function(profile, |b| {
                b.iter(|| {
                    let kept = kind
                        .documents
                        .iter()
                        .filter(|text| cleaner.clean(text, &mut buffers).verdict.is_kept());
                    kept.count()
                });
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    clean(&mut criterion);
    criterion.final_summary();
}
