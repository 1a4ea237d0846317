//! Merges 16 short pre-tokens at a time, one step each in turn.
//!
//! ```text
//! give each of 16 lanes a piece
//! while some lane has a piece:
//!     lowest[lane] ← the lowest rank of the lane's pairs, leftmost of equals    (SIMD, all lanes)
//!     for each lane with such a pair: merge it, which leaves two new pairs
//!     for each lane without: write its ids; give it the next piece
//!     look up the new pairs of all lanes
//! ```
//!
//! 1. Alone, one piece is a chain of dependent steps: the lowest rank, the merge, two reads of a
//!    table that misses the cache, the lowest rank again. 16 pieces are 16 independent chains, and
//!    a processor works on several at a time.
//! 2. When a piece is finished is unpredictable; that branch is mispredicted once a piece, not once
//!    a merge.
//! 3. As in [`super::merge`], rank and slot are one number.

use lslm_runtime::TokenId;
use lslm_runtime::simd::Level;

use crate::vocab::merge_table::MergeTable;
use crate::vocab::pair_ranks::NO_SYMBOL;
use crate::vocab::piece_key::{LongKey, PieceKey};
use crate::vocab::symbol::{NONE, Symbol};

/// Pieces that take turns: 16 numbers of 32 bits are one AVX-512 vector, or two of AVX2.
const LANES: usize = 16;

/// A piece of 1 to [`LongKey::MAX_LEN`] bytes, and where its ids are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewPiece {
    bytes: [u8; LongKey::MAX_LEN],
    len: u8,
    /// The caller's number of it.
    pub(crate) number: u32,
    /// The index of its first id among those of all pieces.
    pub(crate) first_id: u32,
    pub(crate) n_ids: u32,
}

impl NewPiece {
    pub(crate) fn new(bytes: &[u8], number: usize) -> Self {
        let mut piece = Self { len: bytes.len() as u8, number: number as u32, ..Self::default() };
        piece.bytes[..bytes.len()].copy_from_slice(bytes);
        piece
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns its ids among those of all pieces.
    pub(crate) fn ids<'i>(&self, ids: &'i [TokenId]) -> &'i [TokenId] {
        &ids[self.first_id as usize..][..self.n_ids as usize]
    }
}

/// Merges `pieces` and appends their ids to `ids`. Every byte must have a symbol.
pub(crate) fn merge(table: &MergeTable, pieces: &mut [NewPiece], ids: &mut Vec<TokenId>) {
    merge_at(Level::current(), table, pieces, ids);
}

/// [`merge`] with the instructions of `level`.
pub(super) fn merge_at(
    level: Level,
    table: &MergeTable,
    pieces: &mut [NewPiece],
    ids: &mut Vec<TokenId>,
) {
    // After the end of the longest piece no pair begins.
    let max_len = pieces.iter().map(|piece| usize::from(piece.len)).max().unwrap_or(0);
    if max_len <= PieceKey::MAX_LEN {
        merge_up_to::<{ PieceKey::MAX_LEN + 1 }>(level, table, pieces, max_len, ids);
    } else {
        merge_up_to::<{ LongKey::MAX_LEN + 1 }>(level, table, pieces, max_len, ids);
    }
}

/// Merges pieces of less than `SLOTS` bytes.
fn merge_up_to<const SLOTS: usize>(
    level: Level,
    table: &MergeTable,
    pieces: &mut [NewPiece],
    max_len: usize,
    ids: &mut Vec<TokenId>,
) {
    match level {
        _ if pieces.is_empty() => {}
        Level::Scalar => run::<Scalar, SLOTS>(table, pieces, max_len, ids),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::avx2::<SLOTS>(table, pieces, max_len, ids),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => x86::avx512::<SLOTS>(table, pieces, max_len, ids),
    }
}

/// A doubly linked list over the bytes of one piece. A symbol stays in the slot of its first byte;
/// `next` and `previous` are slot numbers. The last slot, `END`, is the sentinel on both sides.
///
/// ```text
///     l o w e r        slots 0 1 2 3 4
///     lo . w er .      after two merges: next[0] = 2, next[2] = 3, next[3] = END
/// ```
struct Lane<const SLOTS: usize> {
    symbols: [Symbol; SLOTS],
    next: [u8; SLOTS],
    previous: [u8; SLOTS],
}

/// By slot and lane: the rank of the pair that begins in the slot, and below it the slot, so that the
/// least number of a lane is the pair to merge, the leftmost of equals.
struct Numbers<const SLOTS: usize>([Row; SLOTS]);

/// One number of each lane, aligned for vector loads.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row([u32; LANES]);

