//! Repair, normalise, filter, redact and deduplicate text, with a reason for every drop.
//!
//! A [`Cleaner`] is made from a [`CleanConfig`]: a named profile and what was changed in it. It
//! runs the rules of [`RULES`] that the configuration switches on: normalisers rewrite the text,
//! filters judge it through one shared [`View`](view::View), redactors mask private data in what is
//! kept. The same text and configuration give the same result on every machine and in every thread;
//! equal [`Cleaner::fingerprint`]s mean equal results.
//!
//! What holds for every text: the result is valid UTF-8; cleaning a normalised text again changes
//! nothing; time is linear; no rule makes a text longer than [`MAX_GROWTH`] times its bytes, as long
//! as replacements are left as they are; a text that needs no change is not copied.
//!
//! Errors are [`lslm_runtime::Error::Invalid`], and only of the configuration.

pub mod chars;
mod cleaner;
mod config;
mod dedup;
mod funnel;
#[cfg(test)]
mod naive;
pub mod rule;
mod rules;
pub mod view;

pub use cleaner::{Changes, CleanBuffers, CleanedText, Cleaner, Verdict};
pub use config::{CleanConfig, PROFILES, Profile};
pub use dedup::{DocumentPosition, ExactDedup, content_hash};
pub use funnel::{Change, Dropped, DroppedExample, Funnel};
pub use rule::{Measure, Rule, RuleKind};
pub use rules::RULES;

/// The bytes of a cleaned text are at most this many times those of the text. NFC alone reaches it:
/// some musical symbols are four bytes and become twelve.
pub const MAX_GROWTH: usize = 3;
