//! Merging many short pieces at once.
//!
//! One piece alone is a chain: the lowest rank, the merge, the two new pairs in a table that is far
//! away, and the lowest rank again. Sixteen pieces that take such a step in turn are sixteen chains,
//! and a processor works on several at a time; nor has it to guess when a piece is done more than
//! once. Whenever one is, the next takes its place.

use crate::TokenId;
use crate::encode::model::{Model, NONE, Symbol};
use crate::simd::Level;
use crate::vocab::pair_ranks::{Asked, NO_SYMBOL};
use crate::vocab::piece_key::{LongKey, PieceKey};

/// How many pieces have their turns: their numbers are a row that a processor compares at once.
const LANES: usize = 16;

/// A piece of at most [`LongKey::MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Word<'t> {
    pub(crate) text: &'t [u8],
    /// where it begins in the text, and its bytes
    pub(crate) start: usize,
    pub(crate) length: usize,
    /// where its ids begin among those of all words, and their number
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl<'t> Word<'t> {
    pub(crate) fn bytes(&self) -> &'t [u8] {
        &self.text[self.start..][..self.length]
    }
}

/// Merges `words`, and appends their ids to `ids`. Every byte must have a symbol.
pub(crate) fn merge<'a, 't: 'a>(
    model: &Model,
    words: impl Iterator<Item = &'a mut Word<'t>>,
    ids: &mut Vec<TokenId>,
) {
    merge_at(Level::current(), model, words, ids);
}

fn merge_at<'a, 't: 'a>(
    level: Level,
    model: &Model,
    words: impl Iterator<Item = &'a mut Word<'t>>,
    ids: &mut Vec<TokenId>,
) {
    let (short, long): (Vec<_>, Vec<_>) = words.partition(|word| word.length <= PieceKey::MAX_LEN);
    merge_up_to::<{ PieceKey::MAX_LEN + 1 }>(level, model, short, ids);
    merge_up_to::<{ LongKey::MAX_LEN + 1 }>(level, model, long, ids);
}

/// Merges words of less than `PLACES` bytes.
fn merge_up_to<const PLACES: usize>(
    level: Level,
    model: &Model,
    words: Vec<&mut Word>,
    ids: &mut Vec<TokenId>,
) {
    match level {
        _ if words.is_empty() => {}
        Level::Scalar => run::<Scalar, PLACES>(model, words, ids),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::avx2::<PLACES>(model, words, ids),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => x86::avx512::<PLACES>(model, words, ids),
    }
}

/// Nothing is moved in a piece: a part keeps the place of its first byte, and knows the places of
/// the next part and of the one before. The last place is what is before the first byte and behind
/// the last one.
struct Lane<const PLACES: usize> {
    symbols: [Symbol; PLACES],
    next: [u8; PLACES],
    previous: [u8; PLACES],
}

/// By place and lane: the rank of the pair of parts that begins there, and below that the place, so
/// that the least number of a lane is the pair to merge, the leftmost of equals.
struct Numbers<const PLACES: usize>([Row; PLACES]);

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row([u32; LANES]);

/// A merge, and the two new pairs after it.
#[derive(Clone, Copy, Default)]
struct Step {
    lane: u8,
    place: u8,
    second: u8,
    before: u8,
    /// the pair that begins at `place`
    behind: Asked,
    /// the one that begins at `before`
    ahead: Asked,
}

/// The least number of each lane.
trait Lowest {
    fn lowest(rows: &[Row]) -> Row;
}

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

#[inline(always)]
fn run<L: Lowest, const PLACES: usize>(
    model: &Model,
    words: Vec<&mut Word>,
    ids: &mut Vec<TokenId>,
) {
    let mut steps = [Step::default(); LANES];
    let mut numbers = Numbers([Row([NONE; LANES]); PLACES]);
    let mut lanes = [const { Lane::<PLACES>::NEW }; LANES];
    // behind the longest word no pair ever begins
    let longest = words.iter().map(|word| word.length).max().unwrap_or(0);
    let rows = longest.min(PLACES - 1);
    let mut coming = words.into_iter();
    let mut current: [Option<&mut Word>; LANES] = std::array::from_fn(|lane| {
        let word = coming.next()?;
        lanes[lane].begin(model, word.bytes(), &mut numbers, lane);
        Some(word)
    });
    let mut busy = current.iter().flatten().count();
    while busy > 0 {
        let lowest = L::lowest(&numbers.0[..rows]).0;
        let mut count = 0;
        for (i, (lane, lowest)) in lanes.iter_mut().zip(lowest).enumerate() {
            if lowest != NONE {
                let step = &mut steps[count % LANES];
                lane.merge(model, lowest, step);
                step.lane = i as u8;
                numbers.0[usize::from(step.second) % PLACES].0[i] = NONE;
                count += 1;
                continue;
            }
            let Some(word) = &mut current[i] else { continue };
            lane.write(model, word, ids);
            current[i] = coming.next();
            match &current[i] {
                Some(word) => {
                    lane.begin(model, word.bytes(), &mut numbers, i);
                }
                None => busy -= 1,
            }
        }
        let steps = &mut steps[..count.min(LANES)];
        for step in steps {
            numbers.set(step.place, step.lane.into(), model.pairs.rank(step.behind));
            numbers.set(step.before, step.lane.into(), model.pairs.rank(step.ahead));
        }
    }
}

