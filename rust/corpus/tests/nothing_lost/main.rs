//! What is not read is counted, named or refused; what is read survives with every field.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_files;
#[path = "../common/mod.rs"]
mod common;
mod fields;
mod files;
mod tables;
