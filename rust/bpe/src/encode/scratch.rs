//! The memory that merging one piece reuses.

use crate::encode::{backtrack, merge};

/// The scratch memory of the engines.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) merge: merge::Scratch,
    pub(crate) backtrack: backtrack::Scratch,
}
