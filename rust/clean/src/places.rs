//! The place in a dropped text that shows why it was dropped, by the name of the measure.
//!
//! It is searched after the verdict and only for what is shown, so no rule pays for it. Repeated
//! n-grams are those of the words between spaces, whatever the segmenter of the rule, and of single
//! characters where there are no spaces.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::view::View;
use crate::view::lines::TextLine;

/// Words of a text that are looked at for a repeated n-gram: some hundred kilobytes.
const MAX_WORDS: usize = 100_000;

/// Returns the place in the text of `document` that made the measure `name` fail; `None` if it is no
/// single place, as for the number of words.
pub(crate) fn place_of(name: &str, document: &View<'_>) -> Option<Range<usize>> {
    let text = document.text();
    let (rule, part) = name.split_once('.')?;
    match (rule, part) {
        ("gopher_repetition", "dup_line_frac" | "dup_line_char_frac")
        | ("fineweb", "char_dup_ratio") => {
            document.lines().all().iter().find(|line| line.is_repeat()).map(TextLine::range)
        }
        ("gopher_repetition", "dup_para_frac" | "dup_para_char_frac") => repeated_paragraph(text),
        ("gopher_repetition", part) => {
            let (kind, n) = part.strip_suffix("_gram")?.split_once('_')?;
            repeated_n_gram(text, n.parse().ok()?, kind == "top")
        }
        ("utf8", _) => find(text, "\u{fffd}"),
        ("c4", "curly_bracket") => find(text, "{"),
        ("c4", "lorem_ipsum") => {
            let lower = text.to_ascii_lowercase();
            find(&lower, "lorem ipsum")
        }
        ("gopher_quality", "hashes") => find(text, "#"),
        ("gopher_quality", "ellipses" | "ellipsis_lines") => {
            find(text, "...").or_else(|| find(text, "…"))
        }
        ("code", "long_line") => {
            let lines = document.lines().all().iter();
            lines.max_by_key(|line| line.chars()).map(TextLine::range)
        }
        _ => None,
    }
}

fn find(text: &str, part: &str) -> Option<Range<usize>> {
    text.find(part).map(|at| at..at + part.len())
}

/// Returns the first paragraph that equals an earlier one.
fn repeated_paragraph(text: &str) -> Option<Range<usize>> {
    let mut seen = HashSet::new();
    let mut start = 0;
    for part in text.split("\n\n") {
        let trimmed = part.trim_start_matches('\n');
        let range = start + part.len() - trimmed.len()..start + part.len();
        if !trimmed.trim().is_empty() && !seen.insert(trimmed) {
            return Some(range);
        }
        start += part.len() + 2;
    }
    None
}

/// Returns the most frequent run of `n` words, the first of equally frequent ones; or the first
/// that equals an earlier one.
fn repeated_n_gram(text: &str, n: usize, is_top: bool) -> Option<Range<usize>> {
    let has_spaces = text.split_whitespace().nth(n).is_some();
    let mut words: Vec<Range<usize>> = Vec::new();
    if has_spaces {
        let start = text.as_ptr().addr();
        let range = |word: &str| {
            let at = word.as_ptr().addr() - start;
            at..at + word.len()
        };
        words.extend(text.split_whitespace().map(range).take(MAX_WORDS));
    } else {
        let chars = text.char_indices().filter(|(_, char)| !char.is_whitespace());
        words.extend(chars.map(|(at, char)| at..at + char.len_utf8()).take(MAX_WORDS));
    }
    let mut seen: HashMap<Vec<&str>, (usize, usize)> = HashMap::new();
    for (first, window) in words.windows(n.max(1)).enumerate() {
        let gram = window.iter().map(|range| &text[range.clone()]).collect();
        let (count, _) = seen.entry(gram).and_modify(|found| found.0 += 1).or_insert((1, first));
        if *count > 1 && !is_top {
            return Some(window[0].start..window[window.len() - 1].end);
        }
    }
    let (count, first) =
        seen.into_values().max_by_key(|(count, first)| (*count, usize::MAX - first))?;
    (count > 1).then(|| words[first].start..words[first + n.max(1) - 1].end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewBuffers;
    use crate::view::unit::WordUnit;

    #[test]
    fn the_place_of_a_measure_is_found_by_its_name() {
        for (name, text, expected) in [
            ("gopher_repetition.top_2_gram", "a buy now b buy now c", Some("buy now")),
            ("gopher_repetition.dup_5_gram", "a b c d e x a b c d e", Some("a b c d e")),
            ("gopher_repetition.top_3_gram", "一二三。一二三四", Some("一二三")),
            ("gopher_repetition.dup_line_frac", "one\ntwo\none\n", Some("one")),
            ("gopher_repetition.dup_para_frac", "p\nq\n\nr\n\n\np\nq", Some("p\nq")),
            ("c4.lorem_ipsum", "É Lorem Ipsum", Some("Lorem Ipsum")),
            ("c4.curly_bracket", "if {", Some("{")),
            ("utf8.replacement_ratio", "a\u{fffd}", Some("\u{fffd}")),
            ("code.long_line", "a\nlonger\nbc", Some("longer")),
            ("length.too_short", "a", None),
            ("gopher_repetition.top_2_gram", "a b c", None),
            ("gopher_repetition.empty", "", None),
        ] {
            let view = View::new(text, WordUnit::Word, ViewBuffers::default());
            let place = place_of(name, &view).map(|range| &text[range]);
            assert_eq!(place, expected, "{name}");
        }
        // the second of the equal lines
        let view = View::new("one\ntwo\none\n", WordUnit::Word, ViewBuffers::default());
        assert_eq!(place_of("fineweb.char_dup_ratio", &view), Some(8..11));
    }
}
