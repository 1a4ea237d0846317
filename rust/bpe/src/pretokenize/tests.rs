//! Holds every splitter equal to the regular expression engine, and to published pieces.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lslm_runtime::simd::Level;
use proptest::prelude::*;
use serde_json::Value;

use super::pattern::Method;
use super::published::Step;
use super::regex::RegexEngine;
use super::scheme::Scheme;
use super::*;

mod testdata;

fn pieces(pattern: &str, text: impl AsRef<[u8]>) -> Vec<String> {
    let mut out = Vec::new();
    Pattern::named(pattern).unwrap().for_each(text.as_ref(), |piece| {
        out.push(piece.escape_ascii().to_string().replace("\\'", "'"));
    });
    out
}

#[test]
fn published_patterns_split_as_published() {
    assert_eq!(
        pieces("gpt2", "It's  12345 o'clock!\n\n x"),
        ["It", "'s", " ", " 12345", " o", "'", "clock", "!", "\\n\\n", " x"]
    );
    assert_eq!(
        pieces("cl100k_base", "It'S 12345\n \n x"),
        ["It", "'S", " ", "123", "45", "\\n \\n", " x"]
    );
    assert_eq!(
        pieces("o200k_base", "CamelCase's a//\n/b"),
        ["Camel", "Case's", " a", "//\\n/", "b"]
    );
    assert_eq!(pieces("starcoder", " 12 x"), [" ", "1", "2", " x"]);
    assert_eq!(pieces("qwen3.5", "e\u{301}a !\u{301}"), ["e\\xcc\\x81a", " !", "\\xcc\\x81"]);
    assert_eq!(pieces("kimi_k2", "a\u{4E2D}b//\n"), ["a", "\\xe4\\xb8\\xad", "b", "//\\n"]);
    assert_eq!(pieces("none", "a b"), ["a b"]);
    assert_eq!(pieces("deepseek_v3", "a 1234!b"), ["a", " ", "123", "4", "!b"]);
    assert_eq!(pieces("gpt2", ""), [""; 0]);
}

#[test]
fn ill_formed_bytes_keep_their_value() {
    assert_eq!(pieces("gpt2", b"a\xff\xe4\xbd b"), ["a", "\\xff\\xe4\\xbd", " b"]);
}

#[test]
fn published_patterns_are_recognised_in_all_spellings() {
    for name in Pattern::names() {
        let pattern = Pattern::named(name).unwrap();
        let again = Pattern::from_steps(pattern.steps().to_vec()).unwrap();
        assert!(again.name().is_some(), "{name}");
    }
    assert_eq!(Pattern::from_regex(published::O200K).unwrap().name(), Some("o200k_base"));
    assert_eq!(Pattern::from_regex(r"\w+").unwrap().name(), None);
    assert!(Pattern::from_regex("(").is_err());
    assert!(Pattern::named("nothing").is_none());
}

/// One name for each set of pieces.
const DISTINCT: &[&str] = &[
    "gpt2",
    "cl100k_base",
    "cl100k_base_tiktoken",
    "o200k_base",
    "qwen2",
    "qwen3.5",
    "kimi_k2",
    "deepseek_v3",
    "tekken",
    "starcoder",
];

/// A published pattern and the engine that is its reference.
struct Pair {
    name: &'static str,
    pattern: Pattern,
    engine: RegexEngine,
    automaton: RegexEngine,
}

impl Pair {
    /// Returns all pairs, compiled once.
    fn all() -> &'static [Self] {
        static PAIRS: OnceLock<Vec<Pair>> = OnceLock::new();
        PAIRS.get_or_init(Self::compile)
    }

    fn compile() -> Vec<Self> {
        let pair = |name: &&'static str| {
            let pattern = Pattern::named(name).unwrap();
            assert!(matches!(pattern.0.method, Method::Published(_)));
            let engine = RegexEngine::reference(pattern.steps()).unwrap();
            let automaton = RegexEngine::new(pattern.steps()).unwrap();
            assert!(automaton.is_automaton(), "{name}");
            Self { name, pattern, engine, automaton }
        };
        DISTINCT.iter().map(pair).collect()
    }

    fn scheme(&self) -> Scheme {
        let Method::Published(scheme) = self.pattern.0.method else { unreachable!() };
        scheme
    }

    fn expected(&self, text: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        self.engine.ends(text, &mut |batch| ends.extend_from_slice(batch));
        ends
    }

    fn found(&self, text: &[u8]) -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        self.pattern.for_each(text, |piece| {
            at += piece.len();
            ends.push(at);
        });
        ends
    }

    /// Asserts that the twin and every vector level split `text` as the engine does.
    #[track_caller]
    fn check(&self, text: &[u8]) {
        let expected = self.expected(text);
        let scheme = self.scheme();
        let mut found = Vec::new();
        scalar::scan(scheme, text, |end| found.push(end));
        self.compare("characters", text, &found, &expected);
        found.clear();
        self.automaton.ends(text, &mut |ends| found.extend_from_slice(ends));
        self.compare("the automaton", text, &found, &expected);
        for level in levels() {
            found.clear();
            dispatch::ends(scheme, level, text, &mut |ends| found.extend_from_slice(ends));
            self.compare(level.name(), text, &found, &expected);
        }
    }

    #[track_caller]
    fn compare(&self, way: &str, text: &[u8], found: &[usize], expected: &[usize]) {
        if found != expected {
            let differ = found.iter().zip(expected).position(|(a, b)| a != b);
            let at = differ.map_or(0, |i| if i == 0 { 0 } else { found[i - 1] });
            let near = &text[at..text.len().min(at + 60)];
            panic!(
                "{} by {way}: {:?} instead of {:?} from byte {at} on: {:?}",
                self.name,
                found.iter().find(|end| **end > at),
                expected.iter().find(|end| **end > at),
                String::from_utf8_lossy(near),
            );
        }
    }
}

