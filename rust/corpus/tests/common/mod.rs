//! Helpers of the tests.

#![allow(dead_code, reason = "each test file uses some of them")]

use std::path::{Path, PathBuf};

use lslm_corpus::{Corpus, Document, ReadOptions, Statistics};
use lslm_runtime::Result;

/// The text, id and metadata of a document, which can be compared.
pub(crate) type Plain = (String, Option<String>, Option<String>);

pub(crate) fn plain(document: &Document) -> Plain {
    (document.text.clone(), document.id.clone(), document.metadata())
}

pub(crate) fn open(path: &Path, options: &ReadOptions) -> Result<Corpus> {
    Corpus::open(&[path.to_str().unwrap().to_owned()], options.clone())
}

/// Reads all documents in partitions of `target` bytes, and merges the statistics.
pub(crate) fn read(corpus: &Corpus, target: u64) -> Result<(Vec<Plain>, Statistics)> {
    let mut documents = Vec::new();
    let mut statistics = Statistics::default();
    for partition in corpus.partitions(target)? {
        let mut reader = corpus.read(&partition);
        for document in reader.by_ref() {
            documents.push(plain(&document?));
        }
        assert_eq!(reader.bytes_consumed(), partition.size(), "progress at the end");
        statistics.merge(reader.statistics());
    }
    Ok((documents, statistics))
}

pub(crate) fn texts(path: &Path, options: &ReadOptions) -> Result<Vec<String>> {
    let corpus = open(path, options)?;
    Ok(read(&corpus, u64::MAX)?.0.into_iter().map(|document| document.0).collect())
}

/// Returns the folder of real data, or `None`, with a message, if it is missing and not required.
pub(crate) fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("LSLM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("LSLM_REQUIRE_DATA").is_none_or(|value| value != "1"),
        "LSLM_REQUIRE_DATA is 1, but {} is missing",
        folder.display()
    );
    #[allow(clippy::print_stderr)] // the message of a skipped test
    {
        eprintln!("skipped: {} is missing", folder.display());
    }
    None
}
