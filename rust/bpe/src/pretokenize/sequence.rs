//! From normalised text to the pieces that are merged.
//!
//! Nearly always this is one [`Pattern`]. Two things of Hugging Face's files are not cuts and are
//! kept apart: matches that are removed, and the blank that `add_prefix_space` puts before a piece.

use std::ops::Range;

use lslm_runtime::Result;
use serde_json::{Value, json};

use crate::normalize::matcher::{self, Matcher};
use crate::pretokenize::{Behavior, Pattern, Step};

/// How a text is cut into pieces.
#[derive(Clone, Debug)]
pub(crate) struct Pretokenizer {
    stages: Vec<Stage>,
    pattern: Pattern,
}

/// What takes a piece and the part of the text that it is.
type Visit<'a> = dyn FnMut(&[u8], Range<usize>) -> Result<()> + 'a;

#[derive(Clone, Debug)]
enum Stage {
    Cut(Pattern),
    /// The matches are dropped and what lies between them are the pieces; the other way round when
    /// inverted.
    Remove {
        matcher: Matcher,
        invert: bool,
    },
    /// A blank before each piece that does not begin with one.
    PrefixSpace,
}

impl Pretokenizer {
    /// The pre-tokenizer that cuts by `pattern` and does nothing else.
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self { stages: vec![Stage::Cut(pattern.clone())], pattern }
    }

    /// The pre-tokenizer of a `tokenizer.json`'s entry; an error names what is not supported.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let mut reader = Reader::default();
        reader.add(value, 0)?;
        if !reader.bytes {
            return Err(
                "the pre-tokenizer has no \"ByteLevel\": only byte-level vocabularies are \
                        supported"
                    .to_owned(),
            );
        }
        reader.flush()?;
        let stages = reader.stages;
        let all = reader.all.into_iter().collect();
        let pattern = Pattern::from_steps(all).map_err(|error| error.to_string())?;
        Ok(Self { stages, pattern })
    }

    /// All cuts together, for people.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The one pattern that does everything, if it is so.
    pub(crate) fn only_pattern(&self) -> Option<&Pattern> {
        match &self.stages[..] {
            [Stage::Cut(pattern)] => Some(pattern),
            _ => None,
        }
    }

    /// What decides the pieces, one string a stage, equal for equal pre-tokenizers.
    pub(crate) fn description(&self) -> Vec<String> {
        let stage = |stage: &Stage| match stage {
            Stage::Cut(pattern) => {
                // the name that all spellings of one published pattern share
                let usual = Pattern::from_steps(pattern.steps().to_vec()).ok();
                let name = usual.as_ref().and_then(|usual| usual.name().map(str::to_owned));
                let name = name.unwrap_or_else(|| format!("{:?}", pattern.steps()));
                format!("cut {name} with Unicode {}", pattern.unicode_version())
            }
            Stage::Remove { matcher, invert } => format!("remove {matcher} {invert}"),
            Stage::PrefixSpace => "prefix".to_owned(),
        };
        self.stages.iter().map(stage).collect()
    }

    /// Calls `f` with each piece of `text` and the part of `text` that it is; a piece may have one
    /// blank more in front than its part.
    pub(crate) fn for_each(&self, text: &[u8], f: &mut Visit<'_>) -> Result<()> {
        run(&self.stages, text, 0, false, f)
    }
}

