//! Reads a file of any bytes under any name but that of Parquet: documents or an error, never a panic,
//! and for plain text equal documents for every partition size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_corpus::{Corpus, ReadOptions, Split};

// three bytes are the name, the split and the partition size, the rest is the file
fuzz_target!(|input: &[u8]| {
    let Some((&[name, split, target], bytes)) = input.split_first_chunk() else { return };
    if bytes.starts_with(b"PAR1") {
        return;
    }
    let name =
        ["a.txt", "a.jsonl", "a.txt.gz", "a.jsonl.zst", "a", "a.json"][usize::from(name % 6)];
    let split = match split % 5 {
        0 => Split::File,
        1 => Split::Lines,
        2 => Split::BlankLines(u32::from(split >> 3)),
        3 => Split::Separator("<s>".into()),
        _ => Split::Separator("\u{e9}".into()),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("room");
    let options = ReadOptions { split, ..ReadOptions::default() };
    let Ok(corpus) = Corpus::open(&[path.to_str().expect("a name").to_owned()], options) else {
        return;
    };
    let read = |target: u64| -> Vec<Result<String, String>> {
        let partitions = corpus.partitions(target).expect("a target over zero");
        let documents = partitions.iter().flat_map(|partition| corpus.read(partition));
        documents.map(|d| d.map(|d| d.text).map_err(|error| error.to_string())).collect()
    };
    let whole = read(u64::MAX);
    assert_eq!(read(u64::from(target).max(1)), whole);
});
