//! Turns documents into datasets of tokens: read, clean, choose the part, encode, write.

mod shards;
mod staged;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lslm_bpe::Tokenizer;
use lslm_clean::{CleanConfig, Cleaner, Funnel, StageRange};
use lslm_corpus::{Corpus, Statistics};
use lslm_dataset::manifest::{MANIFEST, TOKENIZER, shard_name};
use lslm_dataset::{DocumentEnd, HoldOutEntry, Manifest, TokenizerEntry};
use lslm_runtime::files::{create_folder, remove_leftovers, write_atomically};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::Serialize;
use serde_json::json;

use crate::cleaning::{Accounting, ChunkOptions, CleanedChunk, clean_chunk};
use crate::dedup::{DedupOptions, Deduplication};
use crate::job::Job;
use crate::journal::{is_unfinished, remove_remains, write_json};
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk};
use crate::staging::StagedFiles;
use crate::tokenize::shards::{ShardMaker, TokenizeBuffers, TokenizeRecord};
use crate::validation::{HoldOut, TRAIN, VALIDATION, ValidationOptions, ValidationPart};

/// The funnel of a finished job, in its output folder. lslm-corpus has this name too: no corpus
/// reads it.
const FUNNEL: &str = "_funnel.json";
/// What to do about an empty part, with the options of the command line.
const MORE_DOCUMENTS: &str = "hold out stretches of the documents (--hold-out stretches), make \
                              more documents of plain text (--split line or blank-lines), or \
                              change the fraction (--validation-fraction)";

/// How [`tokenize`] works.
#[derive(Clone, Debug)]
pub struct TokenizeOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// What deduplication, if `clean` has that stage, compares with and saves.
    pub dedup: DedupOptions,
    /// The fraction of documents that are held out for validation, from 0 to below 1.
    pub validation_fraction: f64,
    /// The seed that chooses those documents.
    pub seed: u64,
    /// Whether whole documents are held out, or stretches of them.
    pub hold_out: HoldOut,
    /// The special token that ends each document; the tokenizer's own if `None`.
    pub eos_token: Option<String>,
    /// The special token that starts each document, if any.
    pub bos_token: Option<String>,
    /// About how many bytes of input become one shard.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// The result of [`tokenize`].
#[derive(Clone, Debug, Serialize)]
pub struct Tokenized {
    /// The dataset in `train/`.
    pub train: Manifest,
    /// The dataset in `validation/`, or `None` for a fraction of 0.
    pub validation: Option<Manifest>,
    /// The documents that cleaning kept and dropped, by reason.
    pub funnel: Funnel,
    /// The counts of the reading.
    pub reading: Statistics,
    /// Those of the documents to compare with, if [`DedupOptions::against`] names documents.
    pub against: Option<Statistics>,
    /// What the caller should see, such as an empty validation part.
    pub warnings: Vec<String>,
}

