//! Cleans documents into files, with a reason for every document that is dropped.

use std::path::{Path, PathBuf};

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, ExactDedup, Funnel, content_hash};
use lslm_corpus::{Corpus, Document, DocumentWriter, Statistics, WriteOptions, check_extension};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cleaning::{Accounting, Losses, clean_chunk};
use crate::job::{Job, PartitionRecord};
use crate::journal::write_json;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::Batches;
use crate::staging::{DUPLICATE, KeptDocument, Publication, StagedFiles};

/// The result of a finished job, in its output folder. lslm-corpus has this name too: no corpus
/// reads it.
const RESULT: &str = "_clean.json";

/// How [`clean`] works.
#[derive(Clone, Debug)]
pub struct CleanOptions {
    /// The rules.
    pub clean: CleanConfig,
    /// Whether only the first of the documents whose cleaned texts are equal is kept.
    pub exact_dedup: bool,
    /// A folder for the documents that are dropped, as they were read, with the reason; see
    /// [`Annotation`](lslm_corpus::Annotation). Files of filters are called `part-NNNNNN`, those of
    /// duplicates `duplicates-NNNNNN`.
    pub dropped: Option<PathBuf>,
    /// Whether every document is kept and gets the fields of an
    /// [`Annotation`](lslm_corpus::Annotation), with all signals.
    pub annotate: bool,
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
    /// The sources of which the rules drop more than half of the documents.
    #[serde(default)]
    pub losses: Losses,
    /// The counts of the reading.
    pub reading: Statistics,
    /// The rules: profile and version, stages in order, settings.
    pub config: CleanConfig,
    /// The fingerprint of the rules, in hexadecimal.
    pub fingerprint: String,
}

/// The record of a finished partition.
#[derive(Serialize, Deserialize)]
struct CleanRecord {
    n_documents: u64,
    n_bytes: u64,
    funnel: Funnel,
    losses: Losses,
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
///     dropped: None,
///     annotate: false,
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
    check_accounting(output, options)?;
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
        "dropped": options.dropped,
        "annotate": options.annotate,
    });
    let mut files = vec![output.join(file_name(0, &options.extension))];
    files.extend(options.dropped.iter().map(|folder| folder.join(dropped_name(0, options))));
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
        losses: Losses::default(),
        reading: corpus.statistics(),
        config: options.clean.clone(),
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
        cleaned.losses.merge(record.losses);
    }
    cleaned.losses.keep_large();
    write_json(&output.join(RESULT), &cleaned)?;
    job.close()?;
    Ok(cleaned)
}

fn accounting(options: &CleanOptions) -> Accounting {
    match (&options.dropped, options.annotate) {
        (_, true) => Accounting::Annotate,
        (Some(_), false) => Accounting::Collect,
        (None, false) => Accounting::Count,
    }
}

/// Writes the documents that the rules drop from one partition, if they are to be written. The file
/// is created with the first.
struct Dropped<'a> {
    path: Option<PathBuf>,
    corpus: &'a Corpus,
    writer: Option<DocumentWriter>,
}

impl<'a> Dropped<'a> {
    fn new(options: &CleanOptions, corpus: &'a Corpus, partition: usize) -> Self {
        let folder = options.dropped.as_ref();
        let path = folder.map(|folder| folder.join(dropped_name(partition, options)));
        Self { path, corpus, writer: None }
    }

    fn write(&mut self, document: &Document) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let options = WriteOptions { annotations: true, ..WriteOptions::default() };
                empty.insert(DocumentWriter::create_like(path, options, self.corpus)?)
            }
        };
        writer.write(document)
    }

    fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), DocumentWriter::finish)
    }
}

/// Returns the name of the file of one partition.
fn file_name(partition: usize, extension: &str) -> String {
    format!("part-{partition:06}.{extension}")
}

/// Returns the name of the file of the documents that the rules drop from one partition.
fn dropped_name(partition: usize, options: &CleanOptions) -> String {
    file_name(partition, dropped_extension(options))
}

/// Returns the extension of the files of dropped documents: that of the output, which has all
/// fields, unless it is plain text.
fn dropped_extension(options: &CleanOptions) -> &str {
    if options.extension.starts_with("txt") { "jsonl.zst" } else { &options.extension }
}

/// Returns an error for options of dropped documents that cannot be used, or that would mix two jobs
/// in one folder.
fn check_accounting(output: &Path, options: &CleanOptions) -> Result<()> {
    if options.annotate && (options.exact_dedup || options.dropped.is_some()) {
        return Err(Error::invalid(
            "annotate keeps every document: leave dedup and the folder of dropped documents out",
        ));
    }
    if options.annotate && options.extension.starts_with("txt") {
        return Err(Error::invalid("annotate adds fields, which text has not: write jsonl.zst"));
    }
    let Some(folder) = &options.dropped else { return Ok(()) };
    let is_resumed = output.join(".progress").exists();
    let is_used = folder.join(dropped_name(0, options)).exists();
    if folder == output || (is_used && !is_resumed) {
        return Err(Error::invalid(format!(
            "{}: the folder of dropped documents holds other work; choose another",
            folder.display()
        )));
    }
    Ok(())
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

    /// Returns the path of the duplicates in one partition, if they are to be written.
    fn duplicates_path(&self, partition: usize) -> Option<PathBuf> {
        let name = format!("duplicates-{partition:06}.{}", dropped_extension(self.options));
        self.options.dropped.as_ref().map(|folder| folder.join(name))
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
            losses: Losses::default(),
            reading: Statistics::default(),
        };
        let mut writer: Option<DocumentWriter> = None;
        let mut dropped = Dropped::new(self.options, self.corpus, index);
        let mut kept: Vec<KeptDocument> = Vec::new();
        let accounting = accounting(self.options);
        overlap(
            || batches.next(),
            |chunk| {
                clean_chunk(self.cleaner, chunk, accounting, &mut self.buffers.lock(), self.task)
            },
            |chunk| {
                for document in &chunk.dropped {
                    dropped.write(document)?;
                }
                for (document, n_bytes_before) in chunk.kept {
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
                            let annotations = self.options.annotate;
                            let options = WriteOptions { annotations, ..WriteOptions::default() };
                            empty.insert(DocumentWriter::create_like(&path, options, self.corpus)?)
                        }
                    };
                    writer.write(&document)?;
                }
                record.funnel.merge(chunk.funnel);
                record.losses.merge(chunk.losses);
                Ok(())
            },
        )?;
        if let Some(writer) = writer {
            writer.finish()?;
        }
        dropped.finish()?;
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
            let n_kept = records[partition].n_documents - duplicates.len() as u64;
            if n_kept > 0 || self.options.dropped.is_some() {
                let indices = duplicates.iter().map(|(position, _)| position.index).collect();
                let (name, path) = (self.file_name(partition), self.final_path(partition));
                let dropped = self.duplicates_path(partition);
                let staged = Publication { name, path, duplicates: indices, dropped };
                self.staged.publish(&staged, self.corpus.options(), self.task)?;
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
