//! The distribution of each signal over documents, beside its limit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::Measure;

/// The values of one measure over many documents.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Signal {
    /// The limit.
    pub limit: f64,
    /// Whether the limit is the largest value that passes, not the smallest; `None` while every value
    /// equals it.
    pub is_maximum: Option<bool>,
    /// The documents that were measured.
    pub documents: u64,
    /// Those whose value is outside the limit, whichever measure dropped them.
    pub failed: u64,
    /// The number of documents by value, in thousandths: values up to 1 with three decimals, larger
    /// ones with two digits.
    pub values: BTreeMap<i64, u64>,
}

impl Signal {
    /// Adds one document.
    pub fn add(&mut self, measure: &Measure) {
        self.limit = measure.limit;
        self.documents += 1;
        self.failed += u64::from(!measure.passed);
        if measure.value > measure.limit {
            self.is_maximum = Some(!measure.passed);
        } else if measure.value < measure.limit {
            self.is_maximum = Some(measure.passed);
        }
        *self.values.entry(thousandths(measure.value)).or_default() += 1;
    }

    /// Adds the documents of `other`, which has the same limit.
    pub fn merge(&mut self, other: Self) {
        self.limit = other.limit;
        self.is_maximum = self.is_maximum.or(other.is_maximum);
        self.documents += other.documents;
        self.failed += other.failed;
        for (value, count) in other.values {
            *self.values.entry(value).or_default() += count;
        }
    }
}

/// Returns a value in thousandths, rounded to few enough values for a table.
fn thousandths(value: f64) -> i64 {
    let size = value.abs();
    if size <= 1.0 || !size.is_finite() {
        return (value * 1000.0).round() as i64;
    }
    let step = 10_f64.powf(size.log10().floor() - 1.0);
    ((value / step).round() * step * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_decimals_or_two_digits() {
        for (value, expected) in [
            (0.0, 0),
            (0.12345, 123),
            (1.0, 1000),
            (3.17, 3200),
            (99.6, 100_000),
            (12345.0, 12_000_000),
        ] {
            assert_eq!(thousandths(value), expected, "{value}");
        }
    }

    #[test]
    fn the_side_of_the_limit_follows_from_the_values() {
        let measure = |value: f64, passed: bool| Measure {
            name: "a.b".to_owned(),
            value,
            limit: 2.0,
            passed,
        };
        let mut signal = Signal::default();
        signal.add(&measure(2.0, true));
        assert_eq!(signal.is_maximum, None);
        signal.add(&measure(3.0, false));
        assert_eq!((signal.is_maximum, signal.documents, signal.failed), (Some(true), 2, 1));
        let mut other = Signal::default();
        other.add(&measure(3.0, true));
        assert_eq!(other.is_maximum, Some(false));
    }
}
