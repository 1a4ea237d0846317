//! Runs corpus, clean, bpe and dataset in one pass from files to files.
//!
//! * [`clean`]: documents to cleaned files; [`preview_clean`]: what cleaning would keep of a sample.
//! * [`train_tokenizer`], [`Learner`]: documents, or texts in memory, to a tokenizer.
//! * [`measure_tokenizer`]: documents to figures about a tokenizer.
//! * [`tokenize`]: documents to datasets of tokens, in one pass with cleaning.
//! * [`clean_slice`] and [`tokenize_slice`], then [`finish`]: the same by several processes.
//!
//! The corpus is divided into partitions up front, a pure function of the inputs' names and sizes.
//! A thread runs one partition at a time, and each partition becomes its own output files. So the
//! output is the same bytes for any number of threads, and a job that was killed resumes after the
//! partitions that it had finished. Inside a partition the next batch is read while the current one
//! is computed on; threads without a partition of their own help, so one large input occupies all
//! of them. Memory is one batch per thread, whatever the size of the inputs; deduplication, which has
//! a second pass, adds two bits for each document and part.
//!
//! ```
//! use lslm_bpe::pretokenize::Pattern;
//! use lslm_bpe::train::TrainOptions;
//! use lslm_corpus::{Corpus, ReadOptions};
//! use lslm_pipeline::{
//!     DedupOptions, HoldOut, LearnOptions, TokenizeOptions, tokenize, train_tokenizer,
//! };
//! use lslm_runtime::Task;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(folder.join("a.txt"), "the cat sat on the mat")?;
//! let input = folder.join("a.txt").display().to_string();
//! let corpus = Corpus::open(&[input], ReadOptions::default())?;
//! let task = Task::default();
//!
//! let learn = LearnOptions {
//!     clean: None,
//!     pattern: Pattern::named("gpt2").unwrap(),
//!     train: TrainOptions {
//!         special_tokens: vec!["<|endoftext|>".into()],
//!         ..TrainOptions::new(260)
//!     },
//!     validation_fraction: 0.0,
//!     hold_out: HoldOut::Auto,
//!     sample_bytes: None,
//!     seed: 0,
//!     memory: None,
//!     partition_bytes: 1 << 20,
//!     threads: Some(1),
//! };
//! let (tokenizer, _) = train_tokenizer(&corpus, &learn, &task)?;
//!
//! let options = TokenizeOptions {
//!     clean: None,
//!     dedup: DedupOptions::default(),
//!     validation_fraction: 0.0,
//!     hold_out: HoldOut::Auto,
//!     seed: 0,
//!     eos_token: None,
//!     bos_token: None,
//!     partition_bytes: 1 << 20,
//!     threads: Some(1),
//! };
//! let output = folder.join("data");
//! let tokenized = tokenize(&corpus, &output, &tokenizer, &options, &task)?;
//! assert_eq!(tokenized.reading.documents, 1);
//! assert!(output.join("train/manifest.json").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod clean;
mod cleaning;
mod dedup;
mod finish;
mod inputs;
mod job;
mod journal;
mod learner;
mod measure;
mod output;
mod overlap;
mod per_thread;
mod preview;
mod reading;
mod slice;
mod staging;
mod stretches;
mod tokenize;
mod validation;

pub use clean::options::CleanOptions;
pub use clean::{Cleaned, clean, clean_slice};
pub use cleaning::{Losses, SourceCount};
pub use dedup::DedupOptions;
pub use finish::{Finished, finish};
pub use learner::{LearnOptions, Learner, train_tokenizer};
pub use measure::{MeasureOptions, Measured, measure_tokenizer};
pub use preview::{Preview, PreviewOptions, preview_clean};
pub use slice::{Slice, SliceCount};
pub use tokenize::options::TokenizeOptions;
pub use tokenize::parts::Tokenized;
pub use tokenize::{tokenize, tokenize_slice};
pub use validation::{HoldOut, TRAIN, VALIDATION};
