//! Files, or texts that the caller has, to a tokenizer.

use std::sync::{Mutex, PoisonError};

use lslm_bpe::Tokenizer;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{Sample, TrainOptions, WordCounter, train};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use lslm_corpus::Corpus;
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Result, Task, threads};

use crate::holdout::HoldOut;
use crate::overlap::overlap;
use crate::reading::{Batches, Chunk, begin, some_document};

/// How [`train_tokenizer`] works.
#[derive(Clone, Debug)]
pub struct LearnOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// How text is split into words.
    pub pattern: Pattern,
    /// What to learn.
    pub train: TrainOptions,
    /// The share of documents that nothing is learned from, from 0 to below 1.
    pub validation_fraction: f64,
    /// Learn from a uniform sample of documents of about this many bytes together.
    pub sample_bytes: Option<u64>,
    /// Chooses the sample and the documents that are held out, these as in [`crate::tokenize`].
    pub seed: u64,
    /// About how many bytes of memory the counted words may take; what does not fit goes to files.
    /// What merging may take is in [`TrainOptions::memory`].
    pub memory: Option<u64>,
    /// About how many bytes of input a thread takes at a time.
    pub partition_bytes: u64,
    /// How many threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

/// Learns a tokenizer from the documents of `corpus`.
///
/// The result depends on the documents alone: not on threads, nor on how they lie in files.
pub fn train_tokenizer(corpus: &Corpus, options: &LearnOptions, task: &Task) -> Result<Tokenizer> {
    let mut learner = Learner::new(options)?;
    begin(task, "count words", corpus);
    let partitions = corpus.partitions(options.partition_bytes)?;
    let counting = &learner;
    let read = for_each_index(partitions.len(), counting.threads, |index| {
        let mut batches = Batches::new(corpus, &partitions[index], task);
        overlap(
            || batches.next(),
            |chunk: Chunk| counting.count(chunk.documents.iter().map(|d| d.text.as_str()), task),
            |()| Ok(()),
        )?;
        Ok(batches.into_statistics())
    })?;
    some_document(corpus, &read.iter().collect::<Vec<_>>())?;
    learner.learn(task)
}

/// Counts the words of texts and learns a tokenizer from them, for texts that come in pieces.
pub struct Learner {
    train: TrainOptions,
    cleaner: Option<Cleaner>,
    held_out: HoldOut,
    pattern: Pattern,
    threads: usize,
    workers: Vec<Mutex<Worker>>,
}

struct Worker {
    counter: WordCounter,
    /// Holds documents back from the counter until all of them are known.
    sample: Option<Sample>,
    scratch: CleanBuffers,
}

impl Learner {
    /// A learner that has seen no text.
    pub fn new(options: &LearnOptions) -> Result<Self> {
        let held_out = HoldOut::new(options.validation_fraction, options.seed)?;
        let threads = threads::resolve(options.threads)?;
        let counter = || match options.memory {
            None => WordCounter::new(&options.pattern),
            Some(bytes) => {
                let share = usize::try_from(bytes / threads as u64).unwrap_or(usize::MAX);
                WordCounter::bounded(&options.pattern, share, &std::env::temp_dir())
            }
        };
        let worker = || {
            Mutex::new(Worker {
                counter: counter(),
                sample: options.sample_bytes.map(|bytes| Sample::new(options.seed, bytes)),
                scratch: CleanBuffers::default(),
            })
        };
        Ok(Self {
            train: options.train.clone(),
            cleaner: options.clean.as_ref().map(Cleaner::new).transpose()?,
            held_out,
            pattern: options.pattern.clone(),
            threads,
            workers: (0..threads).map(|_| worker()).collect(),
        })
    }

    /// Counts the words of `texts`, each a document, on all threads.
    pub fn add(&self, texts: &[String], task: &Task) -> Result<()> {
        // enough pieces that threads end together, and each large enough to be worth a hand-over
        let piece = texts.len().div_ceil(self.threads * 4).max(1);
        let pieces: Vec<&[String]> = texts.chunks(piece).collect();
        for_each_index(pieces.len(), self.threads, |index| {
            self.count(pieces[index].iter().map(String::as_str), task)
        })?;
        Ok(())
    }

    fn count<'t>(&self, texts: impl Iterator<Item = &'t str>, task: &Task) -> Result<()> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.workers.len();
        let mut worker = self.workers[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let Worker { counter, sample, scratch } = &mut *worker;
        for text in texts {
            let cleaned = self.cleaner.as_ref().map(|cleaner| cleaner.clean(text, scratch));
            let text: &str = match &cleaned {
                Some(cleaned) if !cleaned.verdict.is_kept() => continue,
                Some(cleaned) => &cleaned.text,
                None => text,
            };
            if self.held_out.takes(text) {
                continue;
            }
            match sample {
                None => counter.add(text.as_bytes(), task)?,
                Some(sample) => {
                    task.check()?;
                    sample.offer(text.as_bytes());
                }
            }
        }
        Ok(())
    }

    /// Learns from what was counted.
    pub fn learn(&mut self, task: &Task) -> Result<Tokenizer> {
        let mut counters = Vec::with_capacity(self.workers.len());
        let mut sampled: Option<Sample> = None;
        for worker in std::mem::take(&mut self.workers) {
            let worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
            counters.push(worker.counter);
            match (&mut sampled, worker.sample) {
                (Some(sampled), Some(more)) => sampled.merge(more),
                (empty, more) => *empty = more,
            }
        }
        if let (Some(sampled), Some(counter)) = (sampled, counters.first_mut()) {
            for (document, times) in sampled.documents() {
                for _ in 0..times {
                    counter.add(document, task)?;
                }
            }
        }
        let words = WordCounter::finish(counters, self.threads, task)?;
        train(words, &self.train, self.threads, task)?.into_tokenizer(&self.pattern)
    }
}
