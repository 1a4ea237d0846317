//! Data that every engine reads: which bytes an id stands for, and which pair has which rank.

pub(crate) mod index;
pub(crate) mod pair_ranks;
pub(crate) mod vocabulary;
