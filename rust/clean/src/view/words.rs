//! Cutting a text into words, once for all filters.
//!
//! * White space separates words and is in none.
//! * A word is a longest run of letters, marks, numbers, connectors such as `_`, and joiners. An
//!   apostrophe (' or ’) between two letters and a full stop or comma between two ASCII digits
//!   belong to it: `don't`, `3.14`, `1,000`.
//! * Any other character is a word with those that follow and are the same: `...`, `--`, `。`.
//! * With [`WordUnit::Char`] each character of a script without spaces is a word, with its marks.

use xxhash_rust::xxh3::xxh3_64;

use crate::chars::{Properties, PropertyTable, property_table};
use crate::view::WordUnit;

/// The words of a text: their hashes and lengths, not their bytes.
#[derive(Debug, Default)]
pub struct Words {
    hashes: Vec<u64>,
    /// The code points of all words up to and with each.
    ends: Vec<u64>,
    total: u64,
    unit: WordUnit,
    plain: usize,
    plain_chars: usize,
    with_letter: usize,
}

/// The hash of one word, as [`Words::hashes`] has it.
pub fn word_hash(word: &str) -> u64 {
    xxh3_64(word.as_bytes())
}

impl Words {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash of each word.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// What a word is.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// The code points of the `n` words from `first` on, without the spaces between them.
    pub fn chars(&self, first: usize, n: usize) -> usize {
        let before = if first == 0 { 0 } else { self.ends[first - 1] };
        (self.ends[first + n - 1] - before) as usize
    }

    /// How many words are more than punctuation.
    pub fn plain(&self) -> usize {
        self.plain
    }

    /// The code points of those.
    pub fn plain_chars(&self) -> usize {
        self.plain_chars
    }

    /// How many words have a letter.
    pub fn with_letter(&self) -> usize {
        self.with_letter
    }

    pub(crate) fn fill(&mut self, text: &str, unit: WordUnit) {
        self.hashes.clear();
        self.ends.clear();
        (self.total, self.plain, self.plain_chars, self.with_letter) = (0, 0, 0, 0);
        self.unit = unit;
        for_each(text, unit, |bytes, chars, class, plain| {
            self.hashes.push(xxh3_64(bytes));
            self.total += chars as u64;
            self.ends.push(self.total);
            self.plain += usize::from(plain);
            self.plain_chars += if plain { chars } else { 0 };
            self.with_letter += usize::from(class.has(Properties::LETTER));
        });
    }
}

/// Calls `each` with a word's bytes, its code points, what classes it has, and whether one of its
/// characters is more than punctuation.
#[inline]
fn for_each(text: &str, unit: WordUnit, mut each: impl FnMut(&[u8], usize, Properties, bool)) {
    let cutter = Cutter { text, table: property_table(), alone: alone(unit) };
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (class, size) = cutter.class(at);
        if class.has(Properties::SPACE) {
            at += size;
        } else if class.has(cutter.alone) {
            let (end, chars) = cutter.marks(at + size);
            each(&bytes[at..end], chars + 1, class, !class.has(Properties::SYMBOL));
            at = end;
        } else if class.has(Properties::WORD) {
            let (end, chars, classes, plain) = cutter.word(at);
            each(&bytes[at..end], chars, classes, plain);
            at = end;
        } else {
            let char = &bytes[at..at + size];
            let mut end = at + size;
            while bytes[end..].starts_with(char) {
                end += size;
            }
            each(&bytes[at..end], (end - at) / size, class, !class.has(Properties::SYMBOL));
            at = end;
        }
    }
}

fn alone(unit: WordUnit) -> Properties {
    match unit {
        WordUnit::Word => Properties::NONE,
        WordUnit::Char => Properties::UNSPACED,
    }
}

struct Cutter<'t> {
    text: &'t str,
    table: &'static PropertyTable,
    alone: Properties,
}

impl Cutter<'_> {
    /// The classes and the bytes of the character at `at`; none at the end.
    #[inline(always)]
    fn class(&self, at: usize) -> (Properties, usize) {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(at) else { return (Properties::NONE, 0) };
        let class = self.table.of_byte(byte);
        if class.has(Properties::NON_ASCII) { self.table.at(bytes, at) } else { (class, 1) }
    }

    /// The end of the marks that begin at `at`, and their number.
    fn marks(&self, mut at: usize) -> (usize, usize) {
        let mut count = 0;
        loop {
            let (class, size) = self.class(at);
            if !class.has(Properties::MARK) {
                return (at, count);
            }
            at += size;
            count += 1;
        }
    }

    /// The end of the word that begins at `at`, its characters and what they are.
    #[inline(always)]
    fn word(&self, start: usize) -> (usize, usize, Properties, bool) {
        let bytes = self.text.as_bytes();
        let (mut classes, mut missing) = (Properties::NONE, Properties::NONE);
        let (mut at, mut last, mut more_bytes) = (start, Properties::NONE, 0);
        loop {
            // ASCII first: most words end without leaving this loop
            while let Some(&byte) = bytes.get(at) {
                let class = self.table.of_byte(byte);
                if !class.has(Properties::WORD) {
                    break;
                }
                classes = classes.or(class);
                missing = missing.or(class.missing());
                last = class;
                at += 1;
            }
            let (class, size) = self.class(at);
            if class.has(Properties::WORD) && !class.has(self.alone) {
                classes = classes.or(class);
                missing = missing.or(class.missing());
                last = class;
            } else if !self.joins(bytes, at, size, last) {
                let chars = at - start - more_bytes;
                return (at, chars, classes, missing.has(Properties::SYMBOL));
            }
            at += size;
            more_bytes += size - 1;
        }
    }

    /// Whether the character at `at`, which is in no word by itself, joins those around it.
    #[inline]
    fn joins(&self, bytes: &[u8], at: usize, size: usize, last: Properties) -> bool {
        match bytes.get(at) {
            Some(b'.' | b',') => {
                bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
            }
            Some(b'\'') => last.has(Properties::LETTER) && self.letter_at(at + 1),
            Some(0xe2) => {
                bytes[at..].starts_with("’".as_bytes())
                    && last.has(Properties::LETTER)
                    && self.letter_at(at + size)
            }
            _ => false,
        }
    }

    fn letter_at(&self, at: usize) -> bool {
        let (class, _) = self.class(at);
        class.has(Properties::LETTER) && !class.has(self.alone)
    }
}

