//! Cleans a sample of the documents without writing them, to see the funnel before the work.

use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, Funnel, StageRange};
use lslm_corpus::{Corpus, Statistics};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Error, Result, Task, threads};

use crate::cleaning::{Accounting, ChunkOptions, Losses, clean_chunk};
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk, begin, require_documents};
use crate::validation::is_in_share;

/// Bytes of input that a thread reads at a time.
const PARTITION_BYTES: u64 = 16 << 20;

/// How [`preview_clean`] works.
#[derive(Clone, Debug)]
pub struct PreviewOptions {
    /// The rules.
    pub clean: CleanConfig,
    /// The share of the documents to clean, above 0 and up to 1.
    pub sample: f64,
    /// The seed that chooses them.
    pub seed: u64,
    /// Whether the values of every signal are collected: see [`Funnel::signals`].
    pub signals: bool,
    /// The number of threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// The result of [`preview_clean`].
#[derive(Clone, Debug)]
pub struct Preview {
    /// The documents of the sample that would be kept and dropped, by reason.
    pub funnel: Funnel,
    /// The sources of which the rules drop more than half of the sample.
    pub losses: Losses,
    /// The counts of the reading, which is of all documents.
    pub reading: Statistics,
}

/// Reads all documents of `corpus`, and cleans a sample of them without writing anything.
///
/// A document is in the sample by a hash of its text: the same for any threads and files.
///
/// ```
/// use lslm_clean::CleanConfig;
/// use lslm_corpus::{Corpus, ReadOptions, Split};
/// use lslm_pipeline::{PreviewOptions, preview_clean};
/// use lslm_runtime::Task;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// std::fs::write(folder.join("a.txt"), "one\ntwo\n")?;
/// let input = folder.join("a.txt").display().to_string();
/// let read = ReadOptions { split: Split::Lines, ..ReadOptions::default() };
/// let corpus = Corpus::open(&[input], read)?;
/// let clean = CleanConfig::profile("fineweb")?;
/// let options = PreviewOptions { clean, sample: 1.0, seed: 0, signals: false, threads: Some(1) };
/// let preview = preview_clean(&corpus, &options, &Task::default())?;
/// assert_eq!((preview.funnel.documents, preview.funnel.documents_kept), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn preview_clean(corpus: &Corpus, options: &PreviewOptions, task: &Task) -> Result<Preview> {
    if !(options.sample > 0.0 && options.sample <= 1.0) {
        return Err(Error::invalid(format!(
            "sample = {}: choose a share above 0 and up to 1",
            options.sample
        )));
    }
    let threads = threads::resolve(options.threads)?;
    let cleaner = Cleaner::new(&options.clean)?;
    let buffers = PerThread::new(threads, CleanBuffers::default);
    begin(task, "clean a sample", corpus);
    let partitions = corpus.partitions(PARTITION_BYTES)?;
    let (accounting, stages) = (Accounting::Count, StageRange::All);
    let chunk_options = ChunkOptions { accounting, stages, signals: options.signals };
    let parts = for_each_index(partitions.len(), threads, |index| {
        let mut batches = Batches::for_cleaner(&cleaner, corpus, &partitions[index], task);
        let (mut funnel, mut losses) = (Funnel::default(), Losses::default());
        overlap(
            || batches.next(),
            |mut chunk: Chunk| {
                let is_sampled = |text: &str| is_in_share(text, options.sample, options.seed);
                chunk.documents.retain(|document| is_sampled(&document.text));
                clean_chunk(&cleaner, chunk, chunk_options, &mut buffers.lock(), task)
            },
            |cleaned| {
                funnel.merge(cleaned.funnel);
                losses.merge(cleaned.losses);
                Ok(())
            },
        )?;
        Ok((funnel, losses, batches.into_statistics()))
    })?;
    require_documents(corpus, parts.iter().map(|(.., reading)| reading))?;
    let mut preview = Preview {
        funnel: Funnel::default(),
        losses: Losses::default(),
        reading: corpus.statistics(),
    };
    for (funnel, losses, reading) in parts {
        preview.funnel.merge(funnel);
        preview.losses.merge(losses);
        preview.reading.merge(&reading);
    }
    preview.losses.keep_large();
    Ok(preview)
}
