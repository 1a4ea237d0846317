//! The published patterns as algebra on bits: 64 bytes of text at a time, one 64-bit mask for
//! each kind of character, a piece's beginning where the masks say so.
//!
//! All bytes of a character carry its kind, so that a run of letters is a run of set bits whatever
//! the script. A rule that looks back reads the mask shifted up by one with the last bit of the
//! block before; a rule that looks ahead by a bounded distance reads the block behind it, whose
//! masks are made first; the two rules that look ahead without bound (`\s*[\r\n]+`, and capitals
//! at the end of a word of o200k) keep one undecided position. `scan` holds the same rules one
//! character at a time, and the tests hold the two equal.

mod deepseek;

use super::char_class::{Kind, decode, kind_of, kind_of_two};
use super::masks::Classify;
use super::published::NEW_NUMBERS;
use super::scalar::{contraction, contraction_any_case, is_cjk};

/// What a family of patterns asks for; see the rules in `published`.
pub(super) trait Rules {
    /// GPT-2's way with spaces and words; else cl100k's.
    const GPT2: bool;
    /// Numbers are cut out before everything else.
    const DIGITS: bool;
    /// o200k's words with capitals and marks, and its `/`.
    const CASED: bool;
    /// Words take contractions (o200k), or contractions are pieces (all others).
    const CONTRACTIONS: bool;
    /// Numbers in a piece, 1 or 3; runs for GPT-2.
    const GROUP: usize;
    /// White space at the end of the text is one piece.
    const TAIL: bool;
    /// `[\p{P}\p{S}]` are told from the other characters.
    const SYMBOLS: bool;
}

/// Blocks whose pieces are found before the masks of the next ones are made.
const CHUNK: usize = 8;
/// Blocks behind those whose masks must be there: one to look at, one to finish the other.
const AHEAD: usize = 2;

/// The masks of 64 bytes of text; bit `i` is byte `i`. Nothing is set behind the end of the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Block {
    /// By [`Kind`]. Of `Kind::Symbol` only what a table says is here: it is all that no other mask
    /// has, which includes each ill-formed byte as the U+FFFD it stands for.
    pub(super) kinds: [u64; 9],
    /// `' '`
    pub(super) space: u64,
    /// `'`
    pub(super) quote: u64,
    /// `/`
    pub(super) slash: u64,
    /// Bytes above 127.
    pub(super) high: u64,
    /// Bytes 0x80 to 0xBF.
    pub(super) tails: u64,
    /// First bytes of letters that need no look at a table if two of `tails` follow: 0xE5 to 0xE9,
    /// 0xEB, 0xEC, and 0xE4 unless 0xB7 follows in the block (U+4000 to U+4DBF, U+4E00 to U+9FFF,
    /// U+B000 to U+CFFF). With [`Rules::SYMBOLS`] 0xE5 to 0xE8, which are in `cjk` as well.
    pub(super) easy: u64,
    /// What DeepSeek-V3 cuts out as Chinese or Japanese; only with [`Rules::SYMBOLS`].
    pub(super) cjk: u64,
    /// First bytes of characters of two bytes, 0xC2 to 0xDF.
    pub(super) two: u64,
    /// First bytes of characters of three bytes, 0xE0 to 0xEF.
    pub(super) three: u64,
    /// Bytes of the text.
    pub(super) valid: u64,
    /// Bytes of well-formed characters above 127 but the first of each.
    pub(super) rest: u64,
}

impl Block {
    /// The masks of the bytes of `valid` only.
    pub(super) fn within(mut self, valid: u64) -> Self {
        for kind in &mut self.kinds {
            *kind &= valid;
        }
        for mask in [
            &mut self.space,
            &mut self.quote,
            &mut self.slash,
            &mut self.high,
            &mut self.tails,
            &mut self.easy,
            &mut self.two,
            &mut self.three,
            &mut self.valid,
        ] {
            *mask &= valid;
        }
        self
    }

    fn kind(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize]
    }
}

