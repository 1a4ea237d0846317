//! Verdicts of datatrove with its own words, on documents of the folder that `shared` finds.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod shared;

use std::collections::HashMap;

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use shared::{data, ours, unpacked};

/// Returns the configuration that does what the peer's stages of this name do.
fn config(name: &str, language: &str) -> CleanConfig {
    if name.contains('@') {
        return CleanConfig::profile(name).unwrap();
    }
    let profile = if language == "en" { "fineweb@datatrove" } else { "fineweb2@cmn_Hani" };
    let profile = CleanConfig::profile(profile).unwrap();
    match name {
        "c4" => CleanConfig::profile("c4@datatrove").unwrap(),
        "c4_lenient" => profile.with(&json!({"stages": ["c4"]})).unwrap(),
        rule => profile.with(&json!({"stages": [rule]})).unwrap(),
    }
}

fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// Returns our name of a reason of the peer's, which some rules share.
fn reason(name: &str, reason: &str) -> String {
    match reason {
        "too_few_sentences" | "lorem_ipsum" | "curly_bracket" => format!("c4.{reason}"),
        "empty" if name == "gopher_repetition" => "gopher_repetition.empty".to_owned(),
        "empty" => "fineweb.empty".to_owned(),
        other => match other.strip_prefix("duplicated_").and_then(|n| n.strip_suffix("_n_grams")) {
            Some(n) => format!("gopher_repetition.dup_{n}_gram"),
            None => ours(other).to_owned(),
        },
    }
}

/// The facts were written by `testdata/clean/peer.py`.
#[test]
fn verdicts_reasons_and_texts_equal_those_of_datatrove() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/clean/peer.json");
    let facts: Value = serde_json::from_slice(&std::fs::read(root).unwrap()).unwrap();
    let mut report = Vec::new();
    for corpus in facts["corpora"].as_array().unwrap() {
        let Some(path) = data(corpus["file"].as_str().unwrap()) else { continue };
        let text = unpacked(path);
        let count = corpus["documents"].as_u64().unwrap() as usize;
        let documents: Vec<String> = text
            .lines()
            .take(count)
            .map(|line| {
                let document: Value = serde_json::from_str(line).unwrap();
                document["text"].as_str().unwrap().replace("\r\n", "\n").replace('\r', "\n")
            })
            .collect();
        let language = corpus["language"].as_str().unwrap();
        let least = if language == "en" { 0.995 } else { 0.99 };
        let mut buffers = CleanBuffers::default();
        for (name, verdicts) in corpus["verdicts"].as_object().unwrap() {
            let cleaner = Cleaner::new(&config(name, language)).unwrap();
            let mut dropped = HashMap::new();
            for (peer, numbers) in verdicts.as_object().unwrap() {
                for number in numbers.as_array().unwrap() {
                    dropped.insert(number.as_u64().unwrap() as usize, reason(name, peer));
                }
            }
            let mut differing = Vec::new();
            for (index, document) in documents.iter().enumerate() {
                let cleaned = cleaner.clean(document, &mut buffers);
                let found = cleaned.verdict.reason().map(str::to_owned);
                let expected = dropped.get(&index).cloned();
                let hash = corpus["edited"][name][index.to_string()].as_str();
                let is_equal = match hash {
                    Some(hash) => short_hash(&cleaned.text) == hash,
                    None => found.is_some() || cleaned.text == *document,
                };
                if found != expected || !is_equal {
                    differing
                        .push(format!("{index}: {found:?} here, {expected:?} there, {is_equal}"));
                }
            }
            let share = 1.0 - differing.len() as f64 / count as f64;
            let shown = &differing[..differing.len().min(4)];
            let line = format!("{} {name}: {:.2} % {shown:?}", corpus["file"], 100.0 * share);
            report.push((share >= least, line));
        }
    }
    assert!(report.iter().all(|(is_equal, _)| *is_equal), "{report:#?}");
}
