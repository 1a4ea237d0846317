//! Cleans documents into files, with a reason for every document that is dropped.

pub(crate) mod options;
mod publication;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentPosition, Funnel, StageRange};
use lslm_corpus::{Annotation, Corpus, Statistics, check_extension};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::JobOptions;
use crate::clean::options::{
    CleanOptions, accounting, check_accounting, dropped_extension, dropped_name, file_name,
};
use crate::clean::publication::{CleanRecord, DroppedFiles, Outputs, Publication};
use crate::cleaning::{ChunkOptions, CleanedChunk, CleanedDocument, Losses, clean_chunk};
use crate::dedup::{Decisions, Deduplication, DocumentKeys, Fates, PartitionKeys};
use crate::job::{Job, JobPlan, Scope};
use crate::journal::{is_finished, remove_remains, write_json};
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk};
use crate::slice::{Slice, SliceCount};
use crate::staging::{LazyWriter, Note, NoteReader, StagedFiles, note_document, open_staged};

/// The result of a finished job, in its output folder. lslm-corpus has this name too: no corpus
/// reads it.
const RESULT: &str = "_clean.json";

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
    /// Those of the documents to compare with, if
    /// [`DedupOptions::against`](crate::DedupOptions::against) names documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Statistics>,
    /// The rules: profile and version, stages in order, settings.
    pub config: CleanConfig,
    /// The fingerprint of the rules, in hexadecimal.
    pub fingerprint: String,
    /// The slice whose partitions these figures are of; `None` if the job is finished.
    #[serde(skip)]
    pub slice: Option<SliceCount>,
}

/// Cleans the documents of `corpus` into `output/part-NNNNNN.EXTENSION`. Every field of a record is
/// in the output, with its name and type; see [`DocumentWriter`].
///
/// Each partition of the corpus becomes one file, the same bytes for any number of threads. With the
/// stage `dedup`, the first of equal documents or parts in the order of the corpus is kept. After a kill the same call resumes
/// after the finished partitions.
///
/// Returns an [`Error::Invalid`] for a folder with a finished job, or with an unfinished job of
/// another call.
///
/// ```
/// use lslm_clean::CleanConfig;
/// use lslm_corpus::{Corpus, ReadOptions};
/// use lslm_pipeline::{CleanOptions, DedupOptions, clean};
/// use lslm_runtime::Task;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let lines = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"a\"}\n";
/// std::fs::write(folder.join("a.jsonl"), lines)?;
/// let input = folder.join("a.jsonl").display().to_string();
/// let corpus = Corpus::open(&[input], ReadOptions::default())?;
/// let options = CleanOptions {
///     clean: CleanConfig::profile("none")?.with(&serde_json::json!({"dedup": true}))?,
///     dedup: DedupOptions::default(),
///     dropped: None,
///     annotate: false,
///     signals: false,
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
    run(corpus, output, options, Scope::Whole, task)
}

/// Cleans the documents of one slice of the partitions, beside other processes with the other slices;
/// [`finish`](crate::finish()) ends the job.
///
/// The figures are those of the slice. With the stage `dedup` they are those before it, and no file
/// is written yet.
///
/// Returns an [`Error::Invalid`] as [`clean`] does, and when another process computes this slice.
pub fn clean_slice(
    corpus: &Corpus,
    output: &Path,
    options: &CleanOptions,
    slice: Slice,
    task: &Task,
) -> Result<Cleaned> {
    run(corpus, output, options, Scope::Slice(slice), task)
}