/// What the block before leaves: its last bits, and what it could not decide.
#[derive(Default)]
struct Carry {
    word: u64,
    other: u64,
    other_block: u64,
    space: u64,
    space_block: u64,
    blank: u64,
    white: u64,
    line: u64,
    number: u64,
    tail: u64,
    lower: u64,
    both: u64,
    /// The character whose successor is asked for goes on.
    successor: u64,
    /// Beginnings that an earlier rule put into this block.
    forced: u64,
    /// Bytes of this block that a contraction took.
    taken: u64,
    /// DeepSeek-V3: the last byte is in [`Block::cjk`].
    cjk: u64,
    /// DeepSeek-V3: the last byte is one that may be a gap.
    gap: u64,
    /// DeepSeek-V3: the last byte is in a piece that a symbol began.
    joined_run: u64,
    /// The first byte is not a beginning: GPT-2's contraction began before it.
    joined: u64,
    /// Numbers in the piece that reaches the end of the block.
    count: usize,
    /// A beginning if the white space from here on does not end in a line end. It goes on through
    /// the whole block.
    line_at: Option<usize>,
    /// A beginning if the capitals from here on end the word.
    upper_at: Option<usize>,
}

/// Ends of pieces that are handed over together, at most.
const BATCH: usize = 256;

/// The ends of pieces on their way out.
struct Ends<'a> {
    buffer: [usize; BATCH],
    length: usize,
    flush: &'a mut dyn FnMut(&[usize]),
}

impl Ends<'_> {
    #[inline(always)]
    fn push(&mut self, end: usize) {
        self.make_room();
        self.buffer[self.length] = end;
        self.length += 1;
    }

    /// Pushes `base` and the place of each set bit of `bits`.
    #[inline(always)]
    fn push_bits(&mut self, base: usize, mut bits: u64) {
        self.make_room();
        let count = bits.count_ones() as usize;
        let Some(room) = self.buffer[self.length..].first_chunk_mut::<72>() else { return };
        self.length += count;
        // By eights, the last ones wrong and soon written over: the number of turns is then
        // nearly always the same, and guessed right by the processor.
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
        if self.length > BATCH - 72 {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        (self.flush)(&self.buffer[..self.length]);
        self.length = 0;
    }
}

/// Calls `flush` with the ends of the pieces of `text`, ascending, batch by batch; the last one is
/// its length.
#[inline(always)]
pub(super) fn ends<R: Rules, C: Classify>(text: &[u8], flush: &mut dyn FnMut(&[usize])) {
    if text.is_empty() {
        return;
    }
    let mut ends = Ends { buffer: [0; BATCH], length: 0, flush };
    let mut blocks = [Block::default(); CHUNK + AHEAD];
    let mut carry = Carry::default();
    let count = text.len().div_ceil(64);
    let mut first = 0;
    ascii::<R, C>(text, 0, &mut blocks[..AHEAD]);
    characters::<R>(text, 0, &mut blocks[..2]);
    while first < count {
        let now = CHUNK.min(count - first);
        ascii::<R, C>(text, (first + AHEAD) * 64, &mut blocks[AHEAD..now + AHEAD]);
        for i in 1..=now {
            characters::<R>(text, (first + i) * 64, &mut blocks[i..i + 2]);
        }
        for i in 0..now {
            let base = (first + i) * 64;
            let [block, next, ..] = &mut blocks[i..] else { break };
            let starts = if R::SYMBOLS {
                deepseek::step::<R>(text, base, block, next, &mut carry, &mut ends)
            } else if block.high == 0 {
                step::<R, true>(text, base, block, next, &mut carry, &mut ends)
            } else {
                step::<R, false>(text, base, block, next, &mut carry, &mut ends)
            };
            ends.push_bits(base, if base == 0 { starts & !1 } else { starts });
        }
        for i in 0..AHEAD {
            blocks[i] = blocks[now + i];
        }
        first += now;
    }
    if let Some(at) = carry.upper_at {
        ends.push(at);
    }
    ends.push(text.len());
    ends.hand_over();
}

