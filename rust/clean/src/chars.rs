//! Finds the characters that normalisers change, skipping plain text 64 bytes at a time.
//!
//! ```text
//! for each 64 bytes:
//!     if any byte begins a character that is not plain:       (vector instructions, no early exit)
//!         look up each character of the block in the table
//! ```
//!
//! *Plain* is what clean text of the common scripts consists of: ASCII without controls, Latin up to
//! U+02FF, Greek, Russian, Han, kana, Hangul syllables, and their punctuation. The first two bytes of
//! a character decide it, for U+2000 to U+203F and U+3000 to U+30FF the third as well. A plain
//! character has none of the properties in [`NOT_PLAIN`]; the reverse need not hold.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod window;

#[cfg(target_arch = "x86_64")]
use lslm_runtime::simd::Level;
pub use lslm_unicode::properties::{Properties, PropertyTable, properties_of, property_table};

pub(crate) use window::bits;
use window::{BLOCK, WINDOW};

/// The properties that no plain character has.
pub const NOT_PLAIN: Properties = Properties::BREAK
    .or(Properties::CONTROL)
    .or(Properties::HIDDEN)
    .or(Properties::BLANK)
    .or(Properties::UNSTABLE);

/// Which characters a text contains, as far as normalisers decide by it whether to run.
#[derive(Clone, Copy, Debug)]
pub struct CharacterSummary {
    /// The union of the properties of all characters, of those in [`NOT_PLAIN`].
    pub properties: Properties,
}

impl CharacterSummary {
    /// Returns the summary of `text`.
    pub fn of(text: &str) -> Self {
        let table = property_table();
        let bytes = text.as_bytes();
        let mut properties = Properties::NONE;
        let mut at = 0;
        while let Some(block) = next_block(bytes, at) {
            let chars = chars_from(bytes, block, table);
            properties = chars.fold(properties, |all, (_, of)| all.or(of));
            at = block + BLOCK;
        }
        Self { properties: properties.and(NOT_PLAIN) }
    }
}

/// Returns the number of code points of `text`.
pub(crate) fn count_chars(text: &str) -> usize {
    /// The same code, in vectors of 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn count_in_vectors(bytes: &[u8]) -> usize {
        count(bytes)
    }
    #[inline(always)]
    fn count(bytes: &[u8]) -> usize {
        let is_first = |byte: &u8| u8::from(byte.cast_signed() >= -0x40);
        // so many that the count of a block is a byte
        let (blocks, rest) = bytes.as_chunks::<128>();
        let of_blocks = blocks.iter().map(|block| block.iter().map(is_first).sum::<u8>());
        of_blocks.map(usize::from).sum::<usize>()
            + usize::from(rest.iter().map(is_first).sum::<u8>())
    }
    let bytes = text.as_bytes();
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= 128 && Level::current() >= Level::Avx2 {
        // SAFETY: the machine has AVX2
        #[allow(unsafe_code)]
        return unsafe { count_in_vectors(bytes) };
    }
    count(bytes)
}

/// Returns the byte at which the first character of `text` at or after `from` begins that has one
/// of the properties `wanted`, which must be among those of [`NOT_PLAIN`].
pub(crate) fn find(text: &str, from: usize, wanted: Properties) -> Option<usize> {
    let table = property_table();
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(block) = next_block(bytes, at) {
        at = block + BLOCK;
        let found = chars_from(bytes, block, table).find(|(_, of)| of.has(wanted));
        if let Some((found, _)) = found {
            return Some(found);
        }
    }
    None
}

