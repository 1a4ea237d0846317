//! Which bytes of the original text each part of a normalised text came from.

/// Pairs of (offset in the normalised text, offset in the original), ascending in both: the ends of
/// parts that came from each other. The first pair is (0, 0), the last the two lengths.
pub(crate) type Alignment = Vec<(usize, usize)>;

/// Returns the alignment of two steps, where `second` is from the result of `first`.
pub(super) fn compose(first: &[(usize, usize)], second: &[(usize, usize)]) -> Alignment {
    second
        .iter()
        .filter_map(|&(offset, middle)| {
            let found = first.partition_point(|&(changed, _)| changed < middle);
            // An end of the second step that is none of the first is dropped.
            first
                .get(found)
                .filter(|&&(changed, _)| changed == middle)
                .map(|&(_, origin)| (offset, origin))
        })
        .collect()
}

/// Returns the range of the original that `start..end` of the normalised text came from: the
/// smallest that ends where parts end.
pub(crate) fn origin(alignment: &[(usize, usize)], start: usize, end: usize) -> (usize, usize) {
    let from = alignment.partition_point(|&(changed, _)| changed <= start);
    let to = alignment.partition_point(|&(changed, _)| changed < end);
    let from = from.checked_sub(1).and_then(|i| alignment.get(i)).map_or(0, |&(_, origin)| origin);
    let to = alignment.get(to).or(alignment.last()).map_or(from, |&(_, origin)| origin);
    (from, to.max(from))
}
