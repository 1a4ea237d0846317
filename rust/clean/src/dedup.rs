//! Finds what occurs more than once in a corpus: documents, and their lines or paragraphs.
//!
//! ```text
//! for each partition:  hash each document and part, write the hashes as sorted HashLists
//! search:              of the entries with one hash, mark all but the first
//! for each document:   drop it if it is marked; else remove its marked parts
//! ```
//!
//! Nothing depends on the order in which partitions are hashed or searched, and no more than a
//! range of the hashes is in memory.

mod hash_list;
mod index;
mod parts;
mod search;

use serde::{Deserialize, Serialize};

pub use hash_list::write_hash_list;
pub use index::{DedupIndex, INDEX};
pub use parts::{Dedup, DedupSettings, PartKind, TextPart, content_hash};
pub use search::{DedupSearch, Marks, SearchResult};

/// The position of a document in the input. It orders documents independently of threads.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct DocumentPosition {
    /// The number of its partition, from 0.
    pub partition: u64,
    /// Its number within the partition, from 0.
    pub index: u64,
}
