//! Divides the inputs of a job into units of work.
//!
//! A partition is a run of small inputs, one input, or a part of a large one. Partitions are a pure
//! function of the inputs' sizes, in their order, and one target size; threads and machines play no
//! part. So a partition has the same output on any machine, a killed job resumes at the first
//! partition that is missing, and a cluster writes the same bytes as one machine.

use std::ops::Range;

/// The size of one input, and where a partition may end inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSize {
    /// Its size in bytes, as stored.
    pub size: u64,
    /// Where it may be split.
    pub split_points: SplitPoints,
}

/// Where an input may be split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitPoints {
    /// Nowhere: a compressed stream, or a file that is one document.
    Nowhere,
    /// At any byte; a reader then starts at the first document that starts in its range.
    Bytes,
    /// Between units of these sizes in bytes, such as the row groups of a Parquet file.
    Units(Vec<u64>),
}

/// A part of one input, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The index of the input.
    pub input: usize,
    /// A byte range for [`SplitPoints::Bytes`], a range of unit numbers for
    /// [`SplitPoints::Units`]; `None` for the whole input.
    pub range: Option<Range<u64>>,
    /// The size in bytes, as stored.
    pub size: u64,
}

/// A unit of work: segments that one worker reads in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The index of this partition in its job.
    pub index: usize,
    /// What it reads, in order.
    pub segments: Vec<Segment>,
}

impl Partition {
    /// Returns the size in bytes, as stored.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }
}

/// Divides `inputs` into partitions of about `target` bytes, in the order of the inputs.
///
/// Small inputs are joined until the next would exceed `target`. A larger one is split into
/// segments of `target` bytes, the last one shorter, or is a partition of its own if it cannot be
/// split. Empty inputs join their neighbours, so that each input is in a partition.
///
/// ```
/// use lslm_runtime::partition::{InputSize, SplitPoints, partition};
///
/// let sizes = [3, 4, 25];
/// let inputs = sizes.map(|size| InputSize { size, split_points: SplitPoints::Bytes });
/// let partitions = partition(&inputs, 10);
/// let sizes: Vec<u64> = partitions.iter().map(|partition| partition.size()).collect();
/// assert_eq!(sizes, [7, 10, 10, 5]);
/// ```
pub fn partition(inputs: &[InputSize], target: u64) -> Vec<Partition> {
    let target = target.max(1);
    let mut partitions: Vec<Vec<Segment>> = Vec::new();
    let mut open: Vec<Segment> = Vec::new();
    let mut open_size = 0;
    for (index, input) in inputs.iter().enumerate() {
        if input.size <= target {
            if open_size + input.size > target {
                partitions.push(std::mem::take(&mut open));
                open_size = 0;
            }
            open_size += input.size;
            open.push(Segment { input: index, range: None, size: input.size });
            continue;
        }
        if !open.is_empty() {
            partitions.push(std::mem::take(&mut open));
            open_size = 0;
        }
        partitions.extend(split(index, input, target).into_iter().map(|segment| vec![segment]));
    }
    if !open.is_empty() {
        partitions.push(open);
    }
    partitions
        .into_iter()
        .enumerate()
        .map(|(index, segments)| Partition { index, segments })
        .collect()
}

/// Returns the segments of an input that is larger than `target`.
fn split(index: usize, input: &InputSize, target: u64) -> Vec<Segment> {
    match &input.split_points {
        SplitPoints::Nowhere => vec![Segment { input: index, range: None, size: input.size }],
        SplitPoints::Bytes => (0..input.size)
            .step_by(usize::try_from(target).unwrap_or(usize::MAX))
            .map(|start| {
                let end = input.size.min(start.saturating_add(target));
                Segment { input: index, range: Some(start..end), size: end - start }
            })
            .collect(),
        SplitPoints::Units(sizes) => {
            let mut segments = Vec::new();
            let (mut first, mut size) = (0, 0);
            for (unit, unit_size) in sizes.iter().enumerate() {
                let unit = unit as u64;
                if unit > first && size + unit_size > target {
                    segments.push(Segment { input: index, range: Some(first..unit), size });
                    (first, size) = (unit, 0);
                }
                size += unit_size;
            }
            segments.push(Segment { input: index, range: Some(first..sizes.len() as u64), size });
            segments
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_inputs_are_joined_and_large_ones_split() {
        let bytes = |size| InputSize { size, split_points: SplitPoints::Bytes };
        let partitions = partition(&[bytes(3), bytes(4), bytes(25), bytes(0), bytes(9)], 10);
        let shape: Vec<Vec<(usize, Option<Range<u64>>)>> = partitions
            .iter()
            .map(|p| p.segments.iter().map(|s| (s.input, s.range.clone())).collect())
            .collect();
        assert_eq!(
            shape,
            vec![
                vec![(0, None), (1, None)],
                vec![(2, Some(0..10))],
                vec![(2, Some(10..20))],
                vec![(2, Some(20..25))],
                vec![(3, None), (4, None)],
            ]
        );
    }

    fn inputs() -> impl Strategy<Value = Vec<InputSize>> {
        let input = (0_u64..100, 0..3, proptest::collection::vec(1_u64..40, 1..6)).prop_map(
            |(size, kind, units)| match kind {
                0 => InputSize { size, split_points: SplitPoints::Nowhere },
                1 => InputSize { size, split_points: SplitPoints::Bytes },
                _ => {
                    InputSize { size: units.iter().sum(), split_points: SplitPoints::Units(units) }
                }
            },
        );
        proptest::collection::vec(input, 0..12)
    }

    proptest! {
        #[test]
        fn each_input_is_read_once_in_order_without_gaps(inputs in inputs(), target in 1_u64..60) {
            let partitions = partition(&inputs, target);
            let segments: Vec<&Segment> = partitions.iter().flat_map(|p| &p.segments).collect();
            prop_assert!(segments.is_sorted_by_key(|segment| segment.input));
            for (index, input) in inputs.iter().enumerate() {
                let own: Vec<_> = segments.iter().filter(|s| s.input == index).collect();
                prop_assert!(!own.is_empty());
                prop_assert_eq!(own.iter().map(|s| s.size).sum::<u64>(), input.size);
                let mut next = 0;
                for segment in own {
                    let end = match &input.split_points {
                        SplitPoints::Units(units) => units.len() as u64,
                        _ => input.size,
                    };
                    let range = segment.range.clone().unwrap_or(0..end);
                    prop_assert_eq!(range.start, next);
                    next = range.end;
                }
            }
        }
    }
}
