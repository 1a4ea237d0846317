//! Which tokens are the samples of an epoch.

use lslm_runtime::{Error, Result};

use crate::order::{Order, keys, stream};

/// Windows of T + 1 tokens at stride T over the tokens of one source: T inputs, and the same moved
/// by one as targets, so that neighbours share a token and no target is lost between them.
///
/// With shuffling, each epoch begins at another token, so that documents are cut at other places;
/// the tokens before it and an incomplete window at the end are left out. The number of windows is
/// the same in each epoch, so sample k is in epoch k / n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    n_tokens: u64,
    length: u64,
    seed: u64,
    source: usize,
    shuffle: bool,
    count: u64,
    /// The first token of an epoch is below this.
    offsets: u64,
}

/// One pass over the windows of a source.
#[derive(Clone, Debug)]
pub struct Epoch {
    number: u64,
    offset: u64,
    length: u64,
    order: Option<Order>,
}

impl Windows {
    /// The windows of `length` + 1 tokens over `n_tokens` tokens. `source` is the place of the
    /// source in its mixture, and makes equal sources differ in their order.
    ///
    /// [`Error::Invalid`] if there is not one window.
    pub fn new(
        n_tokens: u64,
        length: usize,
        seed: u64,
        source: usize,
        shuffle: bool,
    ) -> Result<Self> {
        let length = length as u64;
        if length == 0 {
            return Err(Error::invalid("sequence_length = 0: choose at least 1"));
        }
        let most = n_tokens.saturating_sub(1) / length;
        if most == 0 {
            return Err(Error::invalid(format!(
                "sequence_length = {length}: a sample needs {} tokens, the dataset has {n_tokens}",
                length.saturating_add(1)
            )));
        }
        // Any of T first tokens leaves room for this many windows; with fewer than 2 T tokens
        // there is only the room that one window leaves.
        let (count, offsets) = match (shuffle, n_tokens / length - 1) {
            (false, _) => (most, 1),
            (true, 0) => (most, n_tokens - most * length),
            (true, count) => (count, length),
        };
        Ok(Self { n_tokens, length, seed, source, shuffle, count, offsets })
    }

    /// How many windows an epoch has, the same for each.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many tokens of each epoch are in no window.
    pub fn left_out(&self) -> u64 {
        self.n_tokens - (self.count * self.length + 1)
    }

    /// The pass number `number`, from 0.
    pub fn epoch(&self, number: u64) -> Epoch {
        let Self { seed, source, length, .. } = *self;
        let offset = if self.shuffle {
            // the bias of a multiplication in 128 bits is below 2^-32 for any real length
            let random = keys(seed, number, stream::offsets(source))[0];
            ((u128::from(random) * u128::from(self.offsets)) >> 64) as u64
        } else {
            0
        };
        let order =
            self.shuffle.then(|| Order::new(self.count, seed, number, stream::windows(source)));
        Epoch { number, offset, length, order }
    }
}

impl Epoch {
    /// Which pass this is, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The first token of window `index` in the order of this epoch.
    pub fn start(&self, index: u64) -> u64 {
        let window = self.order.as_ref().map_or(index, |order| order.at(index));
        self.offset + window * self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each target at most once, all inside, and no more left out than is promised.
        #[test]
        fn an_epoch_covers_the_tokens(
            n_tokens in 2_u64..400, length in 1_usize..40, seed: u64, epoch: u64, shuffle: bool,
        ) {
            let Ok(windows) = Windows::new(n_tokens, length, seed, 0, shuffle) else {
                prop_assert!(n_tokens <= length as u64);
                return Ok(());
            };
            let pass = windows.epoch(epoch);
            let mut targets = vec![0; n_tokens as usize];
            for index in 0..windows.count() {
                let start = pass.start(index) as usize;
                prop_assert!(start + length < n_tokens as usize);
                targets[start + 1..=start + length].iter_mut().for_each(|count| *count += 1);
            }
            prop_assert!(targets.iter().all(|count| *count <= 1));
            let covered = targets.iter().filter(|count| **count == 1).count() as u64;
            prop_assert_eq!(covered + 1 + windows.left_out(), n_tokens);
            let most_left = if shuffle { 2 * length } else { length };
            prop_assert!(windows.left_out() < most_left as u64);
            if !shuffle {
                prop_assert_eq!(pass.start(0), 0);
            }
        }
    }

    #[test]
    fn epochs_begin_at_other_tokens() {
        let windows = Windows::new(100_000, 1000, 1, 0, true).unwrap();
        let firsts: std::collections::BTreeSet<u64> =
            (0..100).map(|number| windows.epoch(number).start(0) % 1000).collect();
        assert!(firsts.len() > 80, "{}", firsts.len());
        assert!(firsts.first().unwrap() < &100 && firsts.last().unwrap() > &900);
    }
}
