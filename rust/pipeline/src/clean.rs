//! Files to cleaned files, with a reason for every document that is dropped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lslm_clean::{
    CleanBuffers, CleanConfig, Cleaner, DocumentPosition, ExactDedup, Funnel, content_hash,
};
use lslm_corpus::{Corpus, Document, DocumentWriter, ReadOptions, Statistics, WriteOptions};
use lslm_runtime::files::write_atomically;
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::journal::{Journal, write_json};
use crate::overlap::overlap;
use crate::reading::{Batches, Chunk, begin, inputs_of, some_document};

/// The result of a finished job, in its folder. Names with `_` in front are no documents to a
/// reader of the folder.
const RESULT: &str = "_clean.json";
/// The reason of a document that is equal to an earlier one.
const DUPLICATE: &str = "duplicate.exact";

/// How [`clean`] works.
#[derive(Clone, Debug)]
pub struct CleanOptions {
    /// The rules.
    pub clean: CleanConfig,
    /// Whether only the first of equal documents, as cleaned, is kept.
    pub exact_dedup: bool,
    /// The extension of the files to write, such as `jsonl.zst`; it decides their format.
    pub extension: String,
    /// About how many bytes of input become one file.
    pub partition_bytes: u64,
    /// How many threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// What [`clean`] made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cleaned {
    /// The files, by name, in the order of their documents.
    pub files: Vec<String>,
    /// The documents in them.
    pub n_documents: u64,
    /// Bytes of text of those documents.
    pub n_bytes: u64,
    /// What was kept and dropped, and why.
    pub funnel: Funnel,
    /// What was read.
    pub reading: Statistics,
    /// The fingerprint of the rules, in hexadecimal.
    pub fingerprint: String,
}

/// What is known of a finished partition.
#[derive(Serialize, Deserialize)]
struct Record {
    n_documents: u64,
    n_bytes: u64,
    funnel: Funnel,
    reading: Statistics,
}

/// Cleans the documents of `corpus` into `output/part-NNNNNN.EXTENSION`.
///
/// Each partition of the inputs becomes its own file, the same bytes for any number of threads; of
/// equal documents the first in the order of the inputs stays. After a kill the same call goes on
/// after the finished partitions. [`Error::Invalid`] for a folder that holds a finished job, or an
/// unfinished one of another call.
pub fn clean(
    corpus: &Corpus,
    output: &Path,
    options: &CleanOptions,
    task: &Task,
) -> Result<Cleaned> {
    let threads = threads::resolve(options.threads)?;
    let cleaner = Cleaner::new(&options.clean)?;
    if output.join(RESULT).exists() {
        return Err(Error::invalid(format!(
            "{}: holds a finished job; choose another output or remove this one",
            output.display()
        )));
    }
    let fingerprint = hex(&cleaner.fingerprint());
    let journal = Journal::open(
        output,
        &json!({
            "verb": "clean",
            "inputs": inputs_of(corpus)?,
            "reading": corpus.options(),
            "clean": fingerprint,
            "exact_dedup": options.exact_dedup,
            "extension": options.extension,
            "partition_bytes": options.partition_bytes,
            "version": env!("CARGO_PKG_VERSION"),
        }),
    )?;
    let job = Job {
        output,
        options,
        journal: &journal,
        cleaner: &cleaner,
        corpus,
        scratches: (0..threads).map(|_| Mutex::default()).collect(),
        task,
    };
    begin(task, "clean", corpus);
    let partitions = corpus.partitions(options.partition_bytes)?;
    let mut records = for_each_index(partitions.len(), threads, |index| {
        if let Some(record) = journal.load(index)? {
            task.advance(partitions[index].size())?;
            return Ok(record);
        }
        let record = job.run(&partitions[index])?;
        journal.record(index, &record)?;
        Ok(record)
    })?;
    let read: Vec<&Statistics> = records.iter().map(|record| &record.reading).collect();
    if let Err(nothing) = some_document(corpus, &read) {
        journal.discard(output)?;
        return Err(nothing);
    }
    if options.exact_dedup {
        job.remove_duplicates(&mut records, threads)?;
    }
    let mut cleaned = Cleaned {
        files: Vec::new(),
        n_documents: 0,
        n_bytes: 0,
        funnel: Funnel::default(),
        reading: Statistics::default(),
        fingerprint,
    };
    for (index, record) in records.into_iter().enumerate() {
        if record.n_documents > 0 {
            cleaned.files.push(job.name(index));
        }
        cleaned.n_documents += record.n_documents;
        cleaned.n_bytes += record.n_bytes;
        cleaned.reading.merge(&record.reading);
        cleaned.funnel.merge(record.funnel);
    }
    write_json(&output.join(RESULT), &cleaned)?;
    journal.close()?;
    Ok(cleaned)
}

/// Everything that the work on one partition needs.
struct Job<'a> {
    output: &'a Path,
    options: &'a CleanOptions,
    journal: &'a Journal,
    cleaner: &'a Cleaner,
    corpus: &'a Corpus,
    scratches: Vec<Mutex<CleanBuffers>>,
    task: &'a Task,
}

