//! Parquet without Arrow: one document per row, row groups as units of work.
//!
//! The other columns are carried as physical values with their levels, under their own schema, so
//! that any type survives, also one that this version has no name for.

mod column;
pub(crate) mod footer;
pub(crate) mod row;
pub(crate) mod rows;
pub(crate) mod schema;
mod value;
pub(crate) mod write;
