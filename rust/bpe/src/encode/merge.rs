//! The merge rule itself, for one piece: from bytes to the ids that merging makes of them.
//!
//! ```text
//! symbols ← starts[byte] for each byte of the piece
//! loop:
//!     of all pairs of adjacent symbols, take the one of lowest rank, the leftmost of equals
//!     if there is none: return the ids of the symbols
//!     replace the pair by the symbol that the merge of this rank produces
//! ```
//!
//! 1. Nothing is moved: the symbols are a linked list, and one stays in the slot of its first byte.
//! 2. Up to 64 bytes the lowest rank is found by scanning all of them, in a fixed number of steps
//!    without a branch; a longer piece has a heap, which makes it n log n.
//! 3. Rank and slot are one number, rank in the high bits, so that the least number is the answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lslm_runtime::{Error, Result, Task, TokenId};

use crate::vocab::merge_table::MergeTable;
use crate::vocab::pair_ranks::PairRanks;
use crate::vocab::symbol::{NONE, Symbol};

/// The longest piece, in bytes, that is merged on the stack by scanning; a slot of it has 6 bits,
/// which with a rank of 21 fit 32.
const MAX_SCANNED: usize = 64;

/// Memory that is reused from piece to piece.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    symbols: Vec<Symbol>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    /// For [`two_parts`]: symbols, and the rank of each with the next.
    parts: Vec<(Symbol, u32)>,
}

/// Appends the ids of `piece` to `out`.
///
/// Every byte of `piece` must have a symbol: with unknown bytes the caller checks that. Only a
/// piece of more than 64 bytes checks `task`.
pub(crate) fn merge(
    table: &MergeTable,
    piece: &[u8],
    scratch: &mut Scratch,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    match piece.len() {
        0..=16 => merge_scanned::<16, 4>(table, piece, out),
        17..=32 => merge_scanned::<32, 5>(table, piece, out),
        33..=MAX_SCANNED => merge_scanned::<MAX_SCANNED, 6>(table, piece, out),
        _ => return merge_queued(table, piece, scratch, task, out),
    }
    Ok(())
}

/// Merges a piece of at most `N` bytes, which is 2 to the power `BITS`.
///
/// ```text
///     l o w e r        slots 0 1 2 3 4
///     lo . w er .      after two merges: next[0] = 2, next[2] = 3, next[3] = 5, the end
/// ```
///
/// `pairs[slot]` is the rank of the pair that begins in the slot, and below it the slot.
fn merge_scanned<const N: usize, const BITS: u32>(
    table: &MergeTable,
    piece: &[u8],
    out: &mut Vec<TokenId>,
) {
    let count = piece.len().min(N);
    let mut symbols = [0; N];
    for (symbol, &byte) in symbols.iter_mut().zip(piece) {
        *symbol = table.starts[usize::from(byte)];
    }
    let number =
        |rank: u32, slot: usize| if rank == NONE { NONE } else { rank << BITS | slot as u32 };
    let mut pairs = [NONE; N];
    for (slot, (entry, pair)) in pairs.iter_mut().zip(piece.windows(2)).enumerate() {
        let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        *entry = number(table.byte_pairs[pair], slot);
    }
    let mut next: [u8; N] = std::array::from_fn(|slot| slot as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|slot| (slot as u8).wrapping_sub(1));
    loop {
        let lowest = pairs.iter().fold(NONE, |lowest, &pair| lowest.min(pair));
        if lowest == NONE {
            break;
        }
        #[cfg(test)]
        crate::encode::steps::count(1);
        let slot = lowest as usize % N;
        let second = usize::from(next[slot]) % N;
        let third = usize::from(next[second]);
        let symbol = table.result(lowest >> BITS);
        symbols[slot] = symbol;
        next[slot] = third as u8;
        pairs[second] = NONE;
        pairs[slot] = NONE;
        if third < count {
            previous[third % N] = slot as u8;
            pairs[slot] = number(table.pairs.get(symbol, symbols[third % N]), slot);
        }
        if slot > 0 {
            let before = usize::from(previous[slot]) % N;
            pairs[before] = number(table.pairs.get(symbols[before], symbol), before);
        }
    }
    let mut slot = 0;
    while slot < count {
        out.push(table.id(symbols[slot]));
        slot = usize::from(next[slot]);
    }
}

/// Merges a piece of any length with a heap.
pub(super) fn merge_queued(
    table: &MergeTable,
    piece: &[u8],
    scratch: &mut Scratch,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    let MergeTable { pairs, byte_pairs, starts, .. } = table;
    let start = |byte| starts[usize::from(byte)];
    let result = |rank| table.result(rank);
    let parts = queued_parts(pairs, byte_pairs, piece, start, result, scratch, task)?;
    out.extend(parts.map(|symbol| table.id(symbol)));
    Ok(())
}

