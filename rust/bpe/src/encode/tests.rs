//! All engines against the merge rules by definition, on the same pieces.

use std::collections::HashMap;
use std::ops::Range;

use lslm_runtime::simd::Level;
use lslm_runtime::{Task, TokenId};
use proptest::prelude::*;
use serde_json::json;

use super::boundary::BoundaryFilter;
use super::interleaved::{self, NewPiece};
use super::model::{Model, Rules};
use super::{backtrack, merge};
use crate::added_tokens::Special;
use crate::encode::offsets::Unit;
use crate::encode::workspace::Workspace;
use crate::naive;
use crate::post_processor::Template;
use crate::pretokenize::Pattern;
use crate::tokenizer::Tokenizer;
use crate::vocab::piece_key::LongKey;
use crate::vocab::symbol::Merge;
use crate::vocab::vocabulary::Vocabulary;

fn bytes_and(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for word in words {
        if !tokens.contains(word) {
            tokens.push(word.clone());
        }
    }
    tokens
}

fn vocabulary(tokens: &[Vec<u8>]) -> Vocabulary {
    Vocabulary::new(tokens.iter().enumerate().map(|(id, token)| (id as u32, &token[..]))).unwrap()
}

/// The ids of each of the `pieces` of `text` by interleaved merging, which must be the same at all
/// SIMD levels.
fn interleaved(model: &Model, text: &[u8], pieces: &[Range<usize>]) -> Vec<Vec<TokenId>> {
    let mut results = Level::available().into_iter().map(|level| {
        let pieces = pieces.iter().map(|range| NewPiece::new(&text[range.clone()], 0));
        let mut pieces: Vec<NewPiece> = pieces.collect();
        let mut ids = vec![7];
        interleaved::merge_at(level, &model.table, &mut pieces, &mut ids);
        let found = pieces.iter().map(|piece| piece.ids(&ids).to_vec());
        found.collect::<Vec<_>>()
    });
    let first = results.next().unwrap();
    assert!(results.all(|result| result == first));
    first
}

/// The ids of `piece` by all engines, which must agree.
fn encode(model: &Model, piece: &[u8]) -> Vec<TokenId> {
    let mut scratch = merge::Scratch::default();
    let mut out = Vec::new();
    let task = Task::default();
    merge::merge_queued(&model.table, piece, &mut scratch, &task, &mut out).unwrap();
    let mut again = Vec::new();
    merge::merge(&model.table, piece, &mut scratch, &task, &mut again).unwrap();
    assert_eq!(out, again);
    if let Some(backtrack) = &model.backtrack {
        let mut scratch = backtrack::Scratch::default();
        again.clear();
        assert!(backtrack.encode(&model.table, piece, &mut scratch, &task, &mut again).unwrap());
        assert_eq!(out, again, "{piece:?}");
    }
    // Short parts of it from each offset on, interleaved.
    let len = |start: usize| 1 + start * 7 % LongKey::MAX_LEN.min(piece.len() - start);
    let parts: Vec<_> = (0..piece.len()).map(|start| start..start + len(start)).collect();
    let found = interleaved(model, piece, &parts);
    for (part, ids) in parts.into_iter().zip(found) {
        again.clear();
        merge::merge(&model.table, &piece[part.clone()], &mut scratch, &task, &mut again).unwrap();
        assert_eq!(again, ids, "{:?}", &piece[part]);
    }
    out
}

