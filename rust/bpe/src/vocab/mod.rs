//! Data that the engines compute on: the bytes of an id, the rank of a pair, keys and hashes.

pub(crate) mod hash;
pub(crate) mod key_index;
pub(crate) mod merge_table;
pub(crate) mod pair_ranks;
pub(crate) mod piece_key;
pub(crate) mod symbol;
pub(crate) mod vocabulary;