#[cfg(test)]
pub(crate) mod naive {
    //! The same words by the letter of the rules, over a list of characters.

    use super::*;
    use crate::chars::properties_of;

    pub(crate) fn words(text: &str, unit: WordUnit) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let is = |at: usize, class: Properties| {
            chars.get(at).is_some_and(|c| properties_of(*c).has(class))
        };
        let alone = |at: usize| unit == WordUnit::Char && is(at, Properties::UNSPACED);
        let letter = |at: usize| is(at, Properties::LETTER) && !alone(at);
        let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
        let mut words = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += 1;
            if is(start, Properties::SPACE) {
                continue;
            }
            if alone(start) {
                while is(at, Properties::MARK) {
                    at += 1;
                }
            } else if is(start, Properties::WORD) {
                loop {
                    let apostrophe = at < chars.len() && matches!(chars[at], '\'' | '’');
                    let point = at < chars.len() && matches!(chars[at], '.' | ',');
                    let inside = (is(at, Properties::WORD) && !alone(at))
                        || (apostrophe && letter(at - 1) && letter(at + 1))
                        || (point && digit(at - 1) && digit(at + 1));
                    if !inside {
                        break;
                    }
                    at += 1;
                }
            } else {
                while at < chars.len() && chars[at] == chars[start] {
                    at += 1;
                }
            }
            words.push(chars[start..at].iter().collect());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chars::properties_of;

    fn words(text: &str, unit: WordUnit) -> Vec<String> {
        let mut words = Vec::new();
        for_each(text, unit, |bytes, chars, _, _| {
            let word = String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(word.chars().count(), chars);
            words.push(word);
        });
        words
    }

    #[test]
    fn words_are_what_the_rules_say() {
        let cases = [
            ("I don't know...", "I|don't|know|..."),
            ("3.14, 1,000; v1.a", "3.14|,|1,000|;|v1|.|a"),
            ("'quoted' it’s", "'|quoted|'|it’s"),
            ("well-known snake_case", "well|-|known|snake_case"),
            ("a--b ?!! (x)", "a|--|b|?|!!|(|x|)"),
            ("e\u{301}te\u{301} می\u{200c}خواهم", "e\u{301}te\u{301}|می\u{200c}خواهم"),
            ("中文字，ok", "中文字|，|ok"),
            ("'", "'"),
            ("a'", "a|'"),
            ("1.", "1|."),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text, WordUnit::Word).join("|"), expected, "{text:?}");
        }
        assert_eq!(words("中文字，ok好", WordUnit::Char).join("|"), "中|文|字|，|ok|好");
        assert_eq!(words("か\u{3099}a’好", WordUnit::Char).join("|"), "か\u{3099}|a|’|好");
    }

    #[test]
    fn counts_are_those_of_the_words() {
        let mut words = Words::default();
        words.fill("I don't... know 42 _", WordUnit::Word);
        assert_eq!((words.len(), words.plain(), words.with_letter()), (6, 4, 3));
        assert_eq!(words.plain_chars(), 1 + 5 + 4 + 2);
        assert_eq!(words.chars(1, 2), 5 + 3);
        assert_eq!(words.hashes()[1], word_hash("don't"));
    }

    proptest! {
        #[test]
        fn fast_equals_naive(
            text in "(a|B|é|中|文|か|\u{3099}|'|’|\\.|,|1|23|_|-|。|…| |\n|\u{301}|\u{200d}|１|\\PC){0,40}"
        ) {
            for unit in [WordUnit::Word, WordUnit::Char] {
                let expected = naive::words(&text, unit);
                prop_assert_eq!(words(&text, unit), expected.clone());
                let mut fast = Words::default();
                fast.fill(&text, unit);
                let plain = |word: &&String| word.chars().any(|c| !properties_of(c).has(Properties::SYMBOL));
                let letter = |word: &&String| word.chars().any(|c| properties_of(c).has(Properties::LETTER));
                prop_assert_eq!(fast.plain(), expected.iter().filter(plain).count());
                prop_assert_eq!(fast.with_letter(), expected.iter().filter(letter).count());
                let chars = expected.iter().filter(plain).map(|word| word.chars().count());
                prop_assert_eq!(fast.plain_chars(), chars.sum::<usize>());
            }
        }
    }
}
