//! The one pass from files to files: corpus, clean, bpe, dataset.
//!
//! * [`clean`]: files to cleaned files.
//! * [`train_tokenizer`], [`Learner`]: files, or texts, to a tokenizer.
//! * [`measure_tokenizer`]: files to what a vocabulary makes of them.
//! * [`tokenize`]: files to datasets of tokens, in one pass with cleaning.
//!
//! The inputs are cut into partitions up front, a pure function of their names and sizes. Every
//! thread takes a partition, and each partition becomes its own output files, so the result is the
//! same bytes for any number of threads, and a job that was killed goes on after the partitions
//! that it had finished. Inside a partition the next batch is read while this one is computed on;
//! threads without a partition of their own help, so one large input keeps all of them busy. What
//! is in memory is a batch a thread, whatever the size of the inputs.

mod clean;
mod holdout;
mod journal;
mod learn;
mod measure;
mod overlap;
mod reading;
mod tokenize;

pub use clean::{CleanOptions, Cleaned, clean};
pub use learn::{LearnOptions, Learner, train_tokenizer};
pub use measure::{MeasureOptions, Measured, measure_tokenizer};
pub use tokenize::{TRAIN, TokenizeOptions, Tokenized, VALIDATION, tokenize};
