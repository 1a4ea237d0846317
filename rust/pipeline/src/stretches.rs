//! Finds the stretches of a long document that are held out for validation.
//!
//! ```text
//! share = fraction × n                          bytes to hold out of the document's n
//! hash = SHA-256(seed as 8 bytes, text)         draw(i) = first 8 bytes of SHA-256(hash, i)
//! if n <= MIN_STRETCH:       the whole document is held out or not, as a short one always is
//! if share < MIN_STRETCH:    one stretch of MIN_STRETCH bytes, with probability share / MIN_STRETCH
//! else:                      k = floor(share / MAX_STRETCH), at least 1, blocks of n / k bytes;
//!                            in each, one stretch of fraction × block bytes
//! a stretch starts at a place that draw(block) chooses; its ends move to the nearest line start
//! within a quarter of its length, else to the character that they are in
//! ```
//!
//! Numbers that are hashed are little-endian. So the stretches are a function of text, fraction
//! and seed alone, and equal documents have equal ones.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// Bytes of a stretch, at least: some lines, so that more than its beginning is predicted in
/// context.
pub(crate) const MIN_STRETCH: usize = 256;
/// Bytes of a stretch from which a document has several: more than any model's context, and enough
/// stretches of a large document that they are from all parts of it.
const MAX_STRETCH: usize = 64 << 10;

/// Returns the ranges of `text` that are held out, in order and disjoint; each begins and ends on a
/// character. `text` has more than [`MIN_STRETCH`] bytes.
pub(crate) fn held_out(text: &str, fraction: f64, seed: u64) -> Vec<Range<usize>> {
    let n = text.len();
    let hash: [u8; 32] = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(text.as_bytes())
        .finalize()
        .into();
    let share = fraction * n as f64;
    if share < MIN_STRETCH as f64 {
        let is_chosen =
            (draw(&hash, 1) >> 11) as f64 / (1_u64 << 53) as f64 * (MIN_STRETCH as f64) < share;
        let stretch = || stretch(text, 0..n, MIN_STRETCH, draw(&hash, 0));
        return is_chosen.then(stretch).into_iter().collect();
    }
    let n_blocks = ((share / MAX_STRETCH as f64) as usize).max(1);
    let bound = |block: usize| (block as u128 * n as u128 / n_blocks as u128) as usize;
    let blocks = (0..n_blocks).map(|block| (block, bound(block)..bound(block + 1)));
    blocks
        .map(|(index, block)| {
            let len = (fraction * block.len() as f64) as usize;
            stretch(text, block, len, draw(&hash, index as u64))
        })
        .collect()
}

/// Returns random number `index` of a document.
fn draw(hash: &[u8; 32], index: u64) -> u64 {
    let digest = Sha256::new().chain_update(hash).chain_update(index.to_le_bytes()).finalize();
    digest.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns a stretch of about `len` bytes of `block` at the place that `draw` chooses.
fn stretch(text: &str, block: Range<usize>, len: usize, draw: u64) -> Range<usize> {
    let n_places = (block.len() - len + 1) as u128;
    let start = block.start + ((u128::from(draw) * n_places) >> 64) as usize;
    let slack = len / 4;
    boundary(text, start, slack, &block)..boundary(text, start + len, slack, &block)
}

/// Returns the line start nearest to `offset` that is in `block` and at most `slack` bytes away, the
/// earlier of two; without one the start of the character at `offset`.
fn boundary(text: &str, offset: usize, slack: usize, block: &Range<usize>) -> usize {
    let bytes = text.as_bytes();
    let is_line_start =
        |at: &usize| *at == 0 || *at == bytes.len() || bytes.get(*at - 1) == Some(&b'\n');
    let mut before = (offset.saturating_sub(slack).max(block.start)..=offset).rev();
    let mut after = offset + 1..=(offset + slack).min(block.end);
    match (before.find(is_line_start), after.find(is_line_start)) {
        (Some(before), Some(after)) if after - offset < offset - before => after,
        (Some(before), _) => before,
        (None, Some(after)) => after,
        (None, None) => text.floor_char_boundary(offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns lines of different lengths, `n` bytes or a few more.
    fn lines(n: usize) -> String {
        let mut text = String::new();
        for index in 0.. {
            if text.len() >= n {
                break;
            }
            text.push_str(&"wörd ".repeat(index % 13));
            text.push_str(&index.to_string());
            text.push('\n');
        }
        text
    }

    #[test]
    fn stretches_are_disjoint_on_lines_and_of_the_chosen_share() {
        for (n, fraction) in [(300, 0.9), (5_000, 0.1), (1_000_000, 0.005), (3_000_000, 0.3)] {
            for seed in 0..20 {
                let text = lines(n);
                let ranges = held_out(&text, fraction, seed);
                let share = fraction * text.len() as f64;
                assert_eq!(ranges.len(), ((share / 65_536.0) as usize).max(1));
                let mut last = 0;
                for range in &ranges {
                    assert!(last <= range.start && range.start < range.end, "{ranges:?}");
                    for end in [range.start, range.end] {
                        assert!(end == 0 || text.as_bytes()[end - 1] == b'\n');
                    }
                    last = range.end;
                }
                let n_held_out: usize = ranges.iter().map(Range::len).sum();
                let error = (n_held_out as f64 - share).abs();
                assert!(error <= 80.0 * ranges.len() as f64, "{error} of {share}");
            }
        }
    }

    #[test]
    fn a_small_share_is_one_stretch_of_some_documents() {
        let texts: Vec<String> = (0..2_000).map(|n| format!("{n}\n{}", lines(2_000))).collect();
        let ranges: Vec<_> = texts.iter().flat_map(|text| held_out(text, 0.02, 7)).collect();
        // 2,000 documents × 2,000 bytes × 0.02 / 256 = 313; five standard deviations of 17
        assert!((228..=398).contains(&ranges.len()), "{}", ranges.len());
        assert!(ranges.iter().all(|range| (128..=384).contains(&range.len())));
    }

    #[test]
    fn text_without_lines_is_cut_between_characters() {
        for seed in 0..50 {
            for range in held_out(&"好".repeat(1_000), 0.1, seed) {
                assert!(range.start % 3 == 0 && range.end % 3 == 0);
                let is_at_end = range.start == 0 || range.end == 3_000;
                assert!(is_at_end || (297..=303).contains(&range.len()), "{range:?}");
            }
        }
    }
}