fn letters(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 2..max_len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any words as ranks, whether a trainer could have made them or not.
    #[test]
    fn ranks_give_the_ids_of_tiktokens_rule(
        words in proptest::collection::vec(letters(7), 0..12),
        piece in letters(100),
    ) {
        let tokens = bytes_and(&words);
        let model = Model::from_ranks(vocabulary(&tokens)).unwrap();
        let ranks: HashMap<Vec<u8>, TokenId> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        let mut ids = encode(&model, &piece);
        if model.rules.whole_first && let Some(id) = model.vocabulary.find(&piece) {
            ids = vec![id];
        }
        prop_assert_eq!(ids, naive::by_ranks(&ranks, &piece));
    }

    /// A grown list, in which each merge joins two tokens that exist, shuffled or not.
    #[test]
    fn merges_give_the_ids_of_hugging_faces_rule(
        seeds in proptest::collection::vec((0_usize..100, 0_usize..100), 0..14),
        swaps in proptest::collection::vec((0_usize..14, 0_usize..14), 0..4),
        piece in letters(80),
    ) {
        let mut tokens = bytes_and(&[]);
        let mut grown: Vec<u32> = vec![97, 98, 99];
        let mut merges = Vec::new();
        for (left, right) in seeds {
            let (left, right) = (grown[left % grown.len()], grown[right % grown.len()]);
            let joined = [&tokens[left as usize][..], &tokens[right as usize][..]].concat();
            let result = tokens.iter().position(|t| *t == joined).unwrap_or(tokens.len());
            if result == tokens.len() {
                tokens.push(joined);
            }
            let result = result as u32;
            grown.push(result);
            merges.push(Merge { left, right, result });
        }
        for (a, b) in swaps {
            if a < merges.len() && b < merges.len() {
                merges.swap(a, b);
            }
        }
        let model = Model::new(vocabulary(&tokens), merges, Rules::default()).unwrap();
        prop_assert_eq!(encode(&model, &piece), naive::by_list(&model, &piece));
    }
}

#[test]
fn of_equal_ranks_the_leftmost_pair_merges() {
    let tokens = bytes_and(&[b"aa".to_vec(), b"aaa".to_vec()]);
    let model = Model::from_ranks(vocabulary(&tokens)).unwrap();
    for len in 2..150 {
        let piece = vec![b'a'; len];
        assert_eq!(encode(&model, &piece), naive::by_list(&model, &piece), "{len}");
    }
}

/// Characters of all widths, whole and in parts.
fn characters() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("\u{4E2D}".as_bytes().to_vec()),
        Just("\u{6587}".as_bytes().to_vec()),
        Just("\u{1F600}".as_bytes().to_vec()),
        Just("\u{E9}".as_bytes().to_vec()),
        Just(b"a".to_vec()),
        Just(b"\xE4".to_vec()),
        Just(b"\xE4\xB8".to_vec()),
        Just(b"\xAD".to_vec()),
        Just(b"\x87\xE4".to_vec()),
        Just(b"\xF0\x9F".to_vec()),
        Just(b"\xFF".to_vec()),
    ];
    proptest::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn merging_the_parts_between_boundaries_gives_the_ids_of_the_whole(
        words in proptest::collection::vec(characters(), 0..8),
        piece in characters(),
    ) {
        let mut tokens = bytes_and(&[]);
        for word in words {
            // All prefixes of a word, so that it can grow.
            for end in 2..=word.len() {
                if !tokens.iter().any(|token| token == &word[..end]) {
                    tokens.push(word[..end].to_vec());
                }
            }
        }
        let model = Model::from_ranks(vocabulary(&tokens)).unwrap();
        let boundaries = BoundaryFilter::new(&model.vocabulary);
        let task = Task::default();
        let mut scratch = merge::Scratch::default();
        let mut whole = Vec::new();
        merge::merge(&model.table, &piece, &mut scratch, &task, &mut whole).unwrap();
        let mut parts = Vec::new();
        let mut start = 0;
        while start < piece.len() {
            // Only two ends fit, so that splitting goes on several times.
            let mut ends = [0; 2];
            let (end, count) = boundaries.split(&piece, start, piece.len(), &mut ends, 0);
            for &end in &ends[..count] {
                let part = &piece[start..end];
                merge::merge(&model.table, part, &mut scratch, &task, &mut parts).unwrap();
                start = end;
            }
            prop_assert_eq!(start, end);
        }
        prop_assert_eq!(whole, parts);
    }
}

