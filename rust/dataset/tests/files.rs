//! Datasets are read back as written, and hostile or damaged files are refused.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::path::Path;

use common::{Document, counting, plain, write};
use lslm_dataset::format::{Header, PAGE, kind};
use lslm_dataset::{
    Dataset, DatasetWriter, Manifest, ShardEntry, ShardOptions, ShardSummary, ShardWriter,
};
use lslm_runtime::{Error, Task};
use proptest::prelude::*;

fn documents(vocab_size: u32) -> impl Strategy<Value = Vec<Document>> {
    let id = prop_oneof![Just(None), "[a-zé]{1,8}".prop_map(Some)];
    let tokens = proptest::collection::vec(0..vocab_size, 0..60);
    let document = (tokens, 0_u64..500, 0_u32..3, id)
        .prop_map(|(tokens, n_bytes, source, id)| Document { tokens, n_bytes, source, id });
    proptest::collection::vec(document, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// For narrow and wide ids, and any division into shards.
    #[test]
    fn documents_are_read_back_as_written(
        (vocab_size, documents) in prop_oneof![Just(1_u32), Just(300), Just(65_536), Just(65_537)]
            .prop_flat_map(|v| (Just(v), documents(v))),
        shard_bytes in 4096_u64..5000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let dataset = write(folder.path(), &documents, vocab_size, shard_bytes);
        dataset.verify(Some(2), &Task::default()).unwrap();
        let all: Vec<u32> = documents.iter().flat_map(|d| d.tokens.iter().copied()).collect();
        prop_assert_eq!(dataset.n_documents(), documents.len() as u64);
        prop_assert_eq!(dataset.n_tokens(), all.len() as u64);
        prop_assert_eq!(dataset.n_bytes(), documents.iter().map(|d| d.n_bytes).sum::<u64>());
        prop_assert_eq!(dataset.token_width(), if vocab_size <= 65_536 { 2 } else { 4 });
        prop_assert_eq!(&dataset.tokens::<u32>(0, all.len() as u64).unwrap(), &all);
        for start in (0..=all.len()).step_by(17) {
            let stop = all.len().min(start + 29);
            let part = dataset.tokens::<i64>(start as u64, stop as u64).unwrap();
            let expected: Vec<i64> = all[start..stop].iter().map(|id| i64::from(*id)).collect();
            prop_assert_eq!(part, expected);
        }
        let names = ["first", "second", "third"];
        for (index, document) in documents.iter().enumerate() {
            let index = index as u64;
            prop_assert_eq!(&dataset.document::<u32>(index).unwrap(), &document.tokens);
            prop_assert_eq!(
                dataset.document_bytes(index).unwrap().unwrap_or(0), document.n_bytes
            );
            let name = names[document.source as usize];
            prop_assert_eq!(dataset.source(index).unwrap(), Some(name));
            prop_assert_eq!(dataset.document_id(index).unwrap(), document.id.clone());
        }
    }
}

#[test]
fn positions_outside_the_dataset_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &counting(100), 256, 1 << 20);
    assert!(dataset.tokens::<u32>(50, 101).is_err());
    assert!(dataset.tokens::<u32>(51, 50).is_err());
    assert!(dataset.tokens::<u32>(u64::MAX, u64::MAX).is_err());
    assert!(dataset.read(u64::MAX, &mut [0_u32; 2]).is_err());
    assert!(dataset.document::<u32>(dataset.n_documents()).is_err());
    assert!(dataset.tokens::<u32>(100, 100).unwrap().is_empty());
}

#[test]
fn ids_of_32_bits_are_not_truncated_to_16() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &[plain(vec![70_000, 1])], 100_000, 1 << 20);
    assert_eq!(dataset.tokens::<u32>(0, 2).unwrap(), [70_000, 1]);
    assert!(dataset.tokens::<u16>(0, 2).is_err());
}

#[test]
fn equal_documents_give_equal_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (x, y) = (
        write(a.path(), &counting(5000), 5000, 5000),
        write(b.path(), &counting(5000), 5000, 5000),
    );
    assert_eq!(x.fingerprint(), y.fingerprint());
    assert!(x.manifest().shards.len() > 3);
    for name in x.manifest().shards.iter().map(|shard| shard.file.as_str()).chain(["manifest.json"])
    {
        assert_eq!(fs::read(a.path().join(name)).unwrap(), fs::read(b.path().join(name)).unwrap());
    }
    let c = tempfile::tempdir().unwrap();
    let z = write(c.path(), &counting(4999), 5000, 5000);
    assert_ne!(x.fingerprint(), z.fingerprint());
}

