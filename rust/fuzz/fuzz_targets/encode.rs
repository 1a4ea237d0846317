//! Encodes any bytes with small vocabularies: decoding returns them, every way of encoding gives equal
//! ids, and a cache of earlier texts changes nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::{TrainOptions, WordCounter, train};
use lslm_bpe::{Special, Tokenizer, Unit, Workspace};
use lslm_runtime::Task;

/// A tokenizer for each kind of pattern, trained on this file and a few unusual words.
static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let text = concat!(include_str!("encode.rs"), "中文的中文文本 e\u{301} naïve 🙂🙂 ´´ \r\n\t 1234");
    let learn = |name| {
        let pattern = Pattern::named(name).expect("a published pattern");
        let mut counter = WordCounter::new(&pattern);
        counter.add(text.as_bytes(), &Task::default()).expect("some words");
        let words = WordCounter::finish(vec![counter], 1, &Task::default()).expect("few words");
        let mut options = TrainOptions::new(700);
        options.special_tokens = vec!["<|end|>".to_owned()];
        let learned = train(words, &options, 1, &Task::default()).expect("a vocabulary");
        learned.into_tokenizer(&pattern).expect("a tokenizer")
    };
    ["gpt2", "o200k_base", "deepseek_v3", "none"].map(learn).into()
});

fuzz_target!(|text: &[u8]| {
    let task = Task::default();
    for tokenizer in TOKENIZERS.iter() {
        for special in [Special::None, Special::All] {
            let ids = tokenizer.encode(text, &special, &task).expect("all bytes have tokens");
            let mut decoded = Vec::new();
            tokenizer.decode_into(&ids, &mut decoded).expect("known ids");
            assert_eq!(decoded, text);
            let mut fresh = Vec::new();
            let mut workspace = Workspace::default();
            tokenizer.encode_into(text, &special, &mut workspace, &mut fresh).expect("as before");
            assert_eq!(fresh, ids);
            assert_eq!(tokenizer.count(text, &special, &task).expect("as before"), ids.len());
            let located = tokenizer.encode_with_offsets(text, &special, Unit::Byte, &task);
            let located = located.expect("as before");
            assert_eq!(located.ids, ids);
            let end = located.offsets.iter().fold(0, |end, range| {
                assert_eq!(range.start, end);
                range.end
            });
            assert_eq!(end, text.len());
        }
    }
});