/// Makes the masks of `text` from byte `base` on, as far as single bytes decide them.
#[inline(always)]
fn ascii<R: Rules, C: Classify>(text: &[u8], base: usize, blocks: &mut [Block]) {
    let text = text.get(base..).unwrap_or_default();
    let whole = blocks.len().min(text.len() / 64);
    let (full, partial) = blocks.split_at_mut(whole);
    for (bytes, block) in text.as_chunks().0.iter().zip(full) {
        C::classify::<R>(bytes, block);
    }
    for (i, block) in partial.iter_mut().enumerate() {
        let rest = text.get((whole + i) * 64..).unwrap_or_default();
        let length = rest.len().min(64);
        if length == 0 {
            *block = Block::default();
            continue;
        }
        let mut bytes = [0; 64];
        bytes[..length].copy_from_slice(&rest[..length]);
        C::classify::<R>(&bytes, block);
        *block = block.within(u64::MAX >> (64 - length));
    }
}

/// Adds the characters above 127 that begin in the first of two blocks to the masks of both.
#[inline(always)]
fn characters<R: Rules>(text: &[u8], base: usize, blocks: &mut [Block]) {
    let [block, next] = blocks else { return };
    if block.high != 0 {
        wide_characters::<R>(text, base, block, next);
    }
}

#[inline(always)]
fn wide_characters<R: Rules>(text: &[u8], base: usize, block: &mut Block, next: &mut Block) {
    let second = block.tails >> 1 | next.tails << 63;
    let third = block.tails >> 2 | next.tails << 62;

    let easy = block.easy & second & third;
    let rest = easy << 1 | easy << 2;
    let over = easy >> 63 | easy >> 62;
    block.kinds[Kind::Letter as usize] |= easy | rest;
    next.kinds[Kind::Letter as usize] |= over;
    block.rest |= rest;
    next.rest |= over;
    if R::SYMBOLS {
        block.cjk |= easy | rest;
        next.cjk |= over;
    }

    let two = block.two & second;
    block.rest |= two << 1;
    next.rest |= two >> 63;
    let mut left = two;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let Some([a, b, ..]) = text.get(base + i as usize..) else { break };
        let kind = kind_of_two(*a, *b);
        block.kinds[kind as usize] |= 3 << i;
        if i == 63 {
            next.kinds[kind as usize] |= 1;
        }
    }

    let mut left = block.three & second & third & !easy;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let Some([a, b, c, ..]) = text.get(base + i as usize..) else { break };
        let code = u32::from(a & 0x0F) << 12 | u32::from(b & 0x3F) << 6 | u32::from(c & 0x3F);
        if code < 0x800 || code & 0xF800 == 0xD800 {
            continue; // over-long forms and surrogates
        }
        let kind = kind_of(code);
        block.kinds[kind as usize] |= 7 << i;
        block.rest |= 6 << i;
        if i > 61 {
            next.kinds[kind as usize] |= 7 >> (64 - i);
            next.rest |= 7 >> (64 - i);
        }
        if R::SYMBOLS && is_cjk(code) {
            block.cjk |= 7 << i;
            next.cjk |= if i > 61 { 7 >> (64 - i) } else { 0 };
        }
    }

    let mut left = block.high & !block.tails & !block.two & !block.three;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let (code, length) = decode(text, base + i as usize);
        if length == 1 {
            continue;
        }
        let mut kind = kind_of(code);
        if R::DIGITS && kind == Kind::Other && NEW_NUMBERS.iter().any(|new| new.contains(&code)) {
            kind = Kind::Number;
        }
        let bits = ((1_u128 << length) - 1) << i;
        let tail = bits & (bits - 1);
        block.kinds[kind as usize] |= bits as u64;
        next.kinds[kind as usize] |= (bits >> 64) as u64;
        block.rest |= tail as u64;
        next.rest |= (tail >> 64) as u64;
    }
}

