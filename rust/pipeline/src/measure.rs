//! Measures how a tokenizer encodes documents, per file and in total.

use std::collections::HashMap;
use std::sync::Arc;

use lslm_bpe::{Measurer, TextStatistics, Tokenizer};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use lslm_corpus::{Corpus, Document};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Result, Task, threads};

use crate::cleaning::clean_text;
use crate::dedup::refuse_comparisons;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk, begin};
use crate::validation::{HoldOut, ValidationOptions, ValidationPart};

/// How [`measure_tokenizer`] works.
#[derive(Clone, Debug)]
pub struct MeasureOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// The fraction of documents that also have figures of their own, from 0 to below 1.
    pub validation_fraction: f64,
    /// Whether whole documents have them, or stretches of documents.
    pub hold_out: HoldOut,
    /// The seed that chooses them, as in [`crate::tokenize`] and [`crate::train_tokenizer`].
    pub seed: u64,
    /// About how many bytes of input a thread reads at a time.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// The result of [`measure_tokenizer`].
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The figures of each file with documents, in the order of the inputs.
    pub files: Vec<(String, TextStatistics)>,
    /// The figures of all documents.
    pub total: TextStatistics,
    /// The figures of the held-out documents, which are part of `total`.
    pub validation: TextStatistics,
    /// The number of occurrences of each id in all documents.
    pub uses: Vec<u64>,
    /// The number of occurrences of each id in the held-out documents.
    pub validation_uses: Vec<u64>,
}

/// Encodes the documents of `corpus`, and returns figures about the result.
///
/// ```
/// use lslm_bpe::pretokenize::Pattern;
/// use lslm_bpe::train::TrainOptions;
/// use lslm_corpus::{Corpus, ReadOptions};
/// use lslm_pipeline::{
///     HoldOut, LearnOptions, MeasureOptions, measure_tokenizer, train_tokenizer,
/// };
/// use lslm_runtime::Task;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// std::fs::write(folder.join("a.txt"), "low low low")?;
/// let input = folder.join("a.txt").display().to_string();
/// let corpus = Corpus::open(&[input], ReadOptions::default())?;
/// let task = Task::default();
/// # let learn = LearnOptions {
/// #     clean: None,
/// #     pattern: Pattern::named("gpt2").unwrap(),
/// #     train: TrainOptions::new(259),
/// #     validation_fraction: 0.0,
/// #     hold_out: HoldOut::Auto,
/// #     sample_bytes: None,
/// #     seed: 0,
/// #     memory: None,
/// #     partition_bytes: 1 << 20,
/// #     threads: Some(1),
/// # };
/// let (tokenizer, _) = train_tokenizer(&corpus, &learn, &task)?;
///
/// let options = MeasureOptions {
///     clean: None,
///     validation_fraction: 0.0,
///     hold_out: HoldOut::Auto,
///     seed: 0,
///     partition_bytes: 1 << 20,
///     threads: Some(1),
/// };
/// let measured = measure_tokenizer(&corpus, &tokenizer, &options, &task)?;
/// assert_eq!(measured.total.n_bytes, 11);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn measure_tokenizer(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    options: &MeasureOptions,
    task: &Task,
) -> Result<Measured> {
    let held_out = ValidationOptions {
        fraction: options.validation_fraction,
        seed: options.seed,
        hold_out: options.hold_out,
    };
    let validation = ValidationPart::of_corpus(held_out, corpus, task)?;
    let threads = threads::resolve(options.threads)?;
    let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
    refuse_comparisons(cleaner.as_ref(), "measuring a tokenizer")?;
    begin(task, "measure", corpus);
    let figures = PerThread::new(threads, || ThreadFigures::new(tokenizer));
    let partitions = corpus.partitions(options.partition_bytes)?;
    for_each_index(partitions.len(), threads, |index| {
        let mut batches = Batches::new(corpus, &partitions[index], task);
        overlap(
            || batches.next(),
            |chunk: Chunk| {
                let mut figures = figures.lock();
                chunk
                    .documents
                    .into_iter()
                    .try_for_each(|d| figures.add(d, cleaner.as_ref(), validation, task))
            },
            |()| Ok(()),
        )
    })?;
    let mut measured = Measured::default();
    let mut files: HashMap<Arc<str>, TextStatistics> = HashMap::new();
    for thread in figures.into_values() {
        for (file, figures) in thread.files {
            files.entry(file).or_default().add(&figures);
        }
        measured.validation.add(&thread.validation_figures);
        add_uses(&mut measured.uses, thread.train.token_counts());
        add_uses(&mut measured.uses, thread.validation.token_counts());
        add_uses(&mut measured.validation_uses, thread.validation.token_counts());
    }
    for input in corpus.inputs() {
        if let Some(figures) = files.remove(input.name()) {
            measured.total.add(&figures);
            measured.files.push((input.name().to_string(), figures));
        }
    }
    Ok(measured)
}

/// The figures of one thread.
struct ThreadFigures<'a> {
    files: HashMap<Arc<str>, TextStatistics>,
    validation_figures: TextStatistics,
    train: Measurer<'a>,
    validation: Measurer<'a>,
    buffers: CleanBuffers,
}

impl<'a> ThreadFigures<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            files: HashMap::new(),
            validation_figures: TextStatistics::default(),
            train: Measurer::new(tokenizer),
            validation: Measurer::new(tokenizer),
            buffers: CleanBuffers::default(),
        }
    }

    /// Adds a document, unless cleaning drops it.
    fn add(
        &mut self,
        document: Document,
        cleaner: Option<&Cleaner>,
        validation: ValidationPart,
        task: &Task,
    ) -> Result<()> {
        let Some(text) = clean_text(cleaner, &document.text, &mut self.buffers) else {
            return Ok(());
        };
        let file = self.files.entry(document.source).or_default();
        let mut sums = [TextStatistics::default(), TextStatistics::default()];
        for part in validation.divide(&text) {
            let measurer = if part.is_validation { &mut self.validation } else { &mut self.train };
            let figures = measurer.measure(text[part.range].as_bytes(), task)?;
            sums[usize::from(part.is_validation)].add(&figures);
        }
        let [train, mut held_out] = sums;
        // however many parts it has, it is one document, and one with held-out text at most
        held_out.n_documents = held_out.n_documents.min(1);
        self.validation_figures.add(&held_out);
        file.add(&TextStatistics { n_documents: 1 - held_out.n_documents, ..train });
        file.add(&held_out);
        Ok(())
    }
}

/// Adds `uses` to `sum`, id by id.
fn add_uses(sum: &mut Vec<u64>, uses: &[u64]) {
    sum.resize(sum.len().max(uses.len()), 0);
    for (sum, uses) in sum.iter_mut().zip(uses) {
        *sum += uses;
    }
}
