//! Files to a dataset of tokens: read, clean, hold out, encode, write.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lslm_bpe::{Cache, Frame, Special, TokenId, Tokenizer};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentPosition, Funnel};
use lslm_corpus::{Corpus, Document, Statistics};
use lslm_dataset::manifest::{MANIFEST, TOKENIZER, shard_name};
use lslm_dataset::{DocumentEnd, Manifest, ShardEntry, ShardOptions, ShardWriter, TokenizerEntry};
use lslm_runtime::files::{create_folder, remove_leftovers, write_atomically};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task, hex, threads};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::holdout::HoldOut;
use crate::journal::{Journal, write_json};
use crate::overlap::overlap;
use crate::reading::{Batches, Chunk, begin, inputs_of, some_document};

/// The part of the documents that a model is trained on.
pub const TRAIN: &str = "train";
/// The part that is held out.
pub const VALIDATION: &str = "validation";

/// How [`tokenize`] works.
#[derive(Clone, Debug)]
pub struct TokenizeOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// The share of documents to hold out, from 0 to below 1.
    pub validation_fraction: f64,
    /// Chooses which documents are held out.
    pub seed: u64,
    /// The special token that closes each document; the tokenizer's own if `None`.
    pub eos_token: Option<String>,
    /// The special token that opens each document, if any.
    pub bos_token: Option<String>,
    /// About how many bytes of input become one shard.
    pub partition_bytes: u64,
    /// How many threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// What [`tokenize`] made.
#[derive(Clone, Debug, Serialize)]
pub struct Tokenized {
    /// The dataset in `train/`.
    pub train: Manifest,
    /// The dataset in `validation/`, unless nothing was to be held out.
    pub validation: Option<Manifest>,
    /// What cleaning kept and dropped.
    pub funnel: Funnel,
    /// What was read.
    pub reading: Statistics,
}

/// What is known of a finished partition.
#[derive(Serialize, Deserialize)]
struct Record {
    shards: BTreeMap<String, ShardEntry>,
    funnel: Funnel,
    reading: Statistics,
}

/// Turns the documents of `corpus` into datasets `output/train` and `output/validation`.
///
/// A document is held out when the hash of its cleaned text and the seed falls below the fraction,
/// so equal texts fall on the same side. Each partition of the inputs becomes its own shards, and
/// the manifests come last; the same bytes for any number of threads. After a kill the same call
/// goes on after the finished partitions. [`Error::Invalid`] for a folder that holds a finished
/// dataset, or an unfinished one of another call.
pub fn tokenize(
    corpus: &Corpus,
    output: &Path,
    tokenizer: &Tokenizer,
    options: &TokenizeOptions,
    task: &Task,
) -> Result<Tokenized> {
    let held_out = HoldOut::new(options.validation_fraction, options.seed)?;
    let threads = threads::resolve(options.threads)?;
    let end = document_end(tokenizer, options)?;
    let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
    for split in [TRAIN, VALIDATION] {
        if output.join(split).join(MANIFEST).exists() {
            return Err(Error::invalid(format!(
                "{}: holds a finished dataset; choose another output or remove this one",
                output.display()
            )));
        }
    }
    let journal = Journal::open(
        output,
        &json!({
            "verb": "tokenize",
            "inputs": inputs_of(corpus)?,
            "reading": corpus.options(),
            "tokenizer": hex(&tokenizer.fingerprint()),
            "clean": cleaner.as_ref().map(|cleaner| hex(&cleaner.fingerprint())),
            "validation_fraction": options.validation_fraction,
            "seed": options.seed,
            "eos": end.eos,
            "bos": end.bos,
            "partition_bytes": options.partition_bytes,
            "version": env!("CARGO_PKG_VERSION"),
        }),
    )?;
    for split in [TRAIN, VALIDATION] {
        if output.join(split).exists() {
            remove_leftovers(&output.join(split))?;
        }
    }
    let job = Job {
        output,
        tokenizer,
        cleaner: cleaner.as_ref(),
        held_out,
        end,
        sources: (0..)
            .zip(corpus.inputs())
            .map(|(i, input)| (Arc::clone(input.name()), i))
            .collect(),
        workers: (0..threads).map(|_| Mutex::default()).collect(),
        corpus,
        task,
    };
    begin(task, "tokenize", corpus);
    let partitions = corpus.partitions(options.partition_bytes)?;
    let mut spelled = String::new();
    let records = threads::pool(threads)?.in_place_scope(|scope| {
        // by a thread that has nothing else to do; written at the end
        scope.spawn(|_| spelled = tokenizer.to_json());
        for_each_index(partitions.len(), threads, |index| {
            if let Some(record) = journal.load(index)? {
                task.advance(partitions[index].size())?;
                return Ok(record);
            }
            let record = job.run(&partitions[index])?;
            journal.record(index, &record)?;
            Ok(record)
        })
    })?;
    let read: Vec<&Statistics> = records.iter().map(|record: &Record| &record.reading).collect();
    if let Err(nothing) = some_document(corpus, &read) {
        journal.discard(output)?;
        return Err(nothing);
    }
    let tokenized = job.finish(records, &spelled, options)?;
    journal.close()?;
    Ok(tokenized)
}