/// Does what of a job is in `scope`.
pub(crate) fn run(
    corpus: &Corpus,
    output: &Path,
    options: &CleanOptions,
    scope: Scope,
    task: &Task,
) -> Result<Cleaned> {
    let threads = threads::resolve(options.threads)?;
    let cleaner = Cleaner::new(&options.clean)?;
    check_extension(&options.extension, corpus)?;
    check_accounting(output, options)?;
    if output.join(RESULT).exists() {
        remove_remains(output)?;
        return Err(is_finished(output));
    }
    let dedup = Deduplication::new(Some(&cleaner), &options.dedup, corpus.options(), output)?;
    let plan = plan(output, options, &cleaner, dedup.as_ref())?;
    let job = Job::open(corpus, plan, scope, task)?;
    let sources = (0..).zip(corpus.inputs());
    let step = CleanStep {
        output,
        options,
        staged: StagedFiles::new(job.folder()),
        cleaner: &cleaner,
        dedup: dedup.as_ref(),
        corpus,
        sources: sources.map(|(index, input)| (Arc::clone(input.name()), index)).collect(),
        buffers: PerThread::new(threads, CleanBuffers::default),
        task,
    };
    let mut records = job.run(threads, |partition| step.run(partition))?;
    if let Some(slice) = job.slice_count()? {
        return Ok(Cleaned { slice: Some(slice), ..step.sum(records, dedup.is_none()) });
    }
    let job = job.require_documents(&records)?;
    let (mut duplicates, mut against) = (Funnel::default(), None);
    if let Some(dedup) = &dedup {
        let decisions = dedup.search(job.folder(), records.len(), threads, task)?;
        dedup.count(&decisions, &mut duplicates);
        records = step.publish_all(dedup, &decisions, &records, threads)?;
        against = decisions.against;
    }
    let mut cleaned = Cleaned { against, ..step.sum(records, true) };
    cleaned.funnel.merge(duplicates);
    write_json(&output.join(RESULT), &cleaned)?;
    job.close()?;
    Ok(cleaned)
}

/// Returns the plan of a job.
fn plan<'a>(
    output: &'a Path,
    options: &CleanOptions,
    cleaner: &Cleaner,
    dedup: Option<&Deduplication<'_>>,
) -> Result<JobPlan<'a>> {
    let mut files = vec![output.join(file_name(0, &options.extension))];
    files.extend(options.dropped.iter().map(|folder| folder.join(dropped_name(0, options))));
    Ok(JobPlan {
        verb: "clean",
        output,
        files,
        results: vec![output.join(RESULT)],
        decisive: json!({
            "clean": hex(&cleaner.fingerprint()),
            "dedup": dedup.map(Deduplication::plan).transpose()?,
            "extension": options.extension,
            "dropped": options.dropped,
            "annotate": options.annotate,
            "signals": options.signals,
        }),
        options: JobOptions::Clean(options.clone()),
        partition_bytes: options.partition_bytes,
    })
}

/// Cleans partitions, on any thread.
struct CleanStep<'a> {
    output: &'a Path,
    options: &'a CleanOptions,
    staged: StagedFiles,
    cleaner: &'a Cleaner,
    dedup: Option<&'a Deduplication<'a>>,
    corpus: &'a Corpus,
    /// The index of each input by its name.
    sources: HashMap<Arc<str>, u64>,
    buffers: PerThread<CleanBuffers>,
    task: &'a Task,
}

/// A chunk after cleaning, and what its kept documents are compared by.
struct KeyedChunk {
    cleaned: CleanedChunk,
    keys: Vec<DocumentKeys>,
}

/// Writes a document of the first pass, with a note if the second needs one.
fn write_first(
    cleaned: CleanedDocument,
    outputs: &mut Outputs<'_>,
    record: &mut CleanRecord,
) -> Result<()> {
    let CleanedDocument { mut document, original, is_kept, .. } = cleaned;
    record.n_documents += 1;
    record.n_bytes += document.text.len() as u64;
    if let Some(notes) = &mut outputs.notes {
        let annotation = document.annotation.take().map_or_else(
            || Annotation {
                is_kept,
                source: Arc::clone(&document.source),
                ..Annotation::default()
            },
            |annotation| *annotation,
        );
        notes.write(&note_document(Note { original, annotation }))?;
    }
    outputs.kept.write(&document)
}

