//! Cleans documents into files, with a reason for every document that is dropped.

use std::path::{Path, PathBuf};

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, ExactDedup, Funnel, content_hash};
use lslm_corpus::{Corpus, DocumentWriter, Statistics, WriteOptions, check_extension};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cleaning::clean_chunk;
use crate::job::{Job, PartitionRecord};
use crate::journal::write_json;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::Batches;
use crate::staging::{KeptDocument, StagedFiles};

/// The result of a finished job, in its output folder. lslm-corpus has this name too: no corpus
/// reads it.
const RESULT: &str = "_clean.json";
/// The reason of a document that is equal to an earlier one.
const DUPLICATE: &str = "duplicate.exact";

/// How [`clean`] works.
#[derive(Clone, Debug)]
pub struct CleanOptions {
    /// The rules.
    pub clean: CleanConfig,
    /// Whether only the first of the documents whose cleaned texts are equal is kept.
    pub exact_dedup: bool,
    /// The extension of the output files, such as `jsonl.zst`, which decides their format.
    pub extension: String,
    /// About how many bytes of input become one file.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// The result of [`clean`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cleaned {
    /// The names of the files, in the order of their documents.
    pub files: Vec<String>,
    /// The documents in them.
    pub n_documents: u64,
    /// The bytes of their texts.
    pub n_bytes: u64,
    /// The documents that were kept and dropped, by reason.
    pub funnel: Funnel,
    /// The counts of the reading.
    pub reading: Statistics,
    /// The fingerprint of the rules, in hexadecimal.
    pub fingerprint: String,
}

/// The record of a finished partition.
#[derive(Serialize, Deserialize)]
struct CleanRecord {
    n_documents: u64,
    n_bytes: u64,
    funnel: Funnel,
    reading: Statistics,
}

impl PartitionRecord for CleanRecord {
    fn reading(&self) -> &Statistics {
        &self.reading
    }
}

/// Cleans the documents of `corpus` into `output/part-NNNNNN.EXTENSION`. Every field of a record is
/// in the output, with its name and type; see [`DocumentWriter`].
///
/// Each partition of the corpus becomes one file, the same bytes for any number of threads; of
/// equal documents the first in the order of the corpus is kept. After a kill the same call resumes
/// after the finished partitions.
///
/// Returns an [`Error::Invalid`] for a folder with a finished job, or with an unfinished job of
/// another call.
///
/// ```
/// use lslm_clean::CleanConfig;
/// use lslm_corpus::{Corpus, ReadOptions};
/// use lslm_pipeline::{CleanOptions, clean};
/// use lslm_runtime::Task;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let lines = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"a\"}\n";
/// std::fs::write(folder.join("a.jsonl"), lines)?;
/// let input = folder.join("a.jsonl").display().to_string();
/// let corpus = Corpus::open(&[input], ReadOptions::default())?;
/// let options = CleanOptions {
///     clean: CleanConfig::profile("none")?,
///     exact_dedup: true,
///     extension: "jsonl".into(),
///     partition_bytes: 1 << 20,
///     threads: Some(1),
/// };
/// let output = folder.join("clean");
/// let cleaned = clean(&corpus, &output, &options, &Task::default())?;
/// assert_eq!((cleaned.n_documents, cleaned.files), (2, vec!["part-000000.jsonl".to_owned()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn clean(
    corpus: &Corpus,
    output: &Path,
    options: &CleanOptions,
    task: &Task,
) -> Result<Cleaned> {
    let threads = threads::resolve(options.threads)?;
    let cleaner = Cleaner::new(&options.clean)?;
    check_extension(&options.extension, corpus)?;
    if output.join(RESULT).exists() {
        return Err(Error::invalid(format!(
            "{}: holds a finished job; choose another output or remove this one",
            output.display()
        )));
    }
    let fingerprint = hex(&cleaner.fingerprint());
    let plan = json!({
        "clean": fingerprint,
        "exact_dedup": options.exact_dedup,
        "extension": options.extension,
    });
    let files = [output.join(file_name(0, &options.extension))];
    let job = Job::open("clean", corpus, output, &files, plan, options.partition_bytes, task)?;
    let step = CleanStep {
        output,
        options,
        staged: StagedFiles::new(job.folder()),
        cleaner: &cleaner,
        corpus,
        buffers: PerThread::new(threads, CleanBuffers::default),
        task,
    };
    let mut records = job.run(threads, |partition| step.run(partition))?;
    let job = job.require_documents(&records)?;
    if options.exact_dedup {
        step.remove_duplicates(&mut records, threads)?;
    }
    let mut cleaned = Cleaned {
        files: Vec::new(),
        n_documents: 0,
        n_bytes: 0,
        funnel: Funnel::default(),
        reading: corpus.statistics(),
        fingerprint,
    };
    for (index, record) in records.into_iter().enumerate() {
        if record.n_documents > 0 {
            cleaned.files.push(step.file_name(index));
        }
        cleaned.n_documents += record.n_documents;
        cleaned.n_bytes += record.n_bytes;
        cleaned.reading.merge(&record.reading);
        cleaned.funnel.merge(record.funnel);
    }
    write_json(&output.join(RESULT), &cleaned)?;
    job.close()?;
    Ok(cleaned)
}

