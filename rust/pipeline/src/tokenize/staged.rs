//! Tokenizes in two passes, since deduplication compares all documents in between.

use std::borrow::Cow;
use std::fs;
use std::sync::Arc;

use lslm_clean::{DocumentOptions, DocumentPosition, Funnel, StageRange};
use lslm_corpus::{Document, ReadOptions, Statistics};
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::cleaning::{CleanedChunk, CleanedDocument, url_of};
use crate::dedup::{Deduplication, DocumentKeys, Fate, Fates, PartitionKeys};
use crate::job::{Job, PartitionRecord};
use crate::overlap::overlap;
use crate::reading::{Batches, Chunk};
use crate::staging::{LazyWriter, open_staged};
use crate::tokenize::shards::TokenizeRecord;
use crate::tokenize::{TokenizeStep, without_indices};

/// The extension of staged files.
const STAGED: &str = "jsonl.zst";

/// The record of a partition that was cleaned and staged, which the second pass tokenizes.
#[derive(Serialize, Deserialize)]
struct StageRecord {
    /// The bytes of the staged file.
    n_bytes: u64,
    funnel: Funnel,
    reading: Statistics,
}

impl PartitionRecord for StageRecord {
    fn reading(&self) -> &Statistics {
        &self.reading
    }
}

impl TokenizeStep<'_> {
    /// Cleans all partitions, finds the duplicates among their documents, and turns those that are left
    /// into shards. Also returns the counts of duplicates, and of the reading of older documents.
    pub(super) fn run_both_passes<'j>(
        &self,
        dedup: &Deduplication<'_>,
        job: Job<'j>,
        threads: usize,
    ) -> Result<(Job<'j>, Vec<TokenizeRecord>, Funnel, Option<Statistics>)> {
        let staged = job.run(threads, |partition| self.stage(dedup, partition))?;
        let job = job.require_documents(&staged)?;
        let staged = without_indices(staged);
        let decisions = dedup.search(job.folder(), staged.len(), threads, self.task)?;
        let mut duplicates = Funnel::default();
        dedup.count(&decisions, &mut duplicates);
        let total = staged.iter().map(|record| record.n_bytes).sum();
        self.task.begin("tokenize", "bytes", Some(total));
        let records = job.run_again(
            threads,
            |partition| staged[partition.index].n_bytes,
            |partition| {
                let fates = dedup.fates(job.folder(), partition.index, &decisions)?;
                self.run_staged(partition, &staged[partition.index], &fates)
            },
        )?;
        Ok((job, records, duplicates, decisions.against))
    }

    /// Cleans the partitions of a slice; returns their records, in which nothing is tokenized yet.
    pub(super) fn run_first_pass(
        &self,
        dedup: &Deduplication<'_>,
        job: &Job<'_>,
        threads: usize,
    ) -> Result<Vec<TokenizeRecord>> {
        let staged = job.run(threads, |partition| self.stage(dedup, partition))?;
        let record = |StageRecord { funnel, reading, .. }| TokenizeRecord {
            funnel,
            reading,
            ..TokenizeRecord::default()
        };
        Ok(without_indices(staged).into_iter().map(record).collect())
    }

    /// Cleans one partition into its staged file, without fields but text and id unless a stage after
    /// deduplication compares one.
    fn stage(&self, dedup: &Deduplication<'_>, partition: &Partition) -> Result<StageRecord> {
        let mut batches = self.batches(partition);
        let path = self.staged.path(partition.index, STAGED);
        let mut writer = if self.stages_fields() {
            LazyWriter::like(path.clone(), self.corpus, false)
        } else {
            LazyWriter::plain(path.clone())
        };
        let mut keys = PartitionKeys::default();
        let mut funnel = Funnel::default();
        overlap(
            || batches.next(),
            |chunk| {
                let cleaned = self.clean(chunk)?;
                let mut buffer = String::new();
                let text_keys =
                    |kept: &CleanedDocument| dedup.keys(&kept.document.text, &mut buffer);
                let keys: Vec<DocumentKeys> = cleaned.kept.iter().map(text_keys).collect();
                Ok((cleaned, keys))
            },
            |(cleaned, of_chunk): (CleanedChunk, Vec<DocumentKeys>)| {
                for (kept, own) in cleaned.kept.iter().zip(of_chunk) {
                    let source = self.shards.source(&kept.document.source);
                    keys.push(own, kept, u64::from(source));
                    writer.write(&kept.document)?;
                }
                funnel.merge(cleaned.funnel);
                Ok(())
            },
        )?;
        writer.finish()?;
        dedup.write_keys(self.staged.folder(), partition.index, keys)?;
        let n_bytes =
            if path.exists() { fs::metadata(&path).map_err(Error::io(&path))?.len() } else { 0 };
        Ok(StageRecord { n_bytes, funnel, reading: batches.into_statistics() })
    }

    /// Turns one staged partition into shards, as [`TokenizeStep::run`] does, without the duplicates.
    fn run_staged(
        &self,
        partition: &Partition,
        staged: &StageRecord,
        fates: &Fates<'_>,
    ) -> Result<TokenizeRecord> {
        let path = self.staged.path(partition.index, STAGED);
        let mut made = if fates.documents.is_empty() {
            TokenizeRecord::default()
        } else {
            let records = self.stages_fields();
            let plain = ReadOptions::default();
            let corpus = open_staged(&path, if records { self.corpus.options() } else { &plain })?;
            let mut batches = Batches::of_all(&corpus, partition, records, self.task);
            self.shards.write_shards(partition, &mut batches, |chunk| self.publish(chunk, fates))?
        };
        let mut funnel = staged.funnel.clone();
        (funnel.documents_kept, funnel.bytes_kept) = (0, 0);
        funnel.merge(made.funnel);
        made.funnel = funnel;
        made.reading = staged.reading.clone();
        Ok(made)
    }

    /// Returns what deduplication and the stages after it leave of a staged chunk, and the difference
    /// to the funnel of the first pass, which counts all of it as kept.
    fn publish(&self, chunk: Chunk, fates: &Fates<'_>) -> Result<(Vec<Document>, Funnel)> {
        let Some(cleaner) = self.cleaner else { return Err(Error::invalid("no cleaning rules")) };
        let (mut left, mut counted) = (Vec::new(), Funnel::default());
        let mut buffer = String::new();
        let stages = StageRange::AfterDedup;
        let mut buffers = cleaner.has_stages(stages).then(|| self.shards.buffers.lock());
        for (index, mut document) in (chunk.first..).zip(chunk.documents) {
            let Some(kept) = fates.documents.get(index as usize) else { continue };
            let position = DocumentPosition { partition: chunk.partition, index };
            counted.documents_kept += 1;
            counted.bytes_kept += kept.n_bytes;
            let mut n_bytes = kept.n_bytes;
            match fates.of(index, &document.text, &mut buffer) {
                Fate::Keep => document.surplus = kept.surplus,
                Fate::Edit { text, removed } => {
                    let after = text.len() as u64;
                    counted.edit_kept(fates.rule(), removed.len() as u64, n_bytes, after);
                    (document.text, n_bytes) = (text, after);
                }
                Fate::Drop(measure) => {
                    let (before, text) = (kept.n_bytes_before, &document.text);
                    counted.drop_kept(position, &measure, before, text, cleaner);
                    continue;
                }
            }
            if let Some(buffers) = &mut buffers {
                let url = cleaner.url_key(stages).and_then(|key| url_of(&document, key));
                let url = url.as_deref();
                let options = DocumentOptions { url, stages, ..DocumentOptions::default() };
                let found = cleaner.clean_document(&document.text, options, &mut buffers.clean);
                let sizes = (kept.n_bytes_before, n_bytes);
                counted.recount(position, sizes, options, &found.cleaned, cleaner);
                if !found.cleaned.verdict.is_kept() {
                    continue;
                }
                if let Cow::Owned(text) = found.cleaned.text {
                    (document.text, document.surplus) = (text, 0);
                }
            }
            document.source = Arc::clone(self.input_name(kept.source));
            left.push(document);
        }
        Ok((left, counted))
    }

    /// Returns whether staged documents have all fields of their records, since a stage after
    /// deduplication compares one.
    fn stages_fields(&self) -> bool {
        self.cleaner.is_some_and(|cleaner| cleaner.url_key(StageRange::AfterDedup).is_some())
    }
}
