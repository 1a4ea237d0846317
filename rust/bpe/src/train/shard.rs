//! [`Shard`]: distinct words as a row of slots, in which pairs are replaced without moving
//! anything.
//!
//! ```text
//! word "hello" as bytes     WALL h e l l o WALL
//! after h + e → he          WALL he he l l o WALL          a token's id is in its first and last slot
//! after l + l → ll          WALL he he ll ll o WALL
//! after he + ll → hell      WALL hell he HOLE hell o WALL
//! ```
//!
//! A token has as many slots as bytes, so the tokens beside a position are found by arithmetic. The
//! slot where the right part began becomes [`Slot::HOLE`], so that outdated positions of pairs
//! match nothing there; other slots inside a token are never read.

use lslm_runtime::{Result, Task, TokenId};

use super::trained::Merge;

/// Positions between two checks of the task, about 1 ms of work.
const CHECK_STRIDE: usize = 1 << 17;
/// Positions of a list that are filtered together: 512 bytes of stack, and enough loads to overlap.
const POSITIONS_AT_ONCE: usize = 128;
/// No pair of the round.
pub(super) const NONE: u32 = u32::MAX;

/// The content of one slot: an id, or one of two marks above all ids.
pub(super) trait Slot: Copy + Eq + Send + Sync {
    /// Between words.
    const WALL: Self;
    /// Inside a token.
    const HOLE: Self;
    /// Returns the slot of `id`.
    fn new(id: TokenId) -> Self;
    /// Returns the id in a slot that is neither mark.
    fn id(self) -> TokenId;
}

impl Slot for u16 {
    const WALL: Self = u16::MAX;
    const HOLE: Self = u16::MAX - 1;
    fn new(id: TokenId) -> Self {
        id as u16
    }
    fn id(self) -> TokenId {
        TokenId::from(self)
    }
}

impl Slot for u32 {
    const WALL: Self = u32::MAX;
    const HOLE: Self = u32::MAX - 1;
    fn new(id: TokenId) -> Self {
        id
    }
    fn id(self) -> TokenId {
        self
    }
}

/// The new pairs of the round, by the token beside the new one; [`NONE`] for all other tokens.
#[derive(Default)]
pub(super) struct Targets {
    /// The pair of a token and the new one after it.
    pub(super) left: Vec<u32>,
    /// The pair of the new token and one after it.
    pub(super) right: Vec<u32>,
}

/// Sums of counts by adjacent token.
#[derive(Default)]
pub(super) struct Tally {
    /// By id.
    pub(super) sums: Vec<u64>,
    /// The ids whose sum is not zero.
    pub(super) ids: Vec<TokenId>,
}

impl Tally {
    /// Adds `count`, which is not zero, to the sum of `id`.
    #[inline]
    fn add(&mut self, id: TokenId, count: u64) {
        let sum = &mut self.sums[id as usize];
        if *sum == 0 {
            self.ids.push(id);
        }
        *sum += count;
    }

    /// Moves all sums into `other`.
    fn pour_into(&mut self, other: &mut Self) {
        for id in self.ids.drain(..) {
            other.add(id, std::mem::take(&mut self.sums[id as usize]));
        }
    }
}

/// The counts of the tokens beside a merge.
#[derive(Default)]
pub(super) struct Neighbours {
    /// By the token on the left of the new one; without new tokens.
    pub(super) left: Tally,
    /// By the token on the right when the pair was merged, which may have been merged since.
    pub(super) right: Tally,
    /// The count of positions where a new token follows a new token.
    pub(super) twice: u64,
}

impl Neighbours {
    /// Makes room for `tokens` ids.
    pub(super) fn resize(&mut self, tokens: usize) {
        self.left.sums.resize(tokens, 0);
        self.right.sums.resize(tokens, 0);
    }

    /// Moves all counts into `other`.
    pub(super) fn pour_into(&mut self, other: &mut Self) {
        self.left.pour_into(&mut other.left);
        self.right.pour_into(&mut other.right);
        other.twice += std::mem::take(&mut self.twice);
    }
}

