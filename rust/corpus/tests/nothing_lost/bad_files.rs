//! Broken files are errors, or listed and left out, the same for any threads and partitions.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::common::{open, read};
use flate2::{Compression, GzBuilder};
use lslm_corpus::{BadFile, Corpus, OnBadFile, ReadOptions, Split, Statistics};

fn skip() -> ReadOptions {
    ReadOptions { on_bad_file: OnBadFile::Skip, ..ReadOptions::default() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns the texts and the bad files of a reading in partitions of `target` bytes.
fn found(corpus: &Corpus, target: u64) -> (Vec<String>, Vec<BadFile>) {
    let (documents, statistics) = read(corpus, target).unwrap();
    let mut all: Statistics = corpus.statistics();
    all.merge(&statistics);
    (documents.into_iter().map(|document| document.0).collect(), all.bad_files)
}

fn name(bad: &BadFile) -> &str {
    Path::new(&bad.source).file_name().unwrap().to_str().unwrap()
}

#[test]
fn files_that_cannot_be_opened_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.jsonl", &b"{\"text\":\"a\"}\n"[..]),
        ("b.parquet", b"PAR1 and then nothing"),
        ("c.txt", b"binary \0"),
        ("d.jsonl.gz", b"not gzip"),
        ("e.txt", b"text"),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    assert!(open(folder.path(), &ReadOptions::default()).is_err());
    let corpus = open(folder.path(), &skip()).unwrap();
    let (texts, bad) = found(&corpus, u64::MAX);
    assert_eq!(texts, ["a", "text"]);
    assert_eq!(bad.iter().map(name).collect::<Vec<_>>(), ["b.parquet", "c.txt", "d.jsonl.gz"]);
    assert!(bad[1].detail.contains("binary data") && bad[1].position == Some(7));
    // nothing but bad files, and a name that does not exist, are mistakes
    let only = open(&folder.path().join("c.txt"), &skip()).unwrap_err().to_string();
    assert!(only.contains("c.txt") && only.contains("no other input is left"), "{only}");
    assert!(open(&folder.path().join("missing.txt"), &skip()).is_err());
}

#[test]
fn documents_before_the_break_of_a_stream_count_and_nothing_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for i in 0..200_000 {
        writeln!(lines, "{{\"text\":\"line {i}\"}}").unwrap();
    }
    let whole = gzip(lines.as_bytes());
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    for (name, bytes) in [("a.jsonl.gz", &whole), ("a.jsonl.zst", &zstd)] {
        let path = folder.path().join(name);
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        fs::write(folder.path().join("z.txt"), "after").unwrap();
        assert!(read(&open(&path, &ReadOptions::default()).unwrap(), u64::MAX).is_err());
        let corpus = open(folder.path(), &skip()).unwrap();
        let (texts, bad) = found(&corpus, u64::MAX);
        let n = texts.len() - 1;
        assert!(n > 1_000 && n < 200_000, "{n}");
        // every document is complete
        let is_line = |(i, text): (usize, &String)| *text == format!("line {i}");
        assert!(texts[..n].iter().enumerate().all(is_line) && texts[n] == "after");
        assert_eq!((bad.len(), bad[0].documents), (1, n as u64));
        assert!(bad[0].detail.contains("ends too early"), "{}", bad[0].detail);
        assert_eq!(found(&corpus, 1_000), (texts, bad));
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn documents_before_a_fault_in_the_first_bytes_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv.gz");
    let mut rows = String::from("text\n");
    for i in 0..40 {
        // fixed numbers that do not compress much
        writeln!(rows, "é {:x}", (i * 0x9e37_79b9_7f4a_7c15_u128) % 0xffff_ffff_ffff_ffc5).unwrap();
    }
    let whole = gzip(rows.as_bytes());
    let mut counts = Vec::new();
    for length in (40..whole.len() - 8).step_by(13) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(open(&path, &ReadOptions::default()).is_err());
        let Ok(corpus) = open(&path, &skip()) else { continue };
        let (texts, bad) = found(&corpus, u64::MAX);
        assert!(texts.iter().all(|text| rows.contains(&format!("\n{text}\n"))), "{texts:?}");
        assert_eq!((bad.len(), bad[0].documents), (1, texts.len() as u64));
        counts.push(texts.len());
    }
    assert!(counts.is_sorted() && counts.last() > Some(&30), "{counts:?}");
}

#[test]
fn a_document_that_is_not_complete_is_no_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt.gz");
    let whole = gzip("one\n\ntwo two two two\n".repeat(50_000).as_bytes());
    fs::write(&path, &whole[..whole.len() - 30]).unwrap();
    fs::write(folder.path().join("b.txt"), "b").unwrap();
    for split in [Split::File, Split::BlankLines(1), Split::Separator("<s>".into())] {
        let corpus = open(folder.path(), &ReadOptions { split: split.clone(), ..skip() }).unwrap();
        let (texts, bad) = found(&corpus, u64::MAX);
        assert_eq!(bad.len(), 1);
        let is_whole = |text: &String| ["one", "two two two two", "b"].contains(&text.as_str());
        let is_whole = |text: &String| {
            // two paragraphs are separated by one line break only: they are one document
            text.split('\n').all(|line| is_whole(&line.to_owned()))
        };
        assert!(texts.iter().all(is_whole), "{split:?}");
        assert_eq!(texts.len() == 1, split != Split::BlankLines(1));
    }
}

#[test]
fn of_parquet_the_other_row_groups_count() {
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign.parquet");
    let whole = fs::read(foreign).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let options = ReadOptions { text_key: "content".into(), ..skip() };
    let mut seen = Vec::new();
    for offset in (4..whole.len()).step_by(5) {
        let mut broken = whole.clone();
        broken[offset] ^= 0xff;
        fs::write(&path, &broken).unwrap();
        let Ok(corpus) = open(&path, &options) else { continue };
        let (texts, bad) = found(&corpus, u64::MAX);
        assert!(bad.iter().all(|bad| name(bad) == "a.parquet"));
        assert_eq!(found(&corpus, 1), (texts.clone(), bad.clone()), "byte {offset}");
        seen.push((texts.len(), bad.len()));
    }
    // three rows, of which one has no text, and one row: either group alone, and both
    for expected in [(1, 1), (2, 1), (3, 0)] {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
}
