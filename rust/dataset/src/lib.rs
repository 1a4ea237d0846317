//! Token datasets: files on disk, a memory-mapped reader, and a loader of training batches.
//!
//! ```text
//! DatasetWriter ─▶ shards + manifest ─▶ Dataset ─▶ Plan ─▶ Loader ─▶ Batch
//!                                                   ▲
//!                                 Windows, Order, Mixture: which sample comes when
//! ```
//!
//! * [`mod@format`]: the header page and section table of a shard; `docs/format.md` is the
//!   specification.
//! * [`shard`]: the streaming writer of one shard.
//! * [`manifest`]: the list of shards that makes a folder a dataset.
//! * [`writer`]: writes such a folder from one stream of documents.
//! * [`bin_file`]: token files of nanoGPT and llm.c.
//! * [`dataset`]: reads documents, tokens, sources and ids through memory maps.
//! * [`verify`]: checks every byte of a dataset.
//! * [`order`]: a pseudorandom permutation in constant memory.
//! * [`windows`]: which tokens are the samples of an epoch.
//! * [`packing`]: rows of whole documents instead of windows.
//! * [`mixture`]: which source each sample of a mixture comes from.
//! * [`schedule`]: segments of samples, each with its sources and weights.
//! * [`state`]: a schedule and a position in it, as JSON.
//! * [`plan`]: the endless sequence of samples of one training run.
//! * [`reader`]: reads these samples.
//! * [`documents`]: which documents the rows of a batch come from.
//! * [`batch`]: batches of that sequence, in memory that is reused.
//! * [`loader`]: yields the batches of one rank; a thread fills them ahead.
//!
//! Nothing here depends on text; [`order`], [`windows`] and [`mixture`] compute with numbers only.

pub mod batch;
mod best_fit;
pub mod bin_file;
pub mod dataset;
pub mod documents;
mod element;
pub mod format;
pub mod loader;
pub mod manifest;
mod map;
mod mapped_shard;
pub mod mixture;
pub mod order;
mod packed;
pub mod packing;
pub mod plan;
mod plan_segment;
mod prefetch;
pub mod reader;
mod resume;
pub mod schedule;
pub mod shard;
mod shards;
mod sources;
pub mod state;
mod stream;
pub mod verify;
mod weight;
pub mod windows;
pub mod writer;

pub use batch::{Batch, Buffer, Layout};
pub use bin_file::BinFile;
pub use dataset::Dataset;
pub use documents::Documents;
pub use element::Element;
pub use loader::{Loader, LoaderOptions};
pub use lslm_runtime::TokenId;
pub use manifest::{DocumentEnd, HoldOutEntry, Manifest, ShardEntry, TokenizerEntry};
pub use mixture::Mixture;
pub use order::Order;
pub use packed::PackingCounts;
pub use packing::Packing;
pub use plan::{Access, OnChange, Plan, PlanOptions};
pub use reader::SampleReader;
pub use schedule::Schedule;
pub use shard::{ShardOptions, ShardSummary, ShardWriter};
pub use sources::PlanSource;
pub use state::LoaderState;
pub use weight::Weight;
pub use windows::Windows;
pub use writer::DatasetWriter;