/// Turns the documents of `corpus` into the datasets `output/train` and `output/validation`.
///
/// A document is held out when the hash of its cleaned text and the seed falls below the fraction,
/// so equal texts are in the same part. Long documents are divided between both parts where
/// [`HoldOut`] says so: their stretches are a function of the text too, and each becomes a document
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
    let held_out = ValidationOptions {
        fraction: options.validation_fraction,
        seed: options.seed,
        hold_out: options.hold_out,
    };
    ValidationPart::new(held_out)?; // counting may take a while: refuse before it
    let threads = threads::resolve(options.threads)?;
    let end = document_end(tokenizer, options)?;
    let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
    let folders = [TRAIN, VALIDATION].map(|part| output.join(part));
    // the manifest of the training part is written last: after a kill before it the job continues
    let [is_finished, is_begun] = [0, 1].map(|part: usize| folders[part].join(MANIFEST).exists());
    if is_finished {
        remove_remains(output)?;
    }
    if is_finished || (is_begun && !is_unfinished(output)) {
        return Err(Error::invalid(format!(
            "{}: holds a finished dataset; choose another output or remove this one",
            output.display()
        )));
    }
    let validation = ValidationPart::of_corpus(held_out, corpus, task)?;
    let dedup = Deduplication::new(cleaner.as_ref(), &options.dedup, corpus.options(), output)?;
    let plan = json!({
        "tokenizer": hex(&tokenizer.fingerprint()),
        "clean": cleaner.as_ref().map(|cleaner| hex(&cleaner.fingerprint())),
        "dedup": dedup.as_ref().map(Deduplication::plan).transpose()?,
        "validation_fraction": options.validation_fraction,
        "seed": options.seed,
        "hold_out": options.hold_out,
        "eos": end.eos,
        "bos": end.bos,
    });
    let files = folders.clone().map(|folder| folder.join(shard_name(0, 0)));
    let job = Job::open("tokenize", corpus, output, &files, plan, options.partition_bytes, task)?;
    for folder in folders.iter().filter(|folder| folder.exists()) {
        remove_leftovers(folder)?;
    }
    let sources = (0..).zip(corpus.inputs());
    let step = TokenizeStep {
        shards: ShardMaker {
            output,
            tokenizer,
            validation,
            end,
            sources: sources.map(|(index, input)| (Arc::clone(input.name()), index)).collect(),
            buffers: PerThread::new(threads, TokenizeBuffers::default),
            task,
        },
        cleaner: cleaner.as_ref(),
        staged: StagedFiles::new(job.folder()),
        corpus,
        task,
    };
    let mut tokenizer_json = String::new();
    let (job, records, duplicates, against) = threads::pool(threads)?.in_place_scope(|scope| {
        // needed only at the end, so a thread without a partition does it
        scope.spawn(|_| tokenizer_json = tokenizer.to_json());
        if let Some(dedup) = &dedup {
            return step.run_both_passes(dedup, job, threads);
        }
        let records = job.run(threads, |partition| step.run(partition))?;
        Ok((job.require_documents(&records)?, records, Funnel::default(), None))
    })?;
    let job = job.require(step.require_train(&records))?;
    let tokenized = step.finish(records, duplicates, &tokenizer_json)?;
    job.close()?;
    Ok(Tokenized { against, ..tokenized })
}