/// Reads a JSON file of `testdata`.
fn testdata(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn parts(kind: &str) -> Vec<String> {
    serde_json::from_value(testdata("split/parts.json")[kind].clone()).unwrap()
}

/// One character for each case that the patterns distinguish.
const CHARACTERS: &[&str] = &[
    "a",
    "s",
    "E",
    "7",
    " ",
    "\t",
    "\n",
    "\r",
    "'",
    "/",
    "!",
    "\u{1}",
    "\u{17F}",
    "É",
    "ǅ",
    "中",
    "\u{3040}",
    "\u{309B}",
    "\u{301}",
    "\u{3099}",
    "²",
    "\u{85}",
    "\u{3000}",
    "、",
    "\u{11DE0}",
    "〇",
    "⺀",
];

/// Calls `f` with every string of `length` characters from [`CHARACTERS`].
fn each_string(length: usize, f: impl Fn(&[u8])) {
    let mut digits = vec![0; length];
    let mut text = String::new();
    loop {
        text.clear();
        for digit in &digits {
            text.push_str(CHARACTERS[*digit]);
        }
        f(text.as_bytes());
        let Some(index) = digits.iter().rposition(|digit| digit + 1 < CHARACTERS.len()) else {
            return;
        };
        digits[index] += 1;
        digits[index + 1..].fill(0);
    }
}

/// All strings of up to `LSLM_EXHAUSTIVE` (3) characters from [`CHARACTERS`].
#[test]
fn all_short_strings_split_as_by_the_engine() {
    let length = std::env::var("LSLM_EXHAUSTIVE").map_or(3, |n| n.parse().unwrap());
    for length in 0..=length {
        each_string(length, |text| Pair::all().iter().for_each(|pair| pair.check(text)));
    }
}

/// Kimi K2's scanner runs on text between Chinese only if there is much of it.
#[test]
fn long_stretches_before_chinese_split_as_by_the_engine() {
    let pair = Pair::all().iter().find(|pair| pair.name == "kimi_k2").unwrap();
    each_string(3, |end| {
        for han in ["中", "〇", "々"] {
            let text = ["word 12 ".repeat(20).as_bytes(), end, han.as_bytes(), end, b" x"].concat();
            pair.check(&text);
        }
        // Its last blank is looked for backwards, where an ill-formed byte is no part of a blank.
        for ill_formed in [&b"\x80"[..], b"\xE4\xBD", b"\xFF", b"\xF0\x9F"] {
            let before = ["word 12 ".repeat(20).as_bytes(), end].concat();
            pair.check(&[&before, ill_formed, "中".as_bytes()].concat());
            pair.check(&[&before, ill_formed, b" ", "中".as_bytes()].concat());
        }
    });
}

/// The engine splits by each other spelling as by the published one.
#[test]
fn synonyms_have_the_pieces_of_the_published_expression() {
    for (other, usual) in published::SYNONYMS {
        let engine = RegexEngine::reference(&[Step::isolated(*other)]).unwrap();
        let automaton = RegexEngine::new(&[Step::isolated(*other)]).unwrap();
        let pattern = Pattern::from_regex(usual).unwrap();
        assert_eq!(Pattern::from_regex(other).unwrap().name(), pattern.name());
        let usual = Pair { name: other, pattern, engine, automaton };
        for length in 0..=3 {
            each_string(length, |text| {
                usual.compare("a synonym", text, &usual.found(text), &usual.expected(text));
            });
        }
    }
}

#[test]
fn every_name_has_the_steps_of_a_distinct_pattern() {
    for name in Pattern::names() {
        let pattern = Pattern::named(name).unwrap();
        let known = |other: &&str| Pattern::named(other).unwrap().steps() == pattern.steps();
        assert!(*name == "none" || DISTINCT.iter().any(known), "{name}");
    }
}

/// Alternatives of published expressions, and some that leave gaps or match in part of others.
const OTHER_PARTS: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"[^\r\n\p{L}\p{N}]?+\p{L}++",
    r"[\p{Han}]+",
    r"[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]++[\r\n/]*+",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s++$",
    r"\s",
    r"a+b|a",
    r"[a-z]+7",
    r" ",
];

