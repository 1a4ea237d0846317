//! Loads a tokenizer.json of any bytes, or a valid one with changes: it is refused, or the tokenizer
//! encodes and is equal after writing and reading.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::{Special, Tokenizer};
use lslm_runtime::Task;

/// A valid file with a normalizer, a template, merges and special tokens.
static GOOD: LazyLock<String> = LazyLock::new(|| {
    let mut tokens: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    tokens.extend([b"th".to_vec(), b"the".to_vec(), b" the".to_vec()]);
    let merges = [(116, 104), (256, 101), (32, 257)];
    let special = ["<|end|>".to_owned(), "[MASK]".to_owned()].into_iter().zip(259..);
    let special: Vec<_> = special.collect();
    let pattern = Pattern::named("starcoder").expect("a published pattern");
    let tokenizer = Tokenizer::new(&tokens, &merges, pattern, &special).expect("a tokenizer");
    let nfc = "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, \
        {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a+\"}, \"content\": \"b\"}]}";
    let template = "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": \
        [{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\"}}], \
        \"special_tokens\": {\"x\": {\"id\": \"x\", \"ids\": [259], \"tokens\": [\"x\"]}}}";
    let file = tokenizer.to_json();
    let file = file.replacen("\"normalizer\": null", nfc, 1);
    file.replacen("\"post_processor\": null", template, 1)
});

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let text = if kind % 4 == 0 {
        String::from_utf8_lossy(rest).into_owned()
    } else {
        // three bytes per change: an offset in two, and a byte to write there or, from 128 on, the
        // number of bytes to remove plus 127
        let mut bytes = GOOD.clone().into_bytes();
        for change in rest.chunks_exact(3) {
            let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            if change[2] < 128 {
                bytes[place] = change[2];
            } else {
                let end = bytes.len().min(place + usize::from(change[2]) - 127);
                bytes.drain(place..end);
            }
            if bytes.is_empty() {
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let Ok(tokenizer) = Tokenizer::from_json(&text) else { return };
    let again = Tokenizer::from_json(&tokenizer.to_json()).expect("written by us");
    assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    let _ = tokenizer.template();
    let sample = "the end<|end|> 12 a\u{301}\u{4e2d} [MASK]\0\u{fffd}".as_bytes();
    for special in [Special::None, Special::All] {
        // encoding fails in both if a byte has no token
        let (ids, others) = (
            tokenizer.encode(sample, &special, &Task::default()).ok(),
            again.encode(sample, &special, &Task::default()).ok(),
        );
        assert_eq!(ids, others);
    }
});
