//! Merging a piece: from bytes to the ids that the model makes of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lslm_runtime::{Error, Result, Task};

use crate::TokenId;
use crate::encode::model::{Model, NONE, Symbol};
use crate::vocab::pair_ranks::Pairs;

/// Pieces up to this many bytes are merged on the stack by scanning for the lowest rank.
const SHORT: usize = 64;

/// Memory that is used again from piece to piece.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    symbols: Vec<Symbol>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    /// parts, and the rank of each with the next
    parts: Vec<(Symbol, u32)>,
}

/// Appends the ids of `piece` to `out`.
///
/// Every byte of `piece` must have a symbol; the caller has looked when the model is incomplete.
/// Only a long piece can be interrupted, through `task`.
pub(crate) fn merge(
    model: &Model,
    piece: &[u8],
    scratch: &mut Scratch,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    match piece.len() {
        0..=16 => merge_short::<16, 4>(model, piece, out),
        17..=32 => merge_short::<32, 5>(model, piece, out),
        33..=SHORT => merge_short::<SHORT, 6>(model, piece, out),
        _ => return merge_long(model, piece, scratch, task, out),
    }
    Ok(())
}

/// Merges a piece of at most `N` bytes, which is 2 to the power `BITS`.
///
/// Nothing is moved: a part keeps the place of its first byte, and knows the next one. For each
/// part there is one number, the rank of the pair that it begins and below that its place, so that
/// the least of the numbers is the pair to merge, the leftmost of equals. Finding it is a fixed
/// number of steps without a branch.
fn merge_short<const N: usize, const BITS: u32>(
    model: &Model,
    piece: &[u8],
    out: &mut Vec<TokenId>,
) {
    let count = piece.len().min(N);
    let mut symbols = [0; N];
    for (symbol, &byte) in symbols.iter_mut().zip(piece) {
        *symbol = model.starts[usize::from(byte)];
    }
    // ranks have 21 bits, and 6 more fit
    let number = |rank: u32, place: usize| {
        if rank == NONE { NONE } else { rank << BITS | place as u32 }
    };
    let mut pairs = [NONE; N];
    for (place, (slot, pair)) in pairs.iter_mut().zip(piece.windows(2)).enumerate() {
        let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        *slot = number(model.byte_pairs[pair], place);
    }
    let mut next: [u8; N] = std::array::from_fn(|place| place as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|place| (place as u8).wrapping_sub(1));
    loop {
        let lowest = pairs.iter().fold(NONE, |lowest, &pair| lowest.min(pair));
        if lowest == NONE {
            break;
        }
        let place = lowest as usize % N;
        let second = usize::from(next[place]) % N;
        let third = usize::from(next[second]);
        let symbol = model.result(lowest >> BITS);
        symbols[place] = symbol;
        next[place] = third as u8;
        pairs[second] = NONE;
        pairs[place] = NONE;
        if third < count {
            previous[third % N] = place as u8;
            pairs[place] = number(model.pairs.get(symbol, symbols[third % N]), place);
        }
        if place > 0 {
            let before = usize::from(previous[place]) % N;
            pairs[before] = number(model.pairs.get(symbols[before], symbol), before);
        }
    }
    let mut place = 0;
    while place < count {
        out.push(model.id(symbols[place]));
        place = usize::from(next[place]);
    }
}

/// The two parts that `pairs` make of `token`, where the rank of a pair is its result less 256, and
/// a byte is a symbol; `None` when they make of it anything but two.
///
/// `byte_pairs` are the ranks of the pairs of bytes among them.
pub(crate) fn two_parts(
    pairs: &Pairs,
    byte_pairs: &[u32],
    token: &[u8],
    scratch: &mut Scratch,
) -> Option<[Symbol; 2]> {
    if token.len() > SHORT {
        let (start, result, task) = (Symbol::from, |rank| rank + 256, Task::default());
        let parts = merge_queued(pairs, byte_pairs, token, start, result, scratch, &task);
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
        let (mut place, mut lowest) = (0, NONE);
        for (i, &(_, rank)) in parts.iter().enumerate() {
            if rank < lowest {
                (place, lowest) = (i, rank);
            }
        }
        if lowest == NONE {
            return None;
        }
        let symbol = lowest + 256;
        parts.remove(place + 1);
        let next = parts.get(place + 1).map_or(NONE, |next| pairs.get(symbol, next.0));
        parts[place] = (symbol, next);
        if let Some(before) = place.checked_sub(1) {
            parts[before].1 = pairs.get(parts[before].0, symbol);
        }
    }
    let &[(left, NONE), (right, _)] = &parts[..] else { return None };
    Some([left, right])
}

/// Merges a piece of any length.
fn merge_long(
    model: &Model,
    piece: &[u8],
    scratch: &mut Scratch,
    task: &Task,
    out: &mut Vec<TokenId>,
) -> Result<()> {
    let Model { pairs, byte_pairs, starts, .. } = model;
    let start = |byte| starts[usize::from(byte)];
    let result = |rank| model.result(rank);
    let parts = merge_queued(pairs, byte_pairs, piece, start, result, scratch, task)?;
    out.extend(parts.map(|symbol| model.id(symbol)));
    Ok(())
}

