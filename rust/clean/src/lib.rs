//! Clean text: repair, normalise, filter, redact and deduplicate, with a reason for every drop.
//!
//! ```text
//! text ── stage ── stage ── … ──▶ CleanedText: keep, or drop with the Measure that failed
//!
//! normaliser   rewrites the text            line edit   removes or changes lines, may drop
//! filter       keeps or drops the document  redactor    masks private data
//! dedup        compares documents with one another: see [`dedup`]
//! ```
//!
//! A [`Cleaner`] is made from a [`CleanConfig`]: a named profile and changes to it. It runs its
//! stages, which are rules of [`RULES`], in order. Filters share one [`View`](view::View) of the
//! text, which splits it into lines and words once; an edit renews it. The same text and configuration give the
//! same result on every machine and in every thread; equal [`Cleaner::fingerprint`]s mean equal
//! results.
//!
//! Guaranteed for every text: the result is valid UTF-8; cleaning a normalised text again changes
//! nothing; time is linear; no rule makes a text longer than [`MAX_GROWTH`] times its bytes,
//! provided that replacements are the default ones; a text that needs no change is not copied.
//!
//! The only error is [`lslm_runtime::Error::Invalid`], for a configuration that cannot be used.
//!
//! ```
//! use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
//! use serde_json::json;
//!
//! let config = CleanConfig::profile("default")?.with(&json!({"length": {"min_chars": 5}}))?;
//! let cleaner = Cleaner::new(&config)?;
//! let mut buffers = CleanBuffers::default();
//!
//! let kept = cleaner.clean("two\r\nlines\0", &mut buffers);
//! assert_eq!(kept.text, "two\nlines");
//! assert!(kept.verdict.is_kept());
//!
//! let dropped = cleaner.clean("no", &mut buffers);
//! let measure = dropped.verdict.measure().unwrap();
//! assert_eq!((measure.name.as_str(), measure.value, measure.limit), ("length.too_short", 2.0, 5.0));
//! # Ok::<(), lslm_runtime::Error>(())
//! ```

pub mod chars;
mod cleaner;
mod config;
pub mod dedup;
pub mod edit;
mod fineweb2;
mod funnel;
mod language;
pub mod measure;
#[cfg(test)]
mod naive;
mod places;
mod redact;
mod repair;
pub mod rule;
mod rules;
mod signals;
pub mod view;

pub use cleaner::{
    Changes, CleanBuffers, CleanedText, Cleaner, DocumentOptions, DocumentResult, MAX_GROWTH,
    StageRange, Verdict,
};
pub use config::{CleanConfig, PROFILES, Profile};
pub use dedup::{Dedup, DocumentPosition, content_hash};
pub use edit::RemovedLine;
pub use funnel::{Change, Dropped, DroppedExample, Duplicates, Funnel};
pub use language::{DetectedLanguage, detect_language};
pub use measure::Measure;
pub use rule::{Evidence, Rule, RuleKind};
pub use rules::RULES;
pub use signals::Signal;
