//! Any bytes, cut by every published pattern: what its scanner gives is what the general engine
//! gives for the same expression. `LSLM_SIMD=scalar|avx2|avx512` chooses the scanner.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lslm_bpe::pretokenize::{Pattern, Step};
use lslm_bpe::simd_level;

/// The patterns with cuts of their own, and each once more as a stranger to the scanners.
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
        // a group around an expression changes nothing but that nobody knows it
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
