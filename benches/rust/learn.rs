//! Training a vocabulary: counting words, and finding merges, in MB of text per second, on one
//! thread.

use criterion::{BatchSize, Criterion, Throughput};
use lslm_benches::{Texts, harness, learned, texts};
use lslm_bpe::Special;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{TrainOptions, WordCounter, WordCounts, train};
use lslm_runtime::Task;

/// Ids of the vocabulary.
const VOCAB_SIZE: usize = 32_768;

/// Returns the counted words of all documents.
fn count(kind: &Texts, pattern: &Pattern, task: &Task) -> WordCounts {
    let mut counter = WordCounter::new(pattern);
    for text in &kind.documents {
        counter.add(text.as_bytes(), task).expect("not cancelled");
    }
    WordCounter::finish(vec![counter], 1, task).expect("counts")
}

fn learn(c: &mut Criterion) {
    let task = Task::default();
    let pattern = Pattern::named("o200k_base").expect("a published name");
    for kind in texts() {
        let mut bytes = 0;
        let words = count(&kind, &pattern, &task);
        words
            .for_each(|word, times| {
                bytes += word.len() as u64 * times;
                Ok(())
            })
            .expect("counts");
        assert_eq!(bytes, kind.size(), "the counted words together are not the text");
        let tok = learned(&kind, VOCAB_SIZE);
        assert_eq!(tok.vocab_size(), VOCAB_SIZE);
        let text = kind.documents[0].as_bytes();
        let ids = tok.encode(text, &Special::None, &task).expect("ids");
        let mut found = Vec::new();
        tok.decode_into(&ids, &mut found).expect("known ids");
        assert!(found == text && ids.len() * 2 < text.len());

        let mut group = c.benchmark_group(format!("learn/{}", kind.name));
        group.throughput(Throughput::Bytes(kind.size()));
        group.bench_function("count words", |b| b.iter(|| count(&kind, &pattern, &task)));
        group.bench_function("find merges", |b| {
            b.iter_batched(
                || count(&kind, &pattern, &task),
                |words| train(words, &TrainOptions::new(VOCAB_SIZE), 1, &task),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    learn(&mut criterion);
    criterion.final_summary();
}