/// A share of the distinct words, changed by one thread at a time.
pub(super) struct Shard<T> {
    slots: Vec<T>,
    /// Where the words of each count end, with the count; ascending positions.
    counts: Vec<(u32, u64)>,
    /// The positions of each pair of the round.
    pub(super) positions: Vec<Vec<u32>>,
    /// The counts of the tokens beside the current merge.
    pub(super) neighbours: Neighbours,
    /// The token to the left of each merged pair, if there is one, and its position.
    left_log: Vec<(TokenId, u32)>,
    /// The token to the right of each merged pair, and the position of the new token.
    right_log: Vec<(TokenId, u32)>,
}

impl<T: Slot> Shard<T> {
    /// Returns the shard of words in `slots`, in which words of equal count are contiguous and end
    /// at `counts`.
    pub(super) fn new(slots: Vec<T>, counts: Vec<(u32, u64)>) -> Self {
        Self {
            slots,
            counts,
            positions: Vec::new(),
            neighbours: Neighbours::default(),
            left_log: Vec::new(),
            right_log: Vec::new(),
        }
    }

    /// Replaces the pair of `merge` at those of `positions` that still have it, and records the
    /// tokens beside it.
    pub(super) fn merge(
        &mut self,
        positions: &[u32],
        merge: Merge,
        lengths: &[u32],
        task: &Task,
    ) -> Result<()> {
        let [left, right, result] = [merge.left, merge.right, merge.result].map(T::new);
        let left_length = lengths[merge.left as usize] as usize;
        let right_length = lengths[merge.right as usize] as usize;
        let slots = &mut self.slots[..];
        let mut run = 0;
        let mut live = [0; POSITIONS_AT_ONCE];
        for (block, turn) in positions.chunks(POSITIONS_AT_ONCE).zip(0usize..) {
            if turn.is_multiple_of(CHECK_STRIDE / POSITIONS_AT_ONCE) {
                task.check()?;
            }
            // The list was made with the pair; other merges may have replaced part of it. Filtering
            // without a branch lets the memory accesses of a block overlap.
            let mut count = 0;
            for &position in block {
                let start = position as usize;
                live[count] = position;
                count += usize::from(slots[start] == left && slots[start + left_length] == right);
            }
            for &position in &live[..count] {
                let start = position as usize;
                let middle = start + left_length;
                // Checked again: a pair of equal tokens may overlap the one before it.
                if slots[start] != left || slots[middle] != right {
                    continue;
                }
                let end = middle + right_length;
                slots[middle] = T::HOLE;
                slots[start] = result;
                slots[end - 1] = result;
                if self.counts[run].0 <= position {
                    run += 1;
                    if self.counts[run].0 <= position {
                        run += self.counts[run..].partition_point(|run| run.0 <= position);
                    }
                }
                let count = self.counts[run].1;
                let before = slots[start - 1];
                if before == result {
                    self.neighbours.twice += count;
                    let length = (left_length + right_length) as u32;
                    self.left_log.push((merge.result, position - length));
                } else if before != T::WALL {
                    let id = before.id();
                    self.neighbours.left.add(id, count);
                    self.left_log.push((id, position - lengths[id as usize]));
                }
                let after = slots[end];
                if after != T::WALL {
                    self.neighbours.right.add(after.id(), count);
                    self.right_log.push((after.id(), position));
                }
            }
        }
        Ok(())
    }

    /// Adds the logged positions to those of the pairs of the round.
    pub(super) fn add_positions(&mut self, targets: &Targets) {
        for (log, targets) in
            [(&mut self.left_log, &targets.left), (&mut self.right_log, &targets.right)]
        {
            for (id, position) in log.drain(..) {
                let target = targets[id as usize];
                if target != NONE {
                    self.positions[target as usize].push(position);
                }
            }
        }
    }

    /// Calls `f` with each adjacent pair: position, left, right, count.
    pub(super) fn each_pair(
        &self,
        lengths: &[u32],
        task: &Task,
        mut f: impl FnMut(u32, TokenId, TokenId, u64),
    ) -> Result<()> {
        let mut at = 1;
        let mut look = 0;
        for &(end, count) in &self.counts {
            while at < end as usize {
                if at >= look {
                    task.check()?;
                    look = at + CHECK_STRIDE;
                }
                let mut left = self.slots[at].id();
                loop {
                    let next = at + lengths[left as usize] as usize;
                    let right = self.slots[next];
                    if right == T::WALL {
                        at = next + 1;
                        break;
                    }
                    f(at as u32, left, right.id(), count);
                    (at, left) = (next, right.id());
                }
            }
        }
        Ok(())
    }
}
