//! Opens a shard with changed bytes and a right header checksum: it is refused, or read without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_dataset::format::{Header, PAGE};
use lslm_dataset::{Dataset, Manifest, ShardEntry, ShardOptions, ShardSummary, ShardWriter};
use lslm_runtime::Task;

fuzz_target!(|input: (bool, Vec<(u16, u8)>, u8)| {
    let (wide, changes, cut) = input;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.lslm");
    let vocab_size = if wide { 70_000 } else { 300 };
    let options = ShardOptions { vocab_size, tokenizer: None };
    let mut writer = ShardWriter::create(&path, options).expect("room");
    for (tokens, source, id) in [(&[1, 2, 3][..], 0, Some("one")), (&[4], 1, None)] {
        writer.push_document(tokens, 9, source, id).expect("a document");
    }
    writer.finish().expect("room");
    let mut bytes = std::fs::read(&path).expect("the shard");
    for (at, value) in changes {
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
    }
    bytes.truncate(bytes.len() - usize::from(cut) % 64);
    let crc = crc32fast::hash(&bytes[..PAGE - 4]).to_le_bytes();
    bytes[PAGE - 4..PAGE].copy_from_slice(&crc);
    std::fs::write(&path, &bytes).expect("room");
    let Ok(header) = Header::parse(&bytes[..PAGE], &path, bytes.len() as u64) else { return };
    let (summary, _) = ShardSummary::read(&path).expect("what was parsed once");
    let mut manifest = Manifest::new(header.vocab_size);
    manifest.tokenizer.fingerprint = header.tokenizer.map(|f| lslm_runtime::hex(&f));
    manifest.push(ShardEntry::new(0, &summary));
    if manifest.write(folder.path()).is_err() {
        return;
    }
    let Ok(dataset) = Dataset::open(folder.path()) else { return };
    let _ = dataset.verify(Some(1), &Task::default());
    assert_eq!(dataset.tokens::<u32>(0, dataset.n_tokens()).expect("all").len() as u64, header.tokens);
    for index in 0..dataset.n_documents().min(100) {
        let _ = dataset.document::<u32>(index);
        let _ = dataset.document_bytes(index);
        let _ = dataset.document_id(index);
        let _ = dataset.source(index);
    }
});