/// Returns the symbols that merging makes of `piece`, by a heap over a linked list: n log n in the
/// length of the piece.
///
/// `start` returns the symbol of a byte, `result` the one that a rank produces.
fn queued_parts(
    pairs: &PairRanks,
    byte_pairs: &[u32],
    piece: &[u8],
    start: impl Fn(u8) -> Symbol,
    result: impl Fn(u32) -> Symbol,
    scratch: &mut Scratch,
    task: &Task,
) -> Result<impl Iterator<Item = Symbol>> {
    let Scratch { symbols, next, previous, heap, .. } = scratch;
    let count = piece.len();
    if count >= NONE as usize {
        return Err(Error::invalid(format!(
            "a pre-token of {count} bytes, which the pattern does not split; the limit is 4 GB"
        )));
    }
    symbols.clear();
    symbols.extend(piece.iter().map(|&byte| start(byte)));
    next.clear();
    next.extend(1..=count as u32);
    previous.clear();
    previous.push(NONE);
    previous.extend(0..count as u32 - 1);
    let mut entries = std::mem::take(heap).into_vec();
    entries.clear();
    entries.extend(piece.windows(2).enumerate().filter_map(|(slot, pair)| {
        let rank = byte_pairs[usize::from(pair[0]) << 8 | usize::from(pair[1])];
        (rank != NONE).then(|| Reverse(u64::from(rank) << 32 | slot as u64))
    }));
    *heap = BinaryHeap::from(entries);
    let mut steps = 0_u32;
    while let Some(Reverse(entry)) = heap.pop() {
        #[cfg(test)]
        crate::encode::steps::count(1);
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(1 << 16) {
            task.check()?;
        }
        let (rank, slot) = ((entry >> 32) as u32, entry as u32 as usize);
        let left = symbols[slot];
        let second = next[slot] as usize;
        // The entry is stale when one of its two symbols has been merged since.
        if left == NONE || second >= count || pairs.get(left, symbols[second]) != rank {
            continue;
        }
        let symbol = result(rank);
        symbols[slot] = symbol;
        symbols[second] = NONE;
        let third = next[second];
        next[slot] = third;
        if (third as usize) < count {
            previous[third as usize] = slot as u32;
            let rank = pairs.get(symbol, symbols[third as usize]);
            if rank != NONE {
                heap.push(Reverse(u64::from(rank) << 32 | slot as u64));
            }
        }
        let before = previous[slot];
        if before != NONE {
            let rank = pairs.get(symbols[before as usize], symbol);
            if rank != NONE {
                heap.push(Reverse(u64::from(rank) << 32 | u64::from(before)));
            }
        }
    }
    Ok(symbols.iter().copied().filter(|&symbol| symbol != NONE))
}

/// Returns the two symbols that `pairs` make of the bytes of `token`, or `None` when they make
/// another number of them.
///
/// A byte is its own symbol, and the merge of a rank produces symbol rank + 256. `byte_pairs` are
/// the ranks of the pairs of bytes among `pairs`.
pub(crate) fn two_parts(
    pairs: &PairRanks,
    byte_pairs: &[u32],
    token: &[u8],
    scratch: &mut Scratch,
) -> Option<[Symbol; 2]> {
    if token.len() > MAX_SCANNED {
        let (start, result, task) = (Symbol::from, |rank| rank + 256, Task::default());
        let parts = queued_parts(pairs, byte_pairs, token, start, result, scratch, &task);
        let mut parts = parts.ok()?;
        let two = [parts.next()?, parts.next()?];
        return parts.next().is_none().then_some(two);
    }
    let parts = &mut scratch.parts;
    parts.clear();
    let ranks =
        token.windows(2).map(|pair| byte_pairs[usize::from(pair[0]) << 8 | usize::from(pair[1])]);
    let ranks = ranks.chain([NONE]);
    parts.extend(token.iter().map(|&byte| Symbol::from(byte)).zip(ranks));
    while parts.len() > 2 {
        let (mut at, mut lowest) = (0, NONE);
        for (i, &(_, rank)) in parts.iter().enumerate() {
            if rank < lowest {
                (at, lowest) = (i, rank);
            }
        }
        if lowest == NONE {
            return None;
        }
        let symbol = lowest + 256;
        parts.remove(at + 1);
        let next = parts.get(at + 1).map_or(NONE, |next| pairs.get(symbol, next.0));
        parts[at] = (symbol, next);
        if let Some(before) = at.checked_sub(1) {
            parts[before].1 = pairs.get(parts[before].0, symbol);
        }
    }
    let &[(left, NONE), (right, _)] = &parts[..] else { return None };
    Some([left, right])
}
