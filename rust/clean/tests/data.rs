//! Published test cases and the verdicts of datatrove, from the folder that `data` finds.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod shared;

use std::collections::HashMap;
use std::path::PathBuf;

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use serde_json::{Value, json};

use shared::{data, ours, unpacked};

#[test]
fn verdicts_equal_those_in_datatroves_own_tests() {
    let Some(path) = data("cases/datatrove_filter_cases.json") else { return };
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut buffers = CleanBuffers::default();
    let mut count = 0;
    for case in &cases {
        let rule = match case["filter"].as_str().unwrap() {
            "GopherRepetition" => "gopher_repetition",
            "GopherQuality" => "gopher_quality",
            "FineWebQuality" => "fineweb",
            "C4Quality" => "c4",
            "C4Paragraph" => "c4_paragraphs",
            "Language" => "language",
            _ => "pattern",
        };
        let params = case["params"].as_object().unwrap();
        let settings: serde_json::Map<_, _> = params
            .iter()
            .map(|(name, value)| match (rule, value) {
                ("language", _) => ("keep".to_owned(), json!({"en": 0.0, "it": 0.0})),
                ("pattern", _) => ("drop".to_owned(), value.clone()),
                _ => (ours(name).to_owned(), value.clone()),
            })
            .collect();
        let config = CleanConfig::profile("none").unwrap();
        let config = config.with(&json!({ rule: settings })).unwrap();
        let text = case["text"].as_str().unwrap();
        let cleaned = Cleaner::new(&config).unwrap();
        let cleaned = cleaned.clean(text, &mut buffers);
        assert_eq!(cleaned.verdict.is_kept(), case["keep"].as_bool().unwrap(), "{text:?}");
        if let (Some(reason), Some(expected)) = (cleaned.verdict.reason(), case["reason"].as_str())
        {
            let expected = match (rule, expected) {
                (_, "empty") => "fineweb.empty",
                ("language", "fr") => "language.fra",
                ("language", "pt") => "language.por",
                ("c4_paragraphs", _) => "c4_paragraphs.paragraphs",
                ("c4", expected) => &format!("c4.{expected}"),
                (_, expected) => ours(expected),
            };
            assert_eq!(reason, expected, "{text:?}");
        }
        count += 1;
    }
    assert_eq!(count, 31);
}

#[test]
fn nfc_passes_unicodes_conformance_test() {
    let Some(path) = data("cases/NormalizationTest-15.0.txt.zst") else { return };
    let cleaner = CleanConfig::profile("none").unwrap().with(&json!({"nfc": true})).unwrap();
    let cleaner = Cleaner::new(&cleaner).unwrap();
    let mut buffers = CleanBuffers::default();
    let mut count = 0;
    for line in unpacked(path).lines() {
        let line = line.split('#').next().unwrap();
        if line.is_empty() || line.starts_with('@') {
            continue;
        }
        let columns: Vec<String> = line
            .split(';')
            .take(5)
            .map(|codes| {
                let char = |code| char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
                codes.split_whitespace().map(char).collect()
            })
            .collect();
        for (source, expected) in [(0, 1), (1, 1), (2, 1), (3, 3), (4, 3)] {
            // alone, and surrounded by text that is normalised already
            let found = cleaner.clean(&columns[source], &mut buffers).text.into_owned();
            assert_eq!(found, columns[expected], "{line}");
            let text = format!("before {} after 中", columns[source]);
            let expected = format!("before {} after 中", columns[expected]);
            assert_eq!(cleaner.clean(&text, &mut buffers).text, expected, "{line}");
        }
        count += 1;
    }
    assert!(count > 19_000, "{count} lines");
}

/// Texts that no cleaning should hurt, and the ones that the lossless profile changes all the same:
/// by a byte order mark, C0 controls, line ends, or NFC.
#[test]
fn good_texts_stay() {
    let path = data("../cases/good_texts.json");
    let Some(path) = path else { return };
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let default = Cleaner::new(&CleanConfig::profile("default").unwrap()).unwrap();
    let keeping = json!({"nfc": "keep-singletons"});
    let keeping = default.config().clone().with(&keeping).unwrap();
    let keeping = Cleaner::new(&keeping).unwrap();
    let mut buffers = CleanBuffers::default();
    let mut changed = Vec::new();
    let mut singletons = Vec::new();
    for case in &cases {
        let (name, text) = (case["name"].as_str().unwrap(), case["text"].as_str().unwrap());
        let cleaned = default.clean(text, &mut buffers);
        assert!(cleaned.verdict.is_kept(), "{name}");
        if cleaned.text != text {
            let rules: Vec<&str> = cleaned.changes.iter().map(|(rule, _)| rule).collect();
            changed.push((name, rules.join(" ")));
        }
        if keeping.clean(text, &mut buffers).text != cleaned.text {
            singletons.push(name);
        }
    }
    let changed: Vec<(&str, &str)> = changed.iter().map(|(name, why)| (*name, &**why)).collect();
    assert_eq!(changed, CHANGED_GOOD_TEXTS);
    assert_eq!(singletons, ["ko hanja compat"]);
}

/// The rest of the good texts, byte for byte, is what `default` returns.
const CHANGED_GOOD_TEXTS: [(&str, &str); 7] = [
    ("ko hanja compat", "nfc nfc.singletons"),
    ("vi NFD", "nfc"),
    ("form feed source", "controls"),
    ("crlf", "controls"),
    ("nul", "controls"),
    ("source BOM", "bom"),
    ("music", "nfc"),
];