/// The bits of `class` that a run of set bits leads to from a set bit of `from`, with those.
#[inline(always)]
fn reach(from: u64, class: u64) -> u64 {
    let from = from & class;
    ((from.wrapping_add(class) ^ class) | from) & class
}

/// Set bits from bit `at` of `mask` on without a gap.
#[inline(always)]
fn ones(mask: u64, at: u32) -> u32 {
    (!(mask >> at)).trailing_zeros().min(64 - at)
}

/// The beginnings of pieces in `block`; positions of earlier blocks go to `ends`.
///
/// With `ASCII`, all of `block` is. The masks that are then empty are constants for the compiler.
#[inline(always)]
fn step<R: Rules, const ASCII: bool>(
    text: &[u8],
    base: usize,
    block: &Block,
    next: &mut Block,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let wide = |mask: u64| if ASCII { 0 } else { mask };
    let rest = wide(block.rest);
    let high = wide(block.high);
    let mark = wide(block.kind(Kind::Mark));
    let number = block.kind(Kind::Number);
    let blank = block.kind(Kind::Space);
    let all_lines = block.kind(Kind::Newline);
    let mut upper = block.kind(Kind::Upper);
    let mut lower = block.kind(Kind::Lower);
    let mut both = wide(block.kind(Kind::Letter));
    let known = upper | lower | both | mark | number | blank | all_lines;
    let mut other = block.valid & !known;

    // Line ends (and slashes) behind other characters belong to their piece.
    let mut tail = 0;
    if R::CASED {
        both |= mark;
        let attached = |other: u64| {
            let class = all_lines | block.slash;
            let from = (all_lines & (other << 1 | carry.other)) | carry.tail;
            if from & class == 0 { 0 } else { reach(from, class) }
        };
        tail = attached(other);
        // Marks behind other characters belong to those, unless there is only one of those and
        // no space before it.
        let mut marks = mark & (other << 1 | carry.other) & !(mark << 1);
        while marks != 0 {
            let i = marks.trailing_zeros();
            marks &= marks - 1;
            other &= !tail;
            let absorbed = {
                let seen = u128::from(other) << 64 | u128::from(carry.other_block);
                let space = u128::from(block.space) << 64 | u128::from(carry.space_block);
                if seen << 1 >> (64 + i) & 1 == 0 {
                    false // a slash that the tail took
                } else {
                    let before = previous(text, base + i as usize);
                    match before.checked_sub(1) {
                        None => false,
                        Some(at) => {
                            // `at` is at most five bytes before this block.
                            let bit = at + 64 - base;
                            (seen | space) >> bit & 1 == 1
                        }
                    }
                }
            };
            if absorbed {
                let run = reach(1 << i, mark);
                other |= run;
                both &= !run;
                tail = attached(other);
                // The run may lead to other characters, and these to marks.
                let begun = mark & both & (other << 1 | carry.other) & !(mark << 1);
                marks = begun & !1_u64.wrapping_shl(i).wrapping_sub(1) & !(1 << i);
            }
        }
        other &= !tail;
        carry.tail = tail >> 63;
    } else {
        other |= mark;
        if !R::GPT2 {
            let from = (all_lines & (other << 1 | carry.other)) | carry.tail;
            if from & all_lines != 0 {
                tail = reach(from, all_lines);
            }
            carry.tail = tail >> 63;
        }
    }
    let line = all_lines & !tail;
    let white = blank | line;

    // Contractions at the end of a word are part of it, and nothing else.
    let mut forced = carry.forced;
    carry.forced = 0;
    if R::CASED && R::CONTRACTIONS {
        upper &= !carry.taken;
        lower &= !carry.taken;
        carry.taken = 0;
        let mut quotes = block.quote & other & ((upper | lower | both) << 1 | carry.word);
        while quotes != 0 {
            let i = quotes.trailing_zeros();
            quotes &= quotes - 1;
            let length = contraction_any_case(text, base + i as usize);
            if length == 0 || ((upper | lower | both) << 1 | carry.word) >> i & 1 == 0 {
                continue;
            }
            let bits = ((1_u128 << length) - 1) << i;
            other &= !(bits as u64);
            upper &= !(bits as u64);
            lower &= !(bits as u64);
            carry.taken = (bits >> 64) as u64;
            let end = 1_u128 << (i as usize + length);
            forced |= end as u64;
            carry.forced |= (end >> 64) as u64;
        }
    }
    let word = upper | lower | both;

    let before_word = word << 1 | carry.word;
    let before_other = other << 1 | carry.other;
    let before_space = block.space << 1 | carry.space;
    let before_blank = blank << 1 | carry.blank;
    let before_white = white << 1 | carry.white;
    let before_line = line << 1 | carry.line;
    let before_number = number << 1 | carry.number;

    let words = word & !before_word;
    let others = other & !before_other & !before_space;
    let mut starts = forced | others | (white & !before_white);

    if R::GPT2 {
        starts |= words & !before_space & !carry.joined;
        carry.joined = 0;
        if R::DIGITS {
            starts |= number & !rest;
        } else {
            starts |= number & !before_number & !before_space;
        }
    } else {
        // A single other character is the beginning of the word behind it.
        let from = others << 1 | carry.successor;
        let (sum, over) = from.overflowing_add(rest);
        carry.successor = others >> 63 | u64::from(over);
        let joined = sum & !rest;
        starts |= words & !joined & !before_blank;
    }

    // Contractions at the beginning of a piece.
    if !R::CASED {
        let mut quotes = block.quote & others;
        while quotes != 0 {
            let i = quotes.trailing_zeros();
            quotes &= quotes - 1;
            let at = base + i as usize;
            let length =
                if R::GPT2 { contraction(text, at) } else { contraction_any_case(text, at) };
            if length > 0 {
                let end = 1_u128 << (i as usize + length);
                if R::GPT2 {
                    starts &= !(1_u64 << i << 1);
                    carry.joined = u64::from(i == 63);
                }
                starts |= end as u64;
                carry.forced |= (end >> 64) as u64;
            }
        }
    }

    if R::CASED {
        // A capital behind a small letter, or behind letters without case behind that.
        let run = reach(lower << 1 | carry.lower, both);
        let small = lower | run;
        let before_small = small << 1 | carry.lower;
        starts |= upper & before_small;
        if let Some(at) = carry.upper_at {
            let length = ones(upper, 0);
            if length < 64 {
                carry.upper_at = None;
                if word >> length & 1 == 0 {
                    ends.push(at);
                }
            }
        }
        // Capitals behind letters without case are a piece if they end the word.
        let mut capitals = upper & (both << 1 | carry.both) & !before_small;
        while capitals != 0 {
            let i = capitals.trailing_zeros();
            capitals &= capitals - 1;
            let end = i + ones(upper, i);
            if end == 64 {
                carry.upper_at = Some(base + i as usize);
            } else if word >> end & 1 == 0 {
                starts |= 1 << i;
            }
        }
        carry.lower = small >> 63;
        carry.both = both >> 63;
    }

    if !R::GPT2 && (number != 0) {
        starts |= numbers::<R>(number, before_number, rest, high, carry);
    }

    if !R::GPT2 {
        starts |= behind_lines::<R>(text, base, blank, line, before_line, next, carry, ends);
    }

    let ending = |block: &Block| if R::DIGITS { block.kind(Kind::Number) } else { 0 };
    let last = if R::GPT2 { blank | line } else { blank };
    let (here, there) = (ending(block), ending(next));
    starts |= last_blanks(block, next, last, here, there, rest, high);

    carry.word = word >> 63;
    carry.other = other >> 63;
    carry.other_block = other;
    carry.space = block.space >> 63;
    carry.space_block = block.space;
    carry.blank = blank >> 63;
    carry.white = white >> 63;
    carry.line = line >> 63;
    carry.number = number >> 63;
    starts & block.valid
}