#[test]
fn ids_beyond_the_vocabulary_are_refused_and_nothing_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let options = ShardOptions { vocab_size: 10, tokenizer: None };
    let path = folder.path().join("a.lslm");
    let mut writer = ShardWriter::create(&path, options).unwrap();
    writer.push_document(&[9], 1, 0, None).unwrap();
    let error = writer.push_document(&[3, 10], 1, 0, None).unwrap_err();
    assert!(error.to_string().contains("token 10 in document 1"), "{error}");
    let summary = writer.finish().unwrap();
    assert_eq!((summary.tokens, summary.documents), (1, 1));
    assert_eq!(ShardSummary::read(&path).unwrap().0, summary);
}

#[test]
fn a_writer_dropped_before_its_end_leaves_no_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = DatasetWriter::create(folder.path(), Manifest::new(9), 1 << 20).unwrap();
    writer.push_document(&[1, 2], 2, 0, None).unwrap();
    drop(writer);
    let error = Dataset::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("writing did not finish"), "{error}");
    write(folder.path(), &counting(9), 9, 1 << 20);
    let error = DatasetWriter::create(folder.path(), Manifest::new(9), 1 << 20).unwrap_err();
    assert!(error.to_string().contains("holds a dataset already"), "{error}");
}

#[test]
fn a_dataset_may_have_no_documents() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &[], 9, 1 << 20);
    assert_eq!((dataset.n_tokens(), dataset.n_documents()), (0, 0));
    assert!(dataset.tokens::<u32>(0, 0).unwrap().is_empty());
    // and so may a shard
    let other = tempfile::tempdir().unwrap();
    let options = ShardOptions { vocab_size: 9, tokenizer: None };
    let summary = ShardWriter::create(other.path().join("a.lslm"), options).unwrap().finish();
    let mut manifest = Manifest::new(9);
    manifest.push(ShardEntry::new(0, &summary.unwrap()));
    manifest.write(other.path()).unwrap();
    let dataset = Dataset::open(other.path()).unwrap();
    dataset.verify(None, &Task::default()).unwrap();
}

#[test]
fn errors_name_the_missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Dataset::open(folder.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Io { ref path, .. } if path.ends_with("none")), "{error}");
    let dataset = write(folder.path(), &counting(9), 9, 1 << 20);
    let shard = folder.path().join(&dataset.manifest().shards[0].file);
    assert!(matches!(Dataset::open(&shard).unwrap_err(), Error::Format { .. }));
    fs::remove_file(&shard).unwrap();
    // opening reads the manifest; each use of the shard names it
    let dataset = Dataset::open(folder.path()).unwrap();
    let uses: [fn(&Dataset) -> Option<Error>; 5] = [
        |dataset| dataset.tokens::<u32>(0, 3).err(),
        |dataset| dataset.document::<u32>(0).err(),
        |dataset| dataset.document_id(0).err(),
        |dataset| dataset.verify(Some(1), &Task::default()).err(),
        |dataset| dataset.check_shards().err(),
    ];
    for use_of in uses {
        let error = use_of(&dataset).unwrap();
        assert!(matches!(error, Error::Io { ref path, .. } if *path == shard), "{error}");
    }
}

/// A folder or a pipe in place of a shard is refused at once, not waited for.
#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &counting(9), 9, 1 << 20);
    let shard = folder.path().join(&dataset.manifest().shards[0].file);
    fs::remove_file(&shard).unwrap();
    fs::create_dir(&shard).unwrap();
    let error = Dataset::open(folder.path()).unwrap().tokens::<u32>(0, 3).unwrap_err();
    assert!(matches!(error, Error::Format { ref path, .. } if *path == shard), "{error}");
}

/// More shards than may be mapped at a time: all can be read, and the first again after the last.
#[test]
fn a_process_maps_a_thousand_shards_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<Document> = (0..1100).map(|i| plain(vec![i, i + 1])).collect();
    let dataset = write(folder.path(), &documents, 2000, 4097);
    assert_eq!(dataset.manifest().shards.len(), 1100);
    assert_eq!(dataset.check_shards().unwrap(), 1100);
    for index in [0, 1099, 700, 0] {
        assert_eq!(dataset.document::<u32>(index).unwrap(), [index as u32, index as u32 + 1]);
    }
    if cfg!(target_os = "linux") {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let own = folder.path().to_str().unwrap();
        let n = maps.lines().filter(|line| line.contains(own)).count();
        assert!((900..=1000).contains(&n), "{n} maps");
    }
    dataset.verify(Some(2), &Task::default()).unwrap();
}

