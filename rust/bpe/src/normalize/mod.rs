//! Normalisation of text before it is pre-tokenized.

pub(crate) mod matcher;
mod normalizer;
mod unicode9;

pub(crate) use normalizer::{Normalizer, origin};
