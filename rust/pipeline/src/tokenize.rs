//! Turns documents into datasets of tokens: read, clean, choose the part, encode, write.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_bpe::{Special, Template, Tokenizer, Workspace};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, Funnel};
use lslm_corpus::{Corpus, Document, Statistics};
use lslm_dataset::manifest::{MANIFEST, TOKENIZER, shard_name};
use lslm_dataset::{
    DocumentEnd, HoldOutEntry, Manifest, ShardEntry, ShardOptions, ShardWriter, TokenizerEntry,
};
use lslm_runtime::files::{create_folder, remove_leftovers, write_atomically};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, TokenId, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cleaning::{Accounting, CleanedChunk, clean_chunk};
use crate::job::{Job, PartitionRecord};
use crate::journal::write_json;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk};
use crate::validation::{HoldOut, TRAIN, TextPart, VALIDATION, ValidationOptions, ValidationPart};

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
    /// What the caller should see, such as an empty validation part.
    pub warnings: Vec<String>,
}

/// The record of a finished partition.
#[derive(Serialize, Deserialize)]
struct TokenizeRecord {
    /// The shard of each part that has documents.
    shards: BTreeMap<String, ShardEntry>,
    /// Documents with text in both parts.
    divided_documents: u64,
    funnel: Funnel,
    reading: Statistics,
}

impl PartitionRecord for TokenizeRecord {
    fn reading(&self) -> &Statistics {
        &self.reading
    }
}

/// Turns the documents of `corpus` into the datasets `output/train` and `output/validation`.
///
/// A document is held out when the hash of its cleaned text and the seed falls below the fraction,
/// so equal texts are in the same part. Long documents are divided between both parts where
/// [`HoldOut`] says so: their stretches are a function of the text too, and each becomes a document
/// of its own with the same id. Each partition of the corpus becomes its own shards, and
/// the manifests are written last; all are the same bytes for any number of threads. After a kill
/// the same call resumes after the finished partitions.
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
    if folders.iter().any(|folder| folder.join(MANIFEST).exists()) {
        return Err(Error::invalid(format!(
            "{}: holds a finished dataset; choose another output or remove this one",
            output.display()
        )));
    }
    let validation = ValidationPart::of_corpus(held_out, corpus, task)?;
    let plan = json!({
        "tokenizer": hex(&tokenizer.fingerprint()),
        "clean": cleaner.as_ref().map(|cleaner| hex(&cleaner.fingerprint())),
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
        output,
        tokenizer,
        cleaner: cleaner.as_ref(),
        validation,
        end,
        sources: sources.map(|(index, input)| (Arc::clone(input.name()), index)).collect(),
        buffers: PerThread::new(threads, TokenizeBuffers::default),
        corpus,
        task,
    };
    let mut tokenizer_json = String::new();
    let records = threads::pool(threads)?.in_place_scope(|scope| {
        // needed only at the end, so a thread without a partition does it
        scope.spawn(|_| tokenizer_json = tokenizer.to_json());
        job.run(threads, |partition| step.run(partition))
    })?;
    let job = job.require_documents(&records)?;
    let job = job.require(step.require_train(&records))?;
    let tokenized = step.finish(records, &tokenizer_json)?;
    job.close()?;
    Ok(tokenized)
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

/// The memory that a thread reuses from one chunk to the next.
#[derive(Default)]
struct TokenizeBuffers {
    workspace: Workspace,
    clean: CleanBuffers,
}

/// Tokenizes partitions, on any thread.
struct TokenizeStep<'a> {
    output: &'a Path,
    tokenizer: &'a Tokenizer,
    cleaner: Option<&'a Cleaner>,
    validation: ValidationPart,
    end: DocumentEnd,
    /// The index of each input by its name.
    sources: HashMap<Arc<str>, u32>,
    buffers: PerThread<TokenizeBuffers>,
    corpus: &'a Corpus,
    task: &'a Task,
}

/// The documents of a chunk that were kept, encoded.
struct EncodedChunk {
    ids: Vec<TokenId>,
    documents: Vec<EncodedDocument>,
    divided_documents: u64,
    funnel: Funnel,
}

/// A document, or a part of one that is divided.
struct EncodedDocument {
    /// The end of its ids in those of the chunk.
    end: usize,
    /// The bytes of its text as it was read or cleaned, before the tokenizer normalises it.
    n_bytes: u64,
    is_validation: bool,
    source: u32,
    id: Option<String>,
}

