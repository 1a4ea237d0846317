//! Token datasets: shard format, writer, memory map, order, mixture, loader.
//!
//! * [`format`]: the header page and section table of a shard, as `docs/format.md` has them.
//! * [`shard`]: the streaming writer of one shard.
//! * [`manifest`]: the list of shards that makes a folder a dataset, and the writer of folders.
//! * [`dataset`]: a dataset opened through memory maps; documents, tokens, sources, ids.
//! * [`verify`]: the check of every byte.
//! * [`order`]: a permutation in constant memory.
//! * [`windows`]: which tokens are the samples of an epoch.
//! * [`mixture`]: which source each sample of a mixture is from.
//! * [`plan`]: the endless sequence of samples of one training run.
//! * [`loader`]: batches of that sequence, filled ahead by a thread.
//!
//! Nothing here knows about text; [`order`], [`windows`] and [`mixture`] know numbers only.

pub mod dataset;
mod element;
pub mod format;
pub mod loader;
pub mod manifest;
mod map;
pub mod mixture;
pub mod order;
pub mod plan;
pub mod shard;
pub mod verify;
pub mod windows;

pub use dataset::Dataset;
pub use element::Element;
pub use loader::{Batch, Buffer, Layout, Loader, LoaderOptions};
pub use manifest::{DatasetWriter, DocumentEnd, Manifest, ShardEntry, TokenizerEntry};
pub use mixture::Mixture;
pub use order::Order;
pub use plan::{Access, Plan, PlanOptions};
pub use shard::{ShardOptions, ShardSummary, ShardWriter};
pub use windows::Windows;

pub use lslm_runtime::TokenId;
