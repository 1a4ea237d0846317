//! CSV and TSV.

pub(crate) mod read;
pub(crate) mod row;