/// Returns the ids that end and start a document. A name that is not a special token of the
/// tokenizer is an error.
fn document_end(tokenizer: &Tokenizer, options: &TokenizeOptions) -> Result<DocumentEnd> {
    let special = |option: &str, name: &str| {
        let mut tokens = tokenizer.special_tokens();
        tokens.find(|(text, _)| *text == name).map(|(_, id)| id).ok_or_else(|| {
            let names: Vec<&str> = tokenizer.special_tokens().map(|(text, _)| text).collect();
            Error::invalid(format!(
                "{option} = {name:?} is not a special token of this tokenizer; it has: {}",
                if names.is_empty() { "none".to_owned() } else { names.join(" ") }
            ))
        })
    };
    let eos = match &options.eos_token {
        Some(name) => special("eos_token", name)?,
        None => tokenizer.eos_id().ok_or_else(|| {
            Error::invalid(
                "the tokenizer has no special token that is known to end a document, or several; \
                 name one with eos_token",
            )
        })?,
    };
    let bos = options.bos_token.as_ref().map(|name| special("bos_token", name)).transpose()?;
    Ok(DocumentEnd { eos: Some(eos), bos })
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

    /// Writes the tokenizers, the funnel and the manifests; that of the training part is the last.
    fn finish(
        &self,
        records: Vec<TokenizeRecord>,
        mut funnel: Funnel,
        tokenizer_json: &str,
    ) -> Result<Tokenized> {
        let train = self.manifest(TRAIN, &records);
        let validation =
            (!self.shards.validation.is_empty()).then(|| self.manifest(VALIDATION, &records));
        let mut reading = self.corpus.statistics();
        for record in records {
            reading.merge(&record.reading);
            funnel.merge(record.funnel);
        }
        let validation_part = validation.as_ref().map(|manifest| (VALIDATION, manifest));
        let parts: Vec<_> = validation_part.into_iter().chain([(TRAIN, &train)]).collect();
        for (part, _) in &parts {
            create_folder(&self.shards.folder(part))?;
            write_atomically(self.shards.folder(part).join(TOKENIZER), tokenizer_json.as_bytes())?;
        }
        if self.cleaner.is_some() {
            write_json(&self.shards.output.join(FUNNEL), &funnel)?;
        }
        for (part, manifest) in parts {
            manifest.write(&self.shards.folder(part))?;
        }
        let is_empty = validation.as_ref().is_some_and(|manifest| manifest.documents == 0);
        let mut warnings =
            if is_empty { vec![self.empty_validation(train.documents)] } else { vec![] };
        warnings.extend(funnel.advice());
        Ok(Tokenized { train, validation, funnel, reading, against: None, warnings })
    }

    /// Returns an error if the training part has no documents, and removes the validation shards.
    fn require_train(&self, records: &[TokenizeRecord]) -> Result<()> {
        if records.iter().any(|record| record.shards.contains_key(TRAIN)) {
            return Ok(());
        }
        let mut n_documents = 0;
        for entry in records.iter().filter_map(|record| record.shards.get(VALIDATION)) {
            n_documents += entry.documents;
            // a file that is gone was removed before a kill
            let _ = fs::remove_file(self.shards.folder(VALIDATION).join(&entry.file));
        }
        // refused for a folder that is not empty
        let _ = fs::remove_dir(self.shards.folder(VALIDATION));
        if n_documents == 0 {
            let mut funnel = Funnel::default();
            for record in records {
                funnel.merge(record.funnel.clone());
            }
            let most = funnel.dropped.iter().max_by_key(|(_, row)| row.documents);
            let (reason, n) = most.map_or(("", 0), |(reason, row)| (reason, row.documents));
            let what = match funnel.documents {
                1 => format!("the only document, by {reason}"),
                all => format!("all {all} documents, {n} of them by {reason}"),
            };
            return Err(Error::invalid(format!(
                "cleaning dropped {what}: choose another profile or change the rule"
            )));
        }
        Err(Error::invalid(format!(
            "the training part is empty: {} held out for validation \
             (validation_fraction = {}, seed = {}); {MORE_DOCUMENTS}",
            if n_documents == 1 {
                "the only document is".to_owned()
            } else {
                format!("all {n_documents} documents are")
            },
            self.shards.validation.fraction,
            self.shards.validation.seed,
        )))
    }

    /// Returns the warning about a validation part without documents.
    fn empty_validation(&self, n_documents: u64) -> String {
        format!(
            "the validation part is empty: {} held out (validation_fraction = {}); \
             {MORE_DOCUMENTS}, or hold out nothing with 0",
            if n_documents == 1 {
                "the only document is not".to_owned()
            } else {
                format!("none of {n_documents} documents is")
            },
            self.shards.validation.fraction,
        )
    }

    /// Returns what was held out, for the manifests of both parts.
    fn hold_out(&self, records: &[TokenizeRecord]) -> Option<HoldOutEntry> {
        let ValidationPart { fraction, seed, .. } = self.shards.validation;
        let divided_documents = records.iter().map(|record| record.divided_documents).sum();
        let by = if divided_documents > 0 { "stretches" } else { "documents" };
        let entry = HoldOutEntry { by: by.to_owned(), fraction, seed, divided_documents };
        (!self.shards.validation.is_empty()).then_some(entry)
    }

    /// Returns the manifest of one part, with its shards in the order of the partitions.
    fn manifest(&self, part: &str, records: &[TokenizeRecord]) -> Manifest {
        let mut manifest = Manifest::new(self.shards.tokenizer.vocab_size() as u32);
        manifest.split = Some(part.to_owned());
        manifest.document_end = self.shards.end;
        manifest.clean = self.cleaner.map(|cleaner| hex(&cleaner.fingerprint()));
        manifest.sources =
            self.corpus.inputs().iter().map(|input| input.name().to_string()).collect();
        manifest.tokenizer = TokenizerEntry {
            file: Some(TOKENIZER.to_owned()),
            fingerprint: Some(hex(&self.shards.tokenizer.fingerprint())),
        };
        manifest.hold_out = self.hold_out(records);
        for record in records {
            if let Some(entry) = record.shards.get(part) {
                manifest.push(entry.clone());
            }
        }
        manifest
    }
}

#[cfg(test)]
mod tests;
