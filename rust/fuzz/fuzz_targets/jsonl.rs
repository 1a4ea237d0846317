//! Reads JSONL of any bytes: no panic, equal documents for every partition size, and documents survive
//! writing and reading again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_corpus::{Corpus, DocumentWriter, Format, ReadOptions, Statistics, WriteOptions};

type Plain = (String, Option<String>, Option<String>);

fn read(corpus: &Corpus, target: u64) -> (Vec<Plain>, Statistics) {
    let mut documents = Vec::new();
    let mut statistics = Statistics::default();
    for partition in corpus.partitions(target).expect("a target over zero") {
        let mut reader = corpus.read(&partition);
        for document in reader.by_ref() {
            let document = document.expect("plain JSONL that was opened can be read");
            let metadata = document.metadata();
            documents.push((document.text, document.id, metadata));
        }
        statistics.merge(reader.statistics());
    }
    (documents, statistics)
}

// the first byte is the partition size, the rest is the file
fuzz_target!(|input: &[u8]| {
    let Some((&target, bytes)) = input.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let open = |name: &str| {
        let options = ReadOptions { format: Some(Format::Jsonl), ..ReadOptions::default() };
        Corpus::open(&[path(name).to_str().expect("a name").to_owned()], options)
    };
    std::fs::write(path("a"), bytes).expect("room");
    let Ok(corpus) = open("a") else { return };
    if corpus.inputs()[0].compression() != lslm_corpus::Compression::None {
        return;
    }
    let whole = read(&corpus, u64::MAX);
    assert_eq!(read(&corpus, u64::from(target).max(1)), whole);

    let options = WriteOptions { format: Some(Format::Jsonl), ..WriteOptions::default() };
    let mut writer = DocumentWriter::create(path("b"), options).expect("a new file");
    for document in corpus.read_all() {
        writer.write(&document.expect("read before")).expect("room");
    }
    writer.finish().expect("room");
    let again = read(&open("b").expect("written by us"), u64::MAX);
    let texts = |documents: &[Plain]| {
        documents.iter().map(|d| (d.0.clone(), d.1.clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&again.0), texts(&whole.0));
    assert_eq!(again.1.bad_documents(), 0);
});