/// Returns the first block at or after `at`, in steps of a block, that has a character which is not
/// plain. A block may begin within a character: the bytes of its end are plain.
fn next_block(bytes: &[u8], at: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if Level::current() >= Level::Avx512 && is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: the machine has AVX-512 with byte instructions and VBMI
        #[allow(unsafe_code)]
        return match unsafe { avx512::scan(bytes, at) } {
            Ok(block) => Some(block),
            Err(end) => scan(bytes, end),
        };
    }
    #[cfg(target_arch = "x86_64")]
    if Level::current() >= Level::Avx2 {
        // SAFETY: the machine has AVX2
        #[allow(unsafe_code)]
        return match unsafe { avx2::scan(bytes, at) } {
            Ok(block) => Some(block),
            Err(end) => scan(bytes, end),
        };
    }
    scan(bytes, at)
}

/// See [`next_block`].
#[inline(always)]
fn scan(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
        if !is_plain(window) {
            return Some(at);
        }
        at += BLOCK;
    }
    while at < bytes.len() {
        let rest = &bytes[at..bytes.len().min(at + WINDOW)];
        // spaces are plain
        let mut window = [b' '; WINDOW];
        window[..rest.len()].copy_from_slice(rest);
        if !is_plain(&window) {
            return Some(at);
        }
        at += BLOCK;
    }
    None
}

/// Returns the start and the properties of each character that begins in the block.
fn chars_from<'b>(
    bytes: &'b [u8],
    block: usize,
    table: &'b PropertyTable,
) -> impl Iterator<Item = (usize, Properties)> + 'b {
    let end = bytes.len().min(block + BLOCK);
    let inside = bytes[block..end].iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
    let mut at = block + inside;
    std::iter::from_fn(move || {
        let start = Some(at).filter(|at| *at < end)?;
        let (properties, length) = table.at(bytes, start);
        at += length;
        Some((start, properties))
    })
}

/// Returns whether all characters that begin in the block are plain.
#[inline(always)]
fn is_plain(window: &[u8; WINDOW]) -> bool {
    // no early exit within a loop: the compiler vectorises this form
    let (mut controls, mut high) = (0, 0);
    for byte in &window[..BLOCK] {
        high |= byte;
        controls |= within(*byte, 0, 8) | within(*byte, 0xb, 0x1f) | is(*byte, 0x7f);
    }
    if controls != 0 || high < 0x80 {
        return controls == 0;
    }
    let mut other = 0;
    for at in 0..BLOCK {
        other |= is_other_lead(window[at], window[at + 1], window[at + 2]);
    }
    other == 0
}

/// Returns 1 if the bytes are equal, else 0.
#[inline(always)]
fn is(byte: u8, value: u8) -> u8 {
    u8::from(byte == value)
}

/// Returns 1 if `low <= byte <= high`, else 0.
#[inline(always)]
fn within(byte: u8, low: u8, high: u8) -> u8 {
    u8::from(byte.wrapping_sub(low) <= high - low)
}

