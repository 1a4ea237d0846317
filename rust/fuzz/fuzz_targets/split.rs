//! Splits any bytes by every published pattern: the scanner of a pattern and the general engine give
//! equal pre-tokens. `LSLM_SIMD=scalar|avx2|avx512` selects the scanner.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lslm_bpe::pretokenize::{Pattern, Step};
use lslm_bpe::simd_level;

/// The patterns with a scanner of their own, each with an equal one that runs in the general engine.
static PAIRS: LazyLock<Vec<(Pattern, Pattern)>> = LazyLock::new(|| {
    simd_level().expect("LSLM_SIMD names what this machine has");
    let names = [
        "gpt2",
        "cl100k_base",
        "cl100k_base_tiktoken",
        "o200k_base",
        "qwen2",
        "deepseek_v3",
        "tekken",
        "starcoder",
    ];
    let pair = |name| {
        let pattern = Pattern::named(name).expect("a published pattern");
        // a group around an expression matches the same, and is not recognised as published
        let disguise = |step: &Step| match step {
            Step::Split { regex, .. } => Step::isolated(format!("(?:{regex})")),
            Step::Digits { .. } => step.clone(),
        };
        let steps = pattern.steps().iter().map(disguise).collect();
        let general = Pattern::from_steps(steps).expect("a valid expression");
        assert_eq!(general.name(), None);
        (pattern, general)
    };
    names.map(pair).into()
});

fn ends(pattern: &Pattern, text: &[u8]) -> Vec<usize> {
    let mut all = Vec::new();
    pattern.for_each_batch(text, |ends| all.extend_from_slice(ends));
    all
}

fuzz_target!(|text: &[u8]| {
    for (pattern, general) in PAIRS.iter() {
        assert_eq!(ends(pattern, text), ends(general, text), "{pattern:?}");
    }
});
