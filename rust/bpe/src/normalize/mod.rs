//! Normalisation of text before it is pre-tokenized.

mod alignment;
pub(crate) mod matcher;
mod normal_form;
mod normalizer;
mod unicode9;

pub(crate) use alignment::{Alignment, origin};
pub(crate) use normalizer::Normalizer;
