//! Reading through the public API: formats, partitions, policies, inputs, bad files.

#![allow(clippy::unwrap_used, clippy::format_collect)] // test helpers too

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{Plain, data, open, read, texts};
use lslm_corpus::{BadReason, Corpus, Format, ReadOptions, SkipReason, Split, Utf8Policy};
use lslm_runtime::Error;
use proptest::prelude::*;

fn options(split: Split) -> ReadOptions {
    ReadOptions { split, ..ReadOptions::default() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[test]
fn plain_text_becomes_documents_by_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, "\u{feff}one\r\n\n\n<s>\ntwo\n\nthree\r\n<s>\r\n<s>\n\n<s>\nfour\n").unwrap();
    let read = |split| texts(&path, &options(split)).unwrap();
    assert_eq!(read(Split::File), ["one\r\n\n\n<s>\ntwo\n\nthree\r\n<s>\r\n<s>\n\n<s>\nfour\n"]);
    assert_eq!(read(Split::Lines), ["one", "<s>", "two", "three", "<s>", "<s>", "<s>", "four"]);
    let blank = ["one", "<s>\ntwo", "three\r\n<s>\r\n<s>", "<s>\nfour"];
    assert_eq!(read(Split::BlankLines(1)), blank);
    assert_eq!(read(Split::BlankLines(0)), blank);
    assert_eq!(read(Split::BlankLines(2)), ["one", "<s>\ntwo\n\nthree\r\n<s>\r\n<s>\n\n<s>\nfour"]);
    assert_eq!(
        read(Split::Separator("<s>".into())),
        ["one\r\n\n", "two\n\nthree", "four"],
        "empty documents between separators are skipped"
    );
}

#[test]
fn bad_lines_of_jsonl_are_counted_by_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let content = b"\xef\xbb\xbf{\"text\":\"a\",\"n\":1}\r\n\n  \n{\"text\":\n{\"x\":1}\n[]\n\
        {\"text\":null}\n{\"text\":\"b\xff\xfe\",\"id\":5}\n{\"text\":7}";
    fs::write(&path, content).unwrap();
    let corpus = open(&path, &ReadOptions::default()).unwrap();
    let (documents, statistics) = read(&corpus, 1 << 20).unwrap();
    let expected: Vec<Plain> = vec![
        ("a".into(), None, Some("{\"n\":1}".into())),
        ("b\u{fffd}\u{fffd}".into(), Some("5".into()), None),
    ];
    assert_eq!(documents, expected);
    assert_eq!((statistics.documents, statistics.bytes), (2, 8));
    assert_eq!((statistics.replaced_sequences, statistics.replaced_documents), (2, 1));
    let bad: Vec<_> = statistics
        .bad
        .iter()
        .map(|(reason, bad)| (reason.name(), bad.documents, bad.examples[0].position))
        .collect();
    assert_eq!(
        bad,
        [
            ("malformed_json", 1, 27),
            ("not_an_object", 1, 44),
            ("missing_text", 1, 36),
            ("null_text", 1, 47),
            ("text_not_string", 1, 83),
        ]
    );
    assert_eq!(statistics.bad_documents(), 5);
    assert_eq!(&content[36..43], b"{\"x\":1}");
    let json = serde_json::to_string(&statistics).unwrap();
    assert_eq!(serde_json::from_str::<lslm_corpus::Statistics>(&json).unwrap(), statistics);

    let refuse = ReadOptions { utf8: Utf8Policy::Refuse, ..ReadOptions::default() };
    let (documents, statistics) = read(&open(&path, &refuse).unwrap(), 1 << 20).unwrap();
    assert_eq!(documents.len(), 1);
    assert_eq!(statistics.bad[&BadReason::IllFormedUtf8].documents, 1);

    let strict = ReadOptions { strict: true, ..ReadOptions::default() };
    let error = read(&open(&path, &strict).unwrap(), 1 << 20).unwrap_err();
    assert!(error.to_string().contains("a.jsonl, byte 27: "), "{error}");
}

