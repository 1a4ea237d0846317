//! Which tokens are the samples of an epoch.

use std::ops::Range;

use lslm_runtime::{Error, Result};

use crate::order::{Order, keys, stream};

/// Windows of T + 1 tokens at stride T over the tokens of one source.
///
/// The first T tokens of a window are inputs, the last T are targets, so neighbours share a token
/// and no target is lost between them. With shuffling, each epoch starts at another token, so that
/// windows split documents at other positions; the tokens before it and an incomplete window at the
/// end are left out. Every epoch has the same number n of windows, so sample k is in epoch k / n.
///
/// ```
/// use lslm_dataset::Windows;
///
/// let windows = Windows::new(101, 10, 0, 0, false)?;
/// assert_eq!((windows.n_windows(), windows.left_out()), (10, 0));
/// assert_eq!(windows.epoch(0).start(3), 30);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    n_tokens: u64,
    length: u64,
    seed: u64,
    stream: u64,
    shuffle: bool,
    count: u64,
    /// The number of tokens that an epoch may start at.
    n_offsets: u64,
}

/// One pass over the windows of a source.
#[derive(Clone, Debug)]
pub struct Epoch {
    number: u64,
    offset: u64,
    length: u64,
    count: u64,
    order: Option<Order>,
}

impl Windows {
    /// Returns the windows of `length` + 1 tokens over `n_tokens` tokens. `stream` selects the
    /// orders of the source: [`stream::windows`] of its name.
    ///
    /// [`Error::Invalid`] if the tokens are too few for one window.
    pub fn new(
        n_tokens: u64,
        length: usize,
        seed: u64,
        stream: u64,
        shuffle: bool,
    ) -> Result<Self> {
        let length = length as u64;
        if length == 0 {
            return Err(Error::invalid("sequence_length = 0: choose at least 1"));
        }
        let max = n_tokens.saturating_sub(1) / length;
        if max == 0 {
            return Err(Error::invalid(format!(
                "sequence_length = {length}: a sample needs {} tokens, the dataset has {n_tokens}; \
                 choose a shorter one",
                length.saturating_add(1)
            )));
        }
        // after any of T first tokens there is room for ⌊n/T⌋ − 1 windows; with fewer than 2 T
        // tokens that is none, so an epoch starts where one window fits
        let (count, n_offsets) = match (shuffle, n_tokens / length - 1) {
            (false, _) => (max, 1),
            (true, 0) => (max, n_tokens - max * length),
            (true, count) => (count, length),
        };
        Ok(Self { n_tokens, length, seed, stream, shuffle, count, n_offsets })
    }

    /// Returns the number of windows of an epoch, equal for all epochs.
    pub fn n_windows(&self) -> u64 {
        self.count
    }

    /// Returns the number of targets of a window.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of tokens.
    pub fn n_tokens(&self) -> u64 {
        self.n_tokens
    }

    /// Returns how many tokens of each epoch are in no window.
    pub fn left_out(&self) -> u64 {
        self.n_tokens - (self.count * self.length + 1)
    }

    /// Returns pass `number`, from 0.
    pub fn epoch(&self, number: u64) -> Epoch {
        let Self { seed, stream, length, .. } = *self;
        let offset = if self.shuffle {
            // multiply-shift: the bias is n_offsets / 2^64, below 2^-32 for any length below 2^32
            let random = keys(seed, number, stream::offsets(stream))[0];
            ((u128::from(random) * u128::from(self.n_offsets)) >> 64) as u64
        } else {
            0
        };
        let order = self.shuffle.then(|| Order::new(self.count, seed, number, stream));
        Epoch { number, offset, length, count: self.count, order }
    }
}

impl Epoch {
    /// Returns pass `number` over `count` rows that are not windows: [`start`](Self::start) is the
    /// number of a row.
    pub(crate) fn of_rows(number: u64, count: u64, order: Option<Order>) -> Self {
        Self { number, offset: 0, length: 1, count, order }
    }

    /// Returns the index of row `row` in the order of this epoch: the inverse of
    /// [`start`](Self::start) for rows that are not windows.
    pub(crate) fn index_of_row(&self, row: u64) -> u64 {
        self.order.as_ref().map_or(row, |order| order.inverse(row))
    }

    /// Returns the number of the pass, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the first token of the window that is at `index` in the order of this epoch.
    pub fn start(&self, index: u64) -> u64 {
        let window = self.order.as_ref().map_or(index, |order| order.at(index));
        self.offset + window * self.length
    }

    /// Returns the windows, of L + 1 tokens each, that have one of the tokens of `span`: the index
    /// of each in the order of this epoch, and its first token.
    pub fn windows_of(&self, span: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let first = span.start.saturating_sub(self.offset + 1) / self.length;
        let last = span.end.saturating_sub(self.offset).div_ceil(self.length).min(self.count);
        let stop = if span.is_empty() { first } else { last };
        (first..stop).map(|window| {
            let index = self.order.as_ref().map_or(window, |order| order.inverse(window));
            (index, self.offset + window * self.length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each target at most once, all of them inside, and fewer than 2 T tokens left out.
        #[test]
        fn an_epoch_has_each_target_at_most_once(
            n_tokens in 2_u64..400, length in 1_usize..40, seed: u64, epoch: u64, shuffle: bool,
            span in 0_u64..100,
        ) {
            let Ok(windows) = Windows::new(n_tokens, length, seed, 0, shuffle) else {
                prop_assert!(n_tokens <= length as u64);
                return Ok(());
            };
            let pass = windows.epoch(epoch);
            let mut targets = vec![0; n_tokens as usize];
            for index in 0..windows.n_windows() {
                let start = pass.start(index) as usize;
                prop_assert!(start + length < n_tokens as usize);
                targets[start + 1..=start + length].iter_mut().for_each(|count| *count += 1);
            }
            prop_assert!(targets.iter().all(|count| *count <= 1));
            let span = n_tokens / 3..n_tokens / 3 + span.min(n_tokens - n_tokens / 3);
            let has = |start: &u64| *start < span.end && span.start <= start + length as u64;
            let mut expected: Vec<(u64, u64)> =
                (0..windows.n_windows()).map(|index| (index, pass.start(index))).collect();
            expected.retain(|(_, start)| has(start) && !span.is_empty());
            expected.sort_unstable_by_key(|(_, start)| *start);
            prop_assert_eq!(pass.windows_of(span.clone()).collect::<Vec<_>>(), expected);
            let covered = targets.iter().filter(|count| **count == 1).count() as u64;
            prop_assert_eq!(covered + 1 + windows.left_out(), n_tokens);
            let max_left_out = if shuffle { 2 * length } else { length };
            prop_assert!(windows.left_out() < max_left_out as u64);
            if !shuffle {
                prop_assert_eq!(pass.start(0), 0);
            }
        }
    }

    #[test]
    fn epochs_start_at_different_tokens() {
        let windows = Windows::new(100_000, 1000, 1, 0, true).unwrap();
        let firsts: std::collections::BTreeSet<u64> =
            (0..100).map(|number| windows.epoch(number).start(0) % 1000).collect();
        assert!(firsts.len() > 80, "{}", firsts.len());
        assert!(firsts.first().unwrap() < &100 && firsts.last().unwrap() > &900);
    }
}
