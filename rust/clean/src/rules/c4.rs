//! The heuristics of C4 (Raffel et al. 2020), as datatrove applies them.
//!
//! Equal to datatrove 0.10's `C4QualityFilter` by lines. Lines that stay are stripped of white space
//! at both ends and joined by line feeds.
//!
//! ```text
//! for each line:
//!     remove it for a word that is too long
//!     cut citations out of it: [1], [edit], [citation needed]
//!     remove it for its end, or for having too few words
//!     drop the document for "lorem ipsum"
//!     remove it for "javascript"
//!     drop the document for a curly bracket
//!     remove it for the words of a cookie or privacy notice
//! drop the document if too few sentences are left
//! ```

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, packed};
use serde::{Deserialize, Serialize};

use crate::chars::{Properties, property_table};
use crate::edit::Edit;
use crate::measure::{Flow, Judge};
use crate::rule::{LineEdit, Rule};
use crate::view::View;
use crate::view::unit::WordUnit;
use crate::view::words::Words;

pub(super) const RULE: Rule = Rule::line_edit::<C4>(
    "c4",
    1,
    "C4's heuristics: removes lines without end, of scripts and notices; drops placeholder pages",
);

/// A limit that is null is not checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools)] // switches of the model, which are independent
struct C4 {
    /// Whether `[1]`, `[edit]` and `[citation needed]` are cut out.
    remove_citations: bool,
    /// Whether a line must end with one of `.?!"'`, and not with three full stops.
    terminal_punctuation: bool,
    /// Sentences of all lines that stay.
    min_sentences: Option<usize>,
    min_words_per_line: Option<usize>,
    /// Code points of a word.
    max_word_chars: Option<usize>,
    /// Whether "lorem ipsum", and likewise a curly bracket, drops the document.
    lorem_ipsum: bool,
    curly_bracket: bool,
    /// Whether lines with "javascript", and likewise with words of notices, are removed.
    javascript: bool,
    policy: bool,
}

impl Default for C4 {
    fn default() -> Self {
        Self {
            remove_citations: true,
            terminal_punctuation: true,
            min_sentences: Some(5),
            min_words_per_line: Some(3),
            max_word_chars: Some(1000),
            lorem_ipsum: true,
            curly_bracket: true,
            javascript: true,
            policy: true,
        }
    }
}

const LOREM_IPSUM: &str = "lorem ipsum";
const JAVASCRIPT: &str = "javascript";

/// The first two have meanings of their own, the others are words of notices.
const PHRASES: [&str; 8] = [
    LOREM_IPSUM,
    JAVASCRIPT,
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

static SEARCHER: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(PHRASES).ok());

/// Four bytes of each phrase, which are rare in other texts.
const PARTS: [&str; 5] = [" ips", "avas", "f us", "ivac", "cook"];

/// Finds [`PARTS`] of any case, 16 or 32 bytes at a time; none on machines without such a search.
static PART_SEARCHER: LazyLock<Option<packed::Searcher>> = LazyLock::new(|| {
    let mut parts = packed::Config::new().builder();
    for part in PARTS {
        let mut cases = vec![Vec::new()];
        for byte in part.bytes() {
            for case in &mut cases {
                case.push(byte);
            }
            if byte.is_ascii_alphabetic() {
                let upper = cases.iter().map(|case: &Vec<u8>| {
                    [&case[..case.len() - 1], &[byte.to_ascii_uppercase()]].concat()
                });
                cases.extend(upper.collect::<Vec<_>>());
            }
        }
        parts.extend(cases);
    }
    parts.build()
});

/// Returns whether `text` may contain one of the [`PHRASES`]; false is certain.
fn may_have_phrases(text: &str) -> bool {
    PART_SEARCHER.as_ref().is_none_or(|parts| parts.find(text).is_some())
}

/// What a document or a line contains, as bits by the index in [`PHRASES`].
fn phrases(text: &str) -> u8 {
    if !may_have_phrases(text) {
        return 0;
    }
    let Some(searcher) = &*SEARCHER else { return 0 };
    searcher
        .find_overlapping_iter(text)
        .fold(0, |bits, found| bits | 1 << found.pattern().as_usize())
}

/// What lines of a document may contain; false is certain.
#[derive(Clone, Copy)]
struct Contents {
    phrases: bool,
    brackets: bool,
}

