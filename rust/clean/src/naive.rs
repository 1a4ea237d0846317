//! The normalisers of the profile "default" by the letter of their definitions, for tests.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::chars::{Properties, properties_of};

pub(crate) fn normalise(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    for break_ in ['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'] {
        text = text.replace(break_, "\n");
    }
    text.retain(|char| !is_noise(char));
    let text = without_hidden(&text.replace('\u{feff}', ""));
    let text: String =
        ComposingNormalizerBorrowed::new_nfc().normalize_iter(text.chars()).collect();
    tidy(&text)
}

fn is_noise(char: char) -> bool {
    let code = char as u32;
    let noncharacter = code & 0xfffe == 0xfffe || (0xfdd0..0xfdf0).contains(&code);
    noncharacter || (char.is_control() && !matches!(char, '\t' | '\n'))
}

fn without_hidden(text: &str) -> String {
    let mut kept: Vec<char> = Vec::new();
    for char in text.chars() {
        let tag = |c: &char| matches!(*c, '\u{e0020}'..='\u{e007f}');
        let base = kept.iter().rev().find(|c| !properties_of(**c).has(Properties::MARK) && !tag(c));
        let base_is = |class: Properties| base.is_some_and(|c| properties_of(*c).has(class));
        let selector = |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let keep = match char {
            '\u{200d}' => base_is(Properties::JOINING) || base_is(Properties::PICTOGRAPH),
            '\u{200c}' | '\u{180e}' => base_is(Properties::JOINING),
            _ if tag(&char) => base == Some(&'🏴'),
            _ if selector(char) => kept.last().is_some_and(|last| {
                !selector(*last) && !properties_of(*last).has(Properties::SPACE)
            }),
            _ => !properties_of(char).has(Properties::HIDDEN),
        };
        if keep {
            kept.push(char);
        }
    }
    kept.into_iter().collect()
}

fn tidy(text: &str) -> String {
    let blank =
        |char: char| matches!(char, ' ' | '\t') || properties_of(char).has(Properties::BLANK);
    let plain = |indent: &str| -> String {
        let keep = |c: char| matches!(c, '\t' | '\u{3000}');
        indent.chars().map(|c| if keep(c) { c } else { ' ' }).collect()
    };
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let line = line.trim_end_matches(blank);
        let body = line.trim_start_matches(blank);
        let mut tidied = plain(&line[..line.len() - body.len()]);
        let mut rest = body;
        while let Some(start) = rest.find(blank) {
            let run: String = rest[start..].chars().take_while(|c| blank(*c)).collect();
            tidied.push_str(&rest[..start]);
            tidied.push(if run.contains('\t') { '\t' } else { ' ' });
            rest = &rest[start + run.len()..];
        }
        tidied.push_str(rest);
        let two_empty = lines.last().is_some_and(String::is_empty);
        if !(tidied.is_empty() && (lines.is_empty() || two_empty)) {
            lines.push(tidied);
        }
    }
    let ended = lines.last().is_some_and(String::is_empty);
    let mut result = lines.join("\n");
    if !ended && text.trim_end_matches(blank).ends_with('\n') && !result.is_empty() {
        result.push('\n');
    }
    result
}
