//! CSV and TSV by column, joined files, and legacy encodings.

use std::fs;

use crate::common::{data, open, plain, read, texts};
use encoding_rs::{Encoding, UTF_8};
use lslm_corpus::{BadReason, Corpus, DocumentWriter, ReadOptions, Split, WriteOptions};

fn default() -> ReadOptions {
    ReadOptions::default()
}

#[test]
fn csv_is_read_by_column() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.csv", "id,text,lang\n1,\"a, \"\"b\"\"\nc\",de\n2,,en\nuneven,row\n3,d,\n"),
        (
            "b.tsv",
            "id\ttext\tlang\r\n1\t\"a, \"\"b\"\"\nc\"\tde\r\n2\t\ten\r\nuneven\trow\r\n3\td\t\r\n",
        ),
        ("c.csv", "\u{feff}id;text;lang\n1;\"a, \"\"b\"\"\nc\";de\n2;;en\nuneven;row\n3;d;\n"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let corpus = open(&path, &default()).unwrap();
        let (documents, statistics) = read(&corpus, 1).unwrap();
        let lang = |lang: &str| Some(format!("{{\"lang\":\"{lang}\"}}"));
        let row = |text: &str, id: &str, l: &str| (text.to_owned(), Some(id.to_owned()), lang(l));
        assert_eq!(
            documents,
            [row("a, \"b\"\nc", "1", "de"), row("", "2", "en"), row("d", "3", "")]
        );
        let uneven = &statistics.bad[&BadReason::UnevenRow];
        assert_eq!(
            (uneven.documents, uneven.examples[0].detail.as_str()),
            (1, "2 fields in a row, but 3 columns")
        );
        let out = folder.path().join("out.jsonl");
        let mut writer =
            DocumentWriter::create_like(&out, WriteOptions::default(), &corpus).unwrap();
        corpus.read_all().for_each(|document| writer.write(&document.unwrap()).unwrap());
        writer.finish().unwrap();
        let first = "{\"id\":\"1\",\"text\":\"a, \\\"b\\\"\\nc\",\"lang\":\"de\"}";
        assert_eq!(fs::read_to_string(&out).unwrap().lines().next().unwrap(), first);
        fs::remove_file(out).unwrap();
        let other = ReadOptions { text_key: "content".into(), ..default() };
        let error = open(&path, &other).unwrap_err().to_string();
        assert!(error.contains("no column \"content\"; name one of id, text, lang"), "{error}");
    }
    // tables in a folder are read only when their extension is named
    fs::write(folder.path().join("d.txt"), "d").unwrap();
    assert_eq!(open(folder.path(), &default()).unwrap().inputs().len(), 1);
    let tsv = ReadOptions { extensions: Some(vec!["tsv".into()]), ..default() };
    assert_eq!(texts(folder.path(), &tsv).unwrap().len(), 3);
}

#[test]
fn byte_order_marks_inside_joined_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let one = "\u{feff}{\"text\":\"a\"}\n{\"text\":\"b\"}\n";
    fs::write(&path, one.repeat(3)).unwrap();
    for target in [1, 7, u64::MAX] {
        let (documents, statistics) = read(&open(&path, &default()).unwrap(), target).unwrap();
        let texts: Vec<_> = documents.iter().map(|document| document.0.as_str()).collect();
        assert_eq!(texts, ["a", "b", "a", "b", "a", "b"]);
        assert_eq!((statistics.inner_marks, statistics.bad_documents()), (2, 0));
    }
}

#[test]
fn legacy_encodings_are_converted_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Все люди рождаются свободными и равными в своём достоинстве и правах.";
    let line = format!("{{\"text\":\"{text}\",\"id\":\"ж\"}}\n");
    let bytes = Encoding::for_label(b"windows-1251").unwrap().encode(&line).0.into_owned();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, bytes.repeat(40)).unwrap();
    let corpus = open(&path, &default()).unwrap();
    assert_eq!(corpus.inputs()[0].encoding(), "windows-1251");
    assert!(corpus.inputs()[0].encoding_confidence().unwrap() > 0.9);
    for target in [1_000, u64::MAX] {
        let (documents, statistics) = read(&corpus, target).unwrap();
        assert!(documents.iter().all(|d| d.0 == text && d.1.as_deref() == Some("ж")));
        assert_eq!(
            statistics.converted.clone().into_iter().collect::<Vec<_>>(),
            [("windows-1251".to_owned(), 40)]
        );
    }
    let forced = ReadOptions { encoding: Some("koi8-r".into()), ..default() };
    assert_ne!(texts(&path, &forced).unwrap()[0], text);
    let forced = ReadOptions { encoding: Some("utf-8".into()), ..default() };
    let (_, statistics) = read(&open(&path, &forced).unwrap(), u64::MAX).unwrap();
    assert_eq!((statistics.replaced_documents, statistics.converted.len()), (40, 0));
    let wrong = ReadOptions { encoding: Some("klingon".into()), ..default() };
    assert!(open(&path, &wrong).unwrap_err().to_string().contains("choose a name such as"));
}

/// The encodings in which text of a script was usual, by a letter of the script.
const USUAL: [(char, &[&str]); 12] = [
    ('的', &["gb18030"]),
    ('の', &["shift_jis", "euc-jp"]),
    ('의', &["euc-kr"]),
    ('и', &["windows-1251", "koi8-r"]),
    ('α', &["windows-1253", "iso-8859-7"]),
    ('א', &["windows-1255"]),
    ('ا', &["windows-1256"]),
    ('ก', &["windows-874"]),
    ('ł', &["windows-1250", "iso-8859-2"]),
    ('ğ', &["windows-1254"]),
    ('ų', &["windows-1257"]),
    ('é', &["windows-1252"]),
];

#[test]
fn samples_of_many_languages_in_their_usual_encodings_are_converted() {
    let Some(data) = data() else { return };
    let bytes = fs::read(data.join("multilingual/many_languages.txt.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (mut n, mut n_right, mut n_refused) = (0, 0, 0);
    for window in lines.chunks(60) {
        let sample = window.join("\n");
        let path = folder.path().join("utf8.txt");
        fs::write(&path, &sample).unwrap();
        assert_eq!(open(&path, &default()).unwrap().inputs()[0].encoding(), UTF_8.name());
        let count = |letter: char| sample.chars().filter(|c| *c == letter).count();
        let Some((letter, encodings)) = USUAL.iter().max_by_key(|(letter, _)| count(*letter))
        else {
            continue;
        };
        for name in encodings.iter().filter(|_| count(*letter) >= 20) {
            let encoding = Encoding::for_label(name.as_bytes()).unwrap();
            let kept: Vec<&str> =
                window.iter().copied().filter(|line| !encoding.encode(line).2).collect();
            if kept.len() * 10 < window.len() * 9 {
                continue; // another language that uses this letter
            }
            let expected = kept.join("\n");
            fs::write(&path, encoding.encode(&expected).0).unwrap();
            n += 1;
            let whole = ReadOptions { split: Split::File, ..default() };
            match Corpus::open(&[path.display().to_string()], whole) {
                Err(_) => n_refused += 1,
                Ok(corpus) => {
                    let read: Vec<_> = corpus.read_all().map(|d| plain(&d.unwrap())).collect();
                    n_right += usize::from(read[0].0 == expected);
                }
            }
        }
    }
    // measured: see docs/log.md
    assert!(n > 300 && n_right * 100 >= n * 97, "{n_right} of {n}, {n_refused} refused");
}