#[test]
fn the_first_five_bad_documents_are_examples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "x\n".repeat(100)).unwrap();
    for target in [7, 1 << 20] {
        let (_, statistics) = read(&open(&path, &ReadOptions::default()).unwrap(), target).unwrap();
        let bad = &statistics.bad[&BadReason::MalformedJson];
        let positions: Vec<u64> = bad.examples.iter().map(|example| example.position).collect();
        assert_eq!((bad.documents, positions), (100, vec![0, 2, 4, 6, 8]), "target {target}");
    }
}

#[test]
fn several_gzip_members_or_zstd_frames_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b): (&[u8], &[u8]) = (b"{\"text\":\"a\"}\n{\"te", b"xt\":\"b\"}\n");
    for (name, content) in [
        ("a.jsonl.gz", [gzip(a), gzip(b)].concat()),
        ("a.jsonl.zst", [zstd(a), b"\x50\x2a\x4d\x18\x01\0\0\0!".to_vec(), zstd(b)].concat()),
        // the content has precedence over the name
        ("b.jsonl", [gzip(a), gzip(b)].concat()),
        ("b.jsonl.gz", [zstd(a), zstd(b)].concat()),
        ("part-0000", zstd(b"{\"text\":\"a\"}\n{\"text\":\"b\"}")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        assert_eq!(texts(&path, &ReadOptions::default()).unwrap(), ["a", "b"], "{name}");
    }
}

#[test]
fn a_truncated_or_broken_stream_is_an_error_with_an_offset() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..20_000).map(|i| format!("{{\"text\":\"line {}\"}}\n", i * i)).collect();
    for (name, whole) in
        [("a.jsonl.gz", gzip(lines.as_bytes())), ("a.jsonl.zst", zstd(lines.as_bytes()))]
    {
        let path = folder.path().join(name);
        for length in [0, 3, 10, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = texts(&path, &ReadOptions::default()).unwrap_err();
            assert!(
                matches!(&error, Error::Format { offset: Some(_), .. }),
                "{name} {length} {error:?}"
            );
            assert!(error.to_string().contains(name), "{error}");
        }
        let mut broken = whole.clone();
        for byte in &mut broken[whole.len() / 2..][..20] {
            *byte ^= 0x55;
        }
        fs::write(&path, broken).unwrap();
        let error = texts(&path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
    }
}

#[test]
fn binary_and_misnamed_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, message) in [
        ("a.txt", &b"text\0more"[..], "byte 4: binary data"),
        ("a.jsonl", b"\x7fELF\x02\0", "binary data"),
        ("b.txt", b"\xff\xfea\0", "UTF-16"),
        ("c.txt", b"\xfe\xff\0a", "UTF-16"),
        ("d.txt", b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        ("a.parquet", b"PAR2....", "not a Parquet file"),
        ("b.parquet", b"PAR1....PAR1", "broken Parquet"),
        ("a.jsonl.gz", b"{\"text\":1}", "named as gzip data"),
        ("a.json", b" [{\"text\":1}]", "one JSON list"),
        ("a.txt.xz", b"\xfd7zXZ\0\0", "xz data"),
        ("a.zip", b"PK\x03\x04", "zip archive"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = texts(&path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(message), "{name}: {error}");
    }
}

#[test]
fn empty_files_hold_no_documents() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "a.jsonl", "a"] {
        let path = folder.path().join(name);
        for content in ["", "\u{feff}"] {
            fs::write(&path, content).unwrap();
            for split in [Split::File, Split::Lines, Split::BlankLines(2)] {
                assert!(texts(&path, &options(split)).unwrap().is_empty());
            }
        }
    }
}

#[test]
fn a_huge_line_is_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl.zst");
    let text = "0123456789".repeat(2_000_000);
    let lines = format!("{{\"text\":\"a\"}}\n{{\"text\":\"{text}\"}}\n{{\"text\":\"b\"}}");
    fs::write(&path, zstd(lines.as_bytes())).unwrap();
    let found = texts(&path, &ReadOptions::default()).unwrap();
    assert_eq!(found.len(), 3);
    assert!(found[1] == text && found[2] == "b");
}

