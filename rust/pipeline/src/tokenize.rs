//! Turns documents into datasets of tokens: read, clean, choose the part, encode, write.

pub(crate) mod options;
pub(crate) mod parts;
mod shards;
mod staged;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_bpe::Tokenizer;
use lslm_clean::{Cleaner, Funnel, StageRange};
use lslm_corpus::Corpus;
use lslm_dataset::manifest::{MANIFEST, TOKENIZER, shard_name};
use lslm_runtime::files::write_atomically;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde_json::json;

use crate::call::JobOptions;
use crate::cleaning::{Accounting, ChunkOptions, CleanedChunk, clean_chunk};
use crate::dedup::Deduplication;
use crate::job::{Job, JobPlan, Scope};
use crate::journal::{is_unfinished, remove_remains};
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk};
use crate::slice::Slice;
use crate::staging::StagedFiles;
use crate::tokenize::options::{TokenizeOptions, document_end};
use crate::tokenize::parts::{Parts, Tokenized};
use crate::tokenize::shards::{ShardMaker, TokenizeBuffers, TokenizeRecord};
use crate::validation::{TRAIN, VALIDATION, ValidationOptions, ValidationPart};

/// Turns the documents of `corpus` into the datasets `output/train` and `output/validation`.
///
/// A document is held out when the hash of its cleaned text and the seed falls below the fraction,
/// so equal texts are in the same part. Long documents are divided between both parts where
/// [`HoldOut`](crate::HoldOut) says so: their stretches are a function of the text too, and each becomes a document
/// of its own with the same id. Each partition of the corpus becomes its own shards, and
/// the manifests are written last; all are the same bytes for any number of threads. After a kill
/// the same call resumes after the finished partitions. With the stage `dedup`, cleaned documents wait
/// in files of the output folder until the duplicates among them are known.
///
/// Returns an [`Error::Invalid`] for a folder with a finished dataset, or with an unfinished job of
/// another call.
///
/// The [crate documentation](crate) has an example.
pub fn tokenize(
    corpus: &Corpus,
    output: &Path,
    tokenizer: &Tokenizer,
    options: &TokenizeOptions,
    task: &Task,
) -> Result<Tokenized> {
    run(corpus, output, tokenizer, options, Scope::Whole, task)
}

/// Tokenizes the documents of one slice of the partitions, beside other processes with the other
/// slices; [`finish`](crate::finish()) ends the job and writes the manifests.
///
/// The figures are those of the slice. With the stage `dedup` its documents are cleaned, and have no
/// tokens yet.
///
/// Returns an [`Error::Invalid`] as [`tokenize`] does, and when another process computes this slice.
pub fn tokenize_slice(
    corpus: &Corpus,
    output: &Path,
    tokenizer: &Tokenizer,
    options: &TokenizeOptions,
    slice: Slice,
    task: &Task,
) -> Result<Tokenized> {
    run(corpus, output, tokenizer, options, Scope::Slice(slice), task)
}

/// Does what of a job is in `scope`.
pub(crate) fn run(
    corpus: &Corpus,
    output: &Path,
    tokenizer: &Tokenizer,
    options: &TokenizeOptions,
    scope: Scope,
    task: &Task,
) -> Result<Tokenized> {
    let held_out = ValidationOptions {
        fraction: options.validation_fraction,
        seed: options.seed,
        hold_out: options.hold_out,
    };
    ValidationPart::new(held_out)?; // counting may take a while: refuse before it
    let threads = threads::resolve(options.threads)?;
    let end = document_end(tokenizer, options)?;
    let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
    refuse_finished(output)?;
    let validation = ValidationPart::of_corpus(held_out, corpus, task)?;
    let dedup = Deduplication::new(cleaner.as_ref(), &options.dedup, corpus.options(), output)?;
    let shards = ShardMaker {
        output,
        tokenizer,
        validation,
        end,
        sources: (0..)
            .zip(corpus.inputs())
            .map(|(i, input)| (Arc::clone(input.name()), i))
            .collect(),
        buffers: PerThread::new(threads, TokenizeBuffers::default),
        task,
    };
    let plan = plan(&shards, options, cleaner.as_ref(), dedup.as_ref())?;
    let job = Job::open(corpus, plan, scope, task)?;
    let step = TokenizeStep {
        shards,
        cleaner: cleaner.as_ref(),
        staged: StagedFiles::new(job.folder()),
        corpus,
        task,
    };
    if let Scope::Slice(_) = scope {
        return step.run_slice(dedup.as_ref(), &job, threads);
    }
    let mut tokenizer_json = String::new();
    let (job, records, duplicates, against) = threads::pool(threads)?.in_place_scope(|scope| {
        // needed only at the end, so a thread without a partition does it
        scope.spawn(|_| tokenizer_json = tokenizer.to_json());
        if let Some(dedup) = &dedup {
            return step.run_both_passes(dedup, job, threads);
        }
        let records = job.run(threads, |partition| step.run(partition))?;
        let job = job.require_documents(&records)?;
        Ok((job, without_indices(records), Funnel::default(), None))
    })?;
    let job = job.require(step.parts().require_train(&records))?;
    let tokenized = step.parts().finish(records, duplicates, &tokenizer_json)?;
    job.close()?;
    Ok(Tokenized { against, ..tokenized })
}

