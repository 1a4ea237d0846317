//! Engines: from pre-tokens to ids.
//!
//! ```text
//! walk           text → normalised segments between added tokens → pieces, handed to the encoder
//! encoder        pieces → ids: from the cache, else merged many at a time
//! ├ boundary       cuts long pieces of three-byte characters where no token crosses
//! ├ chunk          looks up thousands of pieces in short loops, and writes their ids
//! │ └ cache          pieces seen before
//! ├ new_pieces     the others, each once
//! │ └ interleaved    merges 16 short pieces in turns
//! └ model          merges one piece of any length
//!   ├ backtrack      longest prefix by longest prefix, where it gives what merging gives
//!   └ merge          the merge rule itself: scan (short), heap (long)
//! ```

pub(crate) mod backtrack;
pub(crate) mod batch;
pub(crate) mod boundary;
pub(crate) mod cache;
pub(crate) mod char3;
pub(crate) mod chunk;
pub(crate) mod encoder;
pub(crate) mod interleaved;
pub(crate) mod merge;
pub(crate) mod merge_tree;
pub(crate) mod model;
pub(crate) mod new_pieces;
pub(crate) mod offsets;
pub(crate) mod prefix;
pub(crate) mod rank_rule;
pub(crate) mod scratch;
#[cfg(test)]
pub(crate) mod steps;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod walk;
pub(crate) mod workspace;
