//! JSONL: one JSON object per line.

pub(crate) mod members;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod write;
