//! Runs any choice of normalisers over any text: no panic, bounded growth, a second run changes
//! nothing, and the text is borrowed exactly if nothing changed.

#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, MAX_GROWTH};
use serde_json::{Map, Value, json};

const RULES: [&str; 7] = ["ansi", "breaks", "controls", "bom", "hidden", "nfc", "spaces"];

// the first byte chooses the rules, the second their settings
fuzz_target!(|input: (u8, u8, &str)| {
    let (on, settings, text) = input;
    let mut changes: Map<String, Value> = Map::new();
    for (bit, rule) in RULES.iter().enumerate() {
        changes.insert((*rule).to_owned(), (on >> bit & 1 == 1).into());
    }
    if on & 1 << 2 != 0 {
        changes.insert("controls".to_owned(), json!({"all": settings & 1 == 1}));
    }
    if on & 1 << 5 != 0 {
        changes.insert("nfc".to_owned(), json!({"keep_singletons": settings & 2 == 2}));
    }
    if on & 1 << 6 != 0 {
        changes.insert("spaces".to_owned(), json!({"empty_lines": settings >> 2 & 3}));
    }
    let config = CleanConfig::profile("none").expect("a profile");
    let config = config.with(&Value::Object(changes)).expect("settings of these rules");
    let cleaner = Cleaner::new(&config).expect("settings that can be used");
    let mut buffers = CleanBuffers::default();
    let once = cleaner.clean(text, &mut buffers);
    assert!(once.text.len() <= MAX_GROWTH * text.len());
    assert_eq!(matches!(once.text, Cow::Borrowed(_)), once.changes.is_empty());
    let twice = cleaner.clean(&once.text, &mut buffers);
    assert_eq!(twice.text, once.text);
    assert!(twice.changes.is_empty());
});