/// One merge and the two new pairs that it leaves.
#[derive(Clone, Copy, Default)]
struct Step {
    lane: u8,
    /// The slot of the merged symbol.
    slot: u8,
    /// The slot that the merge has freed.
    second: u8,
    /// The slot of the symbol before the merged one.
    before: u8,
    /// The pair that begins in `slot`.
    pair: (Symbol, Symbol),
    /// The pair that begins in `before`.
    pair_before: (Symbol, Symbol),
}

/// The least number of each lane, by some instruction set.
trait Lowest {
    fn lowest(rows: &[Row]) -> Row;
}

/// [`Lowest`] without vector instructions.
struct Scalar;

impl Lowest for Scalar {
    #[inline(always)]
    fn lowest(rows: &[Row]) -> Row {
        let mut lowest = Row([NONE; LANES]);
        for row in rows {
            for (lowest, &number) in lowest.0.iter_mut().zip(&row.0) {
                *lowest = (*lowest).min(number);
            }
        }
        lowest
    }
}

/// Merges pieces of less than `SLOTS` bytes; inlined into a function for each instruction set.
#[inline(always)]
fn run<L: Lowest, const SLOTS: usize>(
    table: &MergeTable,
    pieces: &mut [NewPiece],
    max_len: usize,
    ids: &mut Vec<TokenId>,
) {
    let mut steps = [Step::default(); LANES];
    let mut numbers = Numbers([Row([NONE; LANES]); SLOTS]);
    let mut lanes = [const { Lane::<SLOTS>::NEW }; LANES];
    let rows = max_len.min(SLOTS - 1);
    let mut waiting = pieces.iter_mut();
    let mut current: [Option<&mut NewPiece>; LANES] = std::array::from_fn(|lane| {
        let piece = waiting.next()?;
        lanes[lane].begin(table, piece.bytes(), &mut numbers, lane);
        Some(piece)
    });
    let mut busy = current.iter().flatten().count();
    while busy > 0 {
        let lowest = L::lowest(&numbers.0[..rows]).0;
        let mut count = 0;
        for (i, (lane, lowest)) in lanes.iter_mut().zip(lowest).enumerate() {
            if lowest != NONE {
                #[cfg(test)]
                crate::encode::steps::count(1);
                let step = &mut steps[count % LANES];
                lane.merge(table, lowest, step);
                step.lane = i as u8;
                numbers.0[usize::from(step.second) % SLOTS].0[i] = NONE;
                count += 1;
                continue;
            }
            let Some(piece) = &mut current[i] else { continue };
            lane.write(table, piece, ids);
            current[i] = waiting.next();
            match &current[i] {
                Some(piece) => {
                    lane.begin(table, piece.bytes(), &mut numbers, i);
                }
                None => busy -= 1,
            }
        }
        let steps = &mut steps[..count.min(LANES)];
        for step in steps {
            let rank = |(left, right)| table.pairs.get(left, right);
            numbers.set(step.slot, step.lane.into(), rank(step.pair));
            numbers.set(step.before, step.lane.into(), rank(step.pair_before));
        }
    }
}

impl<const SLOTS: usize> Numbers<SLOTS> {
    const BITS: u32 = SLOTS.ilog2();

    /// Sets the rank of the pair that begins in `slot` of `lane`.
    #[inline(always)]
    fn set(&mut self, slot: u8, lane: usize, rank: u32) {
        // Ranks have 21 bits.
        let number = if rank == NONE { NONE } else { rank << Self::BITS | u32::from(slot) };
        self.0[usize::from(slot) % SLOTS].0[lane] = number;
    }
}

impl<const SLOTS: usize> Lane<SLOTS> {
    const END: usize = SLOTS - 1;
    const NEW: Self = Self {
        symbols: [NO_SYMBOL; SLOTS],
        next: [Self::END as u8; SLOTS],
        previous: [Self::END as u8; SLOTS],
    };

