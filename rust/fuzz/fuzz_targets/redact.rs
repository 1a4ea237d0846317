//! Redacts any text: no panic, and a second time changes nothing; then judges it by every profile.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, PROFILES};
use serde_json::json;

thread_local! {
    static CLEANERS: (Vec<Cleaner>, RefCell<CleanBuffers>) = {
        let redact = |replacement: &str| {
            let settings = json!({"nfc": true, "redact": {"replacement": replacement}});
            CleanConfig::profile("none").and_then(|config| config.with(&settings))
        };
        let profiles = PROFILES.iter().map(|profile| CleanConfig::profile(profile.name));
        let configs = ["placeholder", "remove"].map(redact).into_iter().chain(profiles);
        let cleaners = configs.map(|config| config.and_then(|config| Cleaner::new(&config)));
        (cleaners.map(|cleaner| cleaner.expect("rules that can be used")).collect(), RefCell::default())
    };
}

fuzz_target!(|text: &str| {
    CLEANERS.with(|(cleaners, buffers)| {
        let buffers = &mut *buffers.borrow_mut();
        for (index, cleaner) in cleaners.iter().enumerate() {
            let once = cleaner.clean(text, buffers);
            if index < 2 {
                assert_eq!(cleaner.clean(&once.text, buffers).text, once.text);
            }
        }
    });
});
