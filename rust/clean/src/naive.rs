//! The normalisers of the profiles "default" and "tidy", written as their definitions read; for tests.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::chars::{Properties, properties_of};

/// The normalisers of "default".
pub(crate) fn lossless(text: &str) -> String {
    let text = without_breaks(text, &['\r', '\u{b}', '\u{c}'], |char| {
        char < ' ' && !matches!(char, '\t' | '\n')
    });
    let rest = text.trim_start_matches(|char: char| char == '\u{feff}' || char.is_whitespace());
    let (start, rest) = text.split_at(text.len() - rest.len());
    nfc(&(start.replace('\u{feff}', "") + rest))
}

/// The normalisers of "tidy" but for repair and escape sequences.
pub(crate) fn tidy(text: &str) -> String {
    let breaks = ['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    let text = without_breaks(text, &breaks, |_| false);
    let text: String = text.chars().filter(|char| !is_control(*char)).collect();
    normalise_spaces(&nfc(&without_hidden(&text)))
}

fn nfc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize_iter(text.chars()).collect()
}

/// The rules `breaks` and `controls`: one character after the other.
fn without_breaks(text: &str, breaks: &[char], is_removed: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if breaks.contains(&char) {
            let is_after = char != '\r' && out.ends_with('\n');
            if !is_after && chars.peek() != Some(&'\n') {
                out.push('\n');
            }
        } else if !is_removed(char) {
            out.push(char);
        }
    }
    out
}

/// The rule `controls` with `all`.
fn is_control(char: char) -> bool {
    let code = char as u32;
    let is_noncharacter = code & 0xfffe == 0xfffe || (0xfdd0..0xfdf0).contains(&code);
    is_noncharacter || (char.is_control() && !matches!(char, '\t' | '\n'))
}

/// Scripts that separate words by ZWSP, if at all: Thai, Lao, Burmese, Khmer and neighbours.
fn is_unspaced(char: char) -> bool {
    [
        (0xe00, 0xeff),
        (0x1000, 0x109f),
        (0x1780, 0x17ff),
        (0x1950, 0x19ff),
        (0x1a20, 0x1aaf),
        (0xa9e0, 0xa9ff),
        (0xaa60, 0xaadf),
        (0x11700, 0x1174f),
    ]
    .iter()
    .any(|(low, high)| (*low..=*high).contains(&(char as u32)))
}

/// The rule `hidden`: looks back at what is kept for each character.
fn without_hidden(text: &str) -> String {
    let mut kept: Vec<char> = Vec::new();
    for char in text.chars() {
        let is_tag = |c: &char| matches!(*c, '\u{e0020}'..='\u{e007f}');
        let is_base = |c: &&char| {
            **c != '\u{200b}' && !properties_of(**c).has(Properties::MARK) && !is_tag(c)
        };
        let base = kept.iter().rev().find(is_base);
        let base_is = |property: Properties| base.is_some_and(|c| properties_of(*c).has(property));
        let is_selector =
            |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let keep = match char {
            '\u{200d}' => base_is(Properties::JOINING) || base_is(Properties::PICTOGRAPH),
            '\u{200c}' | '\u{180e}' => base_is(Properties::JOINING),
            '\u{200b}' => kept.last() != Some(&char) && base.is_some_and(|c| is_unspaced(*c)),
            _ if is_tag(&char) => base == Some(&'🏴'),
            _ if is_selector(char) => kept.last().is_some_and(|last| {
                !is_selector(*last)
                    && *last != '\u{200b}'
                    && !properties_of(*last).has(Properties::SPACE)
            }),
            _ => !properties_of(char).has(Properties::HIDDEN),
        };
        if keep {
            kept.push(char);
        }
    }
    kept.into_iter().collect()
}

/// A line, as the rule `spaces` sees it.
enum Line {
    /// In fenced code, or its fence.
    Code(String),
    Empty,
    Text(String),
}

