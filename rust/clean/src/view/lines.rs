//! Lines and paragraphs, and which of them were there before.

use std::ops::Range;

use memchr::{memchr_iter, memmem};
use xxhash_rust::xxh3::xxh3_64;

use crate::chars::{Properties, property_table};
use crate::view::table::Table;

/// One line, without its line feed.
#[derive(Clone, Copy, Debug)]
pub struct TextLine {
    start: usize,
    end: usize,
    chars: usize,
    blank: bool,
    repeat: bool,
}

impl TextLine {
    /// Where it stands in the text, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The line itself, out of the text that it is from.
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.range()]
    }

    /// Its length in code points.
    pub fn chars(&self) -> usize {
        self.chars
    }

    /// Whether it is empty or white space.
    pub fn is_blank(&self) -> bool {
        self.blank
    }

    /// Whether an equal line stands before it; never true of an empty line.
    pub fn is_repeat(&self) -> bool {
        self.repeat
    }
}

/// The lines of a text, split at line feeds: always one more than those.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Vec<TextLine>,
}

impl Lines {
    pub(crate) fn fill(&mut self, text: &str, ascii: bool, table: &mut Table) {
        let bytes = text.as_bytes();
        self.lines.clear();
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
            let line = &text[start..end];
            let chars = if ascii { line.len() } else { line.chars().count() };
            self.lines.push(TextLine { start, end, chars, blank: is_blank(line), repeat: false });
            start = end + 1;
        }
        table.clear(self.lines.len());
        for line in &mut self.lines {
            if line.start < line.end {
                line.repeat = table.repeats(xxh3_64(&bytes[line.start..line.end]));
            }
        }
    }

    /// All lines; after a line feed at the end there is an empty one.
    pub fn all(&self) -> &[TextLine] {
        &self.lines
    }

    /// The lines as `str.splitlines` has them: none behind a line feed at the end.
    pub fn without_last_empty(&self) -> &[TextLine] {
        match self.lines.split_last() {
            Some((last, before)) if last.start == last.end => before,
            _ => &self.lines,
        }
    }

    /// The lines of `text` when several line feeds together separate like one, as `\n+` splits:
    /// an empty one is left only before a line feed at the beginning and behind one at the end.
    pub fn runs_as_one(&self, text: &str) -> Repeats {
        let mut repeats = Repeats::default();
        for line in self.lines.iter().filter(|line| line.start < line.end) {
            repeats.add(line.repeat, line.chars);
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

/// How many parts there are, and how many of them were there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// All parts.
    pub count: usize,
    /// Parts that equal one before them.
    pub repeated: usize,
    /// The code points of those.
    pub repeated_chars: usize,
}

impl Repeats {
    fn add(&mut self, repeat: bool, chars: usize) {
        self.count += 1;
        if repeat {
            self.repeated += 1;
            self.repeated_chars += chars;
        }
    }

    /// The paragraphs of `text`: white space at its ends aside, split at two or more line feeds.
    pub(crate) fn of_paragraphs(text: &str, table: &mut Table) -> Self {
        let space = property_table();
        let text = text.trim_matches(|char| space.of(char).has(Properties::SPACE));
        let mut repeats = Self::default();
        let mut start = 0;
        for gap in memmem::find_iter(text.as_bytes(), "\n\n") {
            if repeats.count == 0 {
                table.clear(text.len() / 64 + 16);
            }
            // four line feeds are found as two gaps with nothing between them
            let part = text[start..gap].trim_start_matches('\n');
            if !part.is_empty() {
                repeats.add(table.repeats(xxh3_64(part.as_bytes())), part.chars().count());
            }
            start = gap + 2;
        }
        if repeats.count == 0 {
            return Self { count: 1, ..Self::default() };
        }
        let part = text[start..].trim_start_matches('\n');
        repeats.add(table.repeats(xxh3_64(part.as_bytes())), part.chars().count());
        repeats
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// What the definitions say, with strings in a set.
    fn naive(parts: &[&str]) -> Repeats {
        let mut met = HashSet::new();
        let mut repeats = Repeats::default();
        for part in parts {
            repeats.add(!met.insert(*part), part.chars().count());
        }
        repeats
    }

    fn split_at_runs(text: &str, least: usize) -> Vec<&str> {
        let mut parts = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let run = text[at..].len() - text[at..].trim_start_matches('\n').len();
            if run >= least {
                parts.push(&text[start..at]);
                start = at + run;
            }
            at += run.max(text[at..].chars().next().map_or(1, char::len_utf8));
        }
        parts.push(&text[start..]);
        parts
    }

    proptest! {
        #[test]
        fn repeats_are_those_of_a_set_of_strings(text in "(a|bb|中| |\n|\n\n|a\n|中\n){0,30}") {
            let mut table = Table::default();
            let mut lines = Lines::default();
            lines.fill(&text, text.is_ascii(), &mut table);
            let split: Vec<&str> = lines.all().iter().map(|line| line.of(&text)).collect();
            prop_assert_eq!(split, text.split('\n').collect::<Vec<_>>());
            prop_assert_eq!(lines.runs_as_one(&text), naive(&split_at_runs(&text, 1)));
            let paragraphs = split_at_runs(text.trim(), 2);
            prop_assert_eq!(Repeats::of_paragraphs(&text, &mut table), naive(&paragraphs));
            let python: Vec<&str> = lines.without_last_empty().iter().map(|l| l.of(&text)).collect();
            prop_assert_eq!(python, text.lines().collect::<Vec<_>>());
        }
    }
}
