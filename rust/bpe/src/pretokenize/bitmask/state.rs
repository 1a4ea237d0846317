//! What the steps of [`bitmask`](super) read and write: the block in view, the state carried from
//! block to block, and the ends found so far.

use crate::pretokenize::masks::ClassMasks;

/// The block whose pieces are searched.
pub(super) struct Window<'a> {
    /// The whole text.
    pub(super) text: &'a [u8],
    /// The offset of the block in `text`.
    pub(super) base: usize,
    /// The masks of the block.
    pub(super) block: &'a ClassMasks,
    /// The masks of the block after it; no bits after the end of the text.
    pub(super) next: &'a ClassMasks,
}

/// What the block before leaves: the last bit of its masks (0 or 1), and what it did not decide.
#[derive(Default)]
pub(super) struct Carry {
    pub(super) word: u64,
    pub(super) punctuation: u64,
    pub(super) space: u64,
    pub(super) blank: u64,
    pub(super) white: u64,
    pub(super) line: u64,
    pub(super) number: u64,
    /// Line ends (and slashes) that belong to punctuation.
    pub(super) tail: u64,
    pub(super) lower: u64,
    pub(super) caseless: u64,
    /// All punctuation of the block before.
    pub(super) punctuation_block: u64,
    /// All spaces of the block before.
    pub(super) space_block: u64,
    /// A single punctuation character that may begin a word reaches the end of the block.
    pub(super) lone: u64,
    /// Starts that an earlier block put into this one.
    pub(super) forced: u64,
    /// Bytes of this block that a contraction of the block before covers.
    pub(super) contraction: u64,
    /// GPT-2: the quote of a contraction is the last byte, so the first byte here is not a start.
    pub(super) quote: u64,
    /// DeepSeek-V3: the last byte is in [`ClassMasks::cjk`].
    pub(super) cjk: u64,
    /// DeepSeek-V3: the last byte is of class `Other`.
    pub(super) gap: u64,
    /// DeepSeek-V3: the last byte is in a run of ASCII letters that a symbol began.
    pub(super) symbol_word: u64,
    /// Numbers in the piece that reaches the end of the block.
    pub(super) n_numbers: usize,
    /// A start unless the white space from here on ends in a line end; it covers the whole block.
    pub(super) line_at: Option<usize>,
    /// A start if the capitals from here on end their word; they reach the end of the block.
    pub(super) upper_at: Option<usize>,
}

/// Ends of pieces in one call of `flush`, at most. 256 × 8 bytes are 2 KiB of stack.
pub(super) const BATCH: usize = 256;

/// Most ends that one block adds: 64 of its own, rounded up by a write of eight, and two that
/// earlier blocks left undecided.
const MAX_ADDED: usize = 72;

/// Collects the ends of pieces into batches.
pub(super) struct Ends<'a> {
    pub(super) buffer: [usize; BATCH],
    pub(super) length: usize,
    pub(super) flush: &'a mut dyn FnMut(&[usize]),
}

impl Ends<'_> {
    /// Adds one end.
    #[inline(always)]
    pub(super) fn push(&mut self, end: usize) {
        self.make_room();
        self.buffer[self.length] = end;
        self.length += 1;
    }

    /// Adds `base` plus the index of each set bit of `bits`.
    #[inline(always)]
    pub(super) fn push_bits(&mut self, base: usize, mut bits: u64) {
        self.make_room();
        let count = bits.count_ones() as usize;
        let Some(room) = self.buffer[self.length..].first_chunk_mut::<MAX_ADDED>() else { return };
        self.length += count;
        // Eight at a time; those past `count` are overwritten later. The number of turns is nearly
        // always the same, so the branch is predicted.
        for eight in room.chunks_exact_mut(8) {
            for end in eight {
                *end = base + bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
            }
            if bits == 0 {
                break;
            }
        }
    }

    #[inline(always)]
    fn make_room(&mut self) {
        if self.length > BATCH - MAX_ADDED {
            self.flush();
        }
    }

    /// Hands the batch over and empties it.
    pub(super) fn flush(&mut self) {
        (self.flush)(&self.buffer[..self.length]);
        self.length = 0;
    }
}
