//! Packs pieces of known lengths into rows of one capacity: best-fit decreasing.
//!
//! ```text
//! for each length s from the largest down, for each piece of that length in order:
//!     r = the least room of at least s that a row has; if none has, a new row with room C
//!     the piece goes into the row that came to have room r last; its room becomes r − s
//! ```
//!
//! A row that is full, or too full for any later piece, is never looked at again. The code is the
//! same with:
//!
//! 1. Pieces sorted by counting, O(n + C).
//! 2. The rows of each room as a stack, linked through one number for each row.
//! 3. Two levels of bits, in which the least room of at least s is a few operations away: O(1) for a
//!    piece, where the segment tree of Ding et al. (arXiv:2404.10830) takes O(log C).

use lslm_runtime::{Result, Task};

/// Tokens of a row, at most: lengths are stored in 20 bits.
pub(crate) const MAX_CAPACITY: u32 = (1 << 20) - 1;
/// Pieces between two looks at the task: some milliseconds.
const CHUNK: usize = 1 << 16;
/// The end of a stack of rows.
const NONE: u32 = u32::MAX;

/// Returns the row of each piece, and the number of rows. Each length is from 1 to `capacity`. Rows
/// are numbered by their first pieces.
pub(crate) fn best_fit(lengths: &[u32], capacity: u32, task: &Task) -> Result<(Vec<u32>, u32)> {
    let (sorted, ends) = sorted_by_length(lengths, capacity);
    let mut rows = OpenRows::new(capacity);
    let mut row_of = vec![0; lengths.len()];
    for length in (1..=capacity).rev() {
        let pieces = &sorted[ends[length as usize - 1]..ends[length as usize]];
        for chunk in pieces.chunks(CHUNK) {
            for piece in chunk {
                row_of[*piece as usize] = rows.place(length);
            }
            task.advance(chunk.len() as u64)?;
        }
    }
    number_by_first_piece(&mut row_of, rows.next.len());
    Ok((row_of, rows.next.len() as u32))
}

/// Returns the pieces by length, those of one length in order, and for each length where it ends.
fn sorted_by_length(lengths: &[u32], capacity: u32) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0; capacity as usize + 1];
    for length in lengths {
        ends[*length as usize] += 1;
    }
    let mut sum = 0;
    let mut next: Vec<usize> = Vec::with_capacity(ends.len());
    for end in &mut ends {
        next.push(sum);
        sum += *end;
        *end = sum;
    }
    let mut sorted = vec![0; lengths.len()];
    for (piece, length) in (0..).zip(lengths) {
        let at = &mut next[*length as usize];
        sorted[*at] = piece;
        *at += 1;
    }
    (sorted, ends)
}

/// Numbers the rows of `row_of` by their first pieces.
fn number_by_first_piece(row_of: &mut [u32], n_rows: usize) {
    let (mut numbers, mut next) = (vec![NONE; n_rows], 0);
    for row in row_of {
        let number = &mut numbers[*row as usize];
        if *number == NONE {
            *number = next;
            next += 1;
        }
        *row = *number;
    }
}

/// The rows that have room.
struct OpenRows {
    capacity: u32,
    /// For each room, the row that came to have it last.
    tops: Vec<u32>,
    /// For each row, the one below it in its stack.
    next: Vec<u32>,
    /// One bit for each room: whether a row has it.
    rooms: Vec<u64>,
    /// One bit for each word of `rooms`: whether it has a bit set.
    words: Vec<u64>,
}

impl OpenRows {
    fn new(capacity: u32) -> Self {
        let n_words = capacity as usize / 64 + 1;
        Self {
            capacity,
            tops: vec![NONE; capacity as usize + 1],
            next: Vec::new(),
            rooms: vec![0; n_words],
            words: vec![0; n_words / 64 + 1],
        }
    }

    /// Puts a piece of `length` into a row, and returns its number.
    fn place(&mut self, length: u32) -> u32 {
        let (row, room) = if let Some(room) = self.least_room(length as usize) {
            (self.pop(room), room as u32)
        } else {
            self.next.push(NONE);
            (self.next.len() as u32 - 1, self.capacity)
        };
        if room > length {
            self.push((room - length) as usize, row);
        }
        row
    }

    /// Returns the least room of at least `length` that a row has.
    fn least_room(&self, length: usize) -> Option<usize> {
        let first = length / 64;
        let bits = self.rooms[first] & (!0 << (length % 64));
        if bits != 0 {
            return Some(first * 64 + bits.trailing_zeros() as usize);
        }
        let after = first + 1;
        let mut index = after / 64;
        let mut bits = self.words[index] & (!0 << (after % 64));
        while bits == 0 {
            index += 1;
            bits = *self.words.get(index)?;
        }
        let word = index * 64 + bits.trailing_zeros() as usize;
        Some(word * 64 + self.rooms[word].trailing_zeros() as usize)
    }

    fn pop(&mut self, room: usize) -> u32 {
        let row = self.tops[room];
        self.tops[room] = self.next[row as usize];
        if self.tops[room] == NONE {
            self.rooms[room / 64] &= !(1 << (room % 64));
            if self.rooms[room / 64] == 0 {
                self.words[room / 4096] &= !(1 << (room / 64 % 64));
            }
        }
        row
    }

    fn push(&mut self, room: usize, row: u32) {
        self.next[row as usize] = self.tops[room];
        self.tops[room] = row;
        self.rooms[room / 64] |= 1 << (room % 64);
        self.words[room / 4096] |= 1 << (room / 64 % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is written: every open row is looked at for every piece.
    fn naive(lengths: &[u32], capacity: u32) -> (Vec<u32>, u32) {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|piece| std::cmp::Reverse(lengths[*piece])); // stable
        let mut rows: Vec<(u32, u64, Vec<usize>)> = Vec::new(); // room, when it came to have it
        for (time, piece) in (0..).zip(order) {
            let fits = rows.iter_mut().filter(|(room, _, _)| *room >= lengths[piece]);
            let best = fits.min_by_key(|(room, since, _)| (*room, std::cmp::Reverse(*since)));
            match best {
                Some((room, since, pieces)) => {
                    *room -= lengths[piece];
                    *since = time;
                    pieces.push(piece);
                }
                None => rows.push((capacity - lengths[piece], time, vec![piece])),
            }
        }
        let mut rows: Vec<Vec<usize>> = rows.into_iter().map(|(_, _, pieces)| pieces).collect();
        rows.sort_by_key(|pieces| pieces.iter().min().copied());
        let mut row_of = vec![0; lengths.len()];
        for (row, pieces) in (0..).zip(&rows) {
            for piece in pieces {
                row_of[*piece] = row;
            }
        }
        (row_of, rows.len() as u32)
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_rule(
            capacity in prop_oneof![1_u32..40, 60_u32..70, 4000_u32..9000],
            parts in proptest::collection::vec(0.0_f64..1.0, 0..200), is_skewed: bool,
        ) {
            let length = |part: &f64| {
                let part = if is_skewed { part.powi(5) } else { *part };
                1 + (part * f64::from(capacity)) as u32
            };
            let lengths: Vec<u32> = parts.iter().map(|p| length(p).min(capacity)).collect();
            let found = best_fit(&lengths, capacity, &Task::default()).unwrap();
            prop_assert_eq!(found, naive(&lengths, capacity));
        }
    }

    #[test]
    fn a_cancelled_task_ends_it() {
        let task = Task::default();
        task.cancel();
        assert!(best_fit(&[1, 2, 3], 10, &task).is_err());
    }
}
