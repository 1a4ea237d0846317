//! Encodes documents and writes them as shards.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_bpe::{Special, Template, Tokenizer, Workspace};
use lslm_clean::{CleanBuffers, Funnel};
use lslm_corpus::{Document, Statistics};
use lslm_dataset::manifest::shard_name;
use lslm_dataset::{DocumentEnd, ShardEntry, ShardOptions, ShardWriter};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Result, Task, TokenId};
use serde::{Deserialize, Serialize};

use crate::job::PartitionRecord;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk};
use crate::validation::{TRAIN, TextPart, VALIDATION, ValidationPart};

/// The record of a finished partition.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct TokenizeRecord {
    /// The shard of each part that has documents.
    pub(crate) shards: BTreeMap<String, ShardEntry>,
    /// Documents with text in both parts.
    pub(crate) divided_documents: u64,
    pub(crate) funnel: Funnel,
    pub(crate) reading: Statistics,
}

impl PartitionRecord for TokenizeRecord {
    fn reading(&self) -> &Statistics {
        &self.reading
    }
}

/// The memory that a thread reuses from one chunk to the next.
#[derive(Default)]
pub(crate) struct TokenizeBuffers {
    pub(crate) workspace: Workspace,
    pub(crate) clean: CleanBuffers,
}

/// Encodes documents and writes shards, on any thread.
pub(crate) struct ShardMaker<'a> {
    pub(crate) output: &'a Path,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) validation: ValidationPart,
    pub(crate) end: DocumentEnd,
    /// The index of each input by its name.
    pub(crate) sources: HashMap<Arc<str>, u32>,
    pub(crate) buffers: PerThread<TokenizeBuffers>,
    pub(crate) task: &'a Task,
}

/// The documents of a chunk that were kept, encoded.
struct EncodedChunk {
    ids: Vec<TokenId>,
    documents: Vec<EncodedDocument>,
    pub(crate) divided_documents: u64,
    pub(crate) funnel: Funnel,
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

impl ShardMaker<'_> {
    /// Writes the documents of `batches`, as `prepare` leaves them, as shards; the record has no
    /// reading.
    pub(crate) fn write_shards(
        &self,
        partition: &Partition,
        batches: &mut Batches<'_>,
        prepare: impl Fn(Chunk) -> Result<(Vec<Document>, Funnel)> + Sync,
    ) -> Result<TokenizeRecord> {
        let mut made = TokenizeRecord::default();
        let mut shards: [Option<ShardWriter>; 2] = [None, None];
        let name = shard_name(partition.index as u64, 0);
        overlap(
            || batches.next(),
            |chunk| {
                let (documents, funnel) = prepare(chunk)?;
                self.encode(&documents, funnel)
            },
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
                    let (n_bytes, id) = (document.n_bytes, document.id.as_deref());
                    shard.push_document(ids, n_bytes, document.source, id)?;
                }
                made.funnel.merge(chunk.funnel);
                made.divided_documents += chunk.divided_documents;
                Ok(())
            },
        )?;
        for (shard, part) in shards.into_iter().zip([TRAIN, VALIDATION]) {
            if let Some(shard) = shard {
                let entry = ShardEntry::new(partition.index as u64, &shard.finish()?);
                made.shards.insert(part.to_owned(), entry);
            }
        }
        Ok(made)
    }

    pub(crate) fn source(&self, name: &Arc<str>) -> u32 {
        self.sources.get(name).copied().unwrap_or(0)
    }

    fn encode(&self, documents: &[Document], funnel: Funnel) -> Result<EncodedChunk> {
        let mut buffers = self.buffers.lock();
        let workspace = &mut buffers.workspace;
        let mut divided_documents = 0;
        let mut parts: Vec<(&Document, TextPart)> = Vec::with_capacity(documents.len());
        for document in documents {
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
                n_bytes: document.n_bytes_of(part.range.clone()),
                is_validation: part.is_validation,
                source: self.source(&document.source),
                id: document.id.clone(),
            })
            .collect();
        Ok(EncodedChunk { ids, documents: encoded, divided_documents, funnel })
    }

    pub(crate) fn folder(&self, part: &str) -> PathBuf {
        self.output.join(part)
    }
}
