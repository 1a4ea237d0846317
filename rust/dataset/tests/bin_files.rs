//! Token files of nanoGPT and llm.c are read where they lie.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::{Path, PathBuf};

use lslm_dataset::{BinFile, Dataset};
use lslm_runtime::{Error, Task};
use proptest::prelude::*;

fn narrow(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|id| (*id as u16).to_le_bytes()).collect()
}

fn wide(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The header of llm.c: 256 numbers.
fn header(magic: u32, version: u32, n_tokens: usize) -> Vec<u8> {
    let mut numbers = vec![0_u32; 256];
    numbers[..3].copy_from_slice(&[magic, version, n_tokens as u32]);
    wide(&numbers)
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn tokens_and_documents_are_those_of_the_files(
        parts in proptest::collection::vec(proptest::collection::vec(0_u32..9, 1..40), 1..4),
        kind in 0..3, eos in 0_u32..9,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = parts.iter().enumerate().map(|(index, tokens)| {
            let bytes = match kind {
                0 => narrow(tokens),
                1 => [header(20_240_520, 1, tokens.len()), narrow(tokens)].concat(),
                _ => [header(20_240_801, 7, tokens.len()), wide(tokens)].concat(),
            };
            put(folder.path(), &format!("{index}.bin"), &bytes)
        }).collect();
        let dataset = Dataset::open_bin(&paths, None, Some(eos)).unwrap();
        let all = parts.concat();
        prop_assert_eq!(dataset.tokens::<u32>(0, all.len() as u64).unwrap(), all.clone());
        let mut documents = Vec::new();
        for part in &parts {
            documents.extend(part.split_inclusive(|id| *id == eos));
        }
        prop_assert_eq!(dataset.n_documents(), documents.len() as u64);
        let mut at = 0;
        for (index, document) in documents.into_iter().enumerate() {
            prop_assert_eq!(&dataset.document::<u32>(index as u64).unwrap(), document);
            for position in at..at + document.len() as u64 {
                prop_assert_eq!(dataset.document_at(position).unwrap(), index as u64);
            }
            at += document.len() as u64;
        }
        prop_assert_eq!(dataset.document_id(0).unwrap(), None);
        prop_assert_eq!(dataset.document_bytes(0).unwrap(), None);
        prop_assert_eq!(dataset.source(0).unwrap(), None);
        prop_assert_eq!(dataset.check_shards().unwrap(), parts.len() as u64);
    }
}

#[test]
fn files_that_are_not_whole_are_refused_with_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let whole = [header(20_240_520, 1, 4), narrow(&[1, 2, 3, 4])].concat();
    let cases = [
        (whole[..whole.len() - 1].to_vec(), 1031),
        (whole[..whole.len() - 2].to_vec(), 1030),
        ([&whole[..], &[0, 0]].concat(), 1032),
        (vec![1, 2, 3], 2),
    ];
    for (bytes, expected) in cases {
        let path = put(folder.path(), "a.bin", &bytes);
        let error = Dataset::open_bin(&[path], None, None).unwrap_err();
        assert!(
            matches!(error, Error::Format { offset: Some(at), .. } if at == expected),
            "{error}"
        );
    }
    assert!(Dataset::open_bin(&[], None, None).is_err());
    assert!(Dataset::open_bin(&[folder.path().to_owned()], None, None).is_err());
    let path = put(folder.path(), "a.bin", &whole);
    for vocab_size in [0, 65_537] {
        assert!(Dataset::open_bin(std::slice::from_ref(&path), Some(vocab_size), None).is_err());
    }
    // an id that the vocabulary does not have, and a file that changes, are found at their use
    let dataset = Dataset::open_bin(std::slice::from_ref(&path), Some(4), None).unwrap();
    let error = dataset.tokens::<u32>(0, 4).unwrap_err();
    assert!(matches!(error, Error::Format { offset: Some(1030), .. }), "{error}");
    assert_eq!(dataset.n_documents(), 0);
    assert!(dataset.document_at(0).is_err() && dataset.document_span(0).is_err());
    assert!(
        dataset.verify(None, &Task::default()).unwrap_err().to_string().contains("no checksums")
    );
    let dataset = Dataset::open_bin(std::slice::from_ref(&path), None, None).unwrap();
    put(folder.path(), "a.bin", &whole[..1026]);
    assert!(dataset.tokens::<u32>(0, 4).unwrap_err().to_string().contains("and had 1032 before"));
}

#[test]
fn the_fingerprint_follows_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let of = |bytes: &[u8]| BinFile::recognise(&put(folder.path(), "a.bin", bytes)).unwrap().digest;
    let tokens = narrow(&(0..3000).collect::<Vec<u32>>());
    let mut other = tokens.clone();
    other[4000] ^= 1;
    assert_eq!(of(&tokens), of(&tokens));
    assert_ne!(of(&tokens), of(&other));
    assert_ne!(of(&tokens), of(&tokens[..5998]));
}
