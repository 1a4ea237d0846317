//! The leaf crate of lslm: errors, threads, progress, atomic files, partitions.
//!
//! * [`error`]: one error type; an input/output error always carries its path.
//! * [`suggest`]: the nearest known name, for "did you mean …?".
//! * [`task`]: progress and cancellation of long work.
//! * [`threads`]: one thread pool per process and size, rebuilt after a fork.
//! * [`parallel`]: indexed work on several threads, with results in order.
//! * [`files`]: files that get their name only once they are complete.
//! * [`lock`]: one writer per folder.
//! * [`mod@hex`]: bytes as hexadecimal text.
//! * [`panics`]: catches panics of third-party parsers.
//! * [`partition`]: divides the inputs of a job into units of work.
//! * [`simd`]: the vector instructions in use.
//!
//! Every other crate of the workspace depends on this one, and it depends on none of them.

pub mod error;
pub mod files;
pub mod hex;
pub mod lock;
pub mod panics;
pub mod parallel;
pub mod partition;
pub mod simd;
pub mod suggest;
pub mod task;
pub mod threads;
mod writeback;

pub use error::{Error, Result};
pub use hex::hex;
pub use task::{Monitor, Progress, Silent, Task, supervise};

/// The number of a token in its vocabulary. Four bytes hold every published vocabulary, the
/// largest of which has about 2^18 tokens.
pub type TokenId = u32;