impl TokenizeStep<'_> {
    /// Turns one partition into a shard of each part that has documents.
    fn run(&self, partition: &Partition) -> Result<TokenizeRecord> {
        let mut batches = Batches::new(self.corpus, partition, self.task);
        let mut funnel = Funnel::default();
        let mut divided_documents = 0;
        let mut shards: [Option<ShardWriter>; 2] = [None, None];
        let name = shard_name(partition.index as u64, 0);
        overlap(
            || batches.next(),
            |chunk| self.encode(chunk),
            |chunk| {
                let mut start = 0;
                for document in chunk.documents {
                    let part = usize::from(document.is_validation);
                    let shard = match &mut shards[part] {
                        Some(shard) => shard,
                        empty => empty.insert(ShardWriter::create(
                            self.folder([TRAIN, VALIDATION][part]).join(&name),
                            ShardOptions {
                                vocab_size: self.tokenizer.vocab_size() as u32,
                                tokenizer: Some(self.tokenizer.fingerprint()),
                            },
                        )?),
                    };
                    let ids = &chunk.ids[start..document.end];
                    start = document.end;
                    shard.push_document(
                        ids,
                        document.n_bytes,
                        document.source,
                        document.id.as_deref(),
                    )?;
                }
                funnel.merge(chunk.funnel);
                divided_documents += chunk.divided_documents;
                Ok(())
            },
        )?;
        let mut entries = BTreeMap::new();
        for (shard, part) in shards.into_iter().zip([TRAIN, VALIDATION]) {
            if let Some(shard) = shard {
                let entry = ShardEntry::new(partition.index as u64, &shard.finish()?);
                entries.insert(part.to_owned(), entry);
            }
        }
        let reading = batches.into_statistics();
        Ok(TokenizeRecord { shards: entries, divided_documents, funnel, reading })
    }

    fn encode(&self, chunk: Chunk) -> Result<EncodedChunk> {
        let mut buffers = self.buffers.lock();
        let TokenizeBuffers { workspace, clean } = &mut *buffers;
        let (documents, funnel): (Vec<Document>, Funnel) = match self.cleaner {
            None => (chunk.documents, Funnel::default()),
            Some(cleaner) => {
                let cleaned = clean_chunk(cleaner, chunk, Accounting::Count, clean, self.task)?;
                let CleanedChunk { kept, funnel, .. } = cleaned;
                (kept.into_iter().map(|(document, _)| document).collect(), funnel)
            }
        };
        let mut divided_documents = 0;
        let mut parts: Vec<(&Document, TextPart)> = Vec::with_capacity(documents.len());
        for document in &documents {
            let of_document = self.validation.divide(&document.text);
            divided_documents += u64::from(of_document.len() > 1);
            parts.extend(of_document.into_iter().map(|part| (document, part)));
        }
        let mut ids = Vec::new();
        let ends = self.tokenizer.encode_texts_into(
            parts.iter().map(|(document, part)| &document.text.as_bytes()[part.range.clone()]),
            &Template::new(self.end.bos, self.end.eos),
            &Special::None,
            workspace,
            self.task,
            &mut ids,
        )?;
        let encoded = parts
            .iter()
            .zip(ends)
            .map(|((document, part), end)| EncodedDocument {
                end,
                n_bytes: part.range.len() as u64,
                is_validation: part.is_validation,
                source: self.sources.get(&document.source).copied().unwrap_or(0),
                id: document.id.clone(),
            })
            .collect();
        Ok(EncodedChunk { ids, documents: encoded, divided_documents, funnel })
    }

    fn folder(&self, part: &str) -> PathBuf {
        self.output.join(part)
    }

    /// Writes the tokenizers, the funnel and the manifests; that of the training part is the last.
    fn finish(&self, records: Vec<TokenizeRecord>, tokenizer_json: &str) -> Result<Tokenized> {
        let train = self.manifest(TRAIN, &records);
        let validation = (!self.validation.is_empty()).then(|| self.manifest(VALIDATION, &records));
        let mut funnel = Funnel::default();
        let mut reading = self.corpus.statistics();
        for record in records {
            reading.merge(&record.reading);
            funnel.merge(record.funnel);
        }
        let validation_part = validation.as_ref().map(|manifest| (VALIDATION, manifest));
        let parts: Vec<_> = validation_part.into_iter().chain([(TRAIN, &train)]).collect();
        for (part, _) in &parts {
            create_folder(&self.folder(part))?;
            write_atomically(self.folder(part).join(TOKENIZER), tokenizer_json.as_bytes())?;
        }
        if self.cleaner.is_some() {
            write_json(&self.output.join(FUNNEL), &funnel)?;
        }
        for (part, manifest) in parts {
            manifest.write(&self.folder(part))?;
        }
        let is_empty = validation.as_ref().is_some_and(|manifest| manifest.documents == 0);
        let mut warnings =
            if is_empty { vec![self.empty_validation(train.documents)] } else { vec![] };
        warnings.extend(funnel.advice());
        Ok(Tokenized { train, validation, funnel, reading, warnings })
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
            let _ = fs::remove_file(self.folder(VALIDATION).join(&entry.file));
        }
        // refused for a folder that is not empty
        let _ = fs::remove_dir(self.folder(VALIDATION));
        if n_documents == 0 {
            let mut funnel = Funnel::default();
            for record in records {
                funnel.merge(record.funnel.clone());
            }
            let most = funnel.dropped.iter().max_by_key(|(_, row)| row.documents);
            let (reason, n) = most.map_or(("", 0), |(reason, row)| (reason, row.documents));
            return Err(Error::invalid(format!(
                "cleaning dropped all {} documents, {n} of them by {reason}: choose another \
                 profile or change the rule",
                funnel.documents
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
            self.validation.fraction,
            self.validation.seed,
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
            self.validation.fraction,
        )
    }

    /// Returns what was held out, for the manifests of both parts.
    fn hold_out(&self, records: &[TokenizeRecord]) -> Option<HoldOutEntry> {
        let ValidationPart { fraction, seed, .. } = self.validation;
        let divided_documents = records.iter().map(|record| record.divided_documents).sum();
        let by = if divided_documents > 0 { "stretches" } else { "documents" };
        let entry = HoldOutEntry { by: by.to_owned(), fraction, seed, divided_documents };
        (!self.validation.is_empty()).then_some(entry)
    }

    /// Returns the manifest of one part, with its shards in the order of the partitions.
    fn manifest(&self, part: &str, records: &[TokenizeRecord]) -> Manifest {
        let mut manifest = Manifest::new(self.tokenizer.vocab_size() as u32);
        manifest.split = Some(part.to_owned());
        manifest.document_end = self.end;
        manifest.clean = self.cleaner.map(|cleaner| hex(&cleaner.fingerprint()));
        manifest.sources =
            self.corpus.inputs().iter().map(|input| input.name().to_string()).collect();
        manifest.tokenizer = TokenizerEntry {
            file: Some(TOKENIZER.to_owned()),
            fingerprint: Some(hex(&self.tokenizer.fingerprint())),
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
mod tests {
    use super::*;

    use lslm_bpe::pretokenize::Pattern;
    use lslm_bpe::train::TrainOptions;
    use lslm_corpus::ReadOptions;

    use crate::learner::{LearnOptions, Learner};

    fn tokenizer() -> Tokenizer {
        let options = LearnOptions {
            clean: None,
            pattern: Pattern::named("gpt2").unwrap(),
            train: TrainOptions {
                special_tokens: vec!["<|endoftext|>".into()],
                ..TrainOptions::new(257)
            },
            validation_fraction: 0.0,
            hold_out: HoldOut::Auto,
            sample_bytes: None,
            seed: 0,
            memory: None,
            partition_bytes: 1 << 20,
            threads: Some(1),
        };
        let learner = Learner::new(&options).unwrap();
        learner.learn(&Task::default()).unwrap()
    }

    #[test]
    fn an_empty_part_is_an_error_or_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "the only document").unwrap();
        let corpus = Corpus::open(&[path.display().to_string()], ReadOptions::default()).unwrap();
        let output = folder.path().join("data");
        let tokenize = |clean: Option<CleanConfig>, validation_fraction: f64| {
            let options = TokenizeOptions {
                clean,
                validation_fraction,
                seed: 0,
                hold_out: HoldOut::Auto,
                eos_token: None,
                bos_token: None,
                partition_bytes: 1 << 20,
                threads: Some(1),
            };
            tokenize(&corpus, &output, &tokenizer(), &options, &Task::default())
        };
        let error = tokenize(None, 0.999_999).unwrap_err().to_string();
        assert!(error.contains("training part is empty: the only document is held out"), "{error}");
        assert!(!output.exists());
        let fineweb = CleanConfig::profile("fineweb").unwrap();
        let error = tokenize(Some(fineweb), 0.0).unwrap_err().to_string();
        assert!(error.contains("cleaning dropped all 1 documents"), "{error}");
        assert!(!output.exists());
        let made = tokenize(None, 0.000_001).unwrap();
        assert_eq!((made.train.documents, made.warnings.len()), (1, 1));
        assert!(made.warnings[0].contains("validation part is empty: the only document"));
    }
}
