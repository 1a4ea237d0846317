//! What every crate of lslm stands on, and nothing that knows about text or tokens.
//!
//! * [`error`]: one error type; every input/output error carries its path.
//! * [`task`]: progress and cancellation of long work, seen from the thread that waits for it.
//! * [`threads`]: one thread pool per process and size, rebuilt after a fork.
//! * [`parallel`]: indexed work on all threads, with results in order.
//! * [`files`]: files that appear under their name only when they are whole, and folder locks.
//! * [`hex`]: bytes as hexadecimal text.
//! * [`panics`]: panics of others' code that are an answer.
//! * [`partition`]: how the inputs are cut into units of work.

pub mod error;
pub mod files;
pub mod hex;
pub mod panics;
pub mod parallel;
pub mod partition;
pub mod task;
pub mod threads;

pub use error::{Error, Result};
pub use hex::hex;
pub use task::{Monitor, Progress, Silent, Task, supervise};
