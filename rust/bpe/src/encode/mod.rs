//! Engines: from pre-tokens to ids.

pub(crate) mod backtrack;
pub(crate) mod batch;
pub(crate) mod boundary;
pub(crate) mod cache;
pub(crate) mod encoder;
pub(crate) mod interleaved;
pub(crate) mod merge;
pub(crate) mod merge_tree;
pub(crate) mod model;
pub(crate) mod prefix;
