//! Holds training equal to its definition and to Hugging Face.

use std::fmt::Write;

use lslm_runtime::{Error, Task};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::pretokenize::Pattern;
use crate::{Measurer, TextStatistics, Tokenizer};

fn learned(words: &WordCounts, options: &TrainOptions, threads: usize) -> Trained {
    train(words.clone(), options, threads, &Task::default()).unwrap()
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
    proptest::collection::vec((word, prop_oneof![0..4u64, 0..50_000u64]), 0..24)
        .prop_map(|words| WordCounts::from_words(words).unwrap())
}

fn any_options() -> impl Strategy<Value = TrainOptions> {
    (
        // The last needs 32-bit ids, and more merges than the words have.
        prop_oneof![20 => 0..80usize, 1 => Just(70_000)],
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
            memory: None,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn equals_the_naive_trainer(words in any_words(), options in any_options()) {
        let expected = naive::train(&words, &options);
        for threads in [1, 3] {
            prop_assert_eq!(&learned(&words, &options, threads), &expected);
        }
    }
}

#[test]
fn counts_have_64_bits() {
    // The counts of "cd" and "ab" differ by 2 only, above 2^33.
    let words = words(&[("ab", 1 << 33), ("xab", 1), ("cd", (1 << 33) + 3), ("ef", 1 << 34)]);
    let trained = learned(&words, &TrainOptions::new(259), 2);
    let tokens: Vec<_> = trained.tokens[256..].iter().map(|t| String::from_utf8_lossy(t)).collect();
    assert_eq!(tokens, ["ef", "cd", "ab"]);
}

#[test]
fn counts_that_could_overflow_are_an_error() {
    let words = words(&[("ab", 1 << 63), ("cd", 1)]);
    let error = train(words, &TrainOptions::new(300), 1, &Task::default()).unwrap_err();
    assert!(error.to_string().contains("2^64"), "{error}");
    assert!(WordCounts::from_words([("a", u64::MAX), ("a", 1)]).is_err());
}

#[test]
fn contradictory_options_are_named_in_the_error() {
    let fails = |options: TrainOptions| {
        train(WordCounts::default(), &options, 1, &Task::default()).unwrap_err().to_string()
    };
    let base = TrainOptions::new(300);
    assert!(fails(TrainOptions::new(255)).contains("need 256"));
    let specials = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let special_tokens = specials(&["<s>", "<s>"]);
    assert!(fails(TrainOptions { special_tokens, ..base.clone() }).contains("twice"));
    let special_tokens = specials(&[""]);
    assert!(fails(TrainOptions { special_tokens, ..base.clone() }).contains("empty"));
    for placement in [Placement::Front, Placement::End] {
        // In a tokenizer.json this is the space.
        let special_tokens = specials(&["Ġ"]);
        let options = TrainOptions { special_tokens, placement, ..base.clone() };
        assert!(fails(options).contains("another name"));
    }
}

#[test]
fn merging_in_too_little_memory_is_an_error() {
    let words = words(&[("the", 10), ("theme", 3)]);
    // Ten slots of 16 bytes.
    let options = |memory| TrainOptions { memory: Some(memory), ..TrainOptions::new(300) };
    assert!(!learned(&words, &options(160), 1).merges.is_empty());
    let error = train(words, &options(159), 1, &Task::default()).unwrap_err().to_string();
    assert!(error.starts_with("memory = 159: "), "{error}");
    assert!(error.contains("sample_bytes"), "{error}");
}

#[test]
fn special_tokens_have_the_first_or_the_last_ids() {
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
fn a_cancelled_task_stops_training() {
    let task = Task::default();
    task.cancel();
    let words = words(&[("aaaa", 10)]);
    let result = train(words, &TrainOptions::new(300), 1, &task);
    assert!(matches!(result, Err(Error::Cancelled)));
}

#[test]
fn many_words_give_the_same_on_any_number_of_threads() {
    // Enough slots for several shards.
    let mut state = 1u64;
    let mut list = Vec::new();
    for _ in 0..300_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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

fn json(text: &str) -> Vec<serde_json::Value> {
    let mut file: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(file["made_with"].as_str().unwrap().starts_with("tokenizers 0.23."));
    match file["cases"].take() {
        serde_json::Value::Array(cases) => cases,
        other => panic!("{other}"),
    }
}

fn count<'a>(documents: impl IntoIterator<Item = &'a str>, pattern: &str) -> WordCounts {
    count_with(WordCounter::new(&Pattern::named(pattern).unwrap()), documents)
}

fn count_with<'a>(
    mut counter: WordCounter,
    documents: impl IntoIterator<Item = &'a str>,
) -> WordCounts {
    let task = Task::default();
    for document in documents {
        counter.add(document.as_bytes(), &task).unwrap();
    }
    WordCounter::finish(vec![counter], 1, &task).unwrap()
}

#[test]
fn equals_hugging_face() {
    for case in json(include_str!("../../../../testdata/train/small.json")) {
        let strings = |key: &str| -> Vec<String> {
            let list = case[key].as_array().into_iter().flatten();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let pattern = case["pattern"].as_str().unwrap_or("gpt2");
        let words = count(strings("texts").iter().map(String::as_str), pattern);
        let options = TrainOptions {
            special_tokens: strings("special_tokens"),
            placement: Placement::Front,
            min_frequency: case["min_frequency"].as_u64().unwrap_or(0),
            max_token_length: case["max_token_length"].as_u64().map(|length| length as usize),
            ..TrainOptions::new(case["vocab_size"].as_u64().unwrap() as usize)
        };
        let trained = learned(&words, &options, 1);
        let merges: Vec<_> = trained.merges.iter().map(|m| vec![m.left, m.right]).collect();
        assert_eq!(serde_json::to_value(merges).unwrap(), case["merges"], "{}", case["name"]);
        assert_eq!(trained.tokens.len() as u64, case["size"].as_u64().unwrap(), "{}", case["name"]);
        assert_eq!(trained, naive::train(&words, &options), "{}", case["name"]);
    }
}

/// Returns the documents of a case of `large.json`, or `None` if the file is missing.
fn documents(case: &serde_json::Value) -> Option<Vec<String>> {
    let folder = std::env::var("LSLM_DATA").map_or_else(
        |_| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        std::path::PathBuf::from,
    );
    let path = folder.join(case["file"].as_str().unwrap());
    let Ok(file) = std::fs::File::open(&path) else {
        let required = std::env::var("LSLM_REQUIRE_DATA").is_ok_and(|value| value == "1");
        assert!(!required, "{} is missing", path.display());
        return None;
    };
    let text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
    let count = match case["count"].as_u64().unwrap() {
        0 => usize::MAX,
        count => count as usize,
    };
    Some(match case["documents"].as_str().unwrap() {
        "whole" => vec![text],
        "lines" => text.split_inclusive('\n').take(count).map(str::to_owned).collect(),
        "jsonl" => text
            .lines()
            .take(count)
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                row["text"].as_str().unwrap().to_owned()
            })
            .collect(),
        other => panic!("{other}"),
    })
}

