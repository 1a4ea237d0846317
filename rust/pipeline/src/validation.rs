//! Chooses the documents that are held out for validation.

use lslm_runtime::{Error, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The part of the documents that a model is trained on.
pub const TRAIN: &str = "train";
/// The part that is held out.
pub const VALIDATION: &str = "validation";

/// Chooses a fraction of all documents by the hash of their cleaned text and a seed.
///
/// Equal texts are in the same part, and every step with the same fraction and seed chooses alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValidationPart {
    pub(crate) fraction: f64,
    pub(crate) seed: u64,
}

impl ValidationPart {
    /// Returns an [`Error::Invalid`] for a fraction that is not from 0 to below 1.
    pub(crate) fn new(fraction: f64, seed: u64) -> Result<Self> {
        if (0.0..1.0).contains(&fraction) {
            return Ok(Self { fraction, seed });
        }
        Err(Error::invalid(format!("validation_fraction = {fraction}: choose 0 to below 1")))
    }

    /// Returns whether any document can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.fraction == 0.0
    }

    /// Returns whether the document with this text is in it.
    pub(crate) fn contains(&self, text: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        // the upper 53 bits, as many as a float has, as a number from 0 to below 1
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        ((hash >> 11) as f64 / (1_u64 << 53) as f64) < self.fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_has_about_the_chosen_fraction_of_texts() {
        for (fraction, seed) in [(0.0, 0), (0.1, 0), (0.1, 1), (0.9, 5)] {
            let part = ValidationPart::new(fraction, seed).unwrap();
            let n_chosen = (0..10_000).filter(|n| part.contains(&format!("text {n}"))).count();
            let expected = 10_000.0 * fraction;
            // five standard deviations
            let slack = 5.0 * (expected * (1.0 - fraction)).sqrt();
            assert!((n_chosen as f64 - expected).abs() <= slack, "{fraction}: {n_chosen}");
        }
        for fraction in [-0.1, 1.0, f64::NAN] {
            let error = ValidationPart::new(fraction, 0).unwrap_err().to_string();
            assert!(error.contains("validation_fraction"));
        }
    }
}
