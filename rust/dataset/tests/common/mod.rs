//! Small datasets for tests.
#![allow(dead_code, unreachable_pub)] // no test file uses all of it

use std::path::Path;

use lslm_dataset::{Dataset, DatasetWriter, Manifest};

/// The arguments of `push_document`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub tokens: Vec<u32>,
    pub n_bytes: u64,
    pub source: u32,
    pub id: Option<String>,
}

/// A document without an id, of source 0.
pub fn plain(tokens: Vec<u32>) -> Document {
    Document { n_bytes: 3 * tokens.len() as u64, tokens, source: 0, id: None }
}

/// Writes `documents` as the dataset `folder`, in shards of about `shard_bytes`, and opens it.
pub fn write(folder: &Path, documents: &[Document], vocab_size: u32, shard_bytes: u64) -> Dataset {
    let mut template = Manifest::new(vocab_size);
    template.tokenizer.fingerprint = Some("ab".repeat(32));
    template.sources = vec!["first".into(), "second".into(), "third".into()];
    let mut writer = DatasetWriter::create(folder, template, shard_bytes).unwrap();
    for document in documents {
        let Document { tokens, n_bytes, source, id } = document;
        writer.push_document(tokens, *n_bytes, *source, id.as_deref()).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(folder).unwrap()
}

/// The tokens 0, 1, …, n − 1, in documents of different lengths.
pub fn counting(n: u32) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut next = 0;
    while next < n {
        let stop = n.min(next + 1 + (next * 7 + 3) % 90);
        documents.push(plain((next..stop).collect()));
        next = stop;
    }
    documents
}
