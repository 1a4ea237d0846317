//! Every field of a record survives reading and writing, with its name and type.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{open, plain};
use lslm_corpus::{Corpus, Document, DocumentWriter, ReadOptions, WriteOptions};

/// Writes the documents of `corpus` as `name` beside `folder`, with `change` applied to each text.
fn rewrite(
    corpus: &Corpus,
    path: PathBuf,
    change: impl Fn(&str) -> String,
) -> lslm_runtime::Result<PathBuf> {
    let mut writer = DocumentWriter::create_like(&path, WriteOptions::default(), corpus)?;
    for document in corpus.read_all() {
        let document = document?;
        writer.write(&Document { text: change(&document.text), ..document })?;
    }
    writer.finish()?;
    Ok(path)
}

fn keyed(text_key: &str, id_key: &str) -> ReadOptions {
    ReadOptions { text_key: text_key.into(), id_key: id_key.into(), ..ReadOptions::default() }
}

/// Lines in which everything but the text must stay, as a pattern with `@` for the text's value.
const LINES: [(&str, &str); 9] = [
    ("text", r#"{"id":7,"text":@,"n":1.50e3,"big":123456789012345678901234567890}"#),
    ("text", r#" { "b" : 1 ,"text" :  @ , "a":[1, {"x":null}] } "#),
    ("text", r#"{"k":1,"k":2,"text":@,"k":3}"#),
    ("text", r#"{"text":@,"content":"other"}"#),
    ("content", r#"{"text":"other","content":@}"#),
    ("meta.body", r#"{"meta":{"lang":"de","body":@,"n":-0.0},"body":1,"meta.lang":true}"#),
    ("a.b", r#"{"a":{"b":1},"a.b":@}"#),
    ("text", r#"{"te\u0078t":@,"s":"\ud800 \u00e9 \/"}"#),
    ("text", r#"{"text":@,"id":[1],"":{}}"#),
];

#[test]
fn of_a_line_only_the_value_of_the_text_changes() {
    let folder = tempfile::tempdir().unwrap();
    for (key, pattern) in LINES {
        let path = folder.path().join("in.jsonl");
        fs::write(&path, pattern.replace('@', r#""a \u00e9\n""#) + "\r\n").unwrap();
        let corpus = open(&path, &keyed(key, "id")).unwrap();
        let written = rewrite(&corpus, folder.path().join("out.jsonl"), str::to_uppercase).unwrap();
        let expected = pattern.replace('@', r#""A É\n""#) + "\n";
        assert_eq!(fs::read_to_string(written).unwrap(), expected);
    }
}

#[test]
fn a_text_that_is_there_twice_is_replaced_twice() {
    // readers disagree which of the two counts: none of them may see the text before cleaning
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    fs::write(&path, r#"{"text":"secret","n":1,"text":"last"}"#).unwrap();
    let corpus = open(&path, &keyed("text", "id")).unwrap();
    let written = rewrite(&corpus, folder.path().join("out.jsonl"), str::to_uppercase).unwrap();
    let expected = "{\"text\":\"LAST\",\"n\":1,\"text\":\"LAST\"}\n";
    assert_eq!(fs::read_to_string(written).unwrap(), expected);
}

#[test]
fn lines_survive_parquet_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let lines = "{\"text\":\"a\",\"id\":7,\"n\":1.50,\"tags\":[\"x\"]}\n\
                 {\"text\":\"b\",\"id\":\"s\",\"lang\":\"de\"}\n\
                 {\"text\":\"c\"}\n";
    fs::write(&path, lines).unwrap();
    let corpus = open(&path, &ReadOptions::default()).unwrap();
    let parquet = rewrite(&corpus, folder.path().join("a.parquet"), str::to_owned).unwrap();
    let middle = open(&parquet, &ReadOptions::default()).unwrap();
    let fields = |corpus: &Corpus| {
        let documents = corpus.read_all().map(|document| plain(&document.unwrap()));
        documents.collect::<Vec<_>>()
    };
    assert_eq!(fields(&middle), fields(&corpus));
    let back = rewrite(&middle, folder.path().join("b.jsonl"), str::to_owned).unwrap();
    let expected = "{\"text\":\"a\",\"id\":7,\"n\":1.50,\"tags\":[\"x\"]}\n\
                    {\"text\":\"b\",\"id\":\"s\",\"lang\":\"de\"}\n\
                    {\"text\":\"c\"}\n";
    assert_eq!(fs::read_to_string(back).unwrap(), expected);
}

#[test]
fn a_reader_without_records_returns_the_same_texts_and_ids() {
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign.parquet");
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("a.jsonl");
    fs::write(&lines, "{\"content\":\"a\",\"id\":1,\"n\":2}\n").unwrap();
    for path in [foreign, lines] {
        let corpus = open(&path, &keyed("content", "id")).unwrap();
        let with: Vec<_> = corpus.read_all().map(|document| plain(&document.unwrap())).collect();
        let without = corpus.read_all().without_records();
        let without: Vec<_> = without.map(|document| plain(&document.unwrap())).collect();
        assert_eq!(with.len(), without.len());
        for (with, without) in with.into_iter().zip(without) {
            assert!(with.2.is_some());
            assert_eq!((with.0, with.1, None), without);
        }
    }
}
