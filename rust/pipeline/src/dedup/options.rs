//! The options of deduplication.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the deduplication of a job compares with and saves. It needs a configuration that has the
/// stage `dedup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DedupOptions {
    /// An index of earlier jobs, the output folder of one that saved it, or documents: a file, a folder
    /// or a pattern. What is in it is removed. Documents are read as those of the job, and compared as
    /// they are and as the stages before deduplication leave them.
    pub against: Option<PathBuf>,
    /// Whether the job saves an index of everything that it and the index before it have seen, as
    /// `_dedup.index` in its output.
    pub save_index: bool,
}
