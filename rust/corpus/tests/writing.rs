//! Writing and reading back; Parquet of another writer.

#![allow(clippy::unwrap_used)] // test helpers too

mod common;

use std::fs;
use std::path::Path;

use common::{open, plain, read, texts};
use lslm_corpus::{
    BadReason, Compression, Corpus, Document, DocumentWriter, Format, ReadOptions, Record, Split,
    Utf8Policy, WriteOptions,
};
use lslm_runtime::Error;
use proptest::prelude::*;
use serde_json::value::RawValue;

const NAMES: [&str; 4] = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"];

fn document(text: &str, id: Option<&str>, metadata: Option<&str>) -> Document {
    let object = metadata.map(|raw| RawValue::from_string(raw.to_owned()).unwrap());
    let record = object.map(Record::from_object).unwrap_or_default();
    Document { id: id.map(str::to_owned), record, ..Document::new(text) }
}

fn write(path: &Path, options: &WriteOptions, documents: &[Document]) -> lslm_runtime::Result<()> {
    let mut writer = DocumentWriter::create(path, options.clone())?;
    for document in documents {
        writer.write(document)?;
    }
    writer.finish()
}

#[test]
fn text_id_and_metadata_round_trip_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let documents = [
        document("a\n\"b\"\u{0}\u{1f600}", Some("x\"1"), Some(r#"{"n": 1.0, "m":{"text":[]}}"#)),
        document("", None, None),
        document("c", None, Some(r#"{"id":{"a":1}}"#)),
        document("d", Some(""), Some("{}")),
    ];
    for name in NAMES {
        let path = folder.path().join(name);
        write(&path, &WriteOptions::default(), &documents).unwrap();
        let corpus = open(&path, &ReadOptions::default()).unwrap();
        let (found, statistics) = read(&corpus, u64::MAX).unwrap();
        let mut expected: Vec<_> = documents.iter().map(plain).collect();
        expected[3].2 = None;
        let compact = |raw: &String| serde_json::from_str::<serde_json::Value>(raw).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((&found.0, &found.1), (&expected.0, &expected.1), "{name}");
            assert_eq!(found.2.as_ref().map(compact), expected.2.as_ref().map(compact), "{name}");
        }
        assert_eq!(statistics.documents, 4);
        let again = folder.path().join(format!("2{name}"));
        write(&again, &WriteOptions::default(), &documents).unwrap();
        assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap(), "{name}: different bytes");
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("a.jsonl")).unwrap().lines().next().unwrap(),
        "{\"id\":\"x\\\"1\",\"text\":\"a\\n\\\"b\\\"\\u0000😀\",\"n\": 1.0, \"m\":{\"text\":[]}}"
    );
}

#[test]
fn metadata_with_the_name_of_a_key_is_omitted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let options = WriteOptions { text_key: "content".into(), ..WriteOptions::default() };
    let metadata = "{\"id\":5,\n\"con\\u0074ent\":1,\"text\":2,\r\n\"k\":3}";
    write(
        &path,
        &options,
        &[document("t", Some("i"), Some(metadata)), document("u", None, Some(metadata))],
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\"id\":\"i\",\"content\":\"t\",\"text\":2,\"k\":3}\n\
         {\"content\":\"u\",\"id\":5,\"text\":2,\"k\":3}\n"
    );
    let error = write(&path, &options, &[document("t", None, Some("[1]"))]).unwrap_err();
    assert!(error.to_string().contains("not a JSON object"), "{error}");
}