/// Returns an error for a folder with a finished dataset.
fn refuse_finished(output: &Path) -> Result<()> {
    // the manifest of the training part is written last: after a kill before it the job continues
    let [is_finished, is_begun] =
        [TRAIN, VALIDATION].map(|part| manifest_of(output, part).exists());
    if is_finished {
        remove_remains(output)?;
    }
    if is_finished || (is_begun && !is_unfinished(output)) {
        return Err(Error::invalid(format!(
            "{}: holds a finished dataset; choose another output or remove this one",
            output.display()
        )));
    }
    Ok(())
}

/// Returns the plan of a job.
fn plan<'a>(
    shards: &ShardMaker<'a>,
    options: &TokenizeOptions,
    cleaner: Option<&Cleaner>,
    dedup: Option<&Deduplication<'_>>,
) -> Result<JobPlan<'a>> {
    let parts = [TRAIN, VALIDATION];
    Ok(JobPlan {
        verb: "tokenize",
        output: shards.output,
        files: parts.map(|part| shards.folder(part).join(shard_name(0, 0))).to_vec(),
        results: parts.map(|part| manifest_of(shards.output, part)).to_vec(),
        decisive: json!({
            "tokenizer": hex(&shards.tokenizer.fingerprint()),
            "clean": cleaner.map(|cleaner| hex(&cleaner.fingerprint())),
            "dedup": dedup.map(Deduplication::plan).transpose()?,
            "validation_fraction": options.validation_fraction,
            "seed": options.seed,
            "hold_out": options.hold_out,
            "eos": shards.end.eos,
            "bos": shards.end.bos,
        }),
        options: JobOptions::Tokenize(options.clone()),
        partition_bytes: options.partition_bytes,
    })
}

fn manifest_of(output: &Path, part: &str) -> PathBuf {
    output.join(part).join(MANIFEST)
}

fn without_indices<R>(records: Vec<(usize, R)>) -> Vec<R> {
    records.into_iter().map(|(_, record)| record).collect()
}

/// Tokenizes partitions, on any thread.
struct TokenizeStep<'a> {
    shards: ShardMaker<'a>,
    cleaner: Option<&'a Cleaner>,
    staged: StagedFiles,
    corpus: &'a Corpus,
    task: &'a Task,
}

impl TokenizeStep<'_> {
    fn parts(&self) -> Parts<'_> {
        Parts { shards: &self.shards, cleaner: self.cleaner, corpus: self.corpus }
    }

    /// Runs the partitions of a slice; returns its figures.
    fn run_slice(
        &self,
        dedup: Option<&Deduplication<'_>>,
        job: &Job<'_>,
        threads: usize,
    ) -> Result<Tokenized> {
        let path = job.folder().join(TOKENIZER);
        if !path.exists() {
            write_atomically(path, self.shards.tokenizer.to_json().as_bytes())?; // for finish
        }
        let records = match dedup {
            None => without_indices(job.run(threads, |partition| self.run(partition))?),
            Some(dedup) => self.run_first_pass(dedup, job, threads)?,
        };
        Ok(Tokenized { slice: job.slice_count()?, ..self.parts().sum(records) })
    }

    /// Turns one partition into a shard of each part that has documents.
    fn run(&self, partition: &Partition) -> Result<TokenizeRecord> {
        let mut batches = self.batches(partition);
        let mut made = self.shards.write_shards(partition, &mut batches, |chunk| {
            if self.cleaner.is_none() {
                return Ok((chunk.documents, Funnel::default()));
            }
            let CleanedChunk { kept, funnel, .. } = self.clean(chunk)?;
            Ok((kept.into_iter().map(|kept| kept.document).collect(), funnel))
        })?;
        made.reading = batches.into_statistics();
        Ok(made)
    }

    fn batches(&self, partition: &Partition) -> Batches<'_> {
        match self.cleaner {
            Some(cleaner) => Batches::for_cleaner(cleaner, self.corpus, partition, self.task),
            None => Batches::new(self.corpus, partition, self.task),
        }
    }

    fn clean(&self, chunk: Chunk) -> Result<CleanedChunk> {
        let mut buffers = self.shards.buffers.lock();
        match self.cleaner {
            Some(cleaner) => {
                let (accounting, stages) = (Accounting::Count, StageRange::BeforeDedup);
                let options = ChunkOptions { accounting, stages, signals: false };
                clean_chunk(cleaner, chunk, options, &mut buffers.clean, self.task)
            }
            None => Err(Error::invalid("no cleaning rules")),
        }
    }

    fn input_name(&self, index: u64) -> &Arc<str> {
        self.corpus.inputs()[index as usize].name()
    }
}

#[cfg(test)]
mod tests;
