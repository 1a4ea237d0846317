//! Counts the steps of encoding, for tests: the work is linear in the length of any text.
//!
//! Time on a shared machine is noise; steps are the same numbers each time. Each loop whose length
//! depends on the text calls [`count`] once a turn, in builds for tests only:
//!
//! ```text
//! blocks of 64 bytes classified         pretokenize/bitmask.rs
//! characters looked at for a boundary   boundary.rs
//! tokens taken, and given up again      backtrack.rs
//! prefixes looked up                    prefix.rs
//! merges undone to check a pair         merge_tree.rs
//! merges, and pops of the heap          interleaved.rs, merge.rs
//! ```
//!
//! A pop is log n operations more, which is [`std::collections::BinaryHeap`]'s promise.

use std::cell::Cell;
use std::path::Path;

use lslm_runtime::Task;

use crate::encode::merge;
use crate::pretokenize::Pattern;
use crate::train::{TrainOptions, WordCounter, train};
use crate::{Special, Tokenizer};

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Adds `n` to the steps of this thread.
pub(crate) fn count(n: usize) {
    STEPS.set(STEPS.get() + n as u64);
}

/// Returns the steps that this thread takes in `f`.
fn steps_of(f: impl FnOnce()) -> u64 {
    let before = STEPS.get();
    f();
    STEPS.get() - before
}

/// The patterns of the tokenizers that texts were timed with.
const PATTERNS: [&str; 4] = ["gpt2", "cl100k_base", "o200k_base", "qwen2"];

/// Runs of one character.
const RUNS: [(&str, &str); 10] = [
    ("letters", "a"),
    ("capitals", "A"),
    ("digits", "7"),
    ("blanks", " "),
    ("line ends", "\n"),
    ("punctuation", "!"),
    ("Han", "中"),
    ("kana", "ア"),
    ("marks", "\u{301}"),
    ("emoji", "😀"),
];

/// Random characters of one class: hardly a piece comes twice.
const CLASSES: [(&str, std::ops::Range<u32>); 7] = [
    ("random Han", 0x4E00..0x9FA0),
    ("random kana", 0x3041..0x3090),
    ("random emoji", 0x1F600..0x1F640),
    ("random letters", 0x61..0x7B),
    ("random capitals", 0x41..0x5B),
    ("random digits", 0x30..0x3A),
    ("random punctuation", 0x21..0x30),
];

/// Returns texts of about `size` bytes, each of one class of characters, with their names.
fn texts(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let run = |(name, character): (&'static str, &str)| {
        (name, character.repeat(size / character.len()).into_bytes())
    };
    let random = |(name, range): (&'static str, std::ops::Range<u32>)| {
        let mut state = size as u64;
        let mut text = String::with_capacity(size + 4);
        while text.len() < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let code = range.start + (state >> 33) as u32 % (range.end - range.start);
            text.extend(char::from_u32(code));
        }
        (name, text.into_bytes())
    };
    let mut texts: Vec<_> = RUNS.into_iter().map(run).collect();
    texts.extend(CLASSES.into_iter().map(random));
    texts.push(("ill-formed bytes", vec![0xFF; size]));
    texts
}

/// Returns a tokenizer of 3000 tokens, learned from prose, code and runs of each class: some of
/// its tokens are a hundred bytes long.
fn tokenizer(pattern: &str) -> Tokenizer {
    let pattern = Pattern::named(pattern).unwrap();
    let task = Task::default();
    let mut counter = WordCounter::new(&pattern);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in ["docs/tutorial.md", "docs/tutorial.zh.md", "rust/bpe/src/tokenizer.rs"] {
        counter.add(&std::fs::read(root.join(file)).unwrap(), &task).unwrap();
    }
    for (_, text) in texts(128) {
        for _ in 0..9 {
            counter.add(&text, &task).unwrap();
        }
    }
    let words = WordCounter::finish(vec![counter], 1, &task).unwrap();
    train(words, &TrainOptions::new(3000), 1, &task).unwrap().into_tokenizer(&pattern).unwrap()
}

/// The most steps per byte of any of the texts: random digits in GPT-2's pattern take 2.1.
const MAX_STEPS: f64 = 3.0;

/// Encodes texts of `short` and `long` bytes, and compares their steps per byte.
#[track_caller]
fn check(encode: impl Fn(&[u8]), name: &str, [short, long]: [usize; 2]) {
    for ((class, few), (_, many)) in texts(short).into_iter().zip(texts(long)) {
        let [few, many] =
            [few, many].map(|text| steps_of(|| encode(&text)) as f64 / text.len() as f64);
        assert!(many > 0.0 && many <= MAX_STEPS, "{name}, {class}: {many} steps per byte");
        assert!(many <= 1.1 * few + 0.1, "{name}, {class}: {few} → {many} steps per byte");
    }
}

/// Checks the tokenizer of a pattern with texts of two sizes.
fn check_tokenizer(pattern: &str, sizes: [usize; 2]) {
    let (tokenizer, task) = (tokenizer(pattern), Task::default());
    let encode = |text: &[u8]| {
        tokenizer.encode(text, &Special::None, &task).unwrap();
    };
    check(encode, pattern, sizes);
}

#[test]
fn encoding_takes_as_many_steps_per_byte_in_long_texts() {
    for pattern in PATTERNS {
        check_tokenizer(pattern, [10_000, 300_000]);
    }
}

#[test]
#[ignore = "slow: encodes 700 MB; make test-all runs it"]
fn encoding_takes_as_many_steps_per_byte_in_very_long_texts() {
    for pattern in PATTERNS {
        check_tokenizer(pattern, [100_000, 10_000_000]);
    }
}

/// A heap of n pairs, of which each merge removes one and adds two, is popped 3 n times at most.
#[test]
fn merging_a_piece_of_any_length_pops_the_heap_three_times_a_byte() {
    let (tokenizer, task) = (tokenizer("o200k_base"), Task::default());
    let table = &tokenizer.0.model.table;
    let encode = |text: &[u8]| {
        let (mut scratch, mut ids) = (merge::Scratch::default(), Vec::new());
        merge::merge_queued(table, text, &mut scratch, &task, &mut ids).unwrap();
    };
    for size in [10_000, 300_000] {
        for (class, text) in texts(size) {
            let steps = steps_of(|| encode(&text));
            assert!(steps <= 3 * text.len() as u64, "{class}: {steps} of {size}");
        }
    }
}