/// Writes a shard with every kind of section into `folder`; returns its path.
fn full(folder: &Path) -> std::path::PathBuf {
    let documents = [
        Document { tokens: vec![1, 2, 3], n_bytes: 5, source: 0, id: Some("a".into()) },
        Document { tokens: vec![4; 700], n_bytes: 9, source: 2, id: None },
        Document { tokens: vec![], n_bytes: 0, source: 1, id: Some("ccc".into()) },
    ];
    let dataset = write(folder, &documents, 99, 1 << 20);
    folder.join(&dataset.manifest().shards[0].file)
}

/// `open` or `verify` notices each changed byte and each truncation.
#[test]
fn a_changed_byte_or_a_truncation_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let shard = full(folder.path());
    let good = fs::read(&shard).unwrap();
    assert!(Header::parse(&good[..PAGE], &shard, good.len() as u64).unwrap().sections.len() == 6);
    let check = || {
        let dataset = Dataset::open(folder.path())?;
        dataset.verify(Some(1), &Task::default())
    };
    check().unwrap();
    // most bytes of the page are zero; every fifth of them is enough
    let offsets = (0..520).chain((520..PAGE - 8).step_by(5)).chain(PAGE - 8..good.len());
    for at in offsets {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&shard, &bad).unwrap();
        let error = check().expect_err(&format!("byte {at}"));
        assert!(matches!(error, Error::Format { ref path, .. } if *path == shard), "{at}: {error}");
    }
    for length in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        fs::write(&shard, &good[..length]).unwrap();
        assert!(matches!(check().unwrap_err(), Error::Format { .. }), "{length}");
    }
    fs::write(&shard, [&good[..], &[0]].concat()).unwrap();
    assert!(matches!(check().unwrap_err(), Error::Format { .. }));
}

/// Changes the header page at byte `at`, corrects its checksum, and returns the error of parsing
/// it.
fn refusal(page: &[u8], file_size: u64, at: usize, bytes: &[u8]) -> String {
    let mut page = page.to_vec();
    page[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&page[..PAGE - 4]);
    page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    Header::parse(&page, Path::new("x"), file_size).unwrap_err().to_string()
}

#[test]
fn hostile_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shard = full(folder.path());
    let bytes = fs::read(&shard).unwrap();
    let (page, size) = (&bytes[..PAGE], bytes.len() as u64);
    let long = |number: u64| number.to_le_bytes().to_vec();
    let huge = long(u64::MAX);
    let entry = |index: usize| 128 + 64 * index;
    let cases: Vec<(usize, Vec<u8>, &str)> = vec![
        (0, b"PK".to_vec(), "not a shard"),
        (8, vec![2], "made by a newer lslm"),
        (8, vec![0], "format version 0"),
        (12, vec![62], "62 sections"),
        (12, vec![1], "where zero must be"),
        (16, huge.clone(), "not 18446744073709551615 elements"),
        (24, huge.clone(), "not 18446744073709551615 elements"),
        (40, vec![1], "its header says"),
        (48, vec![1, 0, 1], "width 2, must be 4"),
        (60, vec![1], "where zero must be"),
        (100, vec![1], "where zero must be"),
        (entry(0), vec![9], "section of kind 9 is required"),
        (entry(0), vec![7], "loss masks"),
        (entry(1), vec![1], "a second section of kind 1"),
        (entry(2) + 4, vec![3], "elements of 3 bytes"),
        (entry(2) + 4, vec![4], "width 4, must be 8"),
        (entry(2) + 5, vec![2], "where zero must be"),
        (entry(2) + 6, vec![1], "where zero must be"),
        (entry(0) + 8, vec![64], "begins at byte 4160"),
        (entry(1) + 8, vec![1], "begins at byte"),
        (entry(1) + 8, long(0_u64), "begins at byte 0"),
        (entry(1) + 8, long(u64::MAX - 63), "not inside the file"),
        (entry(1) + 16, huge.clone(), "not inside the file"),
        (entry(1) + 16, long(8_u64), "not 3 elements"),
        (entry(1) + 24, vec![1], "checksums of kind 2 begin"),
        (entry(1) + 24, long(u64::MAX - 3), "not inside the file"),
        (entry(1) + 8, long(4096_u64), "two sections claim byte 4096"),
        (entry(4), vec![200, 0, 0, 0], "come together"),
        (4000, vec![1], "where zero must be"),
    ];
    for (at, change, expected) in cases {
        let text = refusal(page, size, at, &change);
        assert!(text.contains(expected), "byte {at}: {text}");
    }
    let mut unknown = page.to_vec();
    // kind 4 may be missing, so another number in its place is an unknown kind that is skipped
    unknown[entry(3)..entry(3) + 4].copy_from_slice(&70_000_u32.to_le_bytes());
    let crc = crc32fast::hash(&unknown[..PAGE - 4]);
    unknown[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    let header = Header::parse(&unknown, &shard, size).unwrap();
    assert!(header.section(kind::DOCUMENT_SOURCES).is_none());
    assert!(header.section(70_000).is_some());
}

