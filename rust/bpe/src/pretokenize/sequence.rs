//! The pre-tokenizer entry of a `tokenizer.json`: from normalised text to pieces.
//!
//! Nearly always this is one [`Pattern`]. Two features of Hugging Face's files change the text
//! instead of splitting it: matches that are removed, and the space that `add_prefix_space` puts
//! before a piece. So a piece has its bytes and the byte range of the text that it came from.

use std::ops::Range;

use lslm_runtime::Result;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::published::{Behavior, Step};
use crate::normalize::matcher::{self, Matcher};

/// Splits a text into pieces by a sequence of stages.
#[derive(Clone, Debug)]
pub(crate) struct Pretokenizer {
    stages: Vec<Stage>,
    pattern: Pattern,
}

/// A callback for each piece and the byte range of the text that it came from.
type Visit<'a> = dyn FnMut(&[u8], Range<usize>) -> Result<()> + 'a;

#[derive(Clone, Debug)]
enum Stage {
    Split(Pattern),
    /// Drops the matches, so that the text between them is the pieces; with `invert`, drops the
    /// text between them.
    Remove {
        matcher: Matcher,
        invert: bool,
    },
    /// Puts a space before each piece that does not begin with one.
    PrefixSpace,
}

impl Pretokenizer {
    /// Returns the pre-tokenizer that splits by `pattern` alone.
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self { stages: vec![Stage::Split(pattern.clone())], pattern }
    }

    /// Returns the pre-tokenizer of a `tokenizer.json`'s entry; an error names what is not
    /// supported.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let mut reader = SequenceReader::default();
        reader.add(value, 0)?;
        if !reader.has_byte_level {
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

    /// Returns all splits as one pattern, for display.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Returns the pattern if it is the only stage.
    pub(crate) fn only_pattern(&self) -> Option<&Pattern> {
        match &self.stages[..] {
            [Stage::Split(pattern)] => Some(pattern),
            _ => None,
        }
    }

    /// Returns what decides the pieces, for fingerprints: one string a stage, equal for equal
    /// pre-tokenizers.
    pub(crate) fn description(&self) -> Vec<String> {
        let stage = |stage: &Stage| match stage {
            Stage::Split(pattern) => {
                // All spellings of one published pattern share a name.
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

    /// Calls `f` with each piece of `text` and its byte range in `text`. A piece may have one space
    /// at its start that its range has not.
    pub(crate) fn for_each(&self, text: &[u8], f: &mut Visit<'_>) -> Result<()> {
        run(&self.stages, text, 0, false, f)
    }
}

/// Runs `stages` on `text`, which begins at `base` of the whole text. With `prefixed`, its first
/// byte is an added space.
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
    // An offset in `text` as one in the whole text; the added space has no width there.
    let origin = |offset: usize| base + offset - usize::from(prefixed && offset > 0);
    match stage {
        Stage::PrefixSpace => {
            if text.first() == Some(&b' ') {
                run(rest, text, base, prefixed, f)
            } else {
                let longer = [b" ", text].concat();
                run(rest, &longer, base, true, f)
            }
        }
        Stage::Split(pattern) => {
            let mut start = 0;
            let mut outcome = Ok(());
            pattern.for_each(text, |piece| {
                if outcome.is_ok() {
                    outcome = run(rest, piece, origin(start), prefixed && start == 0, f);
                    start += piece.len();
                }
            });
            outcome
        }
        Stage::Remove { matcher, invert } => {
            let found = matcher.find_all(text).map_err(lslm_runtime::Error::Invalid)?;
            let mut start = 0;
            let end = [(text.len(), text.len())];
            for &(from, to) in found.iter().chain(&end) {
                let kept = if *invert { from..to } else { start..from };
                let first = prefixed && kept.start == 0;
                run(rest, &text[kept.clone()], origin(kept.start), first, f)?;
                start = to;
            }
            Ok(())
        }
    }
}

/// Collects the stages of a `tokenizer.json`; consecutive splits become one pattern.
#[derive(Default)]
struct SequenceReader {
    stages: Vec<Stage>,
    /// Splits that are not yet a stage.
    steps: Vec<Step>,
    /// The splits of all stages.
    all: Vec<Step>,
    /// "ByteLevel" was read, which must be the last.
    has_byte_level: bool,
}

impl SequenceReader {
    /// Makes the pending splits a stage.
    fn flush(&mut self) -> Result<(), String> {
        if !self.steps.is_empty() || self.stages.is_empty() {
            let steps = std::mem::take(&mut self.steps);
            self.all.extend(steps.iter().cloned());
            let pattern = Pattern::from_steps(steps).map_err(|error| error.to_string())?;
            self.stages.push(Stage::Split(pattern));
        }
        Ok(())
    }

    /// Reads one entry, or those of a "Sequence" at depth `depth`.
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("of no type");
        let flag = |key: &str, default| match value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("{key:?} of the pre-tokenizer {kind:?} is {other}")),
        };
        if self.has_byte_level {
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
                self.has_byte_level = true;
                Ok(())
            }
            "Digits" => {
                self.steps.push(Step::Digits { individual: flag("individual_digits", false)? });
                Ok(())
            }
            "Split" => self.add_split(value, flag("invert", false)?),
            _ => Err(format!(
                "the pre-tokenizer {kind:?} is not supported; known are ByteLevel, Split, Digits \
                 and Sequence"
            )),
        }
    }

    /// Reads a "Split": a step, or for "Removed" a stage.
    fn add_split(&mut self, value: &Value, invert: bool) -> Result<(), String> {
        let regex = matcher::expression(value.get("pattern"))?;
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
            Some(own) if regex == CL100K_TIKTOKEN => self.steps.extend_from_slice(own.steps()),
            _ => self.steps.push(Step::Split { regex, behavior, invert }),
        }
        Ok(())
    }
}

/// "cl100k_base_tiktoken" in operators that Hugging Face's engine reads in the same way: in that
/// engine `$` is the end of a line and `{1,3}+` is not possessive.
const CL100K_TIKTOKEN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s";

/// Returns the entry of a `tokenizer.json` that splits as `pattern` does.
pub(crate) fn to_json(pattern: &Pattern) -> Value {
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    // Spelled as in the published files: Hugging Face's engine reads some operators of other
    // spellings, such as possessive counts, differently.
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
    fn byte_level_alone_is_one_pattern() {
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
    fn the_prefix_space_goes_before_each_piece_of_the_earlier_steps() {
        let value = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true},
        ]});
        let expected = [(" a", 0..1), (" 1", 1..2), (" ", 2..3), (" b", 3..5)];
        let expected: Vec<_> = expected.map(|(piece, range)| (piece.to_owned(), range)).into();
        // The space before b is the text's own.
        let found = pieces(&value, b"a1  b");
        assert_eq!(found[..2], expected[..2]);
        assert_eq!(found.last().unwrap(), &expected[3]);
    }

    #[test]
    fn removed_matches_are_in_no_piece() {
        let mut value = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        ]});
        assert_eq!(pieces(&value, b"-ab--c"), [("ab".to_owned(), 1..3), ("c".to_owned(), 5..6)]);
        value["pretokenizers"][0]["invert"] = json!(true);
        assert_eq!(pieces(&value, b"-ab-"), [("-".to_owned(), 0..1), ("-".to_owned(), 3..4)]);
    }

    #[test]
    fn an_unsupported_entry_is_named_in_the_error() {
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