    /// Links the bytes of `piece` and sets the numbers of its pairs.
    #[inline(always)]
    fn begin(
        &mut self,
        table: &MergeTable,
        piece: &[u8],
        numbers: &mut Numbers<SLOTS>,
        lane: usize,
    ) {
        let pairs = piece.windows(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        for (slot, pair) in (0..SLOTS as u8).zip(pairs) {
            numbers.set(slot, lane, table.byte_pairs[pair]);
        }
        for (slot, &byte) in (0..SLOTS as u8 - 1).zip(piece) {
            let at = usize::from(slot) % SLOTS;
            self.symbols[at] = table.starts[usize::from(byte)];
            self.next[at] = slot + 1;
            self.previous[at] = slot.wrapping_sub(1) % SLOTS as u8;
        }
        self.next[(piece.len() - 1) % SLOTS] = Self::END as u8;
    }

    /// Merges the pair with the number `lowest`; `step` is what it leaves to look up.
    #[inline(always)]
    fn merge(&mut self, table: &MergeTable, lowest: u32, step: &mut Step) {
        let slot = lowest as usize % SLOTS;
        let second = usize::from(self.next[slot]) % SLOTS;
        let third = usize::from(self.next[second]) % SLOTS;
        let before = usize::from(self.previous[slot]) % SLOTS;
        let symbol = table.result(lowest >> Numbers::<SLOTS>::BITS);
        self.symbols[slot] = symbol;
        self.next[slot] = third as u8;
        self.previous[third] = slot as u8;
        (step.slot, step.second, step.before) = (slot as u8, second as u8, before as u8);
        step.pair = (symbol, self.symbols[third]);
        step.pair_before = (self.symbols[before], symbol);
    }

    /// Appends the ids of the merged `piece` to `ids`.
    #[inline(always)]
    fn write(&self, table: &MergeTable, piece: &mut NewPiece, ids: &mut Vec<TokenId>) {
        piece.first_id = ids.len() as u32;
        let mut slot = 0;
        while slot != Self::END {
            ids.push(table.id(self.symbols[slot]));
            slot = usize::from(self.next[slot]) % SLOTS;
        }
        piece.n_ids = ids.len() as u32 - piece.first_id;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same loop, compiled for machines with vector instructions.
    #![allow(unsafe_code)] // calls functions that need these instructions

    use std::arch::x86_64::{
        _mm256_load_si256, _mm256_min_epu32, _mm256_set1_epi32, _mm256_store_si256,
        _mm512_load_si512, _mm512_min_epu32, _mm512_set1_epi32, _mm512_store_si512,
    };

    use super::{LANES, Lowest, MergeTable, NewPiece, Row, TokenId};

    /// Used by [`avx2`] only.
    struct Avx2;

    impl Lowest for Avx2 {
        #[inline(always)]
        fn lowest(rows: &[Row]) -> Row {
            #[inline]
            #[target_feature(enable = "avx2")]
            fn lowest(rows: &[Row]) -> Row {
                let mut all = [_mm256_set1_epi32(-1); 2];
                let mut lowest = Row([0; LANES]);
                // SAFETY: a row is two vectors, and aligned.
                unsafe {
                    for row in rows {
                        let row = row.0.as_ptr().cast();
                        all[0] = _mm256_min_epu32(all[0], _mm256_load_si256(row));
                        all[1] = _mm256_min_epu32(all[1], _mm256_load_si256(row.add(1)));
                    }
                    let out = lowest.0.as_mut_ptr().cast();
                    _mm256_store_si256(out, all[0]);
                    _mm256_store_si256(out.add(1), all[1]);
                }
                lowest
            }
            // SAFETY: only `avx2` uses this type, and only where the processor has AVX2.
            unsafe { lowest(rows) }
        }
    }

    /// Used by [`avx512`] only.
    struct Avx512;

    impl Lowest for Avx512 {
        #[inline(always)]
        fn lowest(rows: &[Row]) -> Row {
            #[inline]
            #[target_feature(enable = "avx512f")]
            fn lowest(rows: &[Row]) -> Row {
                let mut all = _mm512_set1_epi32(-1);
                let mut lowest = Row([0; LANES]);
                // SAFETY: a row is one vector, and aligned.
                unsafe {
                    for row in rows {
                        all = _mm512_min_epu32(all, _mm512_load_si512(row.0.as_ptr().cast()));
                    }
                    _mm512_store_si512(lowest.0.as_mut_ptr().cast(), all);
                }
                lowest
            }
            // SAFETY: only `avx512` uses this type, and only where the processor has AVX-512.
            unsafe { lowest(rows) }
        }
    }

    macro_rules! compiled {
        ($name:ident, $lowest:ident, $features:literal) => {
            pub(super) fn $name<const SLOTS: usize>(
                table: &MergeTable,
                pieces: &mut [NewPiece],
                max_len: usize,
                ids: &mut Vec<TokenId>,
            ) {
                #[target_feature(enable = $features)]
                fn run<const SLOTS: usize>(
                    table: &MergeTable,
                    pieces: &mut [NewPiece],
                    max_len: usize,
                    ids: &mut Vec<TokenId>,
                ) {
                    super::run::<$lowest, SLOTS>(table, pieces, max_len, ids);
                }
                // SAFETY: the level of this name exists only where the processor has these
                // instructions.
                unsafe { run::<SLOTS>(table, pieces, max_len, ids) }
            }
        };
    }

    compiled!(avx2, Avx2, "avx2,bmi1,bmi2,lzcnt,popcnt");
    compiled!(avx512, Avx512, "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt");
}
