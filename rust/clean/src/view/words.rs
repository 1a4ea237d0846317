//! Splits a text into words, once for all filters.
//!
//! * White space separates words and belongs to none.
//! * A word is a maximal run of letters, marks, numbers, connectors such as `_`, and joiners. An
//!   apostrophe (' or ’) between two letters, and a full stop or comma between two ASCII digits,
//!   belong to it: `don't`, `3.14`, `1,000`.
//! * Any other character is a word together with the equal characters after it: `...`, `--`, `。`.
//! * With [`WordUnit::Char`], each character of a script without spaces is a word, with its marks.
//!
//! ```text
//! at = 0
//! while at < length:
//!     c = the character at `at`
//!     white space             skip it
//!     single, if Char         word = c and the marks after it
//!     letter, mark, number …  word = run of those, with apostrophes and points inside
//!     anything else           word = run of c
//! ```
//!
//! Of each word only its hash and length are stored: filters compare and measure words, and never
//! read their bytes. Runs are scanned byte by byte while they are ASCII, through a table of 256
//! entries; [`Properties::NON_ASCII`] leads to the full lookup.

use xxhash_rust::xxh3::xxh3_64;

use crate::chars::{Properties, PropertyTable, property_table};
use crate::view::english::Splitter;
use crate::view::unit::WordUnit;
use crate::view::{chinese, english};

/// The words of a text: their hashes and lengths, not their bytes.
#[derive(Debug, Default)]
pub struct Words {
    hashes: Vec<u64>,
    /// For each word, its first byte in the text; only of spaCy's words.
    starts: Vec<usize>,
    /// For each word, the code points of all words up to its end.
    ends: Vec<u64>,
    total: u64,
    unit: WordUnit,
    plain: usize,
    plain_chars: usize,
    with_letter: usize,
}

/// Returns the hash of one word, as in [`Words::hashes`].
pub fn word_hash(word: &str) -> u64 {
    xxh3_64(word.as_bytes())
}

impl Words {
    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Returns whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns the hash of each word.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Returns what counts as a word.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// Returns the code points of the `n` words from index `first` on, without spaces between them.
    pub fn chars(&self, first: usize, n: usize) -> usize {
        let before = if first == 0 { 0 } else { self.ends[first - 1] };
        (self.ends[first + n - 1] - before) as usize
    }

    /// Returns the number of words that start before byte `end`, of those from index `first` on;
    /// `None` if starts are not stored.
    pub(crate) fn count_before(&self, end: usize, first: usize) -> Option<usize> {
        let starts = self.starts.get(first..)?;
        let is_stored = self.starts.len() == self.len();
        is_stored.then(|| starts.iter().take_while(|start| **start < end).count())
    }

    /// Returns the number of words that are not only punctuation.
    pub fn plain(&self) -> usize {
        self.plain
    }

    /// Returns the code points of the words that are not only punctuation.
    pub fn plain_chars(&self) -> usize {
        self.plain_chars
    }

    /// Returns the number of words with a letter.
    pub fn with_letter(&self) -> usize {
        self.with_letter
    }

    pub(crate) fn fill(&mut self, text: &str, unit: WordUnit, splitter: &mut Splitter) {
        self.hashes.clear();
        self.starts.clear();
        self.ends.clear();
        (self.total, self.plain, self.plain_chars, self.with_letter) = (0, 0, 0, 0);
        self.unit = unit;
        let mut add = |bytes: &[u8], chars: usize, properties: Properties, is_plain: bool| {
            self.hashes.push(xxh3_64(bytes));
            self.total += chars as u64;
            self.ends.push(self.total);
            self.plain += usize::from(is_plain);
            self.plain_chars += if is_plain { chars } else { 0 };
            self.with_letter += usize::from(properties.has(Properties::LETTER));
        };
        match unit {
            WordUnit::Word | WordUnit::Char => for_each(text, unit, add),
            WordUnit::SpacyEn => {
                english::for_each_traits(text, splitter, |bytes, chars, properties, is_plain| {
                    self.starts.push(bytes.as_ptr().addr() - text.as_ptr().addr());
                    add(bytes, chars, properties, is_plain);
                });
            }
            WordUnit::Jieba => chinese::for_each(text, add),
        }
    }
}

/// Calls `each` with the bytes of each word, its number of code points, the union of its
/// characters' properties, and whether it is plain: not only punctuation.
#[inline]
fn for_each(text: &str, unit: WordUnit, mut each: impl FnMut(&[u8], usize, Properties, bool)) {
    let splitter = WordSplitter { text, table: property_table(), single: single_properties(unit) };
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (properties, size) = splitter.properties(at);
        if properties.has(Properties::SPACE) {
            at += size;
        } else if properties.has(splitter.single) {
            let (end, marks) = splitter.marks(at + size);
            each(&bytes[at..end], marks + 1, properties, !properties.has(Properties::SYMBOL));
            at = end;
        } else if properties.has(Properties::WORD) {
            let (end, chars, all, is_plain) = splitter.word(at);
            each(&bytes[at..end], chars, all, is_plain);
            at = end;
        } else {
            let char = &bytes[at..at + size];
            let mut end = at + size;
            while bytes[end..].starts_with(char) {
                end += size;
            }
            let is_plain = !properties.has(Properties::SYMBOL);
            each(&bytes[at..end], (end - at) / size, properties, is_plain);
            at = end;
        }
    }
}

