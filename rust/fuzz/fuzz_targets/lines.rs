//! Removes lines from any text and judges what is left: the result is the lines that the definition
//! keeps, and the same verdict as that of the edited text by itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use serde_json::{Value, json};

fn cleaner(stages: &Value) -> Cleaner {
    let config = CleanConfig::profile("none").expect("a profile");
    Cleaner::new(&config.with(stages).expect("settings of these rules")).expect("they can be used")
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (min, max, text) = input;
    let (min, max) = (usize::from(min % 8), usize::from(max % 32));
    let lines = json!({"containing": ["ab", "é"], "min_chars": min, "max_chars": max});
    let length = json!({"min_chars": max});
    let both = cleaner(&json!({"stages": ["lines", "length"], "lines": lines, "length": length}));
    let judge = cleaner(&json!({"length": length}));
    let mut buffers = CleanBuffers::default();
    let cleaned = both.clean(text, &mut buffers);
    let is_kept = |line: &&str| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        // white space as in Python, which has four controls more
        let is_space = |char: char| char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char);
        let found = line.to_ascii_lowercase().contains("ab") || line.contains('é');
        line.chars().all(is_space) || ((min..=max).contains(&line.chars().count()) && !found)
    };
    let expected: String = text.split_inclusive('\n').filter(is_kept).collect();
    assert_eq!(cleaned.text, expected);
    assert_eq!(cleaned.verdict, judge.clean(&expected, &mut buffers).verdict);
});