#[test]
fn plain_text_round_trips_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt.gz");
    let separator = Split::Separator("<s>".into());
    for (split, documents, fits) in [
        (Split::File, vec!["a\n\nb"], true),
        (Split::File, vec!["a", "b"], false),
        (Split::Lines, vec!["a", "b ", "c\r\rd"], true),
        (Split::Lines, vec!["a\nb"], false),
        (Split::Lines, vec!["a\r"], false),
        (Split::BlankLines(2), vec!["a\n\nb", "c"], true),
        (Split::BlankLines(2), vec!["a\n\n\nb"], false),
        (Split::BlankLines(1), vec!["a\n"], false),
        (separator.clone(), vec!["\u{feff}a\n", "\n\nb\r\n", "c<s>", "d\r"], true),
        (separator.clone(), vec!["a\n<s>\r\nb"], false),
        (separator, vec!["<s>"], false),
    ] {
        let _ = fs::remove_file(&path);
        let options = WriteOptions { split: split.clone(), ..WriteOptions::default() };
        let list: Vec<Document> = documents.iter().map(|text| document(text, None, None)).collect();
        let result = write(&path, &options, &list);
        assert_eq!(result.is_ok(), fits, "{split:?} {documents:?}");
        if fits {
            let options = ReadOptions { split, ..ReadOptions::default() };
            assert_eq!(texts(&path, &options).unwrap(), documents);
        } else {
            assert!(result.unwrap_err().to_string().contains("write JSONL instead"));
            assert!(!path.exists());
        }
    }
}

#[test]
fn a_file_appears_only_when_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let path = folder.path().join(name);
        let mut writer = DocumentWriter::create(&path, WriteOptions::default()).unwrap();
        writer.write(&document("text", None, None)).unwrap();
        assert_eq!((writer.documents(), writer.text_bytes()), (1, 4));
        assert!(!path.exists());
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn unusable_names_and_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str, options: WriteOptions| {
        DocumentWriter::create(folder.path().join(name), options).unwrap_err().to_string()
    };
    let default = WriteOptions::default;
    assert!(create("a.doc", default()).contains("the name does not say"));
    assert!(create("a.gz", default()).contains("the name does not say"));
    assert!(create("a.parquet.gz", default()).contains("Parquet compresses by itself"));
    let same = WriteOptions { id_key: "text".into(), ..default() };
    assert!(create("a.jsonl", same).contains("two different fields"));
    let taken = WriteOptions { text_key: "metadata".into(), ..default() };
    assert!(create("a.parquet", taken).contains("two different fields"));
    // options have precedence over the name
    let path = folder.path().join("b.doc");
    let options = WriteOptions {
        format: Some(Format::Jsonl),
        compression: Some(Compression::Zstd),
        ..default()
    };
    write(&path, &options, &[document("t", None, None)]).unwrap();
    assert_eq!(texts(&path, &ReadOptions::default()).unwrap(), ["t"]);
}

#[test]
fn parquet_is_split_at_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    // 24 texts of 4 MiB are three row groups
    let texts: Vec<String> =
        (0..24_u8).map(|i| char::from(b'a' + i).to_string().repeat(4 << 20)).collect();
    let list: Vec<Document> = texts.iter().map(|text| document(text, None, None)).collect();
    write(&path, &WriteOptions::default(), &list).unwrap();
    let corpus = open(&path, &ReadOptions::default()).unwrap();
    assert!(corpus.partitions(1).unwrap().len() >= 3);
    for target in [1, u64::MAX] {
        let (found, _) = read(&corpus, target).unwrap();
        assert!(found.iter().map(|document| &document.0).eq(&texts), "by {target}");
    }
}

fn foreign() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign.parquet")
}