/// The beginnings of white space behind the last line end of its run.
///
/// That is decided where the run ends, which the next block must show, since the last character
/// may begin a piece in this one.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // masks
fn behind_lines<R: Rules>(
    text: &[u8],
    base: usize,
    blank: u64,
    line: u64,
    before_line: u64,
    next: &Block,
    carry: &mut Carry,
    ends: &mut Ends<'_>,
) -> u64 {
    let decide = |at: usize, from: u32, carry: &mut Carry| {
        let mut end = from + ones(blank, from);
        let mut lines = line;
        if end == 64 {
            let length = ones(next.kind(Kind::Space), 0);
            if length == 64 {
                carry.line_at = Some(at);
                return false;
            }
            end += length;
            lines = next.kind(Kind::Newline);
        }
        lines >> (end % 64) & 1 == 0 && !(R::TAIL && base + end as usize == text.len())
    };
    if let Some(at) = carry.line_at.take()
        && decide(at, 0, carry)
    {
        ends.push(at);
    }
    let mut starts = 0;
    let mut candidates = blank & before_line;
    while candidates != 0 {
        let i = candidates.trailing_zeros();
        candidates &= candidates - 1;
        if decide(base + i as usize, i, carry) {
            starts |= 1 << i;
        }
    }
    starts
}