/// A tokenizer with added tokens, with and without a normaliser and a space before each text.
fn tokenizers() -> Vec<Tokenizer> {
    let tokens = bytes_and(&[b"ab".to_vec(), b"abc".to_vec(), "\u{E9}".as_bytes().to_vec()]);
    let merges = [(97, 98), (256, 99), (0xC3, 0xA9)];
    let plain =
        Tokenizer::new(&tokens, &merges, Pattern::named("gpt2").unwrap(), &[]).unwrap().to_json();
    let token = |id: u32, content: &str, normalized: bool| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": normalized, "special": !normalized,
        })
    };
    let prefix = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
    let nfc = json!({"type": "NFC"});
    let variants = [(false, false), (true, false), (false, true), (true, true)];
    let edited = variants.map(|(has_normalizer, has_prefix)| {
        let mut file: serde_json::Value = serde_json::from_str(&plain).unwrap();
        file["added_tokens"] = json!([token(300, "<x>", false), token(301, "bc", true)]);
        if has_normalizer {
            file["normalizer"] = nfc.clone();
        }
        if has_prefix {
            file["pre_tokenizer"] = prefix.clone();
        }
        Tokenizer::from_json(&file.to_string()).unwrap()
    });
    edited.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_ways_to_encode_give_the_same_ids(
        texts in proptest::collection::vec("(ab?c?|<x>| |e\u{301}|\u{E9}|\u{4E2D}|x{20,40}){0,12}", 0..6),
    ) {
        let task = Task::default();
        let template = Template::new([7], [8]);
        for tokenizer in tokenizers() {
            for special in [Special::None, Special::All] {
                let mut workspace = Workspace::new();
                let mut framed = Vec::new();
                let bytes = texts.iter().map(String::as_bytes);
                let ends = tokenizer.encode_texts_into(
                    bytes, &template, &special, &mut workspace, &task, &mut framed,
                ).unwrap();
                let mut start = 0;
                for (text, end) in texts.iter().zip(ends) {
                    let text = text.as_bytes();
                    let ids = tokenizer.encode(text, &special, &task).unwrap();
                    prop_assert_eq!(&framed[start..end], [&[7][..], &ids, &[8]].concat());
                    start = end;
                    prop_assert_eq!(tokenizer.count(text, &special, &task).unwrap(), ids.len());
                    let located =
                        tokenizer.encode_with_offsets(text, &special, Unit::Byte, &task).unwrap();
                    prop_assert_eq!(&located.ids, &ids);
                    prop_assert_eq!(located.offsets.len(), ids.len());
                    prop_assert!(located.offsets.is_sorted_by_key(|range| range.start));
                }
                prop_assert_eq!(start, framed.len());
            }
        }
    }
}

#[test]
fn an_error_in_one_text_is_that_of_the_earliest_place() {
    let file = tokenizers()[0].to_json().replace("\"x\": 120,", "");
    let tokenizer = Tokenizer::from_json(&file).unwrap();
    let encode = |text: &str| tokenizer.encode(text.as_bytes(), &Special::Raise, &Task::default());
    let error = encode("a x a <x>").unwrap_err().to_string();
    assert!(error.contains("0x78"), "{error}");
    let error = encode("a <x> x").unwrap_err().to_string();
    assert!(error.contains("special token"), "{error}");
}

/// A tokenizer that takes tokens whole, some of which merging does not make of their bytes.
fn whole_first() -> Tokenizer {
    let words = ["\u{4E2D}", "\u{6587}", "\u{6587}\u{6587}\u{6587}\u{6587}\u{6587}\u{6587}"];
    let mut words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    words.insert(0, b"\xE4\xB8".to_vec());
    // Not all that join to a token, or the file would be one of ranks.
    let merges = [(0xE4, 0xB8)];
    let pattern = Pattern::named("gpt2").unwrap();
    let plain = Tokenizer::new(&bytes_and(&words), &merges, pattern, &[]).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&plain.to_json()).unwrap();
    file["model"]["ignore_merges"] = json!(true);
    Tokenizer::from_json(&file.to_string()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The same bytes come as a piece and as a part of one.
    #[test]
    fn a_part_of_a_piece_is_not_taken_whole(
        texts in proptest::collection::vec("(\u{4E2D}|\u{6587}|\u{6587}{6}| |a){0,8}", 1..6),
    ) {
        let tokenizer = whole_first();
        let model = &tokenizer.0.model;
        prop_assert!(model.has_unmade() && model.backtrack.is_some());
        for text in &texts {
            let mut expected = Vec::new();
            tokenizer.pattern().for_each(text.as_bytes(), |piece| {
                expected.extend(naive::by_list(model, piece));
            });
            let ids = tokenizer.encode(text.as_bytes(), &Special::None, &Task::default());
            prop_assert_eq!(ids.unwrap(), expected);
        }
    }
}
