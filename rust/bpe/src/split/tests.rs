//! Every scanner against the regular expression engine, and known cuts.

use proptest::prelude::*;

use super::engine::Engine;
use super::*;

fn pieces(pattern: &str, text: impl AsRef<[u8]>) -> Vec<String> {
    let mut out = Vec::new();
    Pattern::named(pattern).unwrap().for_each(text.as_ref(), |piece| {
        out.push(piece.escape_ascii().to_string().replace("\\'", "'"));
    });
    out
}

#[test]
fn known_cuts() {
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
    assert_eq!(pieces("none", "a b"), ["a b"]);
    assert_eq!(pieces("deepseek_v3", "a 1234!b"), ["a", " ", "123", "4", "!b"]);
    assert_eq!(pieces("gpt2", ""), [""; 0]);
}

#[test]
fn ill_formed_bytes_keep_their_value() {
    assert_eq!(pieces("gpt2", b"a\xff\xe4\xbd b"), ["a", "\\xff\\xe4\\xbd", " b"]);
}

#[test]
fn spellings_are_recognised() {
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

/// The names with cuts of their own.
const DISTINCT: &[&str] = &[
    "gpt2",
    "cl100k_base",
    "cl100k_base_tiktoken",
    "o200k_base",
    "qwen2",
    "deepseek_v3",
    "tekken",
    "starcoder",
];

/// A scanner beside the engine that is its reference.
struct Pair {
    name: &'static str,
    pattern: Pattern,
    engine: Engine,
}

impl Pair {
    fn all() -> Vec<Self> {
        let pair = |name: &&'static str| {
            let pattern = Pattern::named(name).unwrap();
            assert!(matches!(pattern.0.method, Method::Scan(_)));
            let engine = Engine::new(pattern.steps()).unwrap();
            Self { name, pattern, engine }
        };
        DISTINCT.iter().map(pair).collect()
    }

    fn expected(&self, text: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        self.engine.ends(text, |end| ends.push(end));
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

    #[track_caller]
    fn check(&self, text: &[u8]) {
        let (found, expected) = (self.found(text), self.expected(text));
        if found != expected {
            let differ = found.iter().zip(&expected).position(|(a, b)| a != b);
            let at = differ.map_or(0, |i| if i == 0 { 0 } else { found[i - 1] });
            let near = &text[at..text.len().min(at + 60)];
            panic!(
                "{}: {:?} instead of {:?} from byte {at} on: {:?}",
                self.name,
                found.iter().find(|end| **end > at),
                expected.iter().find(|end| **end > at),
                String::from_utf8_lossy(near),
            );
        }
    }
}

/// One character of each sort any pattern tells apart, and the odd ones of each sort.
const SORTS: &[&str] = &[
    "a",
    "s",
    "E",
    "l",
    "7",
    " ",
    "\t",
    "\n",
    "\r",
    "'",
    "/",
    "!",
    "_",
    "\u{1}",
    "\u{17F}",
    "é",
    "É",
    "ǅ",
    "ʰ",
    "中",
    "\u{30FC}",
    "\u{9FFF}",
    "\u{301}",
    "\u{3099}",
    "²",
    "Ⅷ",
    "\u{85}",
    "\u{3000}",
    "\u{200D}",
    "、",
    "€",
    "😀",
    "\u{11DE0}",
];

fn exhaustive(length: usize) {
    let pairs = Pair::all();
    let mut digits = vec![0; length];
    let mut text = String::new();
    loop {
        text.clear();
        for digit in &digits {
            text.push_str(SORTS[*digit]);
        }
        for pair in &pairs {
            pair.check(text.as_bytes());
        }
        let Some(place) = digits.iter().rposition(|digit| digit + 1 < SORTS.len()) else { return };
        digits[place] += 1;
        digits[place + 1..].fill(0);
    }
}

/// All strings of `LSLM_EXHAUSTIVE` (3) characters from [`SORTS`].
#[test]
fn all_short_strings() {
    let length = std::env::var("LSLM_EXHAUSTIVE").map_or(3, |n| n.parse().unwrap());
    for length in 0..=length {
        exhaustive(length);
    }
}

#[test]
fn every_code_point_alone_and_in_context() {
    for pair in Pair::all() {
        for c in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            pair.check(c.encode_utf8(&mut buffer).as_bytes());
            pair.check(format!("a{c}b 'A{c} {c}1{c}\n{c}{c}!{c}").as_bytes());
        }
    }
}

#[test]
fn long_runs() {
    for pair in Pair::all() {
        for sort in SORTS {
            for n in (1..70).chain([127, 128, 129, 1000, 20_000]) {
                let run = sort.repeat(n);
                pair.check(run.as_bytes());
                pair.check(format!("{run}x").as_bytes());
                pair.check(format!(" {run} {run}").as_bytes());
            }
        }
    }
}

/// The same text cut off at all offsets up to 70, so that each rule meets each place of a block.
#[test]
fn slices() {
    let mut text = String::new();
    let mut state = 1_u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let sort = SORTS[(state >> 33) as usize % SORTS.len()];
        text.push_str(&sort.repeat(1 + (state >> 60) as usize / 5));
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

/// Real text, when it is there.
#[test]
fn real_text() {
    let root = std::env::var("LSLM_DATA").map_or_else(
        |_| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        std::path::PathBuf::from,
    );
    let files = ["english/tinyshakespeare.txt", "cases/blns.json", "cases/utf8_stress_kuhn.txt"];
    for file in files {
        let Ok(text) = std::fs::read(root.join(file)) else {
            assert!(std::env::var("LSLM_REQUIRE_DATA").is_err(), "{file} is missing in {root:?}");
            eprintln!("skipped: {file} is missing in {}", root.display());
            continue;
        };
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}

fn sorts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(SORTS).prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|b| vec![b]),
        1 => proptest::sample::select(&["'ll", "'RE", "'\u{17F}", "\r\n", "   ", "don't", "HTTPServer"][..])
            .prop_map(|s| s.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn mixed_text(text in sorts()) {
        for pair in Pair::all() {
            pair.check(&text);
        }
    }

    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        for pair in Pair::all() {
            pair.check(&text);
        }
    }
}