impl Job<'_> {
    fn name(&self, index: usize) -> String {
        format!("part-{index:06}.{}", self.options.extension)
    }

    fn final_path(&self, index: usize) -> PathBuf {
        self.output.join(self.name(index))
    }

    /// Where a file waits until it is known which of its documents are duplicates.
    fn staged_path(&self, index: usize) -> PathBuf {
        self.journal.folder().join(self.name(index))
    }

    fn kept_path(&self, index: usize) -> PathBuf {
        self.journal.folder().join(format!("{index:05}.kept"))
    }

    fn run(&self, partition: &Partition) -> Result<Record> {
        let index = partition.index;
        let mut batches = Batches::new(self.corpus, partition, self.task);
        let path =
            if self.options.exact_dedup { self.staged_path(index) } else { self.final_path(index) };
        let mut record = Record {
            n_documents: 0,
            n_bytes: 0,
            funnel: Funnel::default(),
            reading: Statistics::default(),
        };
        let mut writer: Option<DocumentWriter> = None;
        let mut kept: Vec<KeptDocument> = Vec::new();
        overlap(
            || batches.next(),
            |chunk| self.clean(index, chunk),
            |(documents, funnel)| {
                for (document, n_bytes_before) in documents {
                    let n_bytes = document.text.len() as u64;
                    record.n_documents += 1;
                    record.n_bytes += n_bytes;
                    if self.options.exact_dedup {
                        let hash = content_hash(&document.text);
                        kept.push(KeptDocument { hash, n_bytes_before, n_bytes });
                    }
                    let writer = match &mut writer {
                        Some(writer) => writer,
                        empty => {
                            empty.insert(DocumentWriter::create(&path, WriteOptions::default())?)
                        }
                    };
                    writer.write(&document)?;
                }
                record.funnel.merge(funnel);
                Ok(())
            },
        )?;
        if let Some(writer) = writer {
            writer.finish()?;
        }
        if self.options.exact_dedup {
            write_atomically(self.kept_path(index), &KeptDocument::to_bytes(&kept))?;
        }
        record.reading = batches.into_statistics();
        Ok(record)
    }

    /// The documents of a chunk that are kept, as cleaned, each with its bytes before.
    fn clean(&self, partition: usize, chunk: Chunk) -> Result<(Vec<(Document, u64)>, Funnel)> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.scratches.len();
        let mut scratch = self.scratches[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::with_capacity(chunk.documents.len());
        let mut funnel = Funnel::default();
        for (index, mut document) in (chunk.first..).zip(chunk.documents) {
            self.task.check()?;
            let n_bytes = document.text.len() as u64;
            let cleaned = self.cleaner.clean(&document.text, &mut scratch);
            funnel.add(
                DocumentPosition { partition: partition as u64, index },
                n_bytes,
                &cleaned,
                self.cleaner,
            );
            if cleaned.verdict.is_kept() {
                if let Cow::Owned(text) = cleaned.text {
                    document.text = text;
                }
                kept.push((document, n_bytes));
            }
        }
        Ok((kept, funnel))
    }

    /// Brings the staged files to their places, without the documents that are equal to earlier
    /// ones, and counts those in the records.
    fn remove_duplicates(&self, records: &mut [Record], threads: usize) -> Result<()> {
        let n = records.len();
        let dedup = ExactDedup::default();
        self.task.begin("find duplicates", "files", Some(n as u64));
        for_each_index(n, threads, |partition| {
            for (place, document) in self.kept(partition)? {
                dedup.insert(document.hash, place);
            }
            self.task.advance(1)
        })?;
        self.task.begin("write files", "files", Some(n as u64));
        let removed = for_each_index(n, threads, |partition| {
            let mut duplicates = self.kept(partition)?;
            duplicates.retain(|(place, document)| !dedup.is_first(document.hash, *place));
            let n_kept = records[partition].n_documents - duplicates.len() as u64;
            let places = duplicates.iter().map(|(place, _)| place.index).collect();
            self.place(partition, &places, n_kept)?;
            self.task.advance(1)?;
            Ok(duplicates)
        })?;
        for (record, duplicates) in records.iter_mut().zip(removed) {
            for (_, document) in duplicates {
                record.n_documents -= 1;
                record.n_bytes -= document.n_bytes;
                record.funnel.drop_kept(DUPLICATE, document.n_bytes_before, document.n_bytes);
            }
        }
        Ok(())
    }

    /// What cleaning kept of a partition, by place among the kept.
    fn kept(&self, partition: usize) -> Result<Vec<(DocumentPosition, KeptDocument)>> {
        let path = self.kept_path(partition);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let place = |index| DocumentPosition { partition: partition as u64, index };
        Ok((0..).map(place).zip(KeptDocument::from_bytes(&bytes)).collect())
    }

    /// Brings one staged file to its place. Doing it again after a kill ends the same.
    fn place(&self, index: usize, duplicates: &HashSet<u64>, n_documents: u64) -> Result<()> {
        let (staged, path) = (self.staged_path(index), self.final_path(index));
        if n_documents == 0 || !staged.exists() {
            return Ok(()); // nothing was kept, or an earlier run moved it
        }
        if duplicates.is_empty() {
            return fs::rename(&staged, &path).map_err(Error::io(&path));
        }
        let name = staged.to_str().ok_or_else(|| {
            Error::invalid(format!("{}: the path is not Unicode; choose another", staged.display()))
        })?;
        let split = WriteOptions::default().split;
        let read = ReadOptions { split, ..ReadOptions::default() };
        let corpus = Corpus::open(&[name.to_owned()], read)?;
        let mut writer = DocumentWriter::create(&path, WriteOptions::default())?;
        let mut reader = corpus.read_all();
        let mut place = 0;
        while let Some(document) = reader.next_document(self.task)? {
            if !duplicates.contains(&place) {
                writer.write(&document)?;
            }
            place += 1;
        }
        writer.finish()
    }
}

/// What is remembered of a kept document until duplicates are known.
struct KeptDocument {
    hash: u128,
    n_bytes_before: u64,
    n_bytes: u64,
}

impl KeptDocument {
    /// Each document as hash, bytes before, bytes after: little-endian, 32 bytes.
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