/// What happens to a line.
enum Fate {
    Keep,
    Remove(&'static str),
    /// Drops the document, for this reason.
    Drop(&'static str),
}

impl C4 {
    /// Returns what happens to a stripped line, of which `kept` is left without citations.
    fn fate(&self, line: &str, kept: &str, contents: Contents) -> Fate {
        if self.max_word_chars.is_some_and(|max| has_long_word(line, max)) {
            return Fate::Remove("c4.long_word");
        }
        let is_ended = kept.ends_with(['.', '?', '!', '"', '\'']) && !kept.ends_with("...");
        if self.terminal_punctuation && !is_ended {
            return Fate::Remove("c4.no_end");
        }
        if self.min_words_per_line.is_some_and(|min| words(line).take(min).count() < min) {
            return Fate::Remove("c4.few_words");
        }
        // without a citation, characters that are side by side are so in the document
        let may_have_phrases = contents.phrases || kept.len() < line.len();
        let found = if may_have_phrases { phrases(kept) } else { 0 };
        if self.lorem_ipsum && found & 1 != 0 {
            return Fate::Drop("lorem_ipsum");
        }
        if self.javascript && found & 2 != 0 {
            return Fate::Remove("c4.javascript");
        }
        if self.curly_bracket && contents.brackets && kept.contains('{') {
            return Fate::Drop("curly_bracket");
        }
        if self.policy && found > 3 {
            return Fate::Remove("c4.policy");
        }
        Fate::Keep
    }
}

impl LineEdit for C4 {
    fn apply(&self, document: &View<'_>, edit: &mut Edit<'_>, judge: &mut Judge<'_>) -> Flow {
        let text = document.text();
        let may_have_citations =
            self.remove_citations && memchr::memchr(b'[', text.as_bytes()).is_some();
        let enough = self.min_sentences.unwrap_or(0);
        let contents = Contents {
            phrases: may_have_phrases(text),
            brackets: memchr::memchr(b'{', text.as_bytes()).is_some(),
        };
        let (mut new, mut cut) = (String::with_capacity(text.len()), String::new());
        let (mut sentences, mut edited, mut is_dropped) = (0, 0, false);
        let mut words = KeptWords::new(document);
        for range in lines(text) {
            let line = trim(&text[range.clone()]);
            let has_citation = may_have_citations && without_citations(line, &mut cut);
            let kept = if has_citation { &*cut } else { line };
            match self.fate(line, kept, contents) {
                Fate::Keep => {}
                Fate::Remove(reason) => {
                    edit.count_line(reason, &text[range]);
                    edited += 1;
                    continue;
                }
                Fate::Drop(reason) => {
                    judge.at_most(reason, 1.0, Some(0.0))?;
                    is_dropped = true;
                    continue;
                }
            }
            if has_citation {
                edit.count("c4.citations", 1);
                edited += 1;
            }
            let cut = has_citation.then_some(&*cut);
            sentences += words.add(range, cut, enough.saturating_sub(sentences));
            if !new.is_empty() {
                new.push('\n');
            }
            new.push_str(kept);
        }
        judge.at_least(
            "too_few_sentences",
            sentences as f64,
            self.min_sentences.map(|min| min as f64),
        )?;
        // in an explanation, later stages see the text of a document that this one drops
        let new = trim(&new);
        if new != text && sentences >= enough && !is_dropped {
            edit.replace(0..text.len(), new, u64::max(edited, 1));
            edit.word_count = words.known.map(|_| words.count);
        }
        Flow::Continue(())
    }
}

/// The number of words of lines that stay, from the words of the document: a break of lines is white
/// space, so that no word spans two.
struct KeptWords<'d, 't> {
    document: &'d View<'t>,
    /// The document's words, if they are known and spaCy's.
    known: Option<&'d Words>,
    /// The words before the end of the last line.
    before: usize,
    count: usize,
}

impl<'d, 't> KeptWords<'d, 't> {
    fn new(document: &'d View<'t>) -> Self {
        let known = document.known_words().filter(|words| words.unit() == WordUnit::SpacyEn);
        Self { document, known, before: 0, count: 0 }
    }

    /// Adds the words of the line at the bytes `range`, of which `cut` is left if it has citations.
    /// Returns the number of its sentences, at most `enough`.
    fn add(&mut self, range: Range<usize>, cut: Option<&str>, enough: usize) -> usize {
        let Some(words) = self.known else {
            let line = cut.unwrap_or(&self.document.text()[range]);
            return self.document.count_sentences(line, enough);
        };
        let first = words.first_from(range.start, self.before);
        self.before = words.first_from(range.end, first);
        if let Some(cut) = cut {
            self.count += self.document.count_words(cut);
            return self.document.count_sentences(cut, enough);
        }
        self.count += self.before - first;
        words.count_sentences(self.document.text(), first..self.before, enough)
    }
}

/// Returns whether a word of `line` has more than `max` code points.
fn has_long_word(line: &str, max: usize) -> bool {
    // a word of so many bytes begins at one of these parts, each of which ends with a space
    let mut rest = line.as_bytes();
    while rest.len() > max {
        match memchr::memrchr(b' ', &rest[..=max]) {
            Some(space) => rest = &rest[space + 1..],
            None => return words(line).any(|word| word.len() > max && word.chars().count() > max),
        }
    }
    false
}

/// Returns the words between white space.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(is_space).filter(|word| !word.is_empty())
}

fn is_space(char: char) -> bool {
    property_table().of(char).has(Properties::SPACE)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Returns the lines of `text` as Python's `str.splitlines` does, without their breaks.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_break = |char: char| {
        matches!(
            char,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let has_only_feeds = !may_have_other_breaks(text.as_bytes());
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == text.len() {
            return None;
        }
        let rest = &text[start..];
        let end = if has_only_feeds {
            memchr::memchr(b'\n', rest.as_bytes())
        } else {
            rest.find(is_break)
        };
        let end = end.unwrap_or(rest.len());
        let range = start..start + end;
        let size = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(0, char::len_utf8)
        };
        start = range.end + size;
        Some(range)
    })
}

