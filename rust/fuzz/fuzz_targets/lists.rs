//! Reads any bytes as a list of words and of URLs, and judges any text by it: an error, or the words
//! that a search for each finds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentOptions};
use serde_json::json;

fuzz_target!(|input: (&[u8], &str, &str)| {
    let (list, text, url) = input;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), list).expect("a temporary file can be written");
    let lists = json!({"lists": {"words": file.path(), "urls": file.path()}});
    let config = CleanConfig::profile("none").expect("a profile");
    let config = config.with(&lists).expect("settings of this rule");
    let Ok(cleaner) = Cleaner::new(&config) else { return };
    let mut buffers = CleanBuffers::default();
    let options = DocumentOptions { url: Some(url), ..DocumentOptions::default() };
    let cleaned = cleaner.clean_document(text, options, &mut buffers).cleaned;
    assert_eq!(cleaned.text, text);
    let Some(measure) = cleaned.verdict.measure() else { return };
    let found = cleaner.evidence(text, Some(url), measure);
    let entry = found.entry.expect("an entry of the list");
    // capitals of other letters may be several: "ß" is found as "SS"
    if let Some(range) = found.range
        && entry.is_ascii()
    {
        assert!(text[range].eq_ignore_ascii_case(&entry));
    }
});