/// Whether a code point is in a plane with assigned characters; planes 4 to 13 have none, and 15
/// and 16 are for private use.
fn is_in_used_plane(c: char) -> bool {
    matches!(c, '\0'..'\u{34000}' | '\u{E0000}'..'\u{E1000}')
}

fn check_in_context(is_checked: fn(char) -> bool) {
    // 500 code points a text: starting the engine costs more than its search.
    let mut texts: Vec<String> = Vec::new();
    for (i, c) in ('\0'..=char::MAX).filter(|&c| is_checked(c)).enumerate() {
        if i % 500 == 0 {
            texts.push(String::new());
        }
        let text = texts.last_mut().unwrap();
        text.extend(['a', c, 'b', ' ', c, '\n']);
    }
    for pair in Pair::all() {
        for text in &texts {
            pair.check(text.as_bytes());
        }
    }
}

fn check_alone(is_checked: fn(char) -> bool) {
    for (pair, level) in Pair::all().iter().flat_map(|pair| levels().map(move |l| (pair, l))) {
        for c in ('\0'..=char::MAX).filter(|&c| is_checked(c)) {
            let mut buffer = [0; 4];
            let text = c.encode_utf8(&mut buffer).as_bytes();
            let mut whole = false;
            dispatch::ends(pair.scheme(), level, text, &mut |ends| whole = *ends == [text.len()]);
            assert!(whole, "{} U+{:04X} by {}", pair.name, c as u32, level.name());
        }
    }
}

#[test]
fn every_code_point_splits_as_by_the_engine() {
    check_in_context(is_in_used_plane);
}

#[test]
#[ignore = "slow: 897,024 code points; make test-all runs it"]
fn code_points_of_unused_planes_split_as_by_the_engine() {
    check_in_context(|c| !is_in_used_plane(c));
}

#[test]
fn a_code_point_alone_is_one_piece() {
    check_alone(is_in_used_plane);
}

#[test]
#[ignore = "slow: 897,024 code points; make test-all runs it"]
fn a_code_point_of_an_unused_plane_alone_is_one_piece() {
    check_alone(|c| !is_in_used_plane(c));
}

/// Returns the vector levels of this machine.
fn levels() -> impl Iterator<Item = Level> {
    static LEVELS: OnceLock<Vec<Level>> = OnceLock::new();
    LEVELS.get_or_init(Level::available).iter().copied()
}

#[test]
fn long_runs_split_as_by_the_engine() {
    for pair in Pair::all() {
        for character in parts("characters") {
            for n in (1..70).chain([127, 128, 129, 1000, 20_000]) {
                let run = character.repeat(n);
                pair.check(run.as_bytes());
                pair.check(format!("{run}x").as_bytes());
                pair.check(format!(" {run} {run}").as_bytes());
            }
        }
    }
}

/// One text cut off at all offsets up to 70, so that each rule meets each bit of a block.
#[test]
fn every_offset_in_a_block_splits_as_by_the_engine() {
    let characters = parts("characters");
    let mut text = String::new();
    let mut state = 1_u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let character = &characters[(state >> 33) as usize % characters.len()];
        text.push_str(&character.repeat(1 + (state >> 60) as usize / 5));
    }
    let bytes = text.as_bytes();
    for pair in Pair::all() {
        for offset in 0..=70 {
            pair.check(&bytes[offset..]);
            pair.check(&bytes[..bytes.len() - offset]);
            pair.check(&bytes[offset..offset + 200]);
        }
    }
}

