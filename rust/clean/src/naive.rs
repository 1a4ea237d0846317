//! The normalisers of the profile "default", written as their definitions read; for tests.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::chars::{Properties, properties_of};

/// Applies the rules in order.
pub(crate) fn normalise(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    for break_ in ['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'] {
        text = text.replace(break_, "\n");
    }
    text.retain(|char| !is_control(char));
    let text = without_hidden(&text.replace('\u{feff}', ""));
    let text: String =
        ComposingNormalizerBorrowed::new_nfc().normalize_iter(text.chars()).collect();
    normalise_spaces(&text)
}

/// The rule `controls`.
fn is_control(char: char) -> bool {
    let code = char as u32;
    let is_noncharacter = code & 0xfffe == 0xfffe || (0xfdd0..0xfdf0).contains(&code);
    is_noncharacter || (char.is_control() && !matches!(char, '\t' | '\n'))
}

/// The rule `hidden`: looks back at what is kept for each character.
fn without_hidden(text: &str) -> String {
    let mut kept: Vec<char> = Vec::new();
    for char in text.chars() {
        let is_tag = |c: &char| matches!(*c, '\u{e0020}'..='\u{e007f}');
        let base =
            kept.iter().rev().find(|c| !properties_of(**c).has(Properties::MARK) && !is_tag(c));
        let base_is = |property: Properties| base.is_some_and(|c| properties_of(*c).has(property));
        let is_selector =
            |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let keep = match char {
            '\u{200d}' => base_is(Properties::JOINING) || base_is(Properties::PICTOGRAPH),
            '\u{200c}' | '\u{180e}' => base_is(Properties::JOINING),
            _ if is_tag(&char) => base == Some(&'🏴'),
            _ if is_selector(char) => kept.last().is_some_and(|last| {
                !is_selector(*last) && !properties_of(*last).has(Properties::SPACE)
            }),
            _ => !properties_of(char).has(Properties::HIDDEN),
        };
        if keep {
            kept.push(char);
        }
    }
    kept.into_iter().collect()
}

/// The rule `spaces`: one line after the other.
fn normalise_spaces(text: &str) -> String {
    let is_blank =
        |char: char| matches!(char, ' ' | '\t') || properties_of(char).has(Properties::BLANK);
    let indented = |indent: &str| -> String {
        let keep = |c: char| matches!(c, '\t' | '\u{3000}');
        indent.chars().map(|c| if keep(c) { c } else { ' ' }).collect()
    };
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let line = line.trim_end_matches(is_blank);
        let body = line.trim_start_matches(is_blank);
        let mut normalised = indented(&line[..line.len() - body.len()]);
        let mut rest = body;
        while let Some(start) = rest.find(is_blank) {
            let run: String = rest[start..].chars().take_while(|c| is_blank(*c)).collect();
            normalised.push_str(&rest[..start]);
            normalised.push(if run.contains('\t') { '\t' } else { ' ' });
            rest = &rest[start + run.len()..];
        }
        normalised.push_str(rest);
        let after_empty = lines.last().is_some_and(String::is_empty);
        if !(normalised.is_empty() && (lines.is_empty() || after_empty)) {
            lines.push(normalised);
        }
    }
    let ends_empty = lines.last().is_some_and(String::is_empty);
    let mut result = lines.join("\n");
    if !ends_empty && text.trim_end_matches(is_blank).ends_with('\n') && !result.is_empty() {
        result.push('\n');
    }
    result
}