impl CleanStep<'_> {
    fn file_name(&self, partition: usize) -> String {
        file_name(partition, &self.options.extension)
    }

    fn final_path(&self, partition: usize) -> PathBuf {
        self.output.join(self.file_name(partition))
    }

    /// Returns the path of the staged file of a partition: as the final one, but that text files,
    /// which do not hold empty documents, are staged as JSONL.
    fn staged_path(&self, partition: usize) -> PathBuf {
        self.staged.path(partition, dropped_extension(self.options))
    }

    /// Returns whether the staged file can become the final one as it is.
    fn is_staged_as_final(&self) -> bool {
        !self.options.annotate && dropped_extension(self.options) == self.options.extension
    }

    /// Returns whether the second pass needs more than the staged documents.
    fn has_notes(&self) -> bool {
        self.dedup.is_some() && (self.options.annotate || self.options.dropped.is_some())
    }

    /// Returns the outputs of the first pass. Documents are staged, without annotations, if duplicates
    /// are to be removed.
    fn first_outputs(&self, partition: usize) -> Outputs<'_> {
        let kept = match self.dedup {
            None => {
                let path = self.final_path(partition);
                LazyWriter::like(path, self.corpus, self.options.annotate)
            }
            Some(_) => LazyWriter::like(self.staged_path(partition), self.corpus, false),
        };
        let dropped = self.dropped_files(partition, self.corpus, ["part", "lines"]);
        let notes = || LazyWriter::annotated(self.staged.notes_path(partition));
        let notes = self.has_notes().then(notes);
        Outputs { kept, dropped, notes }
    }

    /// Returns the files of what is dropped from one partition, whose names begin with `names`, if it
    /// is collected; documents are like those of `like`.
    fn dropped_files<'c>(
        &self,
        partition: usize,
        like: &'c Corpus,
        names: [&str; 2],
    ) -> Option<DroppedFiles<'c>> {
        let folder = self.options.dropped.as_ref()?;
        let extension = dropped_extension(self.options);
        let [documents, parts] =
            names.map(|name| folder.join(format!("{name}-{partition:06}.{extension}")));
        Some(DroppedFiles {
            documents: LazyWriter::like(documents, like, true),
            parts: LazyWriter::annotated(parts),
        })
    }

    /// Cleans one partition into its file, which is staged if duplicates are to be removed.
    fn run(&self, partition: &Partition) -> Result<CleanRecord> {
        let index = partition.index;
        let mut batches = Batches::with_records(self.corpus, partition, self.task);
        let mut record = CleanRecord::default();
        let mut outputs = self.first_outputs(index);
        let mut keys = PartitionKeys::default();
        overlap(
            || batches.next(),
            |chunk| self.clean(chunk),
            |KeyedChunk { cleaned, keys: of_chunk }| {
                if let Some(files) = &mut outputs.dropped {
                    cleaned.dropped.iter().try_for_each(|one| files.documents.write(one))?;
                    cleaned.lines.iter().try_for_each(|line| files.parts.write(line))?;
                }
                let mut of_chunk = of_chunk.into_iter();
                for cleaned in cleaned.kept {
                    if cleaned.is_kept
                        && let Some(own) = of_chunk.next()
                    {
                        keys.push(own, &cleaned, self.source(&cleaned));
                    }
                    write_first(cleaned, &mut outputs, &mut record)?;
                }
                record.funnel.merge(cleaned.funnel);
                record.losses.merge(cleaned.losses);
                Ok(())
            },
        )?;
        outputs.finish()?;
        if let Some(dedup) = self.dedup {
            dedup.write_keys(self.staged.folder(), index, keys)?;
        }
        record.reading = batches.into_statistics();
        Ok(record)
    }

    fn clean(&self, chunk: Chunk) -> Result<KeyedChunk> {
        let options = self.chunk_options(StageRange::BeforeDedup);
        let mut buffers = self.buffers.lock();
        let cleaned = clean_chunk(self.cleaner, chunk, options, &mut buffers, self.task)?;
        let mut buffer = String::new();
        let keys = self.dedup.map_or_else(Vec::new, |dedup| {
            let kept = cleaned.kept.iter().filter(|cleaned| cleaned.is_kept);
            kept.map(|cleaned| dedup.keys(&cleaned.document.text, &mut buffer)).collect()
        });
        Ok(KeyedChunk { cleaned, keys })
    }

    /// Returns how documents are cleaned by these stages.
    fn chunk_options(&self, stages: StageRange) -> ChunkOptions {
        let accounting = accounting(self.options);
        ChunkOptions { accounting, stages, signals: self.options.signals }
    }

    fn source(&self, cleaned: &CleanedDocument) -> u64 {
        self.sources.get(&cleaned.document.source).copied().unwrap_or(0)
    }

    /// Returns the sums of records; `has_files` is false while the documents are only staged.
    fn sum(&self, records: Vec<(usize, CleanRecord)>, has_files: bool) -> Cleaned {
        let mut cleaned = Cleaned {
            files: Vec::new(),
            n_documents: 0,
            n_bytes: 0,
            funnel: Funnel::default(),
            losses: Losses::default(),
            reading: self.corpus.statistics(),
            against: None,
            config: self.cleaner.config().clone(),
            fingerprint: hex(&self.cleaner.fingerprint()),
            slice: None,
        };
        for (index, record) in records {
            if record.n_documents > 0 && has_files {
                cleaned.files.push(self.file_name(index));
            }
            cleaned.n_documents += record.n_documents;
            cleaned.n_bytes += record.n_bytes;
            cleaned.reading.merge(&record.reading);
            cleaned.funnel.merge(record.funnel);
            cleaned.losses.merge(record.losses);
        }
        cleaned.losses.keep_large();
        cleaned
    }

    /// Writes the final files of all partitions; returns their records without the duplicates.
    fn publish_all(
        &self,
        dedup: &Deduplication<'_>,
        decisions: &Decisions,
        records: &[(usize, CleanRecord)],
        threads: usize,
    ) -> Result<Vec<(usize, CleanRecord)>> {
        self.task.begin("write files", "files", Some(records.len() as u64));
        for_each_index(records.len(), threads, |partition| {
            let fates = dedup.fates(self.staged.folder(), partition, decisions)?;
            let mut record = records[partition].1.clone();
            let staged = self.staged_path(partition);
            let is_final = self.is_staged_as_final()
                && fates.change_nothing()
                && !self.cleaner.has_stages(StageRange::AfterDedup);
            if record.n_documents == 0 {
                // nothing was staged
            } else if !is_final {
                self.publish(partition, &fates, &mut record)?;
            } else if staged.exists() {
                // else an earlier run moved it
                let path = self.final_path(partition);
                std::fs::rename(&staged, &path).map_err(Error::io(&path))?;
            }
            self.task.advance(1)?;
            Ok((partition, record))
        })
    }

    /// Writes the final file of a partition from its staged one. After a kill it can be called again
    /// with the same result.
    fn publish(&self, partition: usize, fates: &Fates<'_>, record: &mut CleanRecord) -> Result<()> {
        let corpus = open_staged(&self.staged_path(partition), self.corpus.options())?;
        let mut reader = corpus.read_all();
        let mut notes = if self.has_notes() {
            Some(NoteReader::open(self.staged.notes_path(partition))?)
        } else {
            None
        };
        let annotates = self.options.annotate;
        let mut publication = Publication {
            cleaner: self.cleaner,
            options: self.chunk_options(StageRange::AfterDedup),
            corpus: self.corpus,
            fates,
            outputs: Outputs {
                kept: LazyWriter::like(self.final_path(partition), &corpus, annotates),
                dropped: self.dropped_files(partition, &corpus, ["duplicates", "duplicate-parts"]),
                notes: None,
            },
            late: self.dropped_files(partition, &corpus, ["late", "late-lines"]),
            position: DocumentPosition { partition: partition as u64, index: 0 },
            record,
            buffers: CleanBuffers::default(),
            buffer: String::new(),
        };
        while let Some(document) = reader.next_document(self.task)? {
            let note = notes.as_mut().map(|notes| notes.next(self.task)).transpose()?;
            publication.push(document, note)?;
        }
        publication.finish()
    }
}
