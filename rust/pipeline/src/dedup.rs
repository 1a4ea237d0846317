//! Deduplication of a job: what its first pass writes, the search, and what its second pass reads.
//!
//! ```text
//! first pass, each partition:   staged file, PartitionKeys            (journalled)
//! Deduplication::search:        Decisions, a function of the keys
//! second pass, each partition:  Fates::of(document): keep, drop or edit
//! ```

use std::path::{Path, PathBuf};

use lslm_clean::dedup::{
    DedupIndex, DedupSearch, INDEX, Marks, PartKind, SearchResult, write_hash_list,
};
use lslm_clean::{Cleaner, Dedup, Duplicates, Funnel, Measure};
use lslm_runtime::files::write_atomically;
use lslm_runtime::{Error, Result, Task};
use serde_json::{Value, json};

/// The reasons of deduplication: equal to an earlier document, to one of an older index, and too
/// little left after the removal of parts.
const DOCUMENT: &str = "dedup.document";
const OLDER: &str = "dedup.older";
const NOTHING_LEFT: &str = "dedup.nothing_left";

/// What the deduplication of a job compares with and saves. It needs a configuration that has the
/// stage `dedup`.
#[derive(Clone, Debug, Default)]
pub struct DedupOptions {
    /// An index of earlier jobs, or the output folder of one that saved it: what is in it is removed.
    pub against: Option<PathBuf>,
    /// Whether the job saves an index of everything that it and the index before it have seen, as
    /// `_dedup.index` in its output.
    pub save_index: bool,
}

/// The deduplication that a job does after its first pass.
pub(crate) struct Deduplication<'a> {
    pub(crate) dedup: &'a Dedup,
    index: Option<DedupIndex>,
    /// The index to write.
    saved: Option<PathBuf>,
}

/// What a document is compared by.
pub(crate) struct DocumentKeys {
    document: u128,
    parts: Vec<u128>,
}

/// A document that the first pass keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptDocument {
    /// The bytes of the text before and after cleaning.
    pub(crate) n_bytes_before: u64,
    pub(crate) n_bytes: u64,
    /// The parts that can be compared.
    n_parts: u64,
    /// The index of its input.
    pub(crate) source: u64,
}

/// The kept documents of a partition and their hashes, in order.
#[derive(Default)]
pub(crate) struct PartitionKeys {
    documents: Vec<KeptDocument>,
    hashes: Vec<(u128, u64)>,
    parts: Vec<(u128, u64)>,
}

impl PartitionKeys {
    /// Adds a document of the input `source`.
    pub(crate) fn push(
        &mut self,
        keys: DocumentKeys,
        n_bytes_before: u64,
        n_bytes: u64,
        source: u64,
    ) {
        self.hashes.push((keys.document, self.documents.len() as u64));
        let n_parts = keys.parts.len() as u64;
        self.parts.extend(keys.parts.into_iter().zip(self.parts.len() as u64..));
        self.documents.push(KeptDocument { n_bytes_before, n_bytes, n_parts, source });
    }
}

/// The files of a partition in the folder of a job: `00012.kept`, `00012.documents`, `00012.parts`.
struct KeyFiles<'f> {
    folder: &'f Path,
}

impl KeyFiles<'_> {
    fn path(&self, partition: usize, name: &str) -> PathBuf {
        self.folder.join(format!("{partition:05}.{name}"))
    }

    fn paths(&self, n_partitions: usize, name: &str) -> Vec<PathBuf> {
        (0..n_partitions).map(|partition| self.path(partition, name)).collect()
    }
}

/// What the search decided about all documents and parts.
pub(crate) struct Decisions {
    documents: Option<SearchResult>,
    parts: Option<SearchResult>,
}

impl<'a> Deduplication<'a> {
    /// Returns the deduplication of a job that writes to `output`, or `None` for a configuration
    /// without it. The index to compare with is opened and checked.
    pub(crate) fn new(
        cleaner: Option<&'a Cleaner>,
        options: &DedupOptions,
        output: &Path,
    ) -> Result<Option<Self>> {
        let Some(dedup) = cleaner.and_then(Cleaner::dedup) else {
            let given = match options {
                DedupOptions { against: Some(_), .. } => "dedup_against (--dedup-against)",
                DedupOptions { save_index: true, .. } => "save_index (--save-index)",
                _ => return Ok(None),
            };
            return Err(Error::invalid(format!(
                "{given} needs the cleaning stage dedup: add dedup=\"exact\" (--dedup exact)"
            )));
        };
        let index = options.against.as_deref().map(DedupIndex::open).transpose()?;
        if let Some(index) = &index {
            index.check(dedup.settings())?;
        }
        let saved = options.save_index.then(|| output.join(INDEX));
        Ok(Some(Self { dedup, index, saved }))
    }

    /// Returns what the plan of a job has about it besides the rules.
    pub(crate) fn plan(&self) -> Value {
        json!({
            "against": self.index.as_ref().map(|index| format!("{:032x}", index.checksum())),
            "save_index": self.saved.is_some(),
        })
    }