fn names(corpus: &Corpus, folder: &Path) -> Vec<String> {
    let name = |input: &lslm_corpus::Input| {
        let path = input.path().strip_prefix(folder).unwrap_or(input.path());
        path.to_str().unwrap().replace('\\', "/")
    };
    corpus.inputs().iter().map(name).collect()
}

/// Makes a folder of files with all kinds of names.
fn folder_of_names() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "b/x.txt",
        "b.jsonl",
        "b/.hidden/y.txt",
        "a.py",
        "A.TXT",
        ".z.txt",
        "c[1].txt",
        "b-1.md",
        "report.json",
        "b/n/data.json.gz",
        "c1.txt",
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = if name.ends_with("gz") { gzip(b"{}") } else { b"{}".to_vec() };
        fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn files_of_known_or_chosen_extensions_are_found_in_a_folder() {
    let folder = folder_of_names();
    let top = folder.path();
    let default = ReadOptions::default();

    let corpus = open(top, &default).unwrap();
    assert_eq!(
        names(&corpus, top),
        ["A.TXT", "b-1.md", "b.jsonl", "b/n/data.json.gz", "b/x.txt", "c1.txt", "c[1].txt"]
    );
    let skipped: Vec<_> = corpus
        .skipped()
        .iter()
        .map(|s| (s.path.file_name().unwrap().to_str().unwrap().to_owned(), s.reason))
        .collect();
    assert_eq!(
        skipped,
        [
            (".z.txt".to_owned(), SkipReason::Hidden),
            ("a.py".to_owned(), SkipReason::Extension),
            (".hidden".to_owned(), SkipReason::Hidden),
            ("report.json".to_owned(), SkipReason::Extension),
        ]
    );

    let code = ReadOptions { extensions: Some(vec![".py".into()]), ..ReadOptions::default() };
    let corpus = open(top, &code).unwrap();
    assert_eq!(names(&corpus, top), ["a.py"]);
    assert_eq!(corpus.inputs()[0].format(), Format::Text);

    let without = ReadOptions { exclude: vec!["b".into(), "c1.txt".into()], ..default.clone() };
    let corpus = open(top, &without).unwrap();
    assert_eq!(names(&corpus, top), ["A.TXT", "b-1.md", "b.jsonl", "c[1].txt"]);
    let excluded = corpus.skipped().iter().filter(|s| s.reason == SkipReason::Excluded);
    assert_eq!(excluded.count(), 2);
}

#[test]
fn arguments_keep_their_order_and_bad_ones_are_refused() {
    let folder = folder_of_names();
    let top = folder.path();
    let arg = |name: &str| top.join(name).to_str().unwrap().to_owned();
    let found = |args: &[String], options: &ReadOptions| Corpus::open(args, options.clone());
    let default = ReadOptions::default();

    // arguments keep their order, a file is read once, an existing name with brackets is that file
    let corpus =
        found(&[arg("c[1].txt"), arg("*.txt"), arg("b/../c1.txt"), arg("a.py")], &default).unwrap();
    assert_eq!(names(&corpus, top), ["c[1].txt", "c1.txt", "a.py"]);
    let duplicates = corpus.skipped().iter().filter(|s| s.reason == SkipReason::Duplicate);
    assert_eq!(duplicates.count(), 2);
    assert_eq!(
        names(&found(&[arg("**/*.txt")], &default).unwrap(), top),
        ["b/x.txt", "c1.txt", "c[1].txt"]
    );

    for (args, message) in [
        (vec![], "no input"),
        (vec![arg("no.txt")], "no.txt: "),
        (vec![arg("no*.txt")], "no file matches the pattern"),
        (vec![arg("a[.txt")], "is wrong"),
    ] {
        let error = found(&args, &default).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = Corpus::open(&[arg("no.txt")], default.clone()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    fs::create_dir(top.join("empty")).unwrap();
    let error = found(&[arg("empty")], &default).unwrap_err().to_string();
    assert!(error.contains("the folder has no text, JSONL or Parquet file"), "{error}");
}

#[test]
#[cfg(unix)]
fn linked_folders_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "a").unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop.txt")).unwrap();
    let corpus = open(folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(corpus.inputs().len(), 1);
    assert_eq!(corpus.skipped()[0].reason, SkipReason::LinkedFolder);
}

#[test]
fn a_partition_of_another_corpus_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "b.txt"] {
        fs::write(folder.path().join(name), "text").unwrap();
    }
    let two = open(folder.path(), &ReadOptions::default()).unwrap();
    let one = open(&folder.path().join("a.txt"), &ReadOptions::default()).unwrap();
    assert!(two.partitions(0).is_err());
    let partition = &two.partitions(100).unwrap()[0];
    let results: Vec<_> = one.read(partition).collect();
    assert_eq!(results.len(), 2);
    assert!(results[0].is_ok() && results[1].is_err());
}

