//! Pre-tokenization: splits a text into pieces before pairs are merged; no token crosses a piece's
//! end.
//!
//! ```text
//! text → ClassMasks (masks, x86) → starts (bitmask) → ends of pieces     published patterns
//! text → characters (char_class) → ends of pieces (scalar)               the readable twin
//! text → matches of expressions (regex) → ends of pieces                 any other pattern
//! ```
//!
//! A [`Pattern`] is a published pre-tokenizer or one a user gives; `sequence` is the entry of a
//! `tokenizer.json`, which can also remove matches and add a space.

mod alternatives;
mod automaton;
mod bitmask;
mod char_class;
mod dispatch;
mod kimi;
mod masks;
mod pattern;
mod published;
mod regex;
mod scalar;
mod scheme;
pub(crate) mod sequence;
mod spans;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use pattern::Pattern;
pub use published::{Behavior, Step};