/// Returns 0 for a byte that does not begin a character beyond ASCII, and for one that begins a
/// plain character; otherwise 1.
#[inline(always)]
fn is_other_lead(first: u8, second: u8, third: u8) -> u8 {
    // U+00A1 to U+00BF without the soft hyphen
    let latin = is(first, 0xc2) & within(second, 0xa1, 0xbf) & (is(second, 0xad) ^ 1);
    // Greek without U+0387; Cyrillic to U+047F
    let greek = is(first, 0xce) & (is(second, 0x87) ^ 1) | within(first, 0xcf, 0xd1);
    // U+2010 to U+2027 and U+2030 to U+203F; U+3001 to U+3029 and U+3030 to U+303F; kana without
    // the marks of voicing
    let general = is(first, 0xe2)
        & is(second, 0x80)
        & (within(third, 0x90, 0xa7) | within(third, 0xb0, 0xbf));
    let cjk = is(second, 0x80) & (within(third, 0x81, 0xa9) | within(third, 0xb0, 0xbf));
    let kana = within(second, 0x81, 0x83) & (within(third, 0x99, 0x9a) ^ 1);
    // Hangul syllables; U+FF00 to U+FF7F
    let hangul = is(first, 0xea) & within(second, 0xb0, 0xbf)
        | within(first, 0xeb, 0xec)
        | is(first, 0xed) & within(second, 0x80, 0x9e);
    let wide = is(first, 0xef) & within(second, 0xbc, 0xbd);
    let plain = within(first, 0, 0xbf)
        | within(first, 0xc3, 0xcb)
        | within(first, 0xe4, 0xe9)
        | latin
        | greek
        | general
        | is(first, 0xe3) & (cjk | kana)
        | hangul
        | wide;
    plain ^ 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_summary_has_what_occurs_in_the_text() {
        assert_eq!(CharacterSummary::of("plain text,\nwith lines\n").properties, Properties::NONE);
        assert!(CharacterSummary::of("a\rb").properties.has(Properties::BREAK));
        assert!(CharacterSummary::of("a\x07b").properties.has(Properties::CONTROL));
        assert!(CharacterSummary::of("e\u{301}").properties.has(Properties::UNSTABLE));
    }

    #[test]
    fn a_plain_character_has_nothing_to_normalise() {
        let mut plain = 0;
        for char in '\0'..=char::MAX {
            // once in a block of vectors, once in the rest
            let text = format!("{}{char}", " ".repeat(41));
            let long = format!("{text}{}", " ".repeat(80));
            let is_plain = next_block(text.as_bytes(), 0).is_none();
            let is_plain_in_vectors = next_block(long.as_bytes(), 0).is_none();
            assert!(is_plain || !is_plain_in_vectors, "{char:?}");
            if is_plain {
                let assigned = Properties::LETTER.or(Properties::MARK).or(Properties::SYMBOL);
                let of = properties_of(char);
                // the table has unassigned code points as unstable
                assert!(!of.has(NOT_PLAIN) || !of.has(assigned), "{char:?}");
                assert!(of.and(NOT_PLAIN).has(NOT_PLAIN) == of.has(Properties::UNSTABLE));
                plain += 1;
            }
        }
        assert!(plain > 36_000, "{plain}");
        for char in
            ['a', 'é', 'я', 'η', '中', '。', '，', '“', '—', '…', 'か', 'ア', '한', '하', '°', '½']
        {
            let text = format!("{}{char}{}", " ".repeat(41), " ".repeat(80));
            assert!(next_block(text.as_bytes(), 0).is_none(), "{char}");
        }
        for char in ['a', 'é', 'я', 'ω', '中', '。', '，', '“', '—', '…', 'か', 'ア', '한', '€']
        {
            assert_eq!(next_block(char.to_string().as_bytes(), 0).is_none(), char != '€', "{char}");
        }
    }

    proptest! {
        #[test]
        fn code_points_are_counted_as_by_the_library(text in "(a|é|中|😀|some more words ){0,200}") {
            prop_assert_eq!(count_chars(&text), text.chars().count());
        }

        #[test]
        fn the_scan_equals_a_look_at_each_character(
            text in "(plain text |中文，|é|\r|\u{7f}|\u{301}|\u{200b}|\u{3000}|\u{85}|\u{feff}|😀|\\PC){0,60}",
            from in 0..40_usize,
        ) {
            let each = text.chars().fold(Properties::NONE, |all, char| all.or(properties_of(char)));
            let summary = CharacterSummary::of(&text).properties;
            prop_assert_eq!(summary.and(NOT_PLAIN), each.and(NOT_PLAIN));
            let from = text.floor_char_boundary(from);
            for wanted in [Properties::UNSTABLE, Properties::CONTROL, NOT_PLAIN] {
                let expected = text[from..].char_indices().find(|(_, c)| properties_of(*c).has(wanted));
                // vectors may stop at a block that is plain, but never pass one that is not
                let blocks = |next: fn(&[u8], usize) -> Option<usize>| next(text.as_bytes(), from);
                prop_assert!(blocks(next_block).unwrap_or(usize::MAX) <= blocks(scan).unwrap_or(usize::MAX));
                prop_assert_eq!(find(&text, from, wanted), expected.map(|(at, _)| from + at));
            }
        }
    }
}
