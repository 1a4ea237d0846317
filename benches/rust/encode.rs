//! Throughput of encoding and decoding, in MB of text a second, with a vocabulary trained on the
//! same text.

use criterion::{Criterion, Throughput};
use lslm_benches::{harness, learned, texts};
use lslm_bpe::{Special, Unit};
use lslm_runtime::{Task, threads};

fn encode(c: &mut Criterion) {
    let task = Task::default();
    for kind in texts() {
        let tok = learned(&kind, 32_768);
        let mut group = c.benchmark_group(format!("encode/{}", kind.name));
        group.throughput(Throughput::Bytes(kind.size()));
        let whole = kind.documents.concat();
        let batch = |threads| {
            tok.encode_batch(&kind.documents, &Special::None, Some(threads), &task).expect("ids")
        };
        let (ids, offsets) = batch(1);
        assert!(batch(threads::default_threads()) == (ids.clone(), offsets.clone()));
        let texts = tok.decode_batch(&ids, &offsets, Some(1), &task).expect("known ids");
        assert!(texts.iter().zip(&kind.documents).all(|(found, text)| found == text.as_bytes()));
        let long = tok.encode(whole.as_bytes(), &Special::None, &task).expect("ids");
        let mut bytes = Vec::new();
        tok.decode_into(&long, &mut bytes).expect("known ids");
        assert!(bytes == whole.as_bytes(), "decode(encode(text)) differs from the long text");
        let count = || tok.count(whole.as_bytes(), &Special::None, &task).expect("a count");
        assert_eq!(count(), long.len());
        let offsets = || {
            tok.encode_with_offsets(whole.as_bytes(), &Special::None, Unit::Byte, &task)
                .expect("ids with offsets")
        };
        assert!(offsets().ids == long);

        group.bench_function("encode documents, 1 thread", |b| b.iter(|| batch(1)));
        group.bench_function("encode documents, all threads", |b| {
            b.iter(|| batch(threads::default_threads()));
        });
        group.bench_function("encode one long text", |b| {
            b.iter(|| tok.encode(whole.as_bytes(), &Special::None, &task));
        });
        group.bench_function("count one long text", |b| b.iter(count));
        group.bench_function("encode one long text with offsets", |b| b.iter(offsets));
        group.bench_function("decode", |b| {
            b.iter(|| {
                bytes.clear();
                tok.decode_into(&long, &mut bytes)
            });
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = harness();
    encode(&mut criterion);
    criterion.final_summary();
}
