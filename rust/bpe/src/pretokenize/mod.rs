//! Pre-tokenization: splits text into the pieces that are merged; no token crosses their ends.
//!
//! A [`Pattern`] is a published pre-tokenizer or one a user gives. Its pieces cover the text
//! exactly. A text may be any bytes: each byte that is not part of well-formed UTF-8 is treated
//! as U+FFFD and keeps its value.

mod bitmask;
mod char_class;
mod masks;
mod pattern;
mod published;
mod regex;
mod scalar;
pub(crate) mod sequence;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use pattern::Pattern;
pub use published::{Behavior, Step};
