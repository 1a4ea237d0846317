//! Tests of empty parts.

use super::*;

use std::fs;

use lslm_bpe::pretokenize::Pattern;
use lslm_bpe::train::TrainOptions;
use lslm_clean::CleanConfig;
use lslm_corpus::ReadOptions;

use crate::dedup::DedupOptions;
use crate::learner::{LearnOptions, Learner};
use crate::validation::HoldOut;

fn tokenizer() -> Tokenizer {
    let options = LearnOptions {
        clean: None,
        pattern: Pattern::named("gpt2").unwrap(),
        train: TrainOptions {
            special_tokens: vec!["<|endoftext|>".into()],
            ..TrainOptions::new(257)
        },
        validation_fraction: 0.0,
        hold_out: HoldOut::Auto,
        sample_bytes: None,
        seed: 0,
        memory: None,
        partition_bytes: 1 << 20,
        threads: Some(1),
    };
    let learner = Learner::new(&options).unwrap();
    learner.learn(&Task::default()).unwrap()
}

#[test]
fn an_empty_part_is_an_error_or_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, "the only document").unwrap();
    let corpus = Corpus::open(&[path.display().to_string()], ReadOptions::default()).unwrap();
    let output = folder.path().join("data");
    let tokenize = |clean: Option<CleanConfig>, validation_fraction: f64| {
        let options = TokenizeOptions {
            clean,
            dedup: DedupOptions::default(),
            validation_fraction,
            seed: 0,
            hold_out: HoldOut::Auto,
            eos_token: None,
            bos_token: None,
            partition_bytes: 1 << 20,
            threads: Some(1),
        };
        tokenize(&corpus, &output, &tokenizer(), &options, &Task::default())
    };
    let error = tokenize(None, 0.999_999).unwrap_err().to_string();
    assert!(error.contains("training part is empty: the only document is held out"), "{error}");
    assert!(!output.exists());
    let fineweb = CleanConfig::profile("fineweb").unwrap();
    let error = tokenize(Some(fineweb), 0.0).unwrap_err().to_string();
    assert!(error.contains("cleaning dropped the only document, by "), "{error}");
    assert!(!output.exists());
    let made = tokenize(None, 0.000_001).unwrap();
    assert_eq!((made.train.documents, made.warnings.len()), (1, 1));
    assert!(made.warnings[0].contains("validation part is empty: the only document"));
}
