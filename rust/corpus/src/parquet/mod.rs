//! Parquet without Arrow: one document per row, row groups as units of work.

mod column;
pub(crate) mod footer;
pub(crate) mod rows;
mod value;
pub(crate) mod write;
