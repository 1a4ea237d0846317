//! Deduplication of a job: what its first pass writes, the search, and what its second pass reads.
//!
//! ```text
//! first pass, each partition:   staged file, PartitionKeys            (journalled)
//! Deduplication::search:        Decisions, a function of the keys
//! second pass, each partition:  Fates::of(document): keep, drop or edit
//! ```

mod fates;
mod keys;
mod older;
mod options;

use std::path::{Path, PathBuf};

use lslm_clean::dedup::{
    DedupIndex, DedupSearch, INDEX, Marks, PartKind, SearchResult, write_hash_list,
};
use lslm_clean::{Cleaner, Dedup, Duplicates, Funnel, StageRange};
use lslm_corpus::{ReadOptions, Statistics};
use lslm_runtime::files::write_atomically;
use lslm_runtime::{Error, Result, Task};
use serde_json::{Value, json};

use crate::dedup::keys::{KeptDocument, KeyFiles, keys_of};
use crate::dedup::older::{Older, OlderWork};

pub(crate) use fates::{Fate, Fates};
pub(crate) use keys::{DocumentKeys, PartitionKeys};
pub use options::DedupOptions;

/// The deduplication that a job does after its first pass.
pub(crate) struct Deduplication<'a> {
    dedup: &'a Dedup,
    cleaner: &'a Cleaner,
    older: Option<Older>,
    /// The index to write.
    saved: Option<PathBuf>,
}

/// What the search decided about all documents and parts.
pub(crate) struct Decisions {
    documents: Option<SearchResult>,
    parts: Option<SearchResult>,
    /// The counts of the reading of older documents.
    pub(crate) against: Option<Statistics>,
}

impl<'a> Deduplication<'a> {
    /// Returns the deduplication of a job that writes to `output`, or `None` for a configuration
    /// without it. The index to compare with is opened and checked; older documents are read as
    /// `reading` says.
    pub(crate) fn new(
        cleaner: Option<&'a Cleaner>,
        options: &DedupOptions,
        reading: &ReadOptions,
        output: &Path,
    ) -> Result<Option<Self>> {
        let found = cleaner.and_then(|cleaner| Some((cleaner, cleaner.dedup()?)));
        let Some((cleaner, dedup)) = found else {
            let given = match options {
                DedupOptions { against: Some(_), .. } => "dedup_against (--dedup-against)",
                DedupOptions { save_index: true, .. } => "save_index (--save-index)",
                _ => return Ok(None),
            };
            return Err(Error::invalid(format!(
                "{given} needs the cleaning stage dedup: add dedup=\"exact\" (--dedup exact)"
            )));
        };
        let older = options.against.as_deref();
        let older = older.map(|path| Older::open(path, reading, output)).transpose()?;
        if let Some(Older::Index(index)) = &older {
            index.check(dedup.settings())?;
        }
        let saved = options.save_index.then(|| output.join(INDEX));
        Ok(Some(Self { dedup, cleaner, older, saved }))
    }

    /// Returns what the plan of a job has about it besides the rules.
    pub(crate) fn plan(&self) -> Result<Value> {
        let against = self.older.as_ref().map(Older::plan).transpose()?;
        Ok(json!({ "against": against, "save_index": self.saved.is_some() }))
    }

    /// Returns what `text` is compared by; `buffer` is working memory.
    pub(crate) fn keys(&self, text: &str, buffer: &mut String) -> DocumentKeys {
        keys_of(self.dedup, text, buffer)
    }

    /// Writes the keys of a partition to the folder of the job.
    pub(crate) fn write_keys(
        &self,
        folder: &Path,
        partition: usize,
        keys: PartitionKeys,
    ) -> Result<()> {
        let files = KeyFiles { folder };
        if self.dedup.settings().documents {
            write_hash_list(&files.path(partition, "documents"), keys.hashes)?;
        }
        if self.dedup.settings().parts.is_some() {
            write_hash_list(&files.path(partition, "parts"), keys.parts)?;
        }
        let path = files.path(partition, "kept");
        write_atomically(path, &KeptDocument::to_bytes(&keys.documents))
    }

