//! What a vocabulary makes of documents, file by file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lslm_bpe::Tokenizer;
use lslm_bpe::{Figures, Measure};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use lslm_corpus::{Corpus, Document};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Result, Task, threads};

use crate::holdout::HoldOut;
use crate::overlap::overlap;
use crate::reading::{Batches, Chunk, begin};

/// How [`measure_tokenizer`] works.
#[derive(Clone, Debug)]
pub struct MeasureOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// The share of documents that are measured by themselves, from 0 to below 1.
    pub validation_fraction: f64,
    /// Chooses these documents, as in [`crate::tokenize`] and [`crate::train_tokenizer`].
    pub seed: u64,
    /// About how many bytes of input a thread takes at a time.
    pub partition_bytes: u64,
    /// How many threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// What [`measure_tokenizer`] found.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// By file, in the order of the inputs; files without a document are left out.
    pub files: Vec<(String, Figures)>,
    /// Of all documents.
    pub total: Figures,
    /// Of the documents that are held out, which `total` has too.
    pub held_out: Figures,
    /// How often each id occurs in all documents.
    pub uses: Vec<u64>,
    /// How often each id occurs in those that are held out.
    pub held_out_uses: Vec<u64>,
}

/// Encodes the documents of `corpus` and sums up what came out.
pub fn measure_tokenizer(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    options: &MeasureOptions,
    task: &Task,
) -> Result<Measured> {
    let held_out = HoldOut::new(options.validation_fraction, options.seed)?;
    let threads = threads::resolve(options.threads)?;
    let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
    begin(task, "measure", corpus);
    let workers: Vec<Mutex<Worker>> =
        (0..threads).map(|_| Mutex::new(Worker::new(tokenizer))).collect();
    let partitions = corpus.partitions(options.partition_bytes)?;
    for_each_index(partitions.len(), threads, |index| {
        let mut batches = Batches::new(corpus, &partitions[index], task);
        overlap(
            || batches.next(),
            |chunk: Chunk| {
                let thread = rayon::current_thread_index().unwrap_or(0) % workers.len();
                let mut worker = workers[thread].lock().unwrap_or_else(PoisonError::into_inner);
                chunk
                    .documents
                    .into_iter()
                    .try_for_each(|d| worker.take(d, cleaner.as_ref(), held_out, task))
            },
            |()| Ok(()),
        )
    })?;
    let mut measured = Measured::default();
    let mut files: HashMap<Arc<str>, Figures> = HashMap::new();
    for worker in workers {
        let worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (file, figures) in worker.files {
            files.entry(file).or_default().add(&figures);
        }
        measured.held_out.add(&worker.held_out_figures);
        add_uses(&mut measured.uses, worker.ordinary.uses());
        add_uses(&mut measured.uses, worker.held_out.uses());
        add_uses(&mut measured.held_out_uses, worker.held_out.uses());
    }
    for input in corpus.inputs() {
        if let Some(figures) = files.remove(input.name()) {
            measured.total.add(&figures);
            measured.files.push((input.name().to_string(), figures));
        }
    }
    Ok(measured)
}

/// What a thread has measured.
struct Worker<'a> {
    files: HashMap<Arc<str>, Figures>,
    held_out_figures: Figures,
    ordinary: Measure<'a>,
    held_out: Measure<'a>,
    scratch: CleanBuffers,
}

impl<'a> Worker<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            files: HashMap::new(),
            held_out_figures: Figures::default(),
            ordinary: Measure::new(tokenizer),
            held_out: Measure::new(tokenizer),
            scratch: CleanBuffers::default(),
        }
    }

    fn take(
        &mut self,
        document: Document,
        cleaner: Option<&Cleaner>,
        held_out: HoldOut,
        task: &Task,
    ) -> Result<()> {
        let cleaned = cleaner.map(|cleaner| cleaner.clean(&document.text, &mut self.scratch));
        let text: &str = match &cleaned {
            Some(cleaned) if !cleaned.verdict.is_kept() => return Ok(()),
            Some(cleaned) => &cleaned.text,
            None => &document.text,
        };
        let figures = if held_out.takes(text) {
            let figures = self.held_out.text(text.as_bytes(), task)?;
            self.held_out_figures.add(&figures);
            figures
        } else {
            self.ordinary.text(text.as_bytes(), task)?
        };
        self.files.entry(document.source).or_default().add(&figures);
        Ok(())
    }
}

fn add_uses(sum: &mut Vec<u64>, uses: &[u64]) {
    sum.resize(sum.len().max(uses.len()), 0);
    for (sum, uses) in sum.iter_mut().zip(uses) {
        *sum += uses;
    }
}
