//! How the inputs are cut into units of work.
//!
//! A partition is a run of small inputs, one input, or a part of a large one. The cut is a pure
//! function of the inputs' sizes, in their order, and one target size: it never depends on threads
//! or machines. So whoever computes a partition computes the same bytes, a killed job goes on at
//! the first partition that is missing, and a cluster's output equals one machine's.

use std::ops::Range;

/// One input, as far as cutting is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its size in bytes, as stored.
    pub size: u64,
    /// Where it may be cut.
    pub cuts: Cuts,
}

/// Where an input may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Nowhere: a compressed stream or a file without separators.
    Nowhere,
    /// At any byte; a reader then starts at the first document that begins in its range.
    Bytes,
    /// Between units of these sizes in bytes, such as the row groups of a Parquet file.
    Units(Vec<u64>),
}

/// A part of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which input, by its place in the list.
    pub input: usize,
    /// Which part: bytes for [`Cuts::Bytes`], unit numbers for [`Cuts::Units`], all for `None`.
    pub range: Option<Range<u64>>,
    /// The size of this part in bytes, as stored.
    pub size: u64,
}

/// A unit of work: pieces that one worker reads in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the order of partitions.
    pub index: usize,
    /// What it reads, in order.
    pub pieces: Vec<Piece>,
}

impl Partition {
    /// The bytes that this partition reads, as stored.
    pub fn size(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.size).sum()
    }
}

/// Cuts `inputs` into partitions of about `target` bytes, in the order of the inputs.
///
/// Small inputs are joined until the next would pass `target`; a large one that may be cut becomes
/// pieces of `target` bytes, the last one shorter; one that may not be cut is a partition of its
/// own. Empty inputs stay with their neighbours, so that each input occurs.
pub fn partition(inputs: &[Input], target: u64) -> Vec<Partition> {
    let target = target.max(1);
    let mut partitions: Vec<Vec<Piece>> = Vec::new();
    let mut open: Vec<Piece> = Vec::new();
    let mut open_size = 0;
    for (index, input) in inputs.iter().enumerate() {
        if input.size <= target {
            if open_size + input.size > target {
                partitions.push(std::mem::take(&mut open));
                open_size = 0;
            }
            open_size += input.size;
            open.push(Piece { input: index, range: None, size: input.size });
            continue;
        }
        if !open.is_empty() {
            partitions.push(std::mem::take(&mut open));
            open_size = 0;
        }
        partitions.extend(cut(index, input, target).into_iter().map(|piece| vec![piece]));
    }
    if !open.is_empty() {
        partitions.push(open);
    }
    partitions.into_iter().enumerate().map(|(index, pieces)| Partition { index, pieces }).collect()
}

fn cut(index: usize, input: &Input, target: u64) -> Vec<Piece> {
    match &input.cuts {
        Cuts::Nowhere => vec![Piece { input: index, range: None, size: input.size }],
        Cuts::Bytes => (0..input.size)
            .step_by(usize::try_from(target).unwrap_or(usize::MAX))
            .map(|start| {
                let end = input.size.min(start.saturating_add(target));
                Piece { input: index, range: Some(start..end), size: end - start }
            })
            .collect(),
        Cuts::Units(sizes) => {
            let mut pieces = Vec::new();
            let (mut first, mut size) = (0, 0);
            for (unit, unit_size) in sizes.iter().enumerate() {
                let unit = unit as u64;
                if unit > first && size + unit_size > target {
                    pieces.push(Piece { input: index, range: Some(first..unit), size });
                    (first, size) = (unit, 0);
                }
                size += unit_size;
            }
            pieces.push(Piece { input: index, range: Some(first..sizes.len() as u64), size });
            pieces
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_inputs_join_and_large_ones_are_cut() {
        let bytes = |size| Input { size, cuts: Cuts::Bytes };
        let parts = partition(&[bytes(3), bytes(4), bytes(25), bytes(0), bytes(9)], 10);
        let shape: Vec<Vec<(usize, Option<Range<u64>>)>> = parts
            .iter()
            .map(|p| p.pieces.iter().map(|piece| (piece.input, piece.range.clone())).collect())
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

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let input = (0_u64..100, 0..3, proptest::collection::vec(1_u64..40, 1..6)).prop_map(
            |(size, kind, units)| match kind {
                0 => Input { size, cuts: Cuts::Nowhere },
                1 => Input { size, cuts: Cuts::Bytes },
                _ => Input { size: units.iter().sum(), cuts: Cuts::Units(units) },
            },
        );
        proptest::collection::vec(input, 0..12)
    }

    proptest! {
        /// Each input is read exactly once, in order, without gap or overlap.
        #[test]
        fn nothing_is_lost_or_read_twice(inputs in inputs(), target in 1_u64..60) {
            let parts = partition(&inputs, target);
            let pieces: Vec<&Piece> = parts.iter().flat_map(|p| &p.pieces).collect();
            prop_assert!(pieces.is_sorted_by_key(|piece| piece.input));
            for (index, input) in inputs.iter().enumerate() {
                let own: Vec<_> = pieces.iter().filter(|p| p.input == index).collect();
                prop_assert!(!own.is_empty());
                prop_assert_eq!(own.iter().map(|p| p.size).sum::<u64>(), input.size);
                let mut next = 0;
                for piece in own {
                    let end = match &input.cuts {
                        Cuts::Units(units) => units.len() as u64,
                        _ => input.size,
                    };
                    let range = piece.range.clone().unwrap_or(0..end);
                    prop_assert_eq!(range.start, next);
                    next = range.end;
                }
            }
        }
    }
}
