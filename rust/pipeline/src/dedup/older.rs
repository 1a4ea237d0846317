//! What a job compares with besides its own documents: an index of earlier jobs, or documents.
//!
//! Documents are compared as they are, and as the stages before deduplication leave them: a new
//! document equals one of either form.
//!
//! ```text
//! for each partition of them:  hash each document in both forms, write the hashes as lists
//! search:                      the distinct hashes of all lists, as an index in the job's folder
//! ```

use std::path::{Path, PathBuf};

use lslm_clean::dedup::{DedupIndex, DedupSearch, write_hash_list};
use lslm_clean::{CleanBuffers, Cleaner, Dedup, DocumentOptions, StageRange};
use lslm_corpus::{Corpus, ReadOptions, Statistics};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result, Task};
use serde_json::{Value, json};

use crate::cleaning::url_of;
use crate::dedup::keys::{DocumentKeys, keys_of};
use crate::inputs::inputs_of;
use crate::journal::write_json;
use crate::output::check_output;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk, begin, require_documents};

/// Bytes of documents that a thread reads at a time.
const PARTITION_BYTES: u64 = 64 << 20;

/// What a job compares with besides its own documents.
pub(crate) enum Older {
    Index(DedupIndex),
    Documents(Box<Corpus>),
}

/// An index to compare with, and the counts of the reading if it was made of documents.
pub(crate) struct OlderIndex {
    pub(crate) index: DedupIndex,
    pub(crate) reading: Option<Statistics>,
}

/// What documents are hashed by, and where the hashes go.
pub(crate) struct OlderWork<'w> {
    pub(crate) cleaner: &'w Cleaner,
    /// The folder of the job.
    pub(crate) folder: &'w Path,
    pub(crate) threads: usize,
    pub(crate) task: &'w Task,
}

impl Older {
    /// Opens `path`: an index or the folder of a job that saved one, or else documents, read as those
    /// of the job, of which `output` must not be a part.
    pub(crate) fn open(path: &Path, reading: &ReadOptions, output: &Path) -> Result<Self> {
        if DedupIndex::is_index(path) {
            return Ok(Self::Index(DedupIndex::open(path)?));
        }
        let name = path.to_str().ok_or_else(|| {
            Error::invalid(format!("{}: the path is not Unicode; choose another", path.display()))
        })?;
        let corpus = Corpus::open(&[name.to_owned()], reading.clone())?;
        check_output(&corpus, output, &[])?;
        Ok(Self::Documents(Box::new(corpus)))
    }

    /// Returns what identifies it in the plan of a job.
    pub(crate) fn plan(&self) -> Result<Value> {
        Ok(match self {
            Self::Index(index) => format!("{:032x}", index.checksum()).into(),
            Self::Documents(corpus) => json!({ "documents": inputs_of(corpus)? }),
        })
    }

    /// Returns the index; that of documents is made in the folder of the job, once.
    pub(crate) fn index(&self, work: &OlderWork<'_>) -> Result<OlderIndex> {
        let corpus = match self {
            Self::Index(index) => return Ok(OlderIndex { index: index.clone(), reading: None }),
            Self::Documents(corpus) => corpus,
        };
        // written last: if it is there, so is the index
        let counts = work.folder.join("older.json");
        let path = work.folder.join("older.index");
        let reading: Statistics = if counts.exists() {
            let bytes = std::fs::read(&counts).map_err(Error::io(&counts))?;
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::format(&counts, None, error.to_string()))?
        } else {
            let reading = work.make_index(corpus, &path)?;
            write_json(&counts, &reading)?;
            reading
        };
        Ok(OlderIndex { index: DedupIndex::open(&path)?, reading: Some(reading) })
    }
}

impl OlderWork<'_> {
    /// Writes the index of the documents of `corpus` to `path`; returns the counts of the reading.
    fn make_index(&self, corpus: &Corpus, path: &Path) -> Result<Statistics> {
        let Some(dedup) = self.cleaner.dedup() else {
            return Err(Error::invalid("no stage dedup"));
        };
        let settings = dedup.settings();
        begin(self.task, "read earlier documents", corpus);
        let partitions = corpus.partitions(PARTITION_BYTES)?;
        let buffers = PerThread::new(self.threads, CleanBuffers::default);
        let readings = for_each_index(partitions.len(), self.threads, |index| {
            self.hash(corpus, &partitions[index], &buffers)
        })?;
        require_documents(corpus, readings.iter())?;
        let search = |level: &'static str| {
            self.task.begin("index earlier documents", level, None);
            let lists: Vec<PathBuf> =
                (0..partitions.len()).map(|index| self.list(index, level)).collect();
            let collect = self.folder.join(format!("older-{level}.seen"));
            let lists = lists.as_slice();
            DedupSearch { lists, collect: Some(&collect), ..DedupSearch::default() }
                .run(self.threads, self.task)
        };
        let documents = settings.documents.then(|| search("documents")).transpose()?;
        let parts = settings.parts.map(|_| search("parts")).transpose()?;
        let [documents, parts] =
            [&documents, &parts].map(|found| found.as_ref().and_then(|f| f.collected.as_ref()));
        DedupIndex::write(path, settings, documents, parts)?;
        let mut all = corpus.statistics();
        for reading in &readings {
            all.merge(reading);
        }
        Ok(all)
    }

    fn list(&self, partition: usize, level: &str) -> PathBuf {
        self.folder.join(format!("older-{partition:05}.{level}"))
    }

    /// Writes the hashes of the documents of one partition.
    fn hash(
        &self,
        corpus: &Corpus,
        partition: &Partition,
        buffers: &PerThread<CleanBuffers>,
    ) -> Result<Statistics> {
        let mut batches = Batches::for_cleaner(self.cleaner, corpus, partition, self.task);
        let (mut documents, mut parts) = (Vec::new(), Vec::new());
        overlap(
            || batches.next(),
            |chunk| self.keys(&chunk, &mut buffers.lock()),
            |keys: Vec<DocumentKeys>| {
                for of_one in keys {
                    documents.push((of_one.document, documents.len() as u64));
                    parts.extend(of_one.parts.into_iter().zip(parts.len() as u64..));
                }
                Ok(())
            },
        )?;
        let settings = self.cleaner.dedup().map(Dedup::settings);
        if settings.is_some_and(|settings| settings.documents) {
            write_hash_list(&self.list(partition.index, "documents"), documents)?;
        }
        if settings.is_some_and(|settings| settings.parts.is_some()) {
            write_hash_list(&self.list(partition.index, "parts"), parts)?;
        }
        Ok(batches.into_statistics())
    }

    /// Returns what the documents of a chunk are compared by, in both forms.
    fn keys(&self, chunk: &Chunk, buffers: &mut CleanBuffers) -> Result<Vec<DocumentKeys>> {
        let Some(dedup) = self.cleaner.dedup() else { return Ok(Vec::new()) };
        let mut buffer = String::new();
        let mut keys = Vec::new();
        let stages = StageRange::BeforeDedup;
        for document in &chunk.documents {
            self.task.check()?;
            keys.push(keys_of(dedup, &document.text, &mut buffer));
            let url = self.cleaner.url_key(stages).and_then(|key| url_of(document, key));
            let options =
                DocumentOptions { url: url.as_deref(), stages, ..DocumentOptions::default() };
            let cleaned = self.cleaner.clean_document(&document.text, options, buffers).cleaned;
            if cleaned.verdict.is_kept() && cleaned.text != document.text {
                keys.push(keys_of(dedup, &cleaned.text, &mut buffer));
            }
        }
        Ok(keys)
    }
}