proptest! {
    /// No page makes the parser panic, and every range it accepts lies inside the file.
    #[test]
    fn any_page_is_refused_or_consistent(
        changes in proptest::collection::vec((0_usize..600, any::<u8>()), 0..6),
    ) {
        let header = Header {
            tokens: 3, documents: 0, text_bytes: 0, file_size: 9000, vocab_size: 9,
            tokenizer: None, sections: vec![],
        };
        let section = |kind, width, offset, length, checksums| lslm_dataset::format::Section {
            kind, width, required: true, offset, length, checksums, crc: 0,
        };
        let sections = vec![section(1, 2, 4096, 6, 8192), section(2, 8, 4160, 0, 8196)];
        let mut page = Header { sections, ..header }.encode();
        Header::parse(&page, Path::new("x"), 9000).unwrap();
        for (at, byte) in changes {
            page[at] = byte;
        }
        let crc = crc32fast::hash(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
        if let Ok(header) = Header::parse(&page, Path::new("x"), 9000) {
            for section in &header.sections {
                prop_assert!(section.offset + section.length <= 9000);
                prop_assert!(section.checksums + 4 * section.blocks() <= 9000);
            }
            let tokens = header.section(kind::TOKENS).unwrap();
            prop_assert_eq!(tokens.length, header.tokens * header.token_width() as u64);
        }
    }
}

#[test]
fn hostile_manifests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write(folder.path(), &counting(5000), 5000, 5000).manifest().clone();
    let text = serde_json::to_string(&manifest).unwrap();
    let first = &manifest.shards[0].file;
    let cases = [
        ("", "not a manifest"),
        ("[]", "not a manifest"),
        ("{}", "\"format\" is not"),
        ("{\"format\": \"lslm-dataset\", \"version\": 2, \"shards\": 0}", "update lslm"),
        ("{\"format\": \"lslm-dataset\"}", "format version missing"),
        ("{\"format\": \"lslm-dataset\", \"version\": 1}", "missing field"),
    ];
    let changes = [
        ("\"tokens\":5000", "\"tokens\":5001", "5001 tokens, but the shards have 5000"),
        ("\"tokens\":5000", "\"tokens\":-1", "invalid value"),
        ("uint16", "uint32", "which must be"),
        ("\"vocab_size\":5000", "\"vocab_size\":0", "vocab_size is 0"),
        ("\"eos\":null", "\"eos\":5000", "token 5000 of 5000"),
        ("abab", "xyab", "64 hexadecimal digits"),
        (first.as_str(), "../x", "not a plain name"),
        (first.as_str(), "c:x", "not a plain name"),
        (first.as_str(), &manifest.shards[1].file, "listed twice"),
        (first.as_str(), "", "not a plain name"),
        ("\"partition\":0", "\"partition\":1", "out of order"),
        ("\"size\":", "\"size\":1", "the manifest says"),
        ("\"digest\":\"", "\"digest\":\"0", "64 hexadecimal digits"),
        ("\"fingerprint\":\"a", "\"fingerprint\":\"c", "the manifest says cb"),
    ];
    let changed =
        changes.iter().map(|(from, to, expected)| (text.replacen(from, to, 1), *expected));
    let plain = cases.iter().map(|(text, expected)| ((*text).to_owned(), *expected));
    for (bad, expected) in plain.chain(changed) {
        assert_ne!(bad, text);
        fs::write(folder.path().join("manifest.json"), &bad).unwrap();
        let check = || Dataset::open(folder.path())?.check_shards();
        let error = check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // members that a later version adds are ignored
    let more = text.replacen('{', "{\"more\": [1],", 1);
    fs::write(folder.path().join("manifest.json"), more).unwrap();
    Dataset::open(folder.path()).unwrap();
}

/// Values of the payload that are wrong although every checksum is right.
#[test]
fn inconsistent_payload_is_refused_by_verify_and_at_its_use() {
    let folder = tempfile::tempdir().unwrap();
    let shard = full(folder.path());
    let bytes = fs::read(&shard).unwrap();
    let header = Header::parse(&bytes[..PAGE], &shard, bytes.len() as u64).unwrap();
    let forge = |kind: u32, at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        let mut header = header.clone();
        let section = header.sections.iter_mut().find(|section| section.kind == kind).unwrap();
        let (start, end) = (section.offset as usize, (section.offset + section.length) as usize);
        bytes[start + at..start + at + new.len()].copy_from_slice(new);
        let list = crc32fast::hash(&bytes[start..end]).to_le_bytes();
        bytes[section.checksums as usize..][..4].copy_from_slice(&list);
        section.crc = crc32fast::hash(&list);
        bytes[..PAGE].copy_from_slice(&header.encode());
        fs::write(&shard, &bytes).unwrap();
        let (summary, _) = ShardSummary::read(&shard).unwrap();
        let mut manifest = Manifest::read(folder.path()).unwrap();
        manifest.shards[0] = ShardEntry::new(0, &summary);
        manifest.write(folder.path()).unwrap();
        let dataset = Dataset::open(folder.path()).unwrap();
        let fault = dataset.verify(Some(1), &Task::default()).unwrap_err().to_string();
        (dataset, fault)
    };
    let (dataset, fault) = forge(kind::DOCUMENT_ENDS, 0, &u64::MAX.to_le_bytes());
    assert!(fault.contains("comes after end"), "{fault}");
    assert!(dataset.document::<u32>(0).is_err() && dataset.document::<u32>(1).is_err());
    let (dataset, fault) = forge(kind::DOCUMENT_ENDS, 16, &9_u64.to_le_bytes());
    assert!(fault.contains("the last end is 9, not 703"), "{fault}");
    assert!(dataset.document::<u32>(2).is_err());
    let (_, fault) = forge(kind::TOKENS, 8, &[99, 0]);
    assert!(fault.contains("byte 4104") && fault.contains("not one of 99"), "{fault}");
    let (dataset, fault) = forge(kind::DOCUMENT_SOURCES, 4, &[3]);
    assert!(fault.contains("a source that is not one of 3"), "{fault}");
    assert!(dataset.source(1).is_err());
    let (_, fault) = forge(kind::DOCUMENT_BYTES, 0, &[6]);
    assert!(fault.contains("is not that of the header"), "{fault}");
    let (dataset, fault) = forge(kind::IDS, 0, &[0xff]);
    assert!(fault.contains("not UTF-8"), "{fault}");
    assert!(dataset.document_id(0).is_err());
    let (dataset, _) = forge(kind::ID_ENDS, 0, &[200]);
    assert!(dataset.document_id(0).is_err());
}

/// Damage is reported for its own block, not only for the first.
#[test]
fn damage_is_found_in_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<Document> = (0..9).map(|i| plain(vec![i; 200_000])).collect();
    let dataset = write(folder.path(), &documents, 100, 1 << 30);
    let path = folder.path().join(&dataset.manifest().shards[0].file);
    drop(dataset);
    let mut bytes = fs::read(&path).unwrap();
    bytes[PAGE + (2 << 20) + 77] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    let error = dataset.verify(None, &Task::default()).unwrap_err();
    let expected = (PAGE + (2 << 20)) as u64;
    assert!(matches!(error, Error::Format { offset: Some(at), .. } if at == expected), "{error}");
    // `check` finds it only in that block
    dataset.check(0, 1 << 20).unwrap();
    dataset.check(0, 1 << 20).unwrap();
    assert!(dataset.check((1 << 20) - 1, 2).is_err());
    assert!(dataset.check(1 << 20, 1).is_err());
    let cancelled = Task::default();
    cancelled.cancel();
    assert!(matches!(dataset.verify(None, &cancelled).unwrap_err(), Error::Cancelled));
}