    /// Finds the duplicates among the documents of all partitions, then among the parts of those that
    /// are left. Writes the index, if the job saves one.
    pub(crate) fn search(
        &self,
        folder: &Path,
        n_partitions: usize,
        threads: usize,
        task: &Task,
    ) -> Result<Decisions> {
        let files = KeyFiles { folder };
        let settings = self.dedup.settings();
        let seen = |level: &str| self.saved.as_ref().map(|_| folder.join(level));
        let seen = [seen("documents.seen"), seen("parts.seen")];
        let work = OlderWork { cleaner: self.cleaner, folder, threads, task };
        let older = self.older.as_ref().map(|older| older.index(&work)).transpose()?;
        let index = older.as_ref().map(|older| &older.index);
        let mut decisions = Decisions { documents: None, parts: None, against: None };
        if settings.documents {
            task.begin("find duplicate documents", "documents", None);
            let search = DedupSearch {
                lists: &files.paths(n_partitions, "documents"),
                skipped: &[],
                older: index.and_then(DedupIndex::documents),
                wants_copies: true,
                collect: seen[0].as_deref(),
            };
            decisions.documents = Some(search.run(threads, task)?);
        }
        if let Some(kind) = settings.parts {
            task.begin(format!("find duplicate {}s", kind.name()), "parts", None);
            let marked = |partition| parts_of_duplicates(&files, partition, &decisions);
            let skipped = (0..n_partitions).map(marked).collect::<Result<Vec<_>>>()?;
            let search = DedupSearch {
                lists: &files.paths(n_partitions, "parts"),
                skipped: &skipped,
                older: index.and_then(DedupIndex::parts),
                wants_copies: false,
                collect: seen[1].as_deref(),
            };
            decisions.parts = Some(search.run(threads, task)?);
        }
        if let Some(path) = &self.saved {
            let levels = [&decisions.documents, &decisions.parts];
            let [documents, parts] =
                levels.map(|found| found.as_ref().and_then(|found| found.collected.as_ref()));
            DedupIndex::write(path, settings, documents, parts)?;
        }
        decisions.against = older.and_then(|older| older.reading);
        Ok(decisions)
    }

    /// Returns what becomes of the documents of a partition.
    pub(crate) fn fates<'f>(
        &'f self,
        folder: &Path,
        partition: usize,
        decisions: &'f Decisions,
    ) -> Result<Fates<'f>> {
        let documents = KeptDocument::read(&KeyFiles { folder }.path(partition, "kept"))?;
        let mut first_parts = Vec::with_capacity(documents.len());
        let mut first = 0;
        for document in &documents {
            first_parts.push(first);
            first += document.n_parts;
        }
        let (documents_found, parts_found) =
            (decisions.documents.as_ref(), decisions.parts.as_ref());
        let dedup = self.dedup;
        Ok(Fates { dedup, documents_found, parts_found, partition, documents, first_parts })
    }

    /// Adds to `funnel` what was compared and found, by kind.
    pub(crate) fn count(&self, decisions: &Decisions, funnel: &mut Funnel) {
        let part = self.dedup.settings().parts.map_or("part", PartKind::name);
        for (kind, found) in [("document", &decisions.documents), (part, &decisions.parts)] {
            let Some(found) = found else { continue };
            let count = |marks: &[Marks]| marks.iter().map(Marks::count).sum();
            let duplicates = Duplicates {
                compared: found.n_compared,
                removed: count(&found.duplicates),
                older: count(&found.older),
                groups: found.groups.clone(),
            };
            funnel.dedup.insert(kind.to_owned(), duplicates);
        }
    }
}

/// Returns the parts of the documents of a partition that are duplicates.
fn parts_of_duplicates(
    files: &KeyFiles<'_>,
    partition: usize,
    decisions: &Decisions,
) -> Result<Marks> {
    let documents = KeptDocument::read(&files.path(partition, "kept"))?;
    let marks = Marks::new(documents.iter().map(|document| document.n_parts).sum());
    let Some(found) = &decisions.documents else { return Ok(marks) };
    let mut first = 0;
    for (index, document) in (0..).zip(documents) {
        if found.duplicates[partition].has(index) {
            (first..first + document.n_parts).for_each(|part| marks.set(part));
        }
        first += document.n_parts;
    }
    Ok(marks)
}

/// Returns an error if `cleaner` has a stage that `work` cannot do, which sees the text of each document
/// once.
pub(crate) fn refuse_comparisons(cleaner: Option<&Cleaner>, work: &str) -> Result<()> {
    let Some(cleaner) = cleaner else { return Ok(()) };
    let what = if cleaner.dedup().is_some() {
        "the cleaning stage dedup compares all documents"
    } else if cleaner.url_key(StageRange::All).is_some() {
        "lists.urls is compared with a field of each document"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "{what}, and {work} sees the text of each once: give it the output of clean, or leave \
         that out"
    )))
}