/// Random texts of some kilobytes: `LSLM_FUZZ` (1) megabytes of them, from the seed
/// `LSLM_FUZZ_SEED` (1). Each text mixes few of the parts, so that runs and repetitions are common.
#[test]
fn random_kilobytes_split_as_by_the_engine() {
    let number = |name: &str| std::env::var(name).map_or(1, |n| n.parse::<u64>().unwrap());
    let budget = number("LSLM_FUZZ") * 1_000_000;
    let mut state = number("LSLM_FUZZ_SEED").wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut below = |n: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let parts: Vec<Vec<u8>> = parts("characters")
        .into_iter()
        .chain(parts("words"))
        .map(String::into_bytes)
        .chain([vec![0xFF], vec![0xE4, 0xB8], vec![0xBF], vec![0xF0, 0x9F], vec![0xED, 0xA0, 0x80]])
        .collect();
    let mut done = 0;
    while done < budget {
        let few: Vec<&[u8]> = (0..2 + below(12)).map(|_| &*parts[below(parts.len())]).collect();
        let mut text = Vec::new();
        for _ in 0..below(400) {
            let part = few[below(few.len())];
            let times = if below(8) == 0 { 1 + below(150) } else { 1 };
            for _ in 0..times {
                text.extend_from_slice(part);
            }
        }
        done += text.len() as u64 + 1;
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}

/// Skipped if the corpora are missing.
#[test]
fn real_text_splits_as_by_the_engine() {
    let root = std::env::var("LSLM_DATA").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let files = ["english/tinyshakespeare.txt", "cases/blns.json", "cases/utf8_stress_kuhn.txt"];
    for file in files {
        let Ok(text) = std::fs::read(root.join(file)) else {
            assert!(std::env::var("LSLM_REQUIRE_DATA").is_err(), "{file} is missing in {root:?}");
            #[allow(clippy::print_stderr)] // a skip must be visible
            {
                eprintln!("skipped: {file} is missing in {}", root.display());
            }
            continue;
        };
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}

/// The expected pieces are those of tokenizers 0.23.3.
#[test]
fn behaviors_join_matches_and_gaps_as_hugging_face_does() {
    use Behavior::{Contiguous, Isolated, MergedWithNext, MergedWithPrevious};
    let cases = [
        ("-", Isolated, false, "the|-|final|-|-|countdown|-"),
        ("[0-9]*", Isolated, false, "a|b|12|c|-|345"),
        ("-", Contiguous, false, "the|-|final|--|countdown|-"),
        ("[0-9]*", Contiguous, false, "a|b|12|c|-|345"),
        ("-", MergedWithPrevious, false, "the-|final-|-|countdown-"),
        ("[0-9]*", MergedWithPrevious, false, "a|b12|c|-345"),
        ("-", MergedWithNext, false, "the|-final|-|-countdown|-"),
        ("[0-9]*", MergedWithNext, false, "a|b|12c|-|345"),
        ("-", Isolated, true, "the|-|final|-|-|countdown|-"),
        ("[0-9]*", Isolated, true, "a|b|12|c|-|345"),
        ("-", Contiguous, true, "the|-|final|--|countdown|-"),
        ("[0-9]*", Contiguous, true, "a|b|12|c|-|345"),
        ("-", MergedWithPrevious, true, "the|-final|-|-countdown|-"),
        ("[0-9]*", MergedWithPrevious, true, "a|b|12c|-|345"),
        ("-", MergedWithNext, true, "the-|final-|-|countdown-"),
        ("[0-9]*", MergedWithNext, true, "a|b12|c|-345"),
    ];
    for (regex, behavior, invert, expected) in cases {
        let step = Step::Split { regex: regex.to_owned(), behavior, invert };
        let text = if regex == "-" { "the-final--countdown-" } else { "ab12c-345" };
        let mut found = Vec::new();
        Pattern::from_steps(vec![step]).unwrap().for_each(text.as_bytes(), |piece| {
            found.push(String::from_utf8(piece.to_vec()).unwrap());
        });
        assert_eq!(found.join("|"), expected, "{regex} {behavior:?} {invert}");
    }
}

fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => proptest::sample::select(parts("characters")).prop_map(String::into_bytes),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|b| vec![b]),
        2 => proptest::sample::select(parts("words")).prop_map(String::into_bytes),
    ];
    proptest::collection::vec(part, 0..200).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn mixed_text_splits_as_by_the_engine(text in mixed()) {
        for pair in Pair::all() {
            pair.check(&text);
        }
    }

    /// Expressions that no scanner has: parts of published ones, and gaps.
    #[test]
    fn other_expressions_run_in_an_automaton_with_the_same_pieces(
        parts in proptest::sample::subsequence(OTHER_PARTS.to_vec(), 1..6).prop_shuffle(),
        text in mixed(),
    ) {
        let steps = [Step::isolated(parts.join("|"))];
        let automaton = RegexEngine::new(&steps).unwrap();
        prop_assert!(automaton.is_automaton());
        let [mut found, mut expected] = [Vec::new(), Vec::new()];
        automaton.ends(&text, &mut |ends| found.extend_from_slice(ends));
        let engine = RegexEngine::reference(&steps).unwrap();
        engine.ends(&text, &mut |ends| expected.extend_from_slice(ends));
        prop_assert_eq!(found, expected, "{:?}", steps);
    }

    #[test]
    fn any_bytes_split_as_by_the_engine(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}
