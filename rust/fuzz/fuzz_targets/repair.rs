//! Repairs any text: no panic, ASCII stays, and `repair` has nothing left to do after itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
use serde_json::json;

fuzz_target!(|text: &str| {
    let mut buffers = CleanBuffers::default();
    for rule in ["repair", "repair@datatrove"] {
        let config = CleanConfig::profile("none").expect("a profile");
        let config = config.with(&json!({ rule: true })).expect("a rule");
        let cleaner = Cleaner::new(&config).expect("settings that can be used");
        let once = cleaner.clean(text, &mut buffers);
        if rule == "repair" {
            assert!(!text.is_ascii() || once.text == text);
            assert_eq!(once.text.matches('\n').count(), text.matches('\n').count());
            let twice = cleaner.clean(&once.text, &mut buffers);
            assert_eq!(twice.text, once.text);
        }
    }
});
