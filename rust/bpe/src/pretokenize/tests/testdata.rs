//! Holds the patterns equal to the cases in `testdata`.

use lslm_unicode::{GeneralCategory, general_category};

use super::*;

/// The fields are described in `testdata/tokenizer/peer_errors.py`.
#[test]
fn inputs_that_other_libraries_got_wrong_split_as_by_the_engine() {
    let cases = testdata("tokenizer/peer_errors.json");
    for case in cases["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap_or(1);
        let text = if let Some(hex) = case["hex"].as_str() {
            let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        } else if let Some(ends) = case["random"].as_array() {
            let code = |index: usize| u32::from_str_radix(ends[index].as_str().unwrap(), 16);
            let (first, last) = (code(0).unwrap(), code(1).unwrap());
            let mut state = number("seed");
            let character = |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from_u32(first + ((state >> 33) % u64::from(last - first + 1)) as u32)
                    .unwrap()
            };
            (0..number("length")).map(character).collect::<String>().into_bytes()
        } else {
            case["text"].as_str().unwrap().repeat(number("repeat") as usize).into_bytes()
        };
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}

/// Pieces of mixed texts by Hugging Face, which has another engine; `LSLM_SPLIT_CASES` names a
/// larger file made by the same script.
#[test]
fn pieces_equal_those_of_hugging_face() {
    let file = std::env::var("LSLM_SPLIT_CASES");
    let cases = testdata(file.as_deref().unwrap_or("split/huggingface.json"));
    let cases: Vec<(String, String, Vec<usize>)> =
        serde_json::from_value(cases["cases"].clone()).unwrap();
    let pairs = Pair::all();
    assert!(cases.len() > 1000);
    for (name, text, ends) in cases {
        let pair = pairs.iter().find(|pair| pair.name == name).unwrap();
        assert_eq!(pair.found(text.as_bytes()), ends, "{name} {text:?}");
    }
}

#[test]
fn published_expressions_equal_those_in_testdata() {
    let published = testdata("split/published.json");
    assert_eq!(published.as_object().unwrap().len(), DISTINCT.len());
    for (name, parts) in published.as_object().unwrap() {
        let steps = parts.as_array().unwrap().iter().map(|part| match part.as_str().unwrap() {
            "digits" => Step::Digits { individual: true },
            regex => Step::isolated(regex),
        });
        assert_eq!(Pattern::named(name).unwrap().steps(), steps.collect::<Vec<_>>(), "{name}");
    }
}

/// They are `char::is_numeric` of Rust's standard library, with Unicode 17.
#[test]
fn digits_are_those_of_the_standard_library() {
    let references = testdata("unicode/differences.json")["references"].clone();
    let mut listed = Vec::new();
    for difference in
        references.as_array().unwrap().iter().filter_map(|r| r["differences"].as_array()).flatten()
    {
        let code = |key: &str| u32::from_str_radix(difference[key].as_str().unwrap(), 16).unwrap();
        listed.push(code("first")..=code("last"));
    }
    assert_eq!(listed, scheme::NEW_NUMBERS);
    let digits = Pattern::named("starcoder").unwrap();
    for c in '\0'..=char::MAX {
        let new = listed.iter().any(|range| range.contains(&(c as u32)));
        let number = general_category(c).is_number() || new;
        assert!(!new || general_category(c) == GeneralCategory::Unassigned);
        if char::UNICODE_VERSION.0 == 17 {
            assert_eq!(number, c.is_numeric(), "U+{:04X}", c as u32);
        }
        let mut count = 0;
        digits.for_each(format!("{c}{c}").as_bytes(), |_| count += 1);
        assert!(count == 2 || !number, "U+{:04X}", c as u32);
    }
}
