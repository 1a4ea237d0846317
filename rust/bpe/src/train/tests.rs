use lslm_runtime::Task;
use proptest::prelude::*;

use super::*;

fn learned(words: &WordCounts, options: &TrainOptions, threads: usize) -> Trained {
    train(words, options, threads, &Task::default()).unwrap()
}

fn words(words: &[(&str, u64)]) -> WordCounts {
    WordCounts::from_words(words.iter().copied()).unwrap()
}

/// Few letters, so that runs, overlaps and ties are everywhere; some words are long.
fn any_words() -> impl Strategy<Value = WordCounts> {
    let word = prop_oneof![
        4 => "[ab]{1,12}",
        4 => "[a-e]{2,6}",
        1 => "[ab]{30,80}",
        1 => "(ab|aba|b){1,20}",
        1 => "\\PC{1,6}",
    ];
    proptest::collection::vec((word, prop_oneof![0..4u64, 0..50_000u64]), 0..40)
        .prop_map(|words| WordCounts::from_words(words).unwrap())
}

fn any_options() -> impl Strategy<Value = TrainOptions> {
    (
        0..80usize,
        proptest::collection::hash_set("[ab]{1,3}|<eos>", 0..3),
        any::<bool>(),
        prop_oneof![Just(0), 1..20u64],
        prop_oneof![3 => Just(None), 1 => (0..9usize).prop_map(Some)],
    )
        .prop_map(|(merges, specials, front, min_frequency, max_token_length)| TrainOptions {
            vocab_size: 256 + specials.len() + merges,
            special_tokens: specials.into_iter().collect(),
            placement: if front { Placement::Front } else { Placement::End },
            min_frequency,
            max_token_length,
        })
}

proptest! {
    #[test]
    fn equals_the_naive_trainer(words in any_words(), options in any_options()) {
        prop_assert_eq!(learned(&words, &options, 1), naive::train(&words, &options));
    }
}

#[test]
fn the_byte_order_is_that_of_the_published_alphabet() {
    let order = byte_order();
    assert_eq!(&order[..3], b"!\"#");
    assert_eq!(order[187], 0xFF);
    assert_eq!(&order[188..191], &[0, 1, 2]);
    assert_eq!(order[188 + 32], b' ');
    assert_eq!(order[255], 0xAD);
    let mut sorted = order;
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..=255));
    assert_eq!(bytes_spelled("Ġthe").as_deref(), Some(&b" the"[..]));
    assert_eq!(bytes_spelled("Ń").as_deref(), Some(&[0xAD][..]));
    assert_eq!(bytes_spelled("two words"), None);
}

#[test]
fn counts_pass_thirty_two_bits() {
    // "ab" beats "cd" only when both sums are kept whole: they differ in the last digits
    let words = words(&[("ab", 1 << 33), ("xab", 1), ("cd", (1 << 33) + 3), ("ef", 1 << 34)]);
    let trained = learned(&words, &TrainOptions::new(259), 2);
    let tokens: Vec<_> = trained.tokens[256..].iter().map(|t| String::from_utf8_lossy(t)).collect();
    assert_eq!(tokens, ["ef", "cd", "ab"]);
}

#[test]
fn counts_that_could_overflow_are_refused() {
    let words = words(&[("ab", 1 << 63), ("cd", 1)]);
    let error = train(&words, &TrainOptions::new(300), 1, &Task::default()).unwrap_err();
    assert!(error.to_string().contains("2^64"), "{error}");
    assert!(WordCounts::from_words([("a", u64::MAX), ("a", 1)]).is_err());
}

#[test]
fn contradictions_are_named() {
    let fails = |options: TrainOptions| {
        train(&WordCounts::default(), &options, 1, &Task::default()).unwrap_err().to_string()
    };
    let base = TrainOptions::new(300);
    assert!(fails(TrainOptions::new(255)).contains("need 256"));
    let specials = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let special_tokens = specials(&["<s>", "<s>"]);
    assert!(fails(TrainOptions { special_tokens, ..base.clone() }).contains("twice"));
    let special_tokens = specials(&[""]);
    assert!(fails(TrainOptions { special_tokens, ..base.clone() }).contains("empty"));
    for placement in [Placement::Front, Placement::End] {
        // in a tokenizer.json this is the space
        let special_tokens = specials(&["Ġ"]);
        let options = TrainOptions { special_tokens, placement, ..base.clone() };
        assert!(fails(options).contains("another spelling"));
    }
}

#[test]
fn special_tokens_lie_where_they_are_asked_for() {
    let words = words(&[("aaaa", 10), ("bb", 3)]);
    let options = |placement| TrainOptions {
        special_tokens: vec!["<eos>".to_owned(), "<pad>".to_owned()],
        placement,
        ..TrainOptions::new(260)
    };
    let end = learned(&words, &options(Placement::End), 1);
    assert_eq!(end.special_tokens, [("<eos>".to_owned(), 258), ("<pad>".to_owned(), 259)]);
    assert_eq!(end.tokens.len(), 260);
    assert_eq!(&*end.tokens[258], b"<eos>");
    let front = learned(&words, &options(Placement::Front), 1);
    assert_eq!(front.special_tokens, [("<eos>".to_owned(), 0), ("<pad>".to_owned(), 1)]);
    assert_eq!(&*front.tokens[2], b"!");
    assert_eq!(front.tokens[258], end.tokens[256]);
}

#[test]
fn a_stopped_task_stops_training() {
    let task = Task::default();
    task.cancel();
    let words = words(&[("aaaa", 10)]);
    let result = train(&words, &TrainOptions::new(300), 1, &task);
    assert!(matches!(result, Err(Error::Cancelled)));
}

#[test]
fn many_words_give_the_same_on_any_number_of_threads() {
    // enough slots for several shards
    let mut state = 1u64;
    let mut list = Vec::new();
    for _ in 0..300_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = 2 + (state >> 60) as usize % 9;
        let word: Vec<u8> =
            (0..length).map(|i| b'a' + ((state >> (5 * i)) as u8 & 31).min(25)).collect();
        list.push((word, 1 + (state >> 50) % 100));
    }
    let words = WordCounts::from_words(list).unwrap();
    let options = TrainOptions::new(600);
    let one = learned(&words, &options, 1);
    assert_eq!(one.merges.len(), 600 - 256);
    for threads in [2, 3] {
        assert_eq!(learned(&words, &options, threads), one);
    }
}