/// Hands `text`, which begins at `base` of the whole and may have got a blank in front, through
/// `stages`.
fn run(
    stages: &[Stage],
    text: &[u8],
    base: usize,
    prefixed: bool,
    f: &mut Visit<'_>,
) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let Some((stage, rest)) = stages.split_first() else {
        return f(text, base..base + text.len() - usize::from(prefixed));
    };
    // a place in `text` as a place in the whole; the added blank lies nowhere
    let origin = |place: usize| base + place - usize::from(prefixed && place > 0);
    match stage {
        Stage::PrefixSpace => {
            if text.first() == Some(&b' ') {
                run(rest, text, base, prefixed, f)
            } else {
                let longer = [b" ", text].concat();
                run(rest, &longer, base, true, f)
            }
        }
        Stage::Cut(pattern) => {
            let mut place = 0;
            let mut outcome = Ok(());
            pattern.for_each(text, |piece| {
                if outcome.is_ok() {
                    outcome = run(rest, piece, origin(place), prefixed && place == 0, f);
                    place += piece.len();
                }
            });
            outcome
        }
        Stage::Remove { matcher, invert } => {
            let found = matcher.find_all(text).map_err(lslm_runtime::Error::Invalid)?;
            let mut place = 0;
            let end = [(text.len(), text.len())];
            for &(from, to) in found.iter().chain(&end) {
                let kept = if *invert { from..to } else { place..from };
                let first = prefixed && kept.start == 0;
                run(rest, &text[kept.clone()], origin(kept.start), first, f)?;
                place = to;
            }
            Ok(())
        }
    }
}

/// Gathers the stages of a `tokenizer.json`; cuts that follow each other become one pattern.
#[derive(Default)]
struct Reader {
    stages: Vec<Stage>,
    steps: Vec<Step>,
    all: Vec<Step>,
    bytes: bool,
}

impl Reader {
    fn flush(&mut self) -> Result<(), String> {
        if !self.steps.is_empty() || self.stages.is_empty() {
            let steps = std::mem::take(&mut self.steps);
            self.all.extend(steps.iter().cloned());
            let pattern = Pattern::from_steps(steps).map_err(|error| error.to_string())?;
            self.stages.push(Stage::Cut(pattern));
        }
        Ok(())
    }

    fn add(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("of no type");
        let flag = |key: &str, default| match value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("{key:?} of the pre-tokenizer {kind:?} is {other}")),
        };
        if self.bytes {
            return Err(format!("the pre-tokenizer {kind:?} after \"ByteLevel\" is not supported"));
        }
        match kind {
            "Sequence" if depth < 16 => {
                let Some(parts) = value.get("pretokenizers").and_then(Value::as_array) else {
                    return Err(
                        "the pre-tokenizer \"Sequence\" has no \"pretokenizers\"".to_owned()
                    );
                };
                parts.iter().try_for_each(|part| self.add(part, depth + 1))
            }
            "ByteLevel" => {
                if flag("add_prefix_space", true)? {
                    if !self.steps.is_empty() {
                        self.flush()?;
                    }
                    self.stages.push(Stage::PrefixSpace);
                }
                if flag("use_regex", true)? {
                    let gpt2 = Pattern::named("gpt2").ok_or("the pattern gpt2 is missing")?;
                    self.steps.extend_from_slice(gpt2.steps());
                }
                self.bytes = true;
                Ok(())
            }
            "Digits" => {
                self.steps.push(Step::Digits { individual: flag("individual_digits", false)? });
                Ok(())
            }
            "Split" => {
                let regex = matcher::expression(value.get("pattern"))?;
                let invert = flag("invert", false)?;
                let behavior = match value.get("behavior").and_then(Value::as_str) {
                    Some("Isolated") => Behavior::Isolated,
                    Some("Contiguous") => Behavior::Contiguous,
                    Some("MergedWithPrevious") => Behavior::MergedWithPrevious,
                    Some("MergedWithNext") => Behavior::MergedWithNext,
                    Some("Removed") => {
                        if !self.steps.is_empty() {
                            self.flush()?;
                        }
                        let matcher = Matcher::new(&regex)?;
                        self.stages.push(Stage::Remove { matcher, invert });
                        return Ok(());
                    }
                    other => {
                        return Err(format!(
                            "the behavior {other:?} of the pre-tokenizer \"Split\" is unknown"
                        ));
                    }
                };
                match Pattern::named("cl100k_base_tiktoken") {
                    Some(own) if regex == CL100K_TIKTOKEN => {
                        self.steps.extend_from_slice(own.steps());
                    }
                    _ => self.steps.push(Step::Split { regex, behavior, invert }),
                }
                Ok(())
            }
            _ => Err(format!(
                "the pre-tokenizer {kind:?} is not supported; known are ByteLevel, Split, Digits \
                 and Sequence"
            )),
        }
    }
}