impl<const PLACES: usize> Numbers<PLACES> {
    const BITS: u32 = PLACES.ilog2();

    #[inline(always)]
    fn set(&mut self, place: u8, lane: usize, rank: u32) {
        // ranks have 21 bits
        let number = if rank == NONE { NONE } else { rank << Self::BITS | u32::from(place) };
        self.0[usize::from(place) % PLACES].0[lane] = number;
    }
}

impl<const PLACES: usize> Lane<PLACES> {
    const END: usize = PLACES - 1;
    const NEW: Self = Self {
        symbols: [NO_SYMBOL; PLACES],
        next: [Self::END as u8; PLACES],
        previous: [Self::END as u8; PLACES],
    };

    #[inline(always)]
    fn begin(&mut self, model: &Model, piece: &[u8], numbers: &mut Numbers<PLACES>, lane: usize) {
        let pairs = piece.windows(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        for (place, pair) in (0..PLACES as u8).zip(pairs) {
            numbers.set(place, lane, model.byte_pairs[pair]);
        }
        for (place, &byte) in (0..PLACES as u8 - 1).zip(piece) {
            let at = usize::from(place) % PLACES;
            self.symbols[at] = model.starts[usize::from(byte)];
            self.next[at] = place + 1;
            self.previous[at] = place.wrapping_sub(1) % PLACES as u8;
        }
        self.next[(piece.len() - 1) % PLACES] = Self::END as u8;
    }

    /// Merges the pair with the number `lowest`.
    #[inline(always)]
    fn merge(&mut self, model: &Model, lowest: u32, step: &mut Step) {
        let place = lowest as usize % PLACES;
        let second = usize::from(self.next[place]) % PLACES;
        let third = usize::from(self.next[second]) % PLACES;
        let before = usize::from(self.previous[place]) % PLACES;
        let symbol = model.result(lowest >> Numbers::<PLACES>::BITS);
        self.symbols[place] = symbol;
        self.next[place] = third as u8;
        self.previous[third] = place as u8;
        (step.place, step.second, step.before) = (place as u8, second as u8, before as u8);
        step.behind = model.pairs.ask(symbol, self.symbols[third]);
        step.ahead = model.pairs.ask(self.symbols[before], symbol);
    }

    /// Appends the ids of `word` to `ids`.
    #[inline(always)]
    fn write(&self, model: &Model, word: &mut Word, ids: &mut Vec<TokenId>) {
        word.first = ids.len();
        let mut place = 0;
        while place != Self::END {
            ids.push(model.id(self.symbols[place]));
            place = usize::from(self.next[place]) % PLACES;
        }
        word.count = ids.len() - word.first;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same, compiled for machines with vector instructions.
    #![allow(unsafe_code)] // what is called needs these instructions, nothing else does

    use std::arch::x86_64::{
        _mm256_load_si256, _mm256_min_epu32, _mm256_set1_epi32, _mm256_store_si256,
        _mm512_load_si512, _mm512_min_epu32, _mm512_set1_epi32, _mm512_store_si512,
    };

    use super::{LANES, Lowest, Model, Row, TokenId, Word};

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
            pub(super) fn $name<const PLACES: usize>(
                model: &Model,
                words: Vec<&mut Word>,
                ids: &mut Vec<TokenId>,
            ) {
                #[target_feature(enable = $features)]
                fn run<const PLACES: usize>(
                    model: &Model,
                    words: Vec<&mut Word>,
                    ids: &mut Vec<TokenId>,
                ) {
                    super::run::<$lowest, PLACES>(model, words, ids);
                }
                // SAFETY: the level of this name exists only where the processor has these
                // instructions.
                unsafe { run::<PLACES>(model, words, ids) }
            }
        };
    }

    compiled!(avx2, Avx2, "avx2,bmi1,bmi2,lzcnt,popcnt");
    compiled!(avx512, Avx512, "avx512f,avx512bw,avx2,bmi1,bmi2,lzcnt,popcnt");
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The ids of each of `words`, which may lie anywhere in `text`, as all levels give them.
    pub(crate) fn merge_all(
        model: &Model,
        text: &[u8],
        words: &[std::ops::Range<usize>],
    ) -> Vec<Vec<TokenId>> {
        let mut results = Level::available().into_iter().map(|level| {
            let new = |range: &std::ops::Range<usize>| Word {
                text,
                start: range.start,
                length: range.len(),
                ..Word::default()
            };
            let mut words: Vec<Word> = words.iter().map(new).collect();
            let mut ids = vec![7];
            merge_at(level, model, words.iter_mut(), &mut ids);
            let found = words.iter().map(|word| ids[word.first..][..word.count].to_vec());
            found.collect::<Vec<_>>()
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first));
        first
    }
}