    /// Returns what `text` is compared by; `buffer` is working memory.
    pub(crate) fn keys(&self, text: &str, buffer: &mut String) -> DocumentKeys {
        let parts = self.dedup.parts(text, buffer);
        DocumentKeys {
            document: self.dedup.hash(text, buffer),
            parts: parts.into_iter().map(|part| part.hash).collect(),
        }
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
        let mut decisions = Decisions { documents: None, parts: None };
        if settings.documents {
            task.begin("find duplicate documents", "documents", None);
            let search = DedupSearch {
                lists: &files.paths(n_partitions, "documents"),
                skipped: &[],
                older: self.index.as_ref().and_then(DedupIndex::documents),
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
                older: self.index.as_ref().and_then(DedupIndex::parts),
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
        Ok(Fates { dedup: self.dedup, decisions, partition, documents, first_parts })
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

/// What becomes of one document.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It stays as it is.
    Keep,
    /// It is dropped because of this measure.
    Drop(Measure),
    /// This text is left of it, without so many parts.
    Edit { text: String, n_removed: u64 },
}

/// What becomes of the documents of a partition.
pub(crate) struct Fates<'a> {
    dedup: &'a Dedup,
    decisions: &'a Decisions,
    partition: usize,
    pub(crate) documents: Vec<KeptDocument>,
    /// The number of the first part of each document.
    first_parts: Vec<u64>,
}

impl Fates<'_> {
    /// Returns whether all documents stay as they are.
    pub(crate) fn change_nothing(&self) -> bool {
        let levels = [&self.decisions.documents, &self.decisions.parts];
        let mut found = levels.into_iter().flatten();
        found.all(|found| found.duplicates[self.partition].count() == 0)
    }

    /// Returns how often the document with this index occurs, if documents were compared.
    pub(crate) fn copies(&self, index: u64) -> Option<u64> {
        let copies = &self.decisions.documents.as_ref()?.copies[self.partition];
        let at = copies.binary_search_by_key(&index, |(position, _)| *position);
        Some(at.map_or(1, |at| copies[at].1))
    }

    /// Returns what becomes of the document with this index, whose text is `text`.
    pub(crate) fn of(&self, index: u64, text: &str, buffer: &mut String) -> Fate {
        let drop = |name: &str, value: f64, limit: f64| {
            Fate::Drop(Measure { name: name.to_owned(), value, limit, passed: false })
        };
        if let Some(found) = &self.decisions.documents
            && found.duplicates[self.partition].has(index)
        {
            let copies = self.copies(index).unwrap_or(1) as f64;
            return if found.older[self.partition].has(index) {
                drop(OLDER, copies, 0.0)
            } else {
                drop(DOCUMENT, copies, 1.0)
            };
        }
        let (Some(found), Some(first)) =
            (&self.decisions.parts, self.first_parts.get(index as usize))
        else {
            return Fate::Keep;
        };
        let parts = self.dedup.parts(text, buffer);
        let marks = &found.duplicates[self.partition];
        let is_removed = |part: usize| marks.has(first + part as u64);
        let n_removed = (0..parts.len()).filter(|part| is_removed(*part)).count() as u64;
        if n_removed == 0 {
            return Fate::Keep;
        }
        let text = self.dedup.without(text, &parts, is_removed);
        let chars = if text.trim().is_empty() { 0 } else { text.chars().count() };
        let min_chars = self.dedup.settings().min_chars_left;
        if chars < min_chars {
            return drop(NOTHING_LEFT, chars as f64, min_chars as f64);
        }
        Fate::Edit { text, n_removed }
    }

    /// Returns the name under which removed parts are counted.
    pub(crate) fn rule(&self) -> &'static str {
        match self.dedup.settings().parts {
            Some(PartKind::Paragraphs) => "dedup.paragraph",
            _ => "dedup.line",
        }
    }
}

impl KeptDocument {
    /// Returns 32 bytes per document, little-endian, in the order of the fields.
    fn to_bytes(documents: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(documents.len() * 32);
        for document in documents {
            let Self { n_bytes_before, n_bytes, n_parts, source } = document;
            for number in [n_bytes_before, n_bytes, n_parts, source] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    }

    fn read(path: &Path) -> Result<Vec<Self>> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (entries, _) = numbers.as_chunks::<4>();
        let document = |[n_bytes_before, n_bytes, n_parts, source]: &[u64; 4]| Self {
            n_bytes_before: *n_bytes_before,
            n_bytes: *n_bytes,
            n_parts: *n_parts,
            source: *source,
        };
        Ok(entries.iter().map(document).collect())
    }
}

/// Returns an error if `cleaner` has a stage that `work` cannot do, which sees the text of each document
/// once.
pub(crate) fn refuse_comparisons(cleaner: Option<&Cleaner>, work: &str) -> Result<()> {
    let Some(cleaner) = cleaner else { return Ok(()) };
    let what = if cleaner.dedup().is_some() {
        "the cleaning stage dedup compares all documents"
    } else if cleaner.url_key().is_some() {
        "lists.urls is compared with a field of each document"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "{what}, and {work} sees the text of each once: give it the output of clean, or leave \
         that out"
    )))
}
