//! What is not read is counted, named or refused: own records, padding, changed files.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::common::{open, read, texts};
use flate2::{Compression, GzBuilder};
use lslm_corpus::{BadReason, Corpus, ReadOptions, SkipReason, Split};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns the names of the inputs, and those of the files skipped as lslm's own.
fn found(folder: &Path, argument: &str, options: ReadOptions) -> (Vec<String>, Vec<String>) {
    let corpus = Corpus::open(&[folder.join(argument).display().to_string()], options).unwrap();
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    let own = corpus.skipped().iter().filter(|s| s.reason == SkipReason::Bookkeeping);
    let own = own.map(|skipped| name(&skipped.path)).collect();
    (corpus.inputs().iter().map(|input| name(input.path())).collect(), own)
}

#[test]
fn records_of_lslm_are_never_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["out/train", "half/.progress", "run/checkpoints/step-000009", "other"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let document = "{\"text\":\"a\"}\n";
    let manifest = "{\n  \"format\": \"lslm-dataset\",\n  \"version\": 1\n}\n";
    for (name, content) in [
        ("out/part-000000.jsonl", document),
        ("out/_clean.json", "{}\n"),
        ("out/_funnel.json", "{}\n"),
        ("out/_dedup.index", "LSLMDDUP"),
        ("half/part-000000.jsonl", document),
        ("half/.progress/plan.json", "{}\n"),
        ("half/.progress/00000.json", "{}\n"),
        ("run/config.toml", "[train]\n"),
        ("run/metrics.jsonl", document),
        ("run/report.html", "<p>"),
        ("run/samples.jsonl", document),
        ("run/checkpoints/step-000009/state.json", "{}\n"),
        ("out/train/manifest.json", manifest),
        ("out/train/tokenizer.json", "{}\n"),
        ("out/train/part-000000-000.lslm", "LSLM"),
        ("out/train/notes.txt", "a"),
        // the same names elsewhere are anybody's
        ("other/manifest.json", document),
        ("other/tokenizer.json", document),
        ("other/metrics.jsonl", document),
    ] {
        fs::write(folder.join(name), content).unwrap();
    }
    let all = ReadOptions { extensions: Some(vec!["json".into(), "jsonl".into()]), ..default() };
    for (argument, options) in [("out/*", default()), ("out", default()), ("out", all.clone())] {
        let (inputs, own) = found(folder, argument, options.clone());
        assert_eq!(inputs[0], "out/part-000000.jsonl");
        assert_eq!(inputs.len(), 1 + usize::from(options.extensions.is_none()), "{argument}");
        let records = ["_clean.json", "_dedup.index", "_funnel.json"];
        for name in records.iter().chain(&["train/manifest.json", "train/tokenizer.json"]) {
            assert!(own.contains(&format!("out/{name}")), "{argument}: {name} in {own:?}");
        }
    }
    let (inputs, own) = found(folder, "out/train/*", default());
    assert_eq!((inputs.len(), own.len()), (1, 3));
    assert_eq!(found(folder, "other/*", default()).0.len(), 3);
    let (inputs, own) = found(folder, "run", all);
    assert_eq!(inputs, ["run/samples.jsonl"]);
    let files =
        ["checkpoints/step-000009/state.json", "config.toml", "metrics.jsonl", "report.html"];
    assert_eq!(own, files.map(|name| format!("run/{name}")));
    for name in [
        "out/_clean.json",
        "half/.progress",
        "half/.progress/00000.json",
        "out/train/part-000000-000.lslm",
        "run/metrics.jsonl",
        "run/checkpoints/step-000009/state.json",
    ] {
        let error = open(&folder.join(name), &default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("lslm wrote"), "{error}");
    }
}

#[test]
fn the_output_of_an_unfinished_job_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("all/half");
    fs::create_dir_all(half.join(".progress")).unwrap();
    fs::write(half.join("part-000000.jsonl"), "{\"text\":\"a\"}\n").unwrap();
    fs::write(half.join(".progress/plan.json"), "{}\n").unwrap();
    fs::write(half.join(".progress/staged.jsonl"), "{\"text\":\"a\"}\n").unwrap();
    for argument in ["all", "all/half", "all/half/*", "all/*/*.jsonl", "all/half/.progress/*"] {
        let error = open(&folder.path().join(argument), &default()).unwrap_err().to_string();
        assert!(error.contains("half: holds an unfinished job"), "{argument}: {error}");
    }
    // named files are a choice
    open(&half.join("part-000000.jsonl"), &default()).unwrap();
    fs::remove_file(half.join(".progress/plan.json")).unwrap();
    open(&half, &default()).unwrap();
}

fn default() -> ReadOptions {
    ReadOptions::default()
}

#[test]
fn bytes_after_gzip_data_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt.gz");
    let lines = ReadOptions { split: Split::Lines, ..default() };
    let members = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
    let zeros = vec![0; 70_000];
    for after in [&b""[..], b"\0", &zeros, b"\x1f", b"\x1f\x1f\x8b", b"signature"] {
        fs::write(&path, [&members, after].concat()).unwrap();
        let (documents, statistics) = read(&open(&path, &lines).unwrap(), u64::MAX).unwrap();
        let found: Vec<&str> = documents.iter().map(|document| &*document.0).collect();
        assert_eq!(found, ["one", "two"]);
        assert_eq!(statistics.trailing_bytes, after.len() as u64);
    }
    // what looks like another member must be one, as for zcat
    fs::write(&path, [&members[..], b"\x1f\x8bx"].concat()).unwrap();
    let error = texts(&path, &lines).unwrap_err().to_string();
    assert!(error.contains("a.txt.gz"), "{error}");
}

#[test]
fn a_parquet_compression_that_is_not_read_is_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/brotli.parquet");
    let error = open(&path, &default()).unwrap_err().to_string();
    assert!(error.contains("brotli.parquet: Parquet compressed with brotli"), "{error}");
    assert!(error.contains("compression=\"zstd\""), "{error}");
}

#[test]
fn the_reason_names_a_number_that_json_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    for (value, token) in [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("[1, NaN]", "NaN"),
        ("{\"b\": -Infinity}", "-Infinity"),
        ("nul", "expected ident"),
    ] {
        for line in [
            format!("{{\"text\": \"NaN\", \"score\": {value}}}"),
            format!("{{\"score\":{value},\"text\":\"a\"}}"),
        ] {
            fs::write(&path, line).unwrap();
            let (_, statistics) = read(&open(&path, &default()).unwrap(), u64::MAX).unwrap();
            let bad = &statistics.bad[&BadReason::MalformedJson].examples[0].detail;
            assert!(bad.starts_with(token), "{value}: {bad}");
        }
    }
}

#[test]
fn a_file_that_changes_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let line = "{\"text\":\"a\"}\n";
    for (before, after) in [(4, 3), (4, 5), (4, 0)] {
        fs::write(&path, line.repeat(before)).unwrap();
        let corpus = open(&path, &default()).unwrap();
        assert_eq!(read(&corpus, u64::MAX).unwrap().0.len(), before);
        fs::write(&path, line.repeat(after)).unwrap();
        for partition in corpus.partitions(line.len() as u64 * 2).unwrap() {
            let error = corpus.read(&partition).find_map(Result::err).unwrap().to_string();
            let sizes = format!("({} bytes, now {})", before * line.len(), after * line.len());
            assert!(error.contains("a.jsonl") && error.contains(&sizes), "{error}");
        }
    }
    // of the same size
    let file = fs::File::options().write(true).open(&path).unwrap();
    let corpus = open(&path, &default()).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(read(&corpus, u64::MAX).is_err());
}
