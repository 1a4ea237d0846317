//! Files that wait until the duplicates among their documents are known.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use lslm_clean::DocumentPosition;
use lslm_corpus::{Annotation, Corpus, DocumentWriter, ReadOptions, WriteOptions};
use lslm_runtime::files::write_atomically;
use lslm_runtime::{Error, Result, Task};

/// The reason of a document that is equal to an earlier one.
pub(crate) const DUPLICATE: &str = "duplicate.exact";

/// The staged files of a job: per partition the file of its kept documents, and a list of those
/// documents, `00012.kept`.
pub(crate) struct StagedFiles {
    folder: PathBuf,
}

/// An entry of the list of kept documents.
pub(crate) struct KeptDocument {
    /// The content hash of the cleaned text.
    pub(crate) hash: u128,
    /// The bytes of the text before and after cleaning.
    pub(crate) n_bytes_before: u64,
    pub(crate) n_bytes: u64,
}

/// A staged file that becomes a final one.
pub(crate) struct Publication {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The indices of the documents that are left out.
    pub(crate) duplicates: HashSet<u64>,
    /// The file for those, if they are to be written.
    pub(crate) dropped: Option<PathBuf>,
}

/// Returns the writer in `slot`, created at the first call.
fn writer_in(
    slot: &mut Option<DocumentWriter>,
    create: impl FnOnce() -> Result<DocumentWriter>,
) -> Result<&mut DocumentWriter> {
    match slot {
        Some(writer) => Ok(writer),
        empty => Ok(empty.insert(create()?)),
    }
}

impl StagedFiles {
    /// Returns the staged files in `folder`, which is removed when the job ends.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the path of the staged file `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the list of the kept documents of a partition.
    pub(crate) fn write_list(&self, partition: usize, kept: &[KeptDocument]) -> Result<()> {
        write_atomically(self.list_path(partition), &KeptDocument::to_bytes(kept))
    }

    /// Reads the list of the kept documents of a partition. A position counts the kept alone.
    pub(crate) fn read_list(
        &self,
        partition: usize,
    ) -> Result<Vec<(DocumentPosition, KeptDocument)>> {
        let path = self.list_path(partition);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let position = |index| DocumentPosition { partition: partition as u64, index };
        Ok((0..).map(position).zip(KeptDocument::from_bytes(&bytes)).collect())
    }

    /// Moves a staged file to its final path, without its duplicates. `reading` has the names of its
    /// fields. After a kill it can be called again with the same result.
    pub(crate) fn publish(
        &self,
        publication: &Publication,
        reading: &ReadOptions,
        task: &Task,
    ) -> Result<()> {
        let Publication { name, path, duplicates, dropped } = publication;
        let staged = self.path(name);
        if !staged.exists() {
            return Ok(()); // an earlier run moved it
        }
        if duplicates.is_empty() {
            return fs::rename(&staged, path).map_err(Error::io(path));
        }
        let input = staged.to_str().ok_or_else(|| {
            Error::invalid(format!("{}: the path is not Unicode; choose another", staged.display()))
        })?;
        let options = WriteOptions::default();
        let read = ReadOptions {
            text_key: reading.text_key.clone(),
            id_key: reading.id_key.clone(),
            split: options.split.clone(),
            ..ReadOptions::default()
        };
        let corpus = Corpus::open(&[input.to_owned()], read)?;
        let create = |path, annotations| {
            let options = WriteOptions { annotations, ..options.clone() };
            DocumentWriter::create_like(path, options, &corpus)
        };
        let (mut kept, mut removed) = (None, None);
        let mut reader = corpus.read_all();
        let mut index = 0;
        while let Some(mut document) = reader.next_document(task)? {
            let is_duplicate = duplicates.contains(&index);
            index += 1;
            if !is_duplicate {
                writer_in(&mut kept, || create(path, false))?.write(&document)?;
            } else if let Some(path) = dropped {
                document.annotation = Some(Box::new(Annotation {
                    reason: Some(DUPLICATE.to_owned()),
                    ..Annotation::default()
                }));
                writer_in(&mut removed, || create(path, true))?.write(&document)?;
            }
        }
        for writer in [removed, kept].into_iter().flatten() {
            writer.finish()?;
        }
        Ok(())
    }

    fn list_path(&self, partition: usize) -> PathBuf {
        self.folder.join(format!("{partition:05}.kept"))
    }
}

impl KeptDocument {
    /// Returns 32 bytes per document, little-endian: hash, bytes before, bytes after.
    fn to_bytes(documents: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(documents.len() * 32);
        for document in documents {
            bytes.extend(document.hash.to_le_bytes());
            bytes.extend(document.n_bytes_before.to_le_bytes());
            bytes.extend(document.n_bytes.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let (entries, _) = bytes.as_chunks::<32>();
        entries.iter().map(|entry| {
            let number = |range: std::ops::Range<usize>| {
                entry[range].iter().rev().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte))
            };
            Self {
                hash: number(0..16),
                n_bytes_before: number(16..24) as u64,
                n_bytes: number(24..32) as u64,
            }
        })
    }
}
