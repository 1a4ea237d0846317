//! Weights of a mixture in 24 bits each, as the state of a loader stores them.
//!
//! A weight is its share of the sum, rounded to 19 significant bits (a relative error of 2^-19),
//! between 2^-32 and 1. So weights that differ by a common factor are equal, and 20 of them take 80
//! characters of JSON.
//!
//! ```text
//! code   = exponent (6 bits, 1 … 33) · 2^18 + mantissa (18 bits);  0: not in the mixture
//! parts  = (2^18 + mantissa) · 2^exponent, of 2^51
//! text   = four characters of base64 for each code, most significant first
//! ```

use lslm_runtime::{Error, Result};

/// Bits of the mantissa, without its leading one.
const MANTISSA_BITS: u32 = 18;
/// The exponent of a share of 1.
const MAX_EXPONENT: u32 = 33;
/// The parts of a share of 1.
pub(crate) const PARTS: u64 = 1 << (MANTISSA_BITS + MAX_EXPONENT);
/// The characters of a code, of 6 bits each.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters for each code.
const WIDTH: usize = 4;

/// The share of a source in a mixture; zero for a source that is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight(u32);

impl Weight {
    /// A share of 1.
    pub const WHOLE: Self = Self(MAX_EXPONENT << MANTISSA_BITS);

    /// Returns the share in parts of 2^51; 0 for a source that is not in the mixture.
    pub(crate) fn parts(self) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        let mantissa = self.0 & ((1 << MANTISSA_BITS) - 1) | 1 << MANTISSA_BITS;
        u64::from(mantissa) << (self.0 >> MANTISSA_BITS)
    }

    /// Returns whether the source is in the mixture.
    pub fn is_present(self) -> bool {
        self.0 != 0
    }

    /// Returns the share as a number from 0 to 1.
    pub fn share(self) -> f64 {
        self.parts() as f64 / PARTS as f64
    }

    /// Returns the weight nearest to `share`; `None` below 2^-32.
    fn nearest(share: f64) -> Option<Self> {
        let parts = share * PARTS as f64;
        let mut exponent = (parts.log2().floor() as i32) - MANTISSA_BITS as i32;
        let mut mantissa = (parts / 2_f64.powi(exponent)).round() as u32;
        if mantissa >= 2 << MANTISSA_BITS {
            (mantissa, exponent) = (mantissa / 2, exponent + 1);
        }
        let is_inside = (1..=MAX_EXPONENT as i32).contains(&exponent);
        let code = (exponent as u32) << MANTISSA_BITS | mantissa & !(1 << MANTISSA_BITS);
        is_inside.then_some(Self(code))
    }
}

/// Returns the share of each weight.
///
/// A weight that is not a positive number, or below 2^-32 of the sum, is an [`Error::Invalid`].
pub(crate) fn normalised(weights: &[f64]) -> Result<Vec<Weight>> {
    // the sum must not depend on the order
    let mut sorted = weights.to_vec();
    sorted.sort_by(f64::total_cmp);
    let sum: f64 = sorted.iter().sum();
    let shares = weights.iter().map(|weight| {
        let is_positive = weight.is_finite() && *weight > 0.0 && sum.is_finite();
        is_positive.then(|| Weight::nearest(weight / sum)).flatten().ok_or_else(|| {
            Error::invalid(format!(
                "weight {weight} of a mixture whose weights sum to {sum}: each must be above zero \
                 and at least 2^-32 of the sum"
            ))
        })
    });
    shares.collect()
}

/// Returns the text of `weights`.
pub(crate) fn encode(weights: &[Weight]) -> String {
    let shifts = [18, 12, 6, 0];
    let codes = weights.iter().flat_map(|weight| shifts.map(|shift| weight.0 >> shift & 63));
    codes.map(|code| char::from(CHARACTERS[code as usize])).collect()
}

/// Returns the weights of `text`; `None` if it is not the text of weights whose shares sum to one.
pub(crate) fn decode(text: &str) -> Option<Vec<Weight>> {
    let (groups, []) = text.as_bytes().as_chunks::<WIDTH>() else { return None };
    let code = |group: &[u8; WIDTH]| {
        group.iter().try_fold(0, |code, character| {
            let digit = CHARACTERS.iter().position(|known| known == character)?;
            Some(code << 6 | digit as u32)
        })
    };
    let is_known = |code: &u32| *code == 0 || (1..=MAX_EXPONENT).contains(&(code >> MANTISSA_BITS));
    let weights: Option<Vec<Weight>> =
        groups.iter().map(|group| code(group).filter(is_known).map(Weight)).collect();
    let weights = weights?;
    let sum: u128 = weights.iter().map(|weight| u128::from(weight.parts())).sum();
    // each share was rounded by at most 2^-19 of itself
    let distance = sum.abs_diff(u128::from(PARTS));
    (distance <= u128::from(PARTS >> 18)).then_some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Common factors and the order do not matter; the text keeps every bit.
        #[test]
        fn weights_are_shares(
            weights in proptest::collection::vec(1e-6_f64..1e6, 1..40), factor in 1e-3_f64..1e3,
        ) {
            let Ok(shares) = normalised(&weights) else { return Ok(()) };
            let sum: f64 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = weight / sum;
                prop_assert!((share.share() - exact).abs() <= exact / f64::from(1 << 19));
            }
            let scaled: Vec<f64> = weights.iter().map(|weight| weight * factor).collect();
            prop_assert_eq!(&normalised(&scaled).unwrap(), &shares);
            let reversed: Vec<f64> = weights.iter().rev().copied().collect();
            let back: Vec<Weight> = normalised(&reversed).unwrap().into_iter().rev().collect();
            prop_assert_eq!(&back, &shares);
            prop_assert_eq!(encode(&shares).len(), WIDTH * shares.len());
            prop_assert_eq!(decode(&encode(&shares)), Some(shares));
        }

        #[test]
        fn any_text_is_refused_or_sums_to_one(text in "[A-Za-z0-9_=-]{0,12}") {
            if let Some(weights) = decode(&text) {
                let sum: f64 = weights.iter().map(|weight| weight.share()).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5);
                prop_assert_eq!(encode(&weights), text);
            }
        }
    }

    #[test]
    fn the_largest_and_the_smallest_share_are_exact() {
        assert_eq!(normalised(&[7.0]).unwrap()[0].parts(), PARTS);
        let smallest = normalised(&[1.0, 1.0 / (4_294_967_295.0)]).unwrap()[1];
        assert_eq!(smallest.parts(), PARTS >> 32);
        assert!(normalised(&[1.0, 1e-10]).is_err());
    }
}
