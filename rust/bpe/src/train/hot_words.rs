//! The words that came lately, before they reach a table.
//!
//! Few words make up most of a text. They are counted in a small table that stays near the
//! processor, with one place for each word: a word that finds another one in its place takes it,
//! and the other one goes on, with its count, to the table that holds all words. What that table
//! needs is seldom in a cache; it is asked for some time before it is used, for many words at once.

use super::word_table::{EMPTY, Entry, Key, SHORT, Table, hash_long};

/// How many places there are: 384 kB, which a second-level cache holds.
const PLACES: usize = if cfg!(test) { 1 << 5 } else { 1 << 14 };
/// How many words are looked at together.
const BATCH: usize = 256;
/// How many words leave at most before they are passed on.
const LEAVING: usize = 2 * BATCH;

/// Words on their way into a table.
#[derive(Clone)]
pub(super) struct Recent {
    places: Box<[Entry; PLACES]>,
    leaving: Box<[Entry; LEAVING]>,
    length: usize,
    /// The long words of a batch: hash, start and end. They have no place here.
    long: Vec<(u64, usize, usize)>,
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: empty(), leaving: empty(), length: 0, long: Vec::new() }
    }
}

#[allow(clippy::unnecessary_box_returns)] // the array is too large for the stack
fn empty<const N: usize>() -> Box<[Entry; N]> {
    vec![EMPTY; N].into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([EMPTY; N]))
}

impl Recent {
    /// Counts the words of `text` that end at `ends`, the first of which begins at `start`; they
    /// are in `table` at the latest after [`Self::flush`].
    pub(super) fn add(&mut self, table: &mut Table, text: &[u8], mut start: usize, ends: &[usize]) {
        for ends in ends.chunks(BATCH) {
            for &end in ends {
                let length = end - start;
                let key = match text.get(start..).and_then(<[u8]>::first_chunk) {
                    Some(window) if (1..=SHORT).contains(&length) => Key::window(*window, length),
                    _ if (1..=SHORT).contains(&length) => Key::short(&text[start..end]),
                    _ => {
                        if length > 0 {
                            let hash = hash_long(&text[start..end]);
                            table.prefetch(hash);
                            self.long.push((hash, start, end));
                        }
                        start = end;
                        continue;
                    }
                };
                start = end;
                // bits that choose neither the part of a table nor, in a small one, the place there
                let place = &mut self.places[(key.hash_short() >> 16) as usize % PLACES];
                if place.key == key {
                    place.count += 1;
                } else {
                    self.leaving[self.length % LEAVING] = *place;
                    self.length += 1;
                    *place = Entry { key, count: 1 };
                }
            }
            for (hash, start, end) in self.long.drain(..) {
                table.add_long(&text[start..end], hash, 1);
            }
            if self.length > LEAVING - BATCH {
                self.pass_on(table);
            }
        }
    }

    fn pass_on(&mut self, table: &mut Table) {
        let mut hashes = [0; LEAVING];
        let leaving = &self.leaving[..self.length];
        for (entry, hash) in leaving.iter().zip(&mut hashes) {
            *hash = entry.key.hash_short();
            table.prefetch(*hash);
        }
        for (entry, &hash) in leaving.iter().zip(&hashes) {
            table.add_short(entry, hash);
        }
        self.length = 0;
    }

    /// Moves all words into `table`.
    pub(super) fn flush(&mut self, table: &mut Table) {
        self.pass_on(table);
        for entry in &mut *self.places {
            table.add_short(entry, entry.key.hash_short());
            *entry = EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_word_arrives(
            words in proptest::collection::vec("[a-d]{0,3}|[a-z]{1,18}", 0..2000),
            cut in 0..2000usize,
        ) {
            let text: String = words.concat();
            let mut ends = Vec::new();
            let mut expected: HashMap<Vec<u8>, u64> = HashMap::new();
            for word in &words {
                ends.push(ends.last().copied().unwrap_or(0) + word.len());
                if !word.is_empty() {
                    *expected.entry(word.clone().into()).or_default() += 1;
                }
            }
            let (mut recent, mut table) = (Recent::default(), Table::default());
            let (one, two) = ends.split_at(cut.min(ends.len()));
            recent.add(&mut table, text.as_bytes(), 0, one);
            recent.add(&mut table, text.as_bytes(), one.last().copied().unwrap_or(0), two);
            recent.flush(&mut table);
            let mut counted = HashMap::new();
            table.for_each(|word, count| assert!(counted.insert(word.to_vec(), count).is_none()));
            prop_assert_eq!(counted, expected);
        }
    }
}