/// The cuts of "cl100k_base_tiktoken" in operators that Hugging Face's engine reads in the same way:
/// there `$` is the end of a line and `{1,3}+` is not possessive.
const CL100K_TIKTOKEN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s";

/// The entry of a `tokenizer.json` that cuts as `pattern` does.
pub(crate) fn to_json(pattern: &Pattern) -> Value {
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    // spelled as the published files do: the reference's engine reads some operators of other
    // spellings, such as possessive counts, in another way
    let usual = Pattern::from_steps(pattern.steps().to_vec()).ok();
    let named = usual.and_then(|usual| Pattern::named(usual.name()?));
    if named.as_ref().and_then(Pattern::name) == Some("gpt2") {
        return byte_level(true);
    }
    let portable = match named.as_ref().and_then(Pattern::name) {
        Some("cl100k_base_tiktoken") => Some(vec![Step::isolated(CL100K_TIKTOKEN)]),
        _ => None,
    };
    let step = |step: &Step| match step {
        Step::Digits { individual } => json!({"type": "Digits", "individual_digits": individual}),
        Step::Split { regex, behavior, invert } => json!({
            "type": "Split",
            "pattern": {"Regex": regex},
            "behavior": format!("{behavior:?}"),
            "invert": invert,
        }),
    };
    let steps = portable.as_deref().unwrap_or(named.as_ref().unwrap_or(pattern).steps());
    let mut parts: Vec<Value> = steps.iter().map(step).collect();
    parts.push(byte_level(false));
    json!({"type": "Sequence", "pretokenizers": parts})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(value: &Value, text: &[u8]) -> Vec<(String, Range<usize>)> {
        let mut out = Vec::new();
        Pretokenizer::from_json(value)
            .unwrap()
            .for_each(text, &mut |piece, range| {
                out.push((String::from_utf8_lossy(piece).into_owned(), range));
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn the_usual_file_is_one_pattern() {
        let pretokenizer =
            Pretokenizer::from_json(&json!({"type": "ByteLevel", "add_prefix_space": false}))
                .unwrap();
        assert_eq!(pretokenizer.only_pattern().unwrap().name(), Some("gpt2"));
        for name in Pattern::names() {
            let pattern = Pattern::named(name).unwrap();
            let again = Pretokenizer::from_json(&to_json(&pattern)).unwrap();
            assert_eq!(again.description(), Pretokenizer::new(pattern).description(), "{name}");
        }
    }

    #[test]
    fn a_blank_goes_before_each_piece_of_the_steps_before() {
        let value = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true},
        ]});
        let expected = [(" a", 0..1), (" 1", 1..2), (" ", 2..3), (" b", 3..5)];
        let expected: Vec<_> = expected.map(|(piece, range)| (piece.to_owned(), range)).into();
        // the blank before b is the text's own
        let found = pieces(&value, b"a1  b");
        assert_eq!(found[..2], expected[..2]);
        assert_eq!(found.last().unwrap(), &expected[3]);
    }

    #[test]
    fn removed_matches_are_gone() {
        let mut value = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        ]});
        assert_eq!(pieces(&value, b"-ab--c"), [("ab".to_owned(), 1..3), ("c".to_owned(), 5..6)]);
        value["pretokenizers"][0]["invert"] = json!(true);
        assert_eq!(pieces(&value, b"-ab-"), [("-".to_owned(), 0..1), ("-".to_owned(), 3..4)]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (value, word) in [
            (json!({"type": "Metaspace"}), "Metaspace"),
            (json!({"type": "Digits"}), "ByteLevel"),
            (json!(null), "of no type"),
            (json!({"type": "Sequence"}), "pretokenizers"),
            (json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}), "\"(\""),
        ] {
            let wrapped =
                json!({"type": "Sequence", "pretokenizers": [value, {"type": "ByteLevel"}]});
            let value = if word == "ByteLevel" { value } else { wrapped };
            let error = Pretokenizer::from_json(&value).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