/// The parts of `piece`, merged by a queue over a linked list: n log n in the length of the piece.
/// `start` is the symbol of a byte, `result` the one that a rank makes.
fn merge_queued(
    pairs: &Pairs,
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
            "a piece of {count} bytes without a cut; pieces must be below 4 GB"
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
    entries.extend(piece.windows(2).enumerate().filter_map(|(place, pair)| {
        let rank = byte_pairs[usize::from(pair[0]) << 8 | usize::from(pair[1])];
        (rank != NONE).then(|| Reverse(u64::from(rank) << 32 | place as u64))
    }));
    // rank above place: the lowest rank first, the leftmost of equals
    *heap = BinaryHeap::from(entries);
    let mut steps = 0_u32;
    while let Some(Reverse(entry)) = heap.pop() {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(1 << 16) {
            task.check()?;
        }
        let (rank, place) = ((entry >> 32) as u32, entry as u32 as usize);
        let left = symbols[place];
        let second = next[place] as usize;
        // the entry is stale when one of its two has been merged since
        if left == NONE || second >= count || pairs.get(left, symbols[second]) != rank {
            continue;
        }
        let symbol = result(rank);
        symbols[place] = symbol;
        symbols[second] = NONE;
        let third = next[second];
        next[place] = third;
        if (third as usize) < count {
            previous[third as usize] = place as u32;
            let rank = pairs.get(symbol, symbols[third as usize]);
            if rank != NONE {
                heap.push(Reverse(u64::from(rank) << 32 | place as u64));
            }
        }
        let before = previous[place];
        if before != NONE {
            let rank = pairs.get(symbols[before as usize], symbol);
            if rank != NONE {
                heap.push(Reverse(u64::from(rank) << 32 | u64::from(before)));
            }
        }
    }
    Ok(symbols.iter().copied().filter(|&symbol| symbol != NONE))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encode::model::{Merge, Rules};
    use crate::encode::{backtrack, interleaved};
    use crate::naive;
    use crate::vocab::piece_key::LongKey;
    use crate::vocab::vocabulary::Vocabulary;

    fn bytes_and(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        for word in words {
            if !tokens.contains(word) {
                tokens.push(word.clone());
            }
        }
        tokens
    }

    fn vocabulary(tokens: &[Vec<u8>]) -> Vocabulary {
        Vocabulary::new(tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..])))
            .unwrap()
    }

    /// Merges with all fast ways, which must agree.
    fn fast(model: &Model, piece: &[u8]) -> Vec<TokenId> {
        let mut scratch = Scratch::default();
        let mut out = Vec::new();
        let task = Task::default();
        merge_long(model, piece, &mut scratch, &task, &mut out).unwrap();
        let mut again = Vec::new();
        merge(model, piece, &mut scratch, &task, &mut again).unwrap();
        assert_eq!(out, again);
        if let Some(backtrack) = &model.backtrack {
            let mut search = backtrack::Scratch::default();
            again.clear();
            assert!(backtrack.any(model, piece, &mut search, &task, &mut again).unwrap());
            assert_eq!(out, again, "{piece:?}");
        }
        // all short words in it, from each place on, many together
        let length = |start: usize| 1 + start * 7 % LongKey::MAX_LEN.min(piece.len() - start);
        let words: Vec<_> = (0..piece.len()).map(|start| start..start + length(start)).collect();
        let found = interleaved::tests::merge_all(model, piece, &words);
        for (word, ids) in words.into_iter().zip(found) {
            again.clear();
            merge(model, &piece[word.clone()], &mut scratch, &task, &mut again).unwrap();
            assert_eq!(again, ids, "{:?}", &piece[word]);
        }
        out
    }

    fn letters(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 2..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Any set of words as ranks: trained-like or not, the ids are tiktoken's.
        #[test]
        fn ranks_are_followed(
            words in proptest::collection::vec(letters(7), 0..12),
            piece in letters(100),
        ) {
            let tokens = bytes_and(&words);
            let model = Model::from_ranks(vocabulary(&tokens)).unwrap();
            let ranks: HashMap<Vec<u8>, TokenId> =
                tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
            let mut ids = fast(&model, &piece);
            if model.rules.whole_first && let Some(id) = model.vocabulary.find(&piece) {
                ids = vec![id];
            }
            prop_assert_eq!(ids, naive::by_ranks(&ranks, &piece));
        }

        /// A grown list (each merge joins two tokens that are there), shuffled or not.
        #[test]
        fn lists_are_followed(
            seeds in proptest::collection::vec((0_usize..100, 0_usize..100), 0..14),
            swaps in proptest::collection::vec((0_usize..14, 0_usize..14), 0..4),
            piece in letters(80),
        ) {
            let mut tokens = bytes_and(&[]);
            let mut alive: Vec<u32> = vec![97, 98, 99];
            let mut merges = Vec::new();
            for (left, right) in seeds {
                let (left, right) = (alive[left % alive.len()], alive[right % alive.len()]);
                let joined = [&tokens[left as usize][..], &tokens[right as usize][..]].concat();
                let token = tokens.iter().position(|t| *t == joined).unwrap_or(tokens.len());
                if token == tokens.len() {
                    tokens.push(joined);
                }
                let token = token as u32;
                alive.push(token);
                merges.push(Merge { left, right, token });
            }
            for (a, b) in swaps {
                if a < merges.len() && b < merges.len() {
                    merges.swap(a, b);
                }
            }
            let model = Model::new(vocabulary(&tokens), merges, Rules::default()).unwrap();
            prop_assert_eq!(fast(&model, &piece), naive::by_list(&model, &piece));
        }
    }

    #[test]
    fn ties_go_to_the_left() {
        let tokens = bytes_and(&[b"aa".to_vec(), b"aaa".to_vec()]);
        let model = Model::from_ranks(vocabulary(&tokens)).unwrap();
        for length in 2..150 {
            let piece = vec![b'a'; length];
            assert_eq!(fast(&model, &piece), naive::by_list(&model, &piece), "{length}");
        }
    }
}
