//! A profile for English says so, whatever the language of the corpus that it empties.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod shared;

use std::collections::BTreeMap;

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentPosition, Funnel, detect_language};

use shared::{data, unpacked};

/// Bytes of a document, at least: a page.
const DOCUMENT_BYTES: usize = 800;

/// Returns lines that follow one another as documents.
fn documents(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in text.lines() {
        if found.last().unwrap().len() > DOCUMENT_BYTES {
            found.push(String::new());
        }
        let last = found.last_mut().unwrap();
        last.push_str(line.trim());
        last.push('\n');
    }
    found
}

fn count(cleaner: &Cleaner, documents: &[String]) -> Funnel {
    let (mut buffers, mut funnel) = (CleanBuffers::default(), Funnel::default());
    for (index, text) in (0..).zip(documents) {
        let position = DocumentPosition { partition: 0, index };
        funnel.add(position, text.len() as u64, &cleaner.clean(text, &mut buffers), cleaner);
    }
    funnel
}

#[test]
fn no_corpus_of_one_of_forty_languages_is_emptied_silently() {
    let Some(path) = data("multilingual/many_languages.txt.zst") else { return };
    let text = unpacked(path);
    let mut by_language: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for document in documents(&text) {
        if let Some(found) = detect_language(&document)
            && found.confidence >= 0.9
        {
            let own = by_language.entry(found.code).or_default();
            names.insert(found.code, found.name);
            if own.len() < 25 {
                own.push(document);
            }
        }
    }
    by_language.retain(|_, documents| documents.len() >= 10);
    let cleaner = Cleaner::new(&CleanConfig::profile("fineweb").unwrap()).unwrap();
    let (mut silent, mut misnamed) = (Vec::new(), Vec::new());
    let mut emptied = 0;
    for (code, documents) in &by_language {
        let funnel = count(&cleaner, documents);
        if 2 * funnel.documents_kept > funnel.documents {
            continue;
        }
        emptied += 1;
        match funnel.advice() {
            None => silent.push(*code),
            // the language of three examples, which are short
            Some(advice) if !advice.contains(names[code]) => misnamed.push(advice),
            Some(_) => {}
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
    assert!(misnamed.len() <= 2, "{misnamed:#?}");
    assert!(by_language.len() >= 40 && emptied >= 38, "{emptied} of {}", by_language.len());
}