/// Returns whether there may be a break of lines other than LF; false is certain.
fn may_have_other_breaks(bytes: &[u8]) -> bool {
    let is = |byte: u8, value: u8| u8::from(byte == value);
    let within = |byte: u8, low: u8, high: u8| u8::from(byte.wrapping_sub(low) <= high - low);
    let more = bytes.get(1..).unwrap_or_default();
    // no early exit: the compiler vectorises this form
    let controls = bytes.iter().fold(0, |found, byte| found | within(*byte, 0xb, 0x1e));
    let others = bytes.iter().zip(more).fold(0, |found, (first, second)| {
        // U+0085; U+2028 and U+2029 by their first two bytes are common: the third decides, below
        found | is(*first, 0xc2) & is(*second, 0x85)
    });
    controls | others != 0
        || memchr::memmem::find(bytes, b"\xe2\x80\xa8").is_some()
        || memchr::memmem::find(bytes, b"\xe2\x80\xa9").is_some()
}

/// Sets `cut` to `line` without citations; returns whether there is one.
fn without_citations(line: &str, cut: &mut String) -> bool {
    cut.clear();
    let mut done = 0;
    for (at, _) in line.match_indices('[') {
        let rest = &line[at + 1..];
        let digits = rest.trim_start_matches(char::is_numeric);
        let end = if digits.starts_with(']') {
            at + 1 + (rest.len() - digits.len()) + 1
        } else if let Some(word) =
            ["edit]", "citation needed]"].iter().find(|word| rest.starts_with(**word))
        {
            at + 1 + word.len()
        } else {
            continue;
        };
        cut.push_str(&line[done..at]);
        done = end;
    }
    cut.push_str(&line[done..]);
    done > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::ViewBuffers;

    proptest! {
        #[test]
        fn phrases_equal_a_search_for_each(
            parts in proptest::collection::vec(
                (proptest::sample::select(&PHRASES[..]), any::<u32>(), "[a-z .é]{0,40}"), 0..4,
            )
        ) {
            let cased = |phrase: &str, upper: u32| -> String {
                let is_upper = |at: usize| upper >> (at % 32) & 1 == 1;
                let chars = phrase.chars().enumerate();
                chars.map(|(at, c)| if is_upper(at) { c.to_ascii_uppercase() } else { c }).collect()
            };
            let parts = parts.iter().map(|(phrase, upper, rest)| cased(phrase, *upper) + rest);
            let text: String = parts.collect();
            let lower = text.to_ascii_lowercase();
            let bits = PHRASES.iter().enumerate().filter(|(_, phrase)| lower.contains(**phrase));
            prop_assert_eq!(phrases(&text), bits.fold(0, |all, (at, _)| all | 1 << at));
        }

        #[test]
        fn words_of_kept_lines_are_those_of_the_new_text(
            text in "(Dr\\.|don't|a|of|b\\.|\\(c\\)|[1]|\\[1\\]|x\\[2\\]y|\\[edit\\]|…|é| | |\u{a0}|\n|\r\n|\u{1c}|\u{85}|\u{2028}| use cookies ){0,40}"
        ) {
            let view = View::new(&text, WordUnit::SpacyEn, ViewBuffers::default());
            let rule = C4 {
                min_sentences: None,
                terminal_punctuation: false,
                min_words_per_line: Some(2),
                ..C4::default()
            };
            view.words();
            let mut new = String::new();
            let mut edit = Edit::new(&text, &mut new);
            prop_assert!(rule.apply(&view, &mut edit, &mut Judge::new(None)).is_continue());
            let count = edit.word_count;
            if edit.finish() > 0 {
                prop_assert_eq!(count, Some(view.count_words(&new)), "{:?}", new);
            }
        }

        #[test]
        fn lines_equal_a_search_for_each_break(
            text in "(a|é|中|€| |\r\n|\n|\r|\u{b}|\u{c}|\u{1c}|\u{1e}|\u{1f}|\u{85}|\u{2028}|\u{2029}|\u{202a}|\u{a0}){0,20}"
        ) {
            let breaks = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
            let unified = text.replace("\r\n", "\n");
            let mut expected: Vec<&str> = unified.split(breaks).collect();
            expected.pop_if(|last| last.is_empty());
            let found: Vec<&str> = lines(&text).map(|range| &text[range]).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
