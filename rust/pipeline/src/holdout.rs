//! Which documents are held out.

use lslm_runtime::{Error, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A share of all documents: those whose cleaned text and seed have a hash below it. So equal texts
/// fall on the same side, and every step that is given the same share and seed agrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldOut {
    share: f64,
    seed: u64,
}

impl HoldOut {
    /// [`Error::Invalid`] for a share that is not from 0 to below 1.
    pub(crate) fn new(share: f64, seed: u64) -> Result<Self> {
        if (0.0..1.0).contains(&share) {
            return Ok(Self { share, seed });
        }
        Err(Error::invalid(format!("validation_fraction = {share}: choose 0 to below 1")))
    }

    /// Whether the document with this text is held out.
    pub(crate) fn takes(&self, text: &str) -> bool {
        if self.share == 0.0 {
            return false;
        }
        // the upper 53 bits as a number from 0 to below 1
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        ((hash >> 11) as f64 / (1_u64 << 53) as f64) < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_about_what_was_asked_for() {
        for (share, seed) in [(0.0, 0), (0.1, 0), (0.1, 1), (0.9, 5)] {
            let held_out = HoldOut::new(share, seed).unwrap();
            let taken = (0..10_000).filter(|n| held_out.takes(&format!("text {n}"))).count();
            let expected = 10_000.0 * share;
            // five standard deviations
            let slack = 5.0 * (expected * (1.0 - share)).sqrt();
            assert!((taken as f64 - expected).abs() <= slack, "{share}: {taken}");
        }
        for share in [-0.1, 1.0, f64::NAN] {
            assert!(
                HoldOut::new(share, 0).unwrap_err().to_string().contains("validation_fraction")
            );
        }
    }
}