/// Returns the name of the file of one partition.
fn file_name(partition: usize, extension: &str) -> String {
    format!("part-{partition:06}.{extension}")
}

/// Cleans partitions, on any thread.
struct CleanStep<'a> {
    output: &'a Path,
    options: &'a CleanOptions,
    staged: StagedFiles,
    cleaner: &'a Cleaner,
    corpus: &'a Corpus,
    buffers: PerThread<CleanBuffers>,
    task: &'a Task,
}

impl CleanStep<'_> {
    fn file_name(&self, partition: usize) -> String {
        file_name(partition, &self.options.extension)
    }

    fn final_path(&self, partition: usize) -> PathBuf {
        self.output.join(self.file_name(partition))
    }

    /// Cleans one partition into its file, which is staged if duplicates are to be removed.
    fn run(&self, partition: &Partition) -> Result<CleanRecord> {
        let index = partition.index;
        let mut batches = Batches::with_records(self.corpus, partition, self.task);
        let path = if self.options.exact_dedup {
            self.staged.path(&self.file_name(index))
        } else {
            self.final_path(index)
        };
        let mut record = CleanRecord {
            n_documents: 0,
            n_bytes: 0,
            funnel: Funnel::default(),
            reading: Statistics::default(),
        };
        let mut writer: Option<DocumentWriter> = None;
        let mut kept: Vec<KeptDocument> = Vec::new();
        overlap(
            || batches.next(),
            |chunk| clean_chunk(self.cleaner, chunk, &mut self.buffers.lock(), self.task),
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
                            let options = WriteOptions::default();
                            empty.insert(DocumentWriter::create_like(&path, options, self.corpus)?)
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
            self.staged.write_list(index, &kept)?;
        }
        record.reading = batches.into_statistics();
        Ok(record)
    }

    /// Moves the staged files to the output without the documents that are equal to earlier ones,
    /// and counts those in the records.
    fn remove_duplicates(&self, records: &mut [CleanRecord], threads: usize) -> Result<()> {
        let n_files = records.len();
        let dedup = ExactDedup::default();
        self.task.begin("find duplicates", "files", Some(n_files as u64));
        for_each_index(n_files, threads, |partition| {
            for (position, document) in self.staged.read_list(partition)? {
                dedup.insert(document.hash, position);
            }
            self.task.advance(1)
        })?;
        self.task.begin("write files", "files", Some(n_files as u64));
        let removed = for_each_index(n_files, threads, |partition| {
            let mut duplicates = self.staged.read_list(partition)?;
            duplicates.retain(|(position, document)| !dedup.is_first(document.hash, *position));
            if records[partition].n_documents > duplicates.len() as u64 {
                let indices = duplicates.iter().map(|(position, _)| position.index).collect();
                let (name, path) = (self.file_name(partition), self.final_path(partition));
                self.staged.publish(&name, &path, &indices, self.corpus.options(), self.task)?;
            }
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
}
