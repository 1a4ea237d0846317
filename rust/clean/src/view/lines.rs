//! Lines and paragraphs, and which of them repeat an earlier one.

use std::ops::Range;

use memchr::{memchr_iter, memmem};
use xxhash_rust::xxh3::xxh3_64;

use crate::chars::{Properties, count_chars, property_table};
use crate::view::hash_counts::HashCounts;

/// One line, without its line feed.
#[derive(Clone, Copy, Debug)]
pub struct TextLine {
    start: usize,
    end: usize,
    chars: usize,
    is_blank: bool,
    is_repeat: bool,
}

impl TextLine {
    /// Returns the bytes of the line in the text.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the line; `text` must be the text that it comes from.
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.range()]
    }

    /// Returns the length in code points.
    pub fn chars(&self) -> usize {
        self.chars
    }

    /// Returns whether the line is empty or white space.
    pub fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Returns whether an equal line occurs before it; always false for an empty line.
    pub fn is_repeat(&self) -> bool {
        self.is_repeat
    }
}

/// The lines of a text, split at line feeds: one more than there are line feeds.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Vec<TextLine>,
}

impl Lines {
    pub(crate) fn fill(&mut self, text: &str, is_ascii: bool, counts: &mut HashCounts) {
        let bytes = text.as_bytes();
        self.lines.clear();
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            let line = &text[start..end];
            let chars = if is_ascii { line.len() } else { count_chars(line) };
            let is_blank = is_blank(line);
            self.lines.push(TextLine { start, end, chars, is_blank, is_repeat: false });
            start = end + 1;
        }
        counts.clear(self.lines.len());
        for line in &mut self.lines {
            if line.start < line.end {
                line.is_repeat = counts.add_is_repeat(xxh3_64(&bytes[line.start..line.end]));
            }
        }
    }

    /// Returns all lines. A line feed at the end of the text is followed by an empty line.
    pub fn all(&self) -> &[TextLine] {
        &self.lines
    }

    /// Returns the lines as Python's `str.splitlines` does: without an empty line after a line feed
    /// at the end of the text.
    pub fn without_last_empty(&self) -> &[TextLine] {
        match self.lines.split_last() {
            Some((last, before)) if last.start == last.end => before,
            _ => &self.lines,
        }
    }

    /// Returns the repeats among the parts of `text` that the expression `\n+` separates.
    ///
    /// Consecutive line feeds are one separator, so an empty part occurs only before a line feed at
    /// the start of the text and after one at its end.
    pub fn repeats(&self, text: &str) -> Repeats {
        let mut repeats = Repeats::default();
        for line in self.lines.iter().filter(|line| line.start < line.end) {
            repeats.add(line.is_repeat, line.chars);
        }
        let (first, last) = (text.starts_with('\n'), text.ends_with('\n'));
        let empty = if text.is_empty() { 1 } else { usize::from(first) + usize::from(last) };
        repeats.count += empty;
        repeats.repeated += usize::from(first && last);
        repeats
    }
}

fn is_blank(line: &str) -> bool {
    let table = property_table();
    line.chars().all(|char| table.of(char).has(Properties::SPACE))
}

/// The number of parts of a text, and of those that repeat an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// All parts.
    pub count: usize,
    /// Parts that equal an earlier one.
    pub repeated: usize,
    /// The code points of the parts that equal an earlier one.
    pub repeated_chars: usize,
}

impl Repeats {
    fn add(&mut self, is_repeat: bool, chars: usize) {
        self.count += 1;
        if is_repeat {
            self.repeated += 1;
            self.repeated_chars += chars;
        }
    }

    /// Returns the repeats among the paragraphs of `text`, which two or more line feeds separate.
    /// White space at the ends of the text belongs to none.
    pub(crate) fn of_paragraphs(text: &str, counts: &mut HashCounts) -> Self {
        let table = property_table();
        let text = text.trim_matches(|char| table.of(char).has(Properties::SPACE));
        let mut repeats = Self::default();
        let mut start = 0;
        for gap in memmem::find_iter(text.as_bytes(), "\n\n") {
            if repeats.count == 0 {
                counts.clear(memmem::find_iter(text.as_bytes(), "\n\n").count() + 1);
            }
            // four line feeds are found as two gaps with nothing between them
            let part = text[start..gap].trim_start_matches('\n');
            if !part.is_empty() {
                repeats.add(counts.add_is_repeat(xxh3_64(part.as_bytes())), count_chars(part));
            }
            start = gap + 2;
        }
        if repeats.count == 0 {
            return Self { count: 1, ..Self::default() };
        }
        let part = text[start..].trim_start_matches('\n');
        repeats.add(counts.add_is_repeat(xxh3_64(part.as_bytes())), count_chars(part));
        repeats
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The definition, with a set of strings.
    fn naive(parts: &[&str]) -> Repeats {
        let mut seen = HashSet::new();
        let mut repeats = Repeats::default();
        for part in parts {
            repeats.add(!seen.insert(*part), count_chars(part));
        }
        repeats
    }

    /// Splits `text` at runs of at least `min` line feeds.
    fn split_at_runs(text: &str, min: usize) -> Vec<&str> {
        let mut parts = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let run = text[at..].len() - text[at..].trim_start_matches('\n').len();
            if run >= min {
                parts.push(&text[start..at]);
                start = at + run;
            }
            at += run.max(text[at..].chars().next().map_or(1, char::len_utf8));
        }
        parts.push(&text[start..]);
        parts
    }

    #[test]
    fn many_short_paragraphs_are_counted() {
        let paragraphs: Vec<String> = (0..5000).map(|n| (n % 4000).to_string()).collect();
        let text = paragraphs.join("\n\n");
        let repeats = Repeats::of_paragraphs(&text, &mut HashCounts::default());
        assert_eq!((repeats.count, repeats.repeated), (5000, 1000));
    }

    proptest! {
        #[test]
        fn repeats_equal_those_found_with_a_set_of_strings(text in "(a|bb|中| |\n|\n\n|a\n|中\n){0,30}") {
            let mut counts = HashCounts::default();
            let mut lines = Lines::default();
            lines.fill(&text, text.is_ascii(), &mut counts);
            let split: Vec<&str> = lines.all().iter().map(|line| line.of(&text)).collect();
            prop_assert_eq!(split, text.split('\n').collect::<Vec<_>>());
            prop_assert_eq!(lines.repeats(&text), naive(&split_at_runs(&text, 1)));
            let paragraphs = split_at_runs(text.trim(), 2);
            prop_assert_eq!(Repeats::of_paragraphs(&text, &mut counts), naive(&paragraphs));
            let python: Vec<&str> = lines.without_last_empty().iter().map(|l| l.of(&text)).collect();
            prop_assert_eq!(python, text.lines().collect::<Vec<_>>());
        }
    }
}