/// Returns the properties of characters that are words of their own.
fn single_properties(unit: WordUnit) -> Properties {
    match unit {
        WordUnit::Char => Properties::UNSPACED,
        WordUnit::Word | WordUnit::SpacyEn | WordUnit::Jieba => Properties::NONE,
    }
}

struct WordSplitter<'t> {
    text: &'t str,
    table: &'static PropertyTable,
    single: Properties,
}

impl WordSplitter<'_> {
    /// Returns the properties of the character at `at` and its length in bytes; both are empty at
    /// the end of the text.
    #[inline(always)]
    fn properties(&self, at: usize) -> (Properties, usize) {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(at) else { return (Properties::NONE, 0) };
        let properties = self.table.of_byte(byte);
        if properties.has(Properties::NON_ASCII) {
            self.table.at(bytes, at)
        } else {
            (properties, 1)
        }
    }

    /// Returns the end of the run of marks that starts at `at`, and their number.
    fn marks(&self, mut at: usize) -> (usize, usize) {
        let mut count = 0;
        loop {
            let (properties, size) = self.properties(at);
            if !properties.has(Properties::MARK) {
                return (at, count);
            }
            at += size;
            count += 1;
        }
    }

    /// Returns the end of the word that starts at `start`, its number of code points, the union of
    /// its characters' properties, and whether one of them is not a symbol.
    #[inline(always)]
    fn word(&self, start: usize) -> (usize, usize, Properties, bool) {
        let bytes = self.text.as_bytes();
        let (mut all, mut missing) = (Properties::NONE, Properties::NONE);
        // bytes beyond the first of each character, to count characters at the end
        let (mut at, mut last, mut more_bytes) = (start, Properties::NONE, 0);
        loop {
            // ASCII first: most words end without leaving this loop
            while let Some(&byte) = bytes.get(at) {
                let properties = self.table.of_byte(byte);
                if !properties.has(Properties::WORD) {
                    break;
                }
                all = all.or(properties);
                missing = missing.or(properties.missing());
                last = properties;
                at += 1;
            }
            let (properties, size) = self.properties(at);
            if properties.has(Properties::WORD) && !properties.has(self.single) {
                all = all.or(properties);
                missing = missing.or(properties.missing());
                last = properties;
            } else if !self.joins(bytes, at, size, last) {
                let chars = at - start - more_bytes;
                return (at, chars, all, missing.has(Properties::SYMBOL));
            }
            at += size;
            more_bytes += size - 1;
        }
    }

    /// Returns whether the character at `at` is an apostrophe or a point that joins the characters
    /// around it; `last` are the properties of the one before it.
    #[inline]
    fn joins(&self, bytes: &[u8], at: usize, size: usize, last: Properties) -> bool {
        match bytes.get(at) {
            Some(b'.' | b',') => {
                bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
            }
            Some(b'\'') => last.has(Properties::LETTER) && self.is_letter(at + 1),
            Some(0xe2) => {
                bytes[at..].starts_with("’".as_bytes())
                    && last.has(Properties::LETTER)
                    && self.is_letter(at + size)
            }
            _ => false,
        }
    }

    fn is_letter(&self, at: usize) -> bool {
        let (properties, _) = self.properties(at);
        properties.has(Properties::LETTER) && !properties.has(self.single)
    }
}

#[cfg(test)]
pub(crate) mod naive {
    //! The rules in the order in which the module states them, over a list of characters.

    use super::*;
    use crate::chars::properties_of;

    pub(crate) fn words(text: &str, unit: WordUnit) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let is = |at: usize, class: Properties| {
            chars.get(at).is_some_and(|c| properties_of(*c).has(class))
        };
        let single = |at: usize| unit == WordUnit::Char && is(at, Properties::UNSPACED);
        let letter = |at: usize| is(at, Properties::LETTER) && !single(at);
        let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
        let mut words = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += 1;
            if is(start, Properties::SPACE) {
                continue;
            }
            if single(start) {
                while is(at, Properties::MARK) {
                    at += 1;
                }
            } else if is(start, Properties::WORD) {
                loop {
                    let apostrophe = at < chars.len() && matches!(chars[at], '\'' | '’');
                    let point = at < chars.len() && matches!(chars[at], '.' | ',');
                    let inside = (is(at, Properties::WORD) && !single(at))
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
    fn words_follow_the_rules() {
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
    fn counts_cover_all_words() {
        let mut words = Words::default();
        words.fill("I don't... know 42 _", WordUnit::Word, &mut Splitter::default());
        assert_eq!((words.len(), words.plain(), words.with_letter()), (6, 4, 3));
        assert_eq!(words.plain_chars(), 1 + 5 + 4 + 2);
        assert_eq!(words.chars(1, 2), 5 + 3);
        assert_eq!(words.hashes()[1], word_hash("don't"));
    }

    proptest! {
        #[test]
        fn words_and_counts_equal_the_naive_twin(
            text in "(a|B|é|中|文|か|\u{3099}|'|’|\\.|,|1|23|_|-|。|…| |\n|\u{301}|\u{200d}|１|\\PC){0,40}"
        ) {
            for unit in [WordUnit::Word, WordUnit::Char] {
                let expected = naive::words(&text, unit);
                prop_assert_eq!(words(&text, unit), expected.clone());
                let mut fast = Words::default();
                fast.fill(&text, unit, &mut Splitter::default());
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