/// The rule `spaces` with at most two empty lines.
fn normalise_spaces(text: &str) -> String {
    let is_blank =
        |char: char| matches!(char, ' ' | '\t') || properties_of(char).has(Properties::BLANK);
    let mut in_code = false;
    let mut lines: Vec<Line> = Vec::new();
    for line in text.split('\n') {
        let start = line.trim_start_matches(is_blank);
        let is_fence = start.starts_with("```") || start.starts_with("~~~");
        lines.push(if in_code || is_fence {
            in_code ^= is_fence;
            Line::Code(line.to_owned())
        } else if start.is_empty() {
            Line::Empty
        } else {
            Line::Text(line.to_owned())
        });
    }
    let ends_in_code = in_code || matches!(lines.last(), Some(Line::Code(_)));
    let mut result: Vec<String> = Vec::new();
    let mut empty = 0;
    for (index, line) in lines.iter().enumerate() {
        let neighbour = |index: Option<usize>| match index.and_then(|index| lines.get(index)) {
            Some(Line::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let new = match line {
            Line::Empty => {
                empty += 1;
                continue;
            }
            Line::Code(line) => line.clone(),
            Line::Text(line) => {
                let (before, after) = (neighbour(index.checked_sub(1)), neighbour(Some(index + 1)));
                // a fence is text too, as far as a break before it is concerned
                normalise_line(line, before, after)
            }
        };
        let kept = if result.is_empty() { 0 } else { empty.min(2) };
        result.extend(std::iter::repeat_n(String::new(), kept));
        result.push(new);
        empty = 0;
    }
    let ends_with_feed = empty > 0 && !ends_in_code;
    let mut result = result.join("\n");
    if ends_with_feed && !result.is_empty() {
        result.push('\n');
    }
    result
}

fn normalise_line(line: &str, before: Option<&str>, after: Option<&str>) -> String {
    let is_space = |char: char| char == ' ' || properties_of(char).has(Properties::BLANK);
    let is_blank = |char: char| char == '\t' || is_space(char);
    let body = line.trim_end_matches(is_space);
    let end = &line[body.len()..];
    let end =
        if after.is_some() && end.len() > 1 && end.chars().all(|c| c == ' ') { "  " } else { "" };
    let indentation: String = body.chars().take_while(|char| is_blank(*char)).collect();
    let neighbours = [before, after].into_iter().flatten();
    let keeps = body.contains(['\t', '|'])
        || indentation.chars().any(|char| char != '\u{3000}')
        || neighbours.into_iter().any(|other| is_aligned(line, other));
    let mut out = String::new();
    for char in body.chars() {
        let new = if is_space(char) && char != '\u{3000}' { ' ' } else { char };
        if keeps || new != ' ' || !out.ends_with(' ') {
            out.push(new);
        }
    }
    out + end
}

/// Whether a run of two or more spaces within one line, or the word after it, ends where one does
/// in the other.
fn is_aligned(one: &str, two: &str) -> bool {
    let is_space = |char: char| char == ' ' || properties_of(char).has(Properties::BLANK);
    let ends = |line: &str| {
        let line: Vec<char> =
            line.trim_end_matches(|char| char == '\t' || is_space(char)).chars().collect();
        let (mut runs, mut words) = (Vec::new(), Vec::new());
        for end in 3..line.len() {
            let is_run = is_space(line[end - 1]) && is_space(line[end - 2]) && !is_space(line[end]);
            if is_run && !line[..end].iter().all(|char| is_space(*char)) {
                runs.push(end);
                let word = line[end..].iter().take_while(|char| !is_space(**char)).count();
                words.push(end + word);
            }
        }
        (runs, words)
    };
    let ((runs, words), (other_runs, other_words)) = (ends(one), ends(two));
    runs.iter().any(|end| other_runs.contains(end))
        || words.iter().any(|end| other_words.contains(end))
}