/// The beginnings of the last of several white space characters, of those in `last`, unless it
/// ends the text; `here` and `there` are what ends it besides, in `block` and `next`.
#[inline(always)]
fn last_blanks(
    block: &Block,
    next: &Block,
    last: u64,
    here: u64,
    there: u64,
    rest: u64,
    high: u64,
) -> u64 {
    let white = |block: &Block| block.kind(Kind::Space) | block.kind(Kind::Newline) | !block.valid;
    let (here, there) = (here | white(block), there | white(next));
    let mut starts = last & !high & !(here >> 1 | there << 63);
    let wide = last & high & !rest;
    if wide != 0 {
        let third = rest >> 2 | next.rest << 62;
        starts |= wide & !third & !(here >> 2 | there << 62);
        starts |= wide & third & !(here >> 3 | there << 61);
    }
    starts
}

/// The beginnings of groups of up to `R::GROUP` numbers.
#[inline(always)]
fn numbers<R: Rules>(number: u64, before: u64, rest: u64, high: u64, carry: &mut Carry) -> u64 {
    if R::GROUP == 1 {
        return number & !rest;
    }
    if number & high != 0 {
        return wide_numbers::<R>(number, before, rest, carry);
    }
    let first = number & !before;
    let mut starts = 0;
    let mut group = first;
    if number & before & 1 == 1 {
        let begin = R::GROUP - carry.count;
        if ones(number, 0) as usize > begin {
            group |= 1 << begin;
        } else {
            carry.count += ones(number, 0) as usize;
        }
    }
    while group != 0 {
        starts |= group;
        group = group << 3 & number & number << 1 & number << 2;
    }
    if number >> 63 == 1 {
        // The run reaches the end; its last group began here.
        carry.count = 64 - (63 - starts.leading_zeros() as usize);
    }
    starts
}

#[cold]
fn wide_numbers<R: Rules>(number: u64, before: u64, rest: u64, carry: &mut Carry) -> u64 {
    let mut starts = 0;
    let mut count = carry.count;
    let mut characters = number & !rest;
    while characters != 0 {
        let i = characters.trailing_zeros();
        characters &= characters - 1;
        if before >> i & 1 == 0 || count == R::GROUP {
            starts |= 1 << i;
            count = 0;
        }
        count += 1;
    }
    carry.count = count;
    starts
}

/// Where the character that ends before `at` begins; `at` is not 0.
fn previous(text: &[u8], at: usize) -> usize {
    for length in 2..=4 {
        if let Some(begin) = at.checked_sub(length)
            && text[begin] >= 0xC0
            && decode(text, begin).1 == length
        {
            return begin;
        }
    }
    at - 1
}