#[test]
fn columns_of_another_writer_become_metadata() {
    let options = ReadOptions { text_key: "content".into(), ..ReadOptions::default() };
    let corpus = open(&foreign(), &options).unwrap();
    let (found, statistics) = read(&corpus, 1).unwrap();
    assert_eq!(read(&corpus, u64::MAX).unwrap().0, found);
    assert_eq!(statistics.bad[&BadReason::NullText].examples[0].position, 1);
    let ids: Vec<_> = found.iter().map(|d| (d.0.as_str(), d.1.as_deref())).collect();
    assert_eq!(ids, [("one\n", Some("1")), ("drei ß", None), ("", Some("4"))]);
    let first = r#"{"large":"a","kind":"x","flag":true,"small":255,"big":18446744073709551615,"negative":-9223372036854775808,"score":0.1,"half":0.1,"price":-1.05,"day":"2024-02-29","when":"2019-04-21T02:40:42Z","local":"2019-04-21T02:40:42.500","raw":"Ynl0ZXM=","tags":["a","b"],"nested":{"url":"u","n":1}}"#;
    assert_eq!(found[0].2.as_deref(), Some(first));
    let last = r#"{"large":"\"d\"","kind":null,"flag":true,"small":7,"big":1,"negative":0,"score":-1e+300,"half":2.0,"price":0.00,"day":"1970-01-01","when":null,"local":null,"raw":"","tags":["c"],"nested":{"url":"v","n":null}}"#;
    assert_eq!(found[2].2.as_deref(), Some(last));

    let nested = ReadOptions { text_key: "nested.url".into(), ..ReadOptions::default() };
    assert_eq!(texts(&foreign(), &nested).unwrap(), ["u", "v"]);
    let raw = ReadOptions { text_key: "raw".into(), ..ReadOptions::default() };
    assert_eq!(texts(&foreign(), &raw).unwrap(), ["bytes", "\u{fffd}\u{fffd}", ""]);
    let refuse = ReadOptions { utf8: Utf8Policy::Refuse, ..raw };
    assert_eq!(texts(&foreign(), &refuse).unwrap(), ["bytes", ""]);
    for (key, message) in [
        ("text", "no column \"text\"; name one of id, content, large"),
        ("score", "no strings"),
        ("tags.list.element", "no strings"),
    ] {
        let options = ReadOptions { text_key: key.into(), ..ReadOptions::default() };
        let error = open(&foreign(), &options).unwrap_err();
        assert!(matches!(error, Error::Format { .. }));
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn broken_parquet_is_an_error_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let whole = fs::read(foreign()).unwrap();
    let options = ReadOptions { text_key: "content".into(), ..ReadOptions::default() };
    for length in (0..whole.len()).step_by(61) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(open(&path, &options), Err(Error::Format { .. })), "{length} bytes");
    }
    for offset in (4..whole.len()).step_by(7) {
        let mut broken = whole.clone();
        broken[offset] ^= 0xff;
        fs::write(&path, &broken).unwrap();
        let result = open(&path, &options).and_then(|corpus| {
            let partition = corpus.partitions(u64::MAX)?;
            corpus.read(&partition[0]).collect::<lslm_runtime::Result<Vec<_>>>()
        });
        if let Err(error) = result {
            assert!(matches!(error, Error::Format { .. }), "{offset}: {error:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn documents_round_trip_through_any_two_formats(
        list in proptest::collection::vec((any::<String>(), any::<Option<String>>(), any::<Option<Vec<String>>>()), 0..8),
        first in 0..NAMES.len(),
        second in 0..NAMES.len(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let documents: Vec<Document> = list.iter().map(|(text, id, other)| {
            let other = other.as_ref().map(|other| serde_json::json!({"k": other, "": null}).to_string());
            document(text, id.as_deref(), other.as_deref())
        }).collect();
        let (a, b) = (folder.path().join(NAMES[first]), folder.path().join(format!("2{}", NAMES[second])));
        write(&a, &WriteOptions::default(), &documents).unwrap();
        let back: Vec<Document> = Corpus::open(&[a.to_str().unwrap().into()], ReadOptions::default())
            .unwrap().read_all().collect::<Result<_, _>>().unwrap();
        write(&b, &WriteOptions::default(), &back).unwrap();
        let corpus = open(&b, &ReadOptions::default()).unwrap();
        let (found, _) = read(&corpus, u64::MAX).unwrap();
        let expected: Vec<_> = documents.iter().map(plain).collect();
        prop_assert_eq!(found, expected);
    }
}