/// The facts were written by `testdata/clean/datatrove.py`, with datatrove running on our words.
#[test]
fn verdicts_on_real_text_equal_those_of_datatrove() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/clean");
    let facts: Value =
        serde_json::from_slice(&std::fs::read(root.join("datatrove.json")).unwrap()).unwrap();
    let mut buffers = CleanBuffers::default();
    for corpus in facts["corpora"].as_array().unwrap() {
        let Some(path) = data(corpus["file"].as_str().unwrap()) else { continue };
        let text = unpacked(path);
        let documents = text.lines().map(|line| {
            let document: Value = serde_json::from_str(line).unwrap();
            document["text"].as_str().unwrap().to_owned()
        });
        let documents: Vec<String> =
            documents.take(corpus["documents"].as_u64().unwrap() as usize).collect();
        for (rule, verdicts) in corpus["verdicts"].as_object().unwrap() {
            let config = CleanConfig::profile(corpus["profile"].as_str().unwrap()).unwrap();
            let on = config.to_value()[rule].clone();
            let none = CleanConfig::profile("none").unwrap();
            let config = none.with(&json!({ "unit": corpus["unit"], rule: on })).unwrap();
            let cleaner = Cleaner::new(&config).unwrap();
            let mut dropped = HashMap::new();
            for (reason, numbers) in verdicts.as_object().unwrap() {
                for number in numbers.as_array().unwrap() {
                    dropped.insert(number.as_u64().unwrap(), reason.as_str());
                }
            }
            let mut differing = Vec::new();
            for (index, document) in documents.iter().enumerate() {
                let document = document.replace("\r\n", "\n").replace('\r', "\n");
                let cleaned = cleaner.clean(&document, &mut buffers);
                let found = cleaned.verdict.reason().map(str::to_owned);
                let expected = dropped.get(&(index as u64)).copied();
                if found.as_deref() != expected {
                    differing.push(format!("{index}: {found:?} here, {expected:?} there"));
                }
            }
            let name = format!("{} {rule}", corpus["file"]);
            assert!(
                differing.is_empty(),
                "{name}: {} verdicts differ: {:?}",
                differing.len(),
                &differing[..differing.len().min(8)]
            );
            assert!(
                !dropped.is_empty() || rule == "gopher_quality",
                "{name}: no document is dropped, so the test shows nothing"
            );
        }
    }
}

/// The rules `repair` and `repair@datatrove`, by name.
fn repairs() -> [(&'static str, Cleaner); 2] {
    ["repair", "repair@datatrove"].map(|name| {
        let none = CleanConfig::profile("none").unwrap();
        (name, Cleaner::new(&none.with(&json!({ name: true })).unwrap()).unwrap())
    })
}

/// The facts were written by `testdata/clean/ftfy_cases.py`.
#[test]
fn repairs_equal_those_of_ftfy() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/clean/ftfy.json");
    let facts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = facts["cases"].as_array().unwrap();
    let mut buffers = CleanBuffers::default();
    for (column, (name, cleaner)) in (1..).zip(&repairs()) {
        for case in cases {
            let text = case[0].as_str().unwrap();
            let repaired = cleaner.clean(text, &mut buffers).text;
            assert_eq!(repaired, case[column].as_str().unwrap(), "{name} {text:?}");
        }
    }
    assert!(cases.len() >= 1000);
}

#[test]
fn ftfys_own_cases_are_repaired() {
    let mut buffers = CleanBuffers::default();
    for name in ["synthetic", "negative"] {
        let Some(path) = data(&format!("cases/ftfy_{name}.json")) else { return };
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let [(_, repair), _] = &repairs();
        for case in cases.iter().filter(|case| case["expect"] == "pass") {
            let text = case["original"].as_str().unwrap();
            let expected = case.get("fixed-encoding").unwrap_or(&case["fixed"]).as_str().unwrap();
            assert_eq!(repair.clean(text, &mut buffers).text, expected, "{}", case["label"]);
        }
        assert!(cases.len() >= 30);
    }
}

/// Lines of text that nobody decoded wrongly stay, but for C1 controls, which some files have.
#[test]
fn clean_text_is_not_repaired() {
    let [(_, repair), _] = &repairs();
    let mut buffers = CleanBuffers::default();
    let mut check = |name: &str, text: &str| {
        let is_c1 = |char| ('\u{80}'..='\u{9f}').contains(&char);
        for line in text.lines() {
            let repaired = repair.clean(line, &mut buffers).text;
            let (old, new) = (line.chars(), repaired.chars());
            let same = |(old, new): (char, char)| old == new || is_c1(old);
            assert!(
                old.clone().count() == new.clone().count() && old.zip(new).all(same),
                "{name}: {line}\n{repaired}"
            );
        }
    };
    for name in ["english/enwiki_valid.jsonl.zst", "chinese/zhwiki.jsonl.zst"] {
        for line in data(name).map(unpacked).unwrap_or_default().lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            check(name, document["text"].as_str().unwrap());
        }
    }
    let name = "multilingual/many_languages.txt.zst";
    check(name, &data(name).map(unpacked).unwrap_or_default());
    if let Some(path) = data("../cases/good_texts.json") {
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for case in &cases {
            check("good_texts.json", case["text"].as_str().unwrap());
        }
    }
}