/// The ids that close and open a document; every name must be one of the tokenizer's.
fn document_end(tokenizer: &Tokenizer, options: &TokenizeOptions) -> Result<DocumentEnd> {
    let special = |kind: &str, name: &str| {
        let mut known = tokenizer.special_tokens();
        known.find(|(text, _)| *text == name).map(|(_, id)| id).ok_or_else(|| {
            let names: Vec<&str> = tokenizer.special_tokens().map(|(text, _)| text).collect();
            Error::invalid(format!(
                "{kind} = {name:?} is not a special token of this tokenizer; it has: {}",
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

/// What a thread keeps from one document to the next.
#[derive(Default)]
struct Worker {
    cache: Cache,
    scratch: CleanBuffers,
}

/// Everything that the work on one partition needs.
struct Job<'a> {
    output: &'a Path,
    tokenizer: &'a Tokenizer,
    cleaner: Option<&'a Cleaner>,
    held_out: HoldOut,
    end: DocumentEnd,
    sources: HashMap<Arc<str>, u32>,
    workers: Vec<Mutex<Worker>>,
    corpus: &'a Corpus,
    task: &'a Task,
}

/// The documents of a chunk that were kept, encoded.
struct Encoded {
    ids: Vec<TokenId>,
    documents: Vec<EncodedDocument>,
    funnel: Funnel,
}

struct EncodedDocument {
    /// Where its ids end.
    end: usize,
    n_bytes: u64,
    held_out: bool,
    source: u32,
    id: Option<String>,
}

impl Job<'_> {
    fn run(&self, partition: &Partition) -> Result<Record> {
        let mut batches = Batches::new(self.corpus, partition, self.task);
        let mut funnel = Funnel::default();
        let mut shards: [Option<ShardWriter>; 2] = [None, None];
        let name = shard_name(partition.index as u64, 0);
        overlap(
            || batches.next(),
            |chunk| self.encode(partition.index, chunk),
            |encoded: Encoded| {
                let mut start = 0;
                for document in encoded.documents {
                    let split = usize::from(document.held_out);
                    let shard = match &mut shards[split] {
                        Some(shard) => shard,
                        empty => empty.insert(ShardWriter::create(
                            self.folder([TRAIN, VALIDATION][split]).join(&name),
                            ShardOptions {
                                vocab_size: self.tokenizer.vocab_size() as u32,
                                tokenizer: Some(self.tokenizer.fingerprint()),
                            },
                        )?),
                    };
                    let ids = &encoded.ids[start..document.end];
                    start = document.end;
                    shard.push_document(
                        ids,
                        document.n_bytes,
                        document.source,
                        document.id.as_deref(),
                    )?;
                }
                funnel.merge(encoded.funnel);
                Ok(())
            },
        )?;
        let mut entries = BTreeMap::new();
        for (shard, split) in shards.into_iter().zip([TRAIN, VALIDATION]) {
            if let Some(shard) = shard {
                let entry = ShardEntry::new(partition.index as u64, &shard.finish()?);
                entries.insert(split.to_owned(), entry);
            }
        }
        Ok(Record { shards: entries, funnel, reading: batches.into_statistics() })
    }

    fn encode(&self, partition: usize, chunk: Chunk) -> Result<Encoded> {
        // a thread outside the pool cannot come here; should one, it shares the first worker
        let thread = rayon::current_thread_index().unwrap_or(0) % self.workers.len();
        let mut worker = self.workers[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let Worker { cache, scratch } = &mut *worker;
        let mut encoded = Encoded {
            ids: Vec::new(),
            documents: Vec::with_capacity(chunk.documents.len()),
            funnel: Funnel::default(),
        };
        let mut kept = Vec::with_capacity(chunk.documents.len());
        for (index, document) in (chunk.first..).zip(chunk.documents) {
            self.task.check()?;
            let Some(cleaner) = self.cleaner else {
                kept.push(document);
                continue;
            };
            let cleaned = cleaner.clean(&document.text, scratch);
            let place = DocumentPosition { partition: partition as u64, index };
            encoded.funnel.add(place, document.text.len() as u64, &cleaned, cleaner);
            if cleaned.verdict.is_kept() {
                let changed = match cleaned.text {
                    Cow::Owned(text) => Some(text),
                    Cow::Borrowed(_) => None,
                };
                kept.push(match changed {
                    Some(text) => Document { text, ..document },
                    None => document,
                });
            }
        }
        let ends = self.tokenizer.encode_texts_into(
            kept.iter().map(|document| document.text.as_bytes()),
            Frame { before: self.end.bos, behind: self.end.eos },
            &Special::None,
            cache,
            self.task,
            &mut encoded.ids,
        )?;
        for (document, end) in kept.into_iter().zip(ends) {
            encoded.documents.push(EncodedDocument {
                end,
                n_bytes: document.text.len() as u64,
                held_out: self.held_out.takes(&document.text),
                source: self.sources.get(&document.source).copied().unwrap_or(0),
                id: document.id,
            });
        }
        Ok(encoded)
    }

    fn folder(&self, split: &str) -> PathBuf {
        self.output.join(split)
    }

    /// Writes tokenizers and manifests, and removes what an earlier, killed run left over.
    fn finish(
        &self,
        records: Vec<Record>,
        tokenizer: &str,
        options: &TokenizeOptions,
    ) -> Result<Tokenized> {
        let mut funnel = Funnel::default();
        let mut reading = Statistics::default();
        let mut manifests = Vec::new();
        let mut splits = vec![TRAIN];
        if options.validation_fraction > 0.0 {
            splits.push(VALIDATION);
        }
        for split in splits {
            let mut manifest = Manifest::new(self.tokenizer.vocab_size() as u32);
            manifest.split = Some(split.to_owned());
            manifest.document_end = self.end;
            manifest.clean = self.cleaner.map(|cleaner| hex(&cleaner.fingerprint()));
            manifest.sources =
                self.corpus.inputs().iter().map(|input| input.name().to_string()).collect();
            manifest.tokenizer = TokenizerEntry {
                file: Some(TOKENIZER.to_owned()),
                fingerprint: Some(hex(&self.tokenizer.fingerprint())),
            };
            for record in &records {
                if let Some(entry) = record.shards.get(split) {
                    manifest.push(entry.clone());
                }
            }
            create_folder(&self.folder(split))?;
            write_atomically(self.folder(split).join(TOKENIZER), tokenizer.as_bytes())?;
            manifests.push(manifest);
        }
        for record in records {
            reading.merge(&record.reading);
            funnel.merge(record.funnel);
        }
        if self.cleaner.is_some() {
            write_json(&self.output.join("_funnel.json"), &funnel)?;
        }
        for manifest in manifests.iter().rev() {
            manifest.write(&self.folder(manifest.split.as_deref().unwrap_or(TRAIN)))?;
        }
        let mut manifests = manifests.into_iter();
        let train =
            manifests.next().unwrap_or_else(|| Manifest::new(self.tokenizer.vocab_size() as u32));
        Ok(Tokenized { train, validation: manifests.next(), funnel, reading })
    }
}
