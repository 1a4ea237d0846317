//! Reads and writes documents in every format: MB of text per second, one thread.

use criterion::{Criterion, Throughput};
use lslm_benches::{harness, texts, write};
use lslm_corpus::{Corpus, ReadOptions, Split};
use lslm_runtime::Task;

fn corpus(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let task = Task::default();
    for kind in texts() {
        let mut group = c.benchmark_group(format!("corpus/{}", kind.name));
        group.throughput(Throughput::Bytes(kind.size()));
        for format in ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "txt"] {
            let path = folder.path().join(format!("{}.{format}", kind.name));
            write(&kind, &path);
            let options = ReadOptions {
                split: Split::Separator("<|endoftext|>".to_owned()),
                ..ReadOptions::default()
            };
            let name = path.to_str().expect("a path in Unicode").to_owned();
            let corpus = Corpus::open(&[name], options).expect("a corpus");
            let mut reader = corpus.read_all();
            for expected in &kind.documents {
                let found = reader.next_document(&task).expect("no error").expect("a document");
                assert!(found.text == *expected, "{format}: a document changed on its way");
            }
            assert!(reader.next_document(&task).expect("no error").is_none());
            group.bench_function(format!("read {format}"), |b| {
                b.iter(|| {
                    let mut reader = corpus.read_all();
                    let mut bytes = 0;
                    while let Some(document) = reader.next_document(&task).expect("no error") {
                        bytes += document.text.len();
                    }
                    bytes
                });
            });
            group.bench_function(format!("write {format}"), |b| b.iter(|| write(&kind, &path)));
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    corpus(&mut criterion);
    criterion.final_summary();
}
