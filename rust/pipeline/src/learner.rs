//! Trains a tokenizer on documents, or on texts in memory.

use lslm_bpe::Tokenizer;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{Sample, TrainOptions, WordCounter, train};
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use lslm_corpus::{Corpus, Statistics};
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Result, Task, threads};

use crate::cleaning::clean_text;
use crate::dedup::refuse_comparisons;
use crate::overlap::overlap;
use crate::per_thread::PerThread;
use crate::reading::{Batches, Chunk, begin, require_documents};
use crate::validation::{HoldOut, ValidationOptions, ValidationPart};

/// Parts of a batch of texts per thread: enough that all threads end at about the same time.
const PARTS_PER_THREAD: usize = 4;

/// How [`train_tokenizer`] works.
#[derive(Clone, Debug)]
pub struct LearnOptions {
    /// The cleaning to apply first, if any.
    pub clean: Option<CleanConfig>,
    /// How text is split into pre-tokens.
    pub pattern: Pattern,
    /// The vocabulary to train.
    pub train: TrainOptions,
    /// The fraction of documents that are not trained on, from 0 to below 1.
    pub validation_fraction: f64,
    /// Whether whole documents are left out, or stretches of them. Without a corpus `Auto` leaves
    /// out whole documents.
    pub hold_out: HoldOut,
    /// The size in bytes of a uniform sample of documents to train on; all of them if `None`.
    pub sample_bytes: Option<u64>,
    /// The seed that chooses the sample, and the held-out documents as in [`crate::tokenize`].
    pub seed: u64,
    /// The memory of the counted pre-tokens in bytes, about; the rest is spilled to files. The
    /// memory of merging is [`TrainOptions::memory`].
    pub memory: Option<u64>,
    /// About how many bytes of input a thread reads at a time.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    pub threads: Option<usize>,
}

impl LearnOptions {
    fn validation(&self) -> ValidationOptions {
        ValidationOptions {
            fraction: self.validation_fraction,
            seed: self.seed,
            hold_out: self.hold_out,
        }
    }
}

/// Trains a tokenizer on the documents of `corpus`. Also returns the counts of the reading.
///
/// The result depends on the documents alone, neither on threads nor on the files they are in.
///
/// The [crate documentation](crate) has an example.
pub fn train_tokenizer(
    corpus: &Corpus,
    options: &LearnOptions,
    task: &Task,
) -> Result<(Tokenizer, Statistics)> {
    let validation = ValidationPart::of_corpus(options.validation(), corpus, task)?;
    let learner = Learner { validation, ..Learner::new(options)? };
    begin(task, "count words", corpus);
    let partitions = corpus.partitions(options.partition_bytes)?;
    let readings = for_each_index(partitions.len(), learner.threads, |index| {
        let mut batches = Batches::new(corpus, &partitions[index], task);
        overlap(
            || batches.next(),
            |chunk: Chunk| learner.count(chunk.documents.iter().map(|d| d.text.as_str()), task),
            |()| Ok(()),
        )?;
        Ok(batches.into_statistics())
    })?;
    require_documents(corpus, readings.iter())?;
    let mut reading = corpus.statistics();
    for part in &readings {
        reading.merge(part);
    }
    Ok((learner.learn(task)?, reading))
}

/// Counts the pre-tokens of texts that arrive in batches, then trains a tokenizer on the counts.
///
/// ```
/// use lslm_bpe::pretokenize::Pattern;
/// use lslm_bpe::train::TrainOptions;
/// use lslm_pipeline::{HoldOut, LearnOptions, Learner};
/// use lslm_runtime::Task;
///
/// let options = LearnOptions {
///     clean: None,
///     pattern: Pattern::named("gpt2").unwrap(),
///     train: TrainOptions::new(258),
///     validation_fraction: 0.0,
///     hold_out: HoldOut::Auto,
///     sample_bytes: None,
///     seed: 0,
///     memory: None,
///     partition_bytes: 1 << 20,
///     threads: Some(1),
/// };
/// let task = Task::default();
/// let learner = Learner::new(&options)?;
/// learner.add(&["low low lower".to_owned(), "lowest".to_owned()], &task)?;
/// let tokenizer = learner.learn(&task)?;
/// assert_eq!(tokenizer.vocab_size(), 258);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
pub struct Learner {
    train: TrainOptions,
    cleaner: Option<Cleaner>,
    validation: ValidationPart,
    pattern: Pattern,
    threads: usize,
    counters: PerThread<ThreadCounter>,
}

/// The counts of one thread.
struct ThreadCounter {
    counter: WordCounter,
    /// Keeps the sampled documents, which are counted once all documents were offered.
    sample: Option<Sample>,
    buffers: CleanBuffers,
}

impl Learner {
    /// Returns a learner without counts.
    pub fn new(options: &LearnOptions) -> Result<Self> {
        let validation = ValidationPart::new(options.validation())?;
        let threads = threads::resolve(options.threads)?;
        let counter = || match options.memory {
            None => WordCounter::new(&options.pattern),
            Some(bytes) => {
                let share = usize::try_from(bytes / threads as u64).unwrap_or(usize::MAX);
                WordCounter::bounded(&options.pattern, share, &std::env::temp_dir())
            }
        };
        let cleaner = options.clean.as_ref().map(Cleaner::new).transpose()?;
        refuse_comparisons(cleaner.as_ref(), "training a tokenizer")?;
        let thread_counter = || ThreadCounter {
            counter: counter(),
            sample: options.sample_bytes.map(|bytes| Sample::new(options.seed, bytes)),
            buffers: CleanBuffers::default(),
        };
        Ok(Self {
            train: options.train.clone(),
            cleaner,
            validation,
            pattern: options.pattern.clone(),
            threads,
            counters: PerThread::new(threads, thread_counter),
        })
    }

    /// Counts the pre-tokens of `texts`, each a document, on all threads.
    pub fn add(&self, texts: &[String], task: &Task) -> Result<()> {
        let part_len = texts.len().div_ceil(self.threads * PARTS_PER_THREAD).max(1);
        let parts: Vec<&[String]> = texts.chunks(part_len).collect();
        for_each_index(parts.len(), self.threads, |index| {
            self.count(parts[index].iter().map(String::as_str), task)
        })?;
        Ok(())
    }

    fn count<'t>(&self, texts: impl Iterator<Item = &'t str>, task: &Task) -> Result<()> {
        let mut counter = self.counters.lock();
        let ThreadCounter { counter, sample, buffers } = &mut *counter;
        for text in texts {
            let Some(text) = clean_text(self.cleaner.as_ref(), text, buffers) else { continue };
            let parts = self.validation.divide(&text);
            for part in parts.into_iter().filter(|part| !part.is_validation) {
                let text = text[part.range].as_bytes();
                match sample {
                    None => counter.add(text, task)?,
                    Some(sample) => {
                        task.check()?;
                        sample.offer(text);
                    }
                }
            }
        }
        Ok(())
    }

    /// Trains a tokenizer on the counts.
    pub fn learn(self, task: &Task) -> Result<Tokenizer> {
        let mut counters = Vec::with_capacity(self.threads);
        let mut sampled: Option<Sample> = None;
        for thread in self.counters.into_values() {
            counters.push(thread.counter);
            match (&mut sampled, thread.sample) {
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
