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

use std::ops::Range;

use crate::chars::{Properties, PropertyTable, property_table};
use crate::view::english::{SentenceCounter, Splitter, Word};
use crate::view::unit::WordUnit;
use crate::view::word_hash::word_hash_at;
use crate::view::{chinese, english};

/// The words of a text: their hashes and lengths, not their bytes.
#[derive(Debug, Default)]
pub struct Words {
    all: Vec<StoredWord>,
    total: u64,
    unit: WordUnit,
    plain: usize,
    plain_chars: usize,
    with_letter: usize,
    max_chars: usize,
}

/// One word.
#[derive(Clone, Copy, Debug)]
struct StoredWord {
    hash: u64,
    /// Its first byte in the text.
    start: usize,
    /// The code points of all words up to its end.
    chars: u64,
}

impl Words {
    /// Returns the number of words.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the [`word_hash`](crate::view::word_hash::word_hash) of each word.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.all.iter().map(|word| word.hash)
    }

    /// Returns the hash of the word at `index`, or 0 after the last.
    #[inline(always)]
    pub(crate) fn hash(&self, index: usize) -> u64 {
        self.all.get(index).map_or(0, |word| word.hash)
    }

    /// Returns what counts as a word.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// Returns the code points of the `n` words from index `first` on, without spaces between them.
    pub fn chars(&self, first: usize, n: usize) -> usize {
        let before = if first == 0 { 0 } else { self.all[first - 1].chars };
        (self.all[first + n - 1].chars - before) as usize
    }

    /// Returns the index of the first word, of those from index `from` on, that starts at byte `at` or
    /// after it.
    pub(crate) fn first_from(&self, at: usize, from: usize) -> usize {
        from + self.all[from..].iter().take_while(|word| word.start < at).count()
    }

    /// Returns the code points of the longest word.
    pub fn max_chars(&self) -> usize {
        self.max_chars
    }

    /// Returns the number of sentences of the words `range`, at most `enough`; `text` must be the one
    /// that they come from.
    pub(crate) fn count_sentences(&self, text: &str, range: Range<usize>, enough: usize) -> usize {
        let mut sentences = SentenceCounter::default();
        for index in range.take_while(|_| enough > 0) {
            let rest = &text[self.all[index].start..];
            // a letter or digit is no punctuation: the rest of the word changes nothing
            let chars = match rest.as_bytes() {
                [first, ..] if first.is_ascii_alphanumeric() => 1,
                _ => self.chars(index, 1),
            };
            let end = rest.char_indices().nth(chars).map_or(rest.len(), |(at, _)| at);
            if sentences.add(&rest[..end]) >= enough {
                break;
            }
        }
        sentences.count()
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
        self.all.clear();
        (self.total, self.max_chars) = (0, 0);
        (self.plain, self.plain_chars, self.with_letter) = (0, 0, 0);
        self.unit = unit;
        match unit {
            WordUnit::Word | WordUnit::Char => for_each(text, unit, |word| self.push(&word)),
            WordUnit::SpacyEn => english::for_each(text, splitter, |word| {
                self.push(&word);
                true
            }),
            WordUnit::Jieba => chinese::for_each(text, |word| self.push(&word)),
        }
    }

    #[inline(always)]
    fn push(&mut self, word: &Word) {
        self.total += word.chars as u64;
        self.all.push(StoredWord { hash: word.hash, start: word.start, chars: self.total });
        self.max_chars = self.max_chars.max(word.chars);
        self.plain += usize::from(word.is_plain);
        self.plain_chars += if word.is_plain { word.chars } else { 0 };
        self.with_letter += usize::from(word.properties.has(Properties::LETTER));
    }
}

/// Calls `each` with each word.
#[inline]
fn for_each(text: &str, unit: WordUnit, mut each: impl FnMut(Word)) {
    let splitter = WordSplitter { text, table: property_table(), single: single_properties(unit) };
    let bytes = text.as_bytes();
    let han = splitter.table.of('中');
    let has_single_han = han.has(splitter.single);
    let mut start = 0;
    while start < bytes.len() {
        let (end, chars, properties, is_plain) = if has_single_han
            && is_han(bytes, start)
            && bytes.get(start + 3).is_none_or(|next| *next < 0x80 || is_han(bytes, start + 3))
        {
            (start + 3, 1, han, true)
        } else {
            let (properties, size) = splitter.properties(start);
            if properties.has(Properties::SPACE) {
                start += size;
                continue;
            }
            splitter.word_at(start, properties, size)
        };
        let hash = word_hash_at(bytes, start, end);
        each(Word { start, end, hash, chars, properties, is_plain });
        start = end;
    }
}

/// Returns whether one of U+4E00 to U+9FFF starts at `at`: Han, all with the same properties.
#[inline(always)]
fn is_han(bytes: &[u8], at: usize) -> bool {
    match bytes[at] {
        0xe4 => bytes[at + 1] >= 0xb8,
        lead => (0xe5..=0xe9).contains(&lead),
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
    /// Returns the word at `start`, where a character of `size` bytes stands that is not white space:
    /// its end, its number of code points, the union of its characters' properties, and whether one
    /// of them is not a symbol.
    #[inline(always)]
    fn word_at(
        &self,
        start: usize,
        properties: Properties,
        size: usize,
    ) -> (usize, usize, Properties, bool) {
        let is_plain = !properties.has(Properties::SYMBOL);
        if properties.has(self.single) {
            let (end, marks) = self.marks(start + size);
            (end, marks + 1, properties, is_plain)
        } else if properties.has(Properties::WORD) {
            self.word(start)
        } else {
            let bytes = self.text.as_bytes();
            let char = &bytes[start..start + size];
            let mut end = start + size;
            while bytes[end..].starts_with(char) {
                end += size;
            }
            (end, (end - start) / size, properties, is_plain)
        }
    }

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
    use crate::view::word_hash::word_hash;

    #[test]
    fn han_between_u4e00_and_u9fff_have_the_same_properties() {
        for char in '\u{3400}'..='\u{ffff}' {
            let text = char.to_string();
            if is_han(text.as_bytes(), 0) {
                assert_eq!(properties_of(char), properties_of('中'), "{char}");
            }
            assert_eq!(is_han(text.as_bytes(), 0), ('一'..='\u{9fff}').contains(&char), "{char}");
        }
    }

    fn words(text: &str, unit: WordUnit) -> Vec<String> {
        let mut words = Vec::new();
        for_each(text, unit, |word| {
            let (chars, word) = (word.chars, word.of(text));
            assert_eq!(word.chars().count(), chars);
            words.push(word.to_owned());
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
        assert_eq!(words.hash(1), word_hash("don't"));
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
