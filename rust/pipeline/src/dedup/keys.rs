//! What the documents of a partition are compared by, in memory and in the folder of a job.

use std::path::{Path, PathBuf};

use lslm_clean::Dedup;
use lslm_runtime::{Error, Result};

use crate::cleaning::CleanedDocument;

/// What a document is compared by.
pub(crate) struct DocumentKeys {
    pub(super) document: u128,
    pub(super) parts: Vec<u128>,
}

/// Returns what `text` is compared by; `buffer` is working memory.
pub(super) fn keys_of(dedup: &Dedup, text: &str, buffer: &mut String) -> DocumentKeys {
    let parts = dedup.parts(text, buffer);
    DocumentKeys {
        document: dedup.hash(text, buffer),
        parts: parts.into_iter().map(|part| part.hash).collect(),
    }
}

/// A document that the first pass keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDocument {
    /// The bytes of the text before and after cleaning.
    pub(crate) n_bytes_before: u64,
    pub(crate) n_bytes: u64,
    /// The parts that can be compared.
    pub(super) n_parts: u64,
    /// The index of its input.
    pub(crate) source: u64,
    /// That of the [`Document`](lslm_corpus::Document), which no file of text holds.
    pub(crate) surplus: i64,
}

/// The kept documents of a partition and their hashes, in order.
#[derive(Default)]
pub(crate) struct PartitionKeys {
    pub(super) documents: Vec<KeptDocument>,
    pub(super) hashes: Vec<(u128, u64)>,
    pub(super) parts: Vec<(u128, u64)>,
}

impl PartitionKeys {
    /// Adds a document of the input `source`.
    pub(crate) fn push(&mut self, keys: DocumentKeys, kept: &CleanedDocument, source: u64) {
        self.hashes.push((keys.document, self.documents.len() as u64));
        let n_parts = keys.parts.len() as u64;
        self.parts.extend(keys.parts.into_iter().zip(self.parts.len() as u64..));
        self.documents.push(KeptDocument {
            n_bytes_before: kept.n_bytes_before,
            n_bytes: kept.document.text.len() as u64,
            n_parts,
            source,
            surplus: kept.document.surplus,
        });
    }
}

/// The files of a partition in the folder of a job: `00012.kept`, `00012.documents`, `00012.parts`.
pub(super) struct KeyFiles<'f> {
    pub(super) folder: &'f Path,
}

impl KeyFiles<'_> {
    pub(super) fn path(&self, partition: usize, name: &str) -> PathBuf {
        self.folder.join(format!("{partition:05}.{name}"))
    }

    pub(super) fn paths(&self, n_partitions: usize, name: &str) -> Vec<PathBuf> {
        (0..n_partitions).map(|partition| self.path(partition, name)).collect()
    }
}

impl KeptDocument {
    /// Returns 40 bytes per document, little-endian, in the order of the fields.
    pub(super) fn to_bytes(documents: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(documents.len() * 40);
        for document in documents {
            let Self { n_bytes_before, n_bytes, n_parts, source, surplus } = *document;
            for number in [n_bytes_before, n_bytes, n_parts, source, surplus.cast_unsigned()] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    }

    pub(super) fn read(path: &Path) -> Result<Vec<Self>> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (entries, _) = numbers.as_chunks::<5>();
        let document = |&[n_bytes_before, n_bytes, n_parts, source, surplus]: &[u64; 5]| Self {
            n_bytes_before,
            n_bytes,
            n_parts,
            source,
            surplus: surplus.cast_signed(),
        };
        Ok(entries.iter().map(document).collect())
    }
}
