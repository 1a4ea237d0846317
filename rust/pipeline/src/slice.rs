//! Slices of a job: which partitions each of several processes computes.

use std::fmt;
use std::str::FromStr;

use lslm_runtime::{Error, Result};

/// One of several slices of the partitions of a job: of 16, the third has the partitions 2, 18, 34, …
///
/// ```
/// use lslm_pipeline::Slice;
///
/// let third: Slice = "3/16".parse()?;
/// let own: Vec<usize> = (0..40).filter(|partition| third.contains(*partition)).collect();
/// assert_eq!(own, [2, 18, 34]);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// From 1 to `of`.
    index: usize,
    of: usize,
}

impl Slice {
    /// Returns its number, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// Returns the number of slices.
    pub fn of(self) -> usize {
        self.of
    }

    /// Returns whether a partition, counted from 0, belongs to it.
    pub fn contains(self, partition: usize) -> bool {
        partition % self.of == self.index - 1
    }

    /// Returns the slice of a partition.
    pub(crate) fn of_partition(partition: usize, of: usize) -> Self {
        Self { index: partition % of + 1, of }
    }
}

impl FromStr for Slice {
    type Err = Error;

    /// Parses `3/16`. Anything else is an [`Error::Invalid`].
    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('/').and_then(|(index, of)| {
            Some((index.parse::<usize>().ok()?, of.parse::<usize>().ok()?))
        });
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            Some((_, of)) if of > 0 => Err(Error::invalid(format!(
                "partitions = {text:?}: slices are counted from 1, choose 1/{of} to {of}/{of}"
            ))),
            _ => Err(Error::invalid(format!(
                "partitions = {text:?}: name a slice and their number, such as 3/16"
            ))),
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// How much of a job a slice was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceCount {
    /// The slice.
    pub slice: Slice,
    /// Its partitions, all of which are finished.
    pub n_partitions: usize,
    /// The partitions of the job.
    pub n_partitions_total: usize,
    /// Those of them that no slice had finished when this one ended.
    pub n_partitions_left: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_belongs_to_one_slice() {
        for of in 1..6 {
            for partition in 0..20 {
                let own = (1..=of).filter(|index| Slice { index: *index, of }.contains(partition));
                let expected = Slice::of_partition(partition, of);
                assert_eq!(own.collect::<Vec<_>>(), [expected.index]);
            }
        }
    }

    #[test]
    fn what_is_not_a_slice_is_refused_with_what_to_write() {
        let error = |text: &str| text.parse::<Slice>().unwrap_err().to_string();
        for text in ["", "3", "3/", "/16", "a/b", "1/0", "-1/4", "3/16/2", "1.5/2"] {
            assert!(error(text).contains("such as 3/16"), "{text}");
        }
        for text in ["0/16", "17/16"] {
            assert!(error(text).contains("choose 1/16 to 16/16"), "{text}");
        }
    }
}