#[test]
fn reading_stops_after_cancellation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "bad\n".repeat(1_000)).unwrap();
    let corpus = open(&path, &ReadOptions::default()).unwrap();
    let task = lslm_runtime::Task::default();
    task.cancel();
    let result = corpus.read_all().next_document(&task);
    assert!(matches!(result, Err(Error::Cancelled)));
}

/// Splits the whole file at once, in the simplest way.
fn naive(content: &str, split: &Split) -> Vec<String> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let lines = || content.split_inclusive('\n');
    let bare = |line: &str| {
        let line = line.strip_suffix("\n").map_or(line, |l| l.strip_suffix('\r').unwrap_or(l));
        line.to_owned()
    };
    let mut documents = vec![String::new()];
    match split {
        Split::File => documents[0].push_str(content),
        Split::Lines => documents = lines().map(bare).collect(),
        Split::BlankLines(count) => {
            let mut run = String::new();
            let mut blank = 0;
            for line in lines() {
                if bare(line).is_empty() {
                    blank += 1;
                    run.push_str(line);
                    continue;
                }
                if blank >= *count {
                    documents.push(String::new());
                } else {
                    documents.last_mut().unwrap().push_str(&run);
                }
                documents.last_mut().unwrap().push_str(line);
                run.clear();
                blank = 0;
            }
            documents = documents.iter().map(|document| bare(document)).collect();
            // a file that starts with fewer empty lines than end a document
            if let Some(first) = documents.first_mut() {
                while let Some(rest) = first.strip_prefix('\n').or(first.strip_prefix("\r\n")) {
                    *first = rest.to_owned();
                }
            }
        }
        Split::Separator(separator) => {
            for line in lines() {
                if bare(line) == *separator {
                    let last = documents.last_mut().unwrap();
                    let own = if line.ends_with("\r\n") || !line.ends_with('\n') { 2 } else { 1 };
                    let breaks = last.len() - bare(last).len();
                    last.truncate(last.len() - breaks.min(own));
                    documents.push(String::new());
                } else {
                    documents.last_mut().unwrap().push_str(line);
                }
            }
            let last = documents.last_mut().unwrap();
            *last = bare(last);
        }
    }
    documents.retain(|document| !document.is_empty());
    documents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn text_is_the_same_for_any_partitions_and_equals_the_naive_split(
        parts in proptest::collection::vec(
            prop_oneof!["\n", "\n", "\r\n", "<s>", "<s>\n", "<s>\r\n", "a", "bcd", "\u{feff}", "é\r"], 0..24),
        targets in proptest::collection::vec(1_u64..40, 3),
    ) {
        let content = parts.concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, &content).unwrap();
        for split in [Split::File, Split::Lines, Split::BlankLines(1), Split::BlankLines(2),
            Split::BlankLines(3), Split::Separator("<s>".into())] {
            let corpus = open(&path, &options(split.clone())).unwrap();
            let expected = naive(&content, &split);
            for target in [&[1, 2, 3, 1 << 20], targets.as_slice()].concat() {
                let (documents, statistics) = read(&corpus, target).unwrap();
                let found: Vec<String> = documents.into_iter().map(|d| d.0).collect();
                prop_assert_eq!(&found, &expected, "{:?} by {}", &split, target);
                prop_assert_eq!(statistics.documents, expected.len() as u64);
            }
        }
    }

    #[test]
    fn jsonl_and_its_statistics_are_the_same_for_any_partitions(
        files in proptest::collection::vec((proptest::collection::vec(
            prop_oneof!["\n", "\n", "\r\n", "\n\n", "\\{\"text\":\"[a-zé]{0,9}\",\"id\":[0-9]\\}",
                "\\{\"text\":[0-9]\\}", "\\{\"te", " ", "\u{feff}"], 0..16), 0..3_u8), 1..4),
        targets in proptest::collection::vec(1_u64..60, 3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (index, (parts, kind)) in files.iter().enumerate() {
            let content = parts.concat().into_bytes();
            let (name, content) = match kind {
                0 => (format!("{index}.jsonl"), content),
                1 => (format!("{index}.jsonl.gz"), gzip(&content)),
                _ => (format!("{index}.jsonl.zst"), zstd(&content)),
            };
            fs::write(folder.path().join(name), content).unwrap();
        }
        let corpus = open(folder.path(), &ReadOptions::default()).unwrap();
        let expected = read(&corpus, u64::MAX).unwrap();
        for target in [&[1, 2, 5], targets.as_slice()].concat() {
            prop_assert_eq!(&read(&corpus, target).unwrap(), &expected, "by {}", target);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes: Vec<u8>,
        name in prop_oneof!["a\\.txt", "a\\.jsonl", "a\\.parquet", "a\\.gz", "a\\.zst", "a\\.json", "a"],
        magic in 0..6_usize,
    ) {
        let magics: [&[u8]; 6] = [b"", b"\x1f\x8b\x08\0\0\0\0\0\0\0", b"\x28\xb5\x2f\xfd", b"PAR1", b"{\"text\":", b"\x51\x2a\x4d\x18"];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut content = magics[magic].to_vec();
        content.extend_from_slice(&bytes);
        if magic == 3 {
            content.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            content.extend_from_slice(b"PAR1");
        }
        fs::write(&path, &content).unwrap();
        for split in [Split::File, Split::Lines, Split::BlankLines(1)] {
            if let Ok(corpus) = open(&path, &options(split)) {
                let _ = read(&corpus, 3);
            }
        }
    }
}

#[test]
fn jsonl_agrees_with_the_json_test_suite() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let mut seen = 0;
    for entry in fs::read_dir(data.join("cases/JSONTestSuite/test_parsing")).unwrap() {
        let case = entry.unwrap().path();
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let content = fs::read(&case).unwrap();
        seen += 1;
        // a line break between tokens is white space in JSON, and ends the line in JSONL
        let in_a_line: Vec<u8> =
            content.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
        let member = [b"{\"text\":\"t\",\"m\":", in_a_line.as_slice(), b"}\n"].concat();
        fs::write(&path, &member).unwrap();
        let as_member =
            open(&path, &ReadOptions::default()).and_then(|corpus| read(&corpus, u64::MAX));
        fs::write(&path, &in_a_line).unwrap();
        let as_line =
            open(&path, &ReadOptions::default()).and_then(|corpus| read(&corpus, u64::MAX));
        fs::write(&path, [b"{\"text\":\"t\",\"m\":", content.as_slice(), b"}\n"].concat()).unwrap();
        let broken_up =
            open(&path, &ReadOptions::default()).and_then(|corpus| read(&corpus, u64::MAX));
        match name.as_bytes()[0] {
            b'y' => {
                let (documents, statistics) = as_member.unwrap();
                assert_eq!((documents.len(), statistics.bad_documents()), (1, 0), "{name}");
                let value = documents[0].2.as_ref().unwrap();
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(value).unwrap()["m"],
                    serde_json::from_slice::<serde_json::Value>(&content).unwrap(),
                    "{name}"
                );
                let bad = as_line.unwrap().1.bad;
                assert!(!bad.contains_key(&BadReason::MalformedJson), "{name} {bad:?}");
            }
            b'n' => {
                // as a line of its own, the whole file may be refused
                if !name.contains("newline") {
                    let statistics = as_member.unwrap().1;
                    assert_eq!(
                        (statistics.documents, statistics.bad_documents()),
                        (0, 1),
                        "{name}"
                    );
                }
                if let Ok((documents, _)) = as_line {
                    assert!(documents.is_empty(), "{name}");
                }
                assert_eq!(broken_up.unwrap().0.len(), 0, "{name}");
            }
            // left to the implementation: a file of ill-formed bytes may be refused, by that reason
            _ => {
                if let Err(error) = as_member {
                    assert!(std::str::from_utf8(&content).is_err(), "{name}: {error}");
                    assert!(error.to_string().contains("not UTF-8"), "{name}: {error}");
                }
            }
        }
    }
    assert!(seen > 300, "{seen} cases");
}