#[allow(clippy::print_stdout)] // a skip must be visible
fn equals_hugging_face_on(name: &str) {
    let cases = json(include_str!("../../../../testdata/train/large.json"));
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    let Some(documents) = documents(case) else {
        println!("skipped: the corpora are missing");
        return;
    };
    let words = count(documents.iter().map(String::as_str), case["pattern"].as_str().unwrap());
    let options = TrainOptions::new(case["vocab_size"].as_u64().unwrap() as usize);
    let trained = learned(&words, &options, 2);
    let mut hasher = Sha256::new();
    for merge in &trained.merges {
        hasher.update(merge.left.to_le_bytes());
        hasher.update(merge.right.to_le_bytes());
    }
    assert_eq!(trained.merges.len() as u64, case["merges"].as_u64().unwrap());
    let expected = case["sha256"].as_str().unwrap();
    let expected: Vec<u8> = (0..expected.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&expected[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(hasher.finalize()[..], expected);
}

#[test]
fn equals_hugging_face_on_english_articles() {
    equals_hugging_face_on("enwiki-gpt2");
}

#[test]
fn equals_hugging_face_on_novels() {
    equals_hugging_face_on("novels-o200k");
}

#[test]
fn equals_hugging_face_on_chinese_articles() {
    equals_hugging_face_on("zhwiki-o200k");
}

#[test]
fn equals_hugging_face_on_chinese_prose() {
    equals_hugging_face_on("prose-cl100k");
}

#[test]
fn equals_hugging_face_on_many_languages() {
    equals_hugging_face_on("languages-qwen");
}

#[test]
fn equals_hugging_face_on_web_pages() {
    equals_hugging_face_on("c4-cl100k");
}

#[test]
fn a_giant_word_takes_linear_time() {
    // Without white space this is one word; quadratic work would take minutes.
    let mut state = 7u64;
    let dna: String = (0..1_000_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b"ACGT"[(state >> 62) as usize])
        })
        .collect();
    let start = std::time::Instant::now();
    let words = count([dna.as_str(), &"=".repeat(1_000_000)], "gpt2");
    assert_eq!(words.len(), 2);
    let trained = learned(&words, &TrainOptions::new(2000), 2);
    assert_eq!(trained.merges.len(), 2000 - 256);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn a_memory_limit_does_not_change_the_result() {
    let folder = std::env::temp_dir();
    let pattern = Pattern::named("o200k_base").unwrap();
    let mut text = String::new();
    for n in 0..20_000u64 {
        let other = n.wrapping_mul(0x9E37_79B9) % 3001;
        write!(text, "word{} and a longer one {other} ", n % 977).unwrap();
    }
    let documents = [&text[..100_000], &text[100_000..], "", "the end"];
    let free = count_with(WordCounter::new(&pattern), documents);
    let limit = free.memory() / 3;
    let task = Task::default();
    // One counter must write to a file, the other not.
    let mut counters = vec![
        WordCounter::bounded(&pattern, limit, &folder),
        WordCounter::bounded(&pattern, usize::MAX, &folder),
    ];
    for (document, turn) in documents.iter().zip(0..) {
        counters[turn / 3].add(document.as_bytes(), &task).unwrap();
        assert!(counters[0].memory() <= limit);
    }
    let bounded = WordCounter::finish(counters, 2, &task).unwrap();
    assert_eq!(bounded.memory(), 0);
    assert_eq!(bounded.len(), free.len());
    let options = TrainOptions::new(600);
    assert_eq!(learned(&bounded, &options, 2), learned(&free, &options, 2));
}

#[test]
fn a_folder_that_cannot_be_written_is_named_in_the_error() {
    let pattern = Pattern::named("gpt2").unwrap();
    let mut counter = WordCounter::bounded(&pattern, 0, std::path::Path::new("/no/such/folder"));
    let words: Vec<String> = (0..1000).map(|number| format!(" word{number}")).collect();
    let text = words.concat();
    let error = counter.add(text.as_bytes(), &Task::default()).unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[test]
fn a_cancelled_task_stops_counting() {
    let task = Task::default();
    task.cancel();
    let mut counter = WordCounter::new(&Pattern::named("gpt2").unwrap());
    assert!(matches!(counter.add(b"some words", &task), Err(Error::Cancelled)));
}

#[test]
fn the_tokenizer_has_the_trained_vocabulary() {
    let text = "the cat sat on the mat; the hat is that cat's hat. 我们的世界，你们的世界。\n\n";
    let pattern = Pattern::named("o200k_base").unwrap();
    for placement in [Placement::Front, Placement::End] {
        let words = count([text], "o200k_base");
        let options = TrainOptions {
            special_tokens: vec!["<|endoftext|>".to_owned(), "that".to_owned()],
            placement,
            ..TrainOptions::new(300)
        };
        let trained = learned(&words, &options, 1);
        let tokenizer = trained.clone().into_tokenizer(&pattern).unwrap();
        assert_eq!(tokenizer.vocab_size(), trained.tokens.len());
        for (bytes, id) in trained.tokens.iter().zip(0..) {
            assert_eq!(tokenizer.token_bytes(id).unwrap(), &**bytes);
        }
        for (name, id) in &trained.special_tokens {
            assert_eq!(tokenizer.special_tokens().find(|(own, _)| own == name).unwrap().1, *id);
        }
        let again = Tokenizer::from_json(&tokenizer.to_json()).unwrap();
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
        // The statistics of a text are the sums over its words.
        let task = Task::default();
        let text = text.repeat(2);
        let mut expected = TextStatistics {
            n_documents: 1,
            n_bytes: text.len() as u64,
            ..TextStatistics::default()
        };
        let mut token_counts = vec![0; tokenizer.vocab_size()];
        pattern.for_each(text.as_bytes(), |word| {
            let ids = tokenizer.encode(word, &crate::Special::None, &task).unwrap();
            expected.n_words += 1;
            expected.n_tokens += ids.len() as u64;
            expected.n_whole_words += u64::from(ids.len() == 1);
            for &id in &ids {
                token_counts[id as usize] += 1;
            }
        });
        let mut measurer = Measurer::new(&tokenizer);
        let statistics = measurer.measure(text.as_bytes(), &task).unwrap();
        assert_eq!(statistics, expected);
        assert!(0 < statistics.n_whole_words && statistics.n_whole_words < statistics.n_words);
        assert_eq!(measurer.token_counts(), token_counts);
        let mut twice = statistics.clone();
        twice.add(&measurer.measure(b"", &task).unwrap());
        assert_eq!(twice, TextStatistics { n_documents: 2, ..statistics });
    }
}

#[test]
fn ratios_are_of_the_sums() {
    let statistics =
        TextStatistics { n_documents: 1, n_bytes: 13, n_words: 7, n_whole_words: 4, n_tokens: 10 };
    assert_eq!(statistics.bytes_per_token().to_string(), "1.3");
    assert!((statistics.tokens_per_word() - 10.0 / 7.0).abs() < 1e-12);
    assert!((statistics.whole_word_share() - 4.0 / 7.0).abs() < 1e-12);
    assert_eq!(TextStatistics::default().bytes_per_token().to_string(), "0");
}