#[test]
fn real_data_equals_what_serde_json_reads() {
    let Some(data) = data() else { return };
    for (name, documents, bad) in [
        ("web/c4.jsonl.zst", 1_000, 0),
        ("english/enwiki_valid.jsonl.zst", 464, 0),
        ("chinese/zhwiki.jsonl.zst", 21_309, 0),
    ] {
        let corpus =
            open(&data.join(name), &ReadOptions { strict: true, ..ReadOptions::default() })
                .unwrap();
        let mut reader = corpus.read_all();
        let lines = zstd::decode_all(fs::File::open(data.join(name)).unwrap()).unwrap();
        for line in std::str::from_utf8(&lines).unwrap().lines() {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = value.as_object_mut().unwrap();
            let document = reader.next().unwrap().unwrap();
            assert_eq!(fields.shift_remove("text").unwrap(), document.text);
            let id = fields.shift_remove("id");
            assert_eq!(id.as_ref().and_then(|id| id.as_str()), document.id.as_deref());
            let carried: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&document.metadata().unwrap()).unwrap();
            assert!(fields.iter().eq(carried.iter()));
        }
        assert!(reader.next().is_none());
        let statistics = reader.into_statistics();
        assert_eq!((statistics.documents, statistics.bad_documents()), (documents, bad));
        assert_eq!(statistics.replaced_sequences, 0);
    }
    let path = data.join("cases/utf8_stress_kuhn.txt");
    let corpus = open(&path, &ReadOptions { format: Some(Format::Text), ..ReadOptions::default() });
    // the file has NUL bytes on purpose, and may be refused for them
    if let Ok(corpus) = corpus {
        let document = corpus.read_all().next().unwrap().unwrap();
        assert_eq!(document.text, String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
}

#[test]
fn a_zstd_window_above_the_limit_is_refused_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt.zst");
    // RFC 8878: magic number, a descriptor without options, a window of 2^31 bytes, then one raw
    // block of three bytes, the last
    fs::write(&path, b"\x28\xb5\x2f\xfd\x00\xa8\x19\x00\x00abc").unwrap();
    let error = texts(&path, &ReadOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Format { .. }));
    assert!(error.to_string().contains("zstd_long=31"), "{error}");
    let allowed = ReadOptions { zstd_long: 31, ..ReadOptions::default() };
    assert_eq!(texts(&path, &allowed).unwrap(), ["abc"]);
    let absurd = ReadOptions { zstd_long: 40, ..ReadOptions::default() };
    assert!(matches!(texts(&path, &absurd), Err(Error::Invalid(_))));
}
