//! The pre-tokenizer entry of a `tokenizer.json`: from normalised text to pieces.
//!
//! Nearly always this is one [`Pattern`]. Two features of Hugging Face's files change the text
//! instead of splitting it: matches that are removed, and the space that `add_prefix_space` puts
//! before a piece. So a piece has its bytes and the byte range of the text that it came from.

use std::borrow::Cow;
use std::ops::Range;

use lslm_runtime::Result;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::published::{Behavior, Step};
use super::spans::Spans;
use crate::files::byte_alphabet;
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
    /// Puts a space before each piece that does not begin with one; with `only_first`, before the text
    /// only.
    PrefixSpace {
        only_first: bool,
    },
    /// Splits where no token of the vocabulary spans.
    SplitUnspanned(Spans),
    /// Splits the piece as vocabulary files spell it, one character for each byte: what comes after
    /// "ByteLevel" in a file.
    SplitSpelled(Pattern),
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
        if !reader.steps.is_empty() || reader.stages.is_empty() {
            reader.flush()?;
        }
        let stages = reader.stages;
        let all = reader.all.into_iter().collect();
        let pattern = Pattern::from_steps(all).map_err(|error| error.to_string())?;
        Ok(Self { stages, pattern })
    }

    /// Returns the pre-tokenizer of a vocabulary of characters, whose `tokens` have spaces for `▁`; an error
    /// names what of a `tokenizer.json`'s entry is not supported.
    ///
    /// Without an entry the whole text is one piece. `has_spaces` says that normalisation leaves the
    /// spaces, so that the entry must replace them.
    pub(crate) fn of_characters<'a>(
        value: &Value,
        has_spaces: bool,
        tokens: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let mut stages = Vec::new();
        let mut splits_spaces = false;
        match text("type") {
            None if value.is_null() && !has_spaces => {}
            Some("Split") if is_split_of_spaces(value) && !has_spaces => {}
            Some("Metaspace") if text("replacement") == Some("\u{2581}") => {
                let is_off = value.get("add_prefix_space") == Some(&Value::Bool(false));
                let scheme = text("prepend_scheme").unwrap_or("always");
                match scheme {
                    "always" | "first" if !is_off => {
                        stages.push(Stage::PrefixSpace { only_first: scheme == "first" });
                    }
                    "always" | "first" | "never" => {}
                    other => {
                        return Err(format!(
                            "the prepend_scheme {other:?} of \"Metaspace\" is unknown"
                        ));
                    }
                }
                splits_spaces = value.get("split").and_then(Value::as_bool).unwrap_or(true);
            }
            _ => {
                return Err(format!(
                    "with byte_fallback the pre-tokenizer {value} is not supported: known are \
                     Metaspace, or none after a normalizer that replaces spaces by \u{2581}"
                ));
            }
        }
        stages.push(Stage::SplitUnspanned(Spans::new(tokens, splits_spaces)));
        let pattern = Pattern::from_steps(Vec::new()).map_err(|error| error.to_string())?;
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

    /// Returns whether the text is only split, or only split after a space was put before it.
    pub(crate) fn only_splits(&self) -> bool {
        let is_split = |stage: &Stage| {
            matches!(stage, Stage::Split(_) | Stage::SplitSpelled(_) | Stage::SplitUnspanned(_))
        };
        self.after_prefix().iter().all(is_split)
    }

    /// Returns the stages after one that puts a space before the text.
    fn after_prefix(&self) -> &[Stage] {
        let has_prefix = matches!(self.stages.first(), Some(Stage::PrefixSpace { .. }));
        &self.stages[usize::from(has_prefix)..]
    }

    /// Returns `text` with the space that the first stage puts before it. `is_first` says that no other
    /// text comes before.
    pub(crate) fn prefixed<'t>(&self, text: &'t [u8], is_first: bool) -> Cow<'t, [u8]> {
        match self.stages.first() {
            Some(Stage::PrefixSpace { only_first }) if needs_space(text, *only_first, is_first) => {
                [b" ", text].concat().into()
            }
            _ => text.into(),
        }
    }

    /// Calls `f` with the end of each piece of a text that is [`Self::prefixed`], where
    /// [`Self::only_splits`].
    pub(crate) fn for_each_end(&self, text: &[u8], f: &mut dyn FnMut(usize)) {
        if let [.., Stage::SplitUnspanned(spans)] = &self.stages[..] {
            return spans.ends(text, f);
        }
        // Only stages that change the text can fail.
        let _ = run(self.after_prefix(), text, Place::default(), &mut |_, range| {
            f(range.end);
            Ok(())
        });
    }

    /// Returns how texts are split, for display: by which code, and how fast that is.
    pub(crate) fn method(&self) -> String {
        let method = |stage: &Stage| match stage {
            Stage::Split(pattern) => pattern.method().to_owned(),
            Stage::SplitSpelled(pattern) => format!("{} (after ByteLevel)", pattern.method()),
            Stage::Remove { .. } => "a regular expression whose matches are removed".to_owned(),
            Stage::PrefixSpace { .. } => "piece, after a space is added".to_owned(),
            Stage::SplitUnspanned(_) => "what no token spans".to_owned(),
        };
        self.stages.iter().map(method).collect::<Vec<_>>().join("; ")
    }

    /// Returns what decides the pieces, for fingerprints: one string a stage, equal for equal
    /// pre-tokenizers.
    pub(crate) fn description(&self) -> Vec<String> {
        let stage = |stage: &Stage| match stage {
            Stage::Split(pattern) => {
                // All spellings of one published pattern share a name.
                format!("cut {} with Unicode {}", name_of(pattern), pattern.unicode_version())
            }
            Stage::SplitSpelled(pattern) => {
                format!(
                    "cut spelled {} with Unicode {}",
                    name_of(pattern),
                    pattern.unicode_version()
                )
            }
            Stage::Remove { matcher, invert } => format!("remove {matcher} {invert}"),
            Stage::PrefixSpace { only_first: false } => "prefix".to_owned(),
            Stage::PrefixSpace { only_first: true } => "prefix first".to_owned(),
            // The vocabulary has the rest.
            Stage::SplitUnspanned(spans) => format!("unspanned {}", spans.splits_spaces()),
        };
        self.stages.iter().map(stage).collect()
    }

    /// Calls `f` with each piece of `text` and its byte range in `text`. A piece may have one space
    /// at its start that its range has not. `is_first` says that no other text comes before.
    pub(crate) fn for_each(&self, text: &[u8], is_first: bool, f: &mut Visit<'_>) -> Result<()> {
        run(&self.stages, text, Place { is_first, ..Place::default() }, f)
    }
}

/// Returns the name of a published pattern, shared by all its spellings, or the steps of another.
fn name_of(pattern: &Pattern) -> String {
    let usual = Pattern::from_steps(pattern.steps().to_vec()).ok();
    let name = usual.as_ref().and_then(|usual| usual.name().map(str::to_owned));
    name.unwrap_or_else(|| format!("{:?}", pattern.steps()))
}

/// Whether a space goes before `text`.
fn needs_space(text: &[u8], only_first: bool, is_first: bool) -> bool {
    !text.is_empty() && text.first() != Some(&b' ') && (is_first || !only_first)
}

/// Whether a "Split" is at spaces, of which normalisation has left none.
fn is_split_of_spaces(value: &Value) -> bool {
    value.get("pattern") == Some(&json!({"String": " "}))
        && value.get("behavior").is_some_and(|behavior| behavior != "Removed")
}

/// Where a part of a text lies.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Its offset in the whole text.
    base: usize,
    /// Its first byte is an added space.
    prefixed: bool,
    /// No other text comes before it.
    is_first: bool,
}

/// Runs `stages` on `text`, which lies at `place`.
fn run(stages: &[Stage], text: &[u8], place: Place, f: &mut Visit<'_>) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let Place { base, prefixed, is_first } = place;
    let Some((stage, rest)) = stages.split_first() else {
        return f(text, base..base + text.len() - usize::from(prefixed));
    };
    // An offset in `text` as one in the whole text; the added space has no width there.
    let origin = |offset: usize| base + offset - usize::from(prefixed && offset > 0);
    let inner = |start: usize| Place {
        base: origin(start),
        prefixed: prefixed && start == 0,
        is_first: is_first && start == 0,
    };
    match stage {
        Stage::PrefixSpace { only_first } => {
            if needs_space(text, *only_first, is_first) {
                let longer = [b" ", text].concat();
                run(rest, &longer, Place { prefixed: true, ..place }, f)
            } else {
                run(rest, text, place, f)
            }
        }
        Stage::Split(pattern) => {
            let mut start = 0;
            let mut outcome = Ok(());
            pattern.for_each(text, |piece| {
                if outcome.is_ok() {
                    outcome = run(rest, piece, inner(start), f);
                    start += piece.len();
                }
            });
            outcome
        }
        Stage::SplitUnspanned(spans) => {
            let mut start = 0;
            let mut outcome = Ok(());
            spans.ends(text, |end| {
                if outcome.is_ok() {
                    outcome = run(rest, &text[start..end], inner(start), f);
                    start = end;
                }
            });
            outcome
        }
        Stage::SplitSpelled(pattern) => {
            let mut spelled = String::new();
            byte_alphabet::spell(text, &mut spelled);
            let mut start = 0;
            let mut outcome = Ok(());
            pattern.for_each(spelled.as_bytes(), |part| {
                if outcome.is_ok() {
                    let end = start + part.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
                    let piece = &text[start..end];
                    outcome = run(rest, piece, inner(start), f);
                    start = end;
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
                run(rest, &text[kept.clone()], inner(kept.start), f)?;
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
    /// "ByteLevel" was read: what comes after it sees bytes as files spell them.
    has_byte_level: bool,
}

impl SequenceReader {
    /// Makes the pending splits a stage.
    fn flush(&mut self) -> Result<(), String> {
        if !self.steps.is_empty() || self.stages.is_empty() {
            let steps = std::mem::take(&mut self.steps);
            self.all.extend(steps.iter().cloned());
            let pattern = Pattern::from_steps(steps).map_err(|error| error.to_string())?;
            self.stages.push(if self.has_byte_level {
                Stage::SplitSpelled(pattern)
            } else {
                Stage::Split(pattern)
            });
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
        if self.has_byte_level && !matches!(kind, "Sequence" | "Digits" | "Split") {
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
                    self.stages.push(Stage::PrefixSpace { only_first: false });
                }
                if flag("use_regex", true)? {
                    let gpt2 = Pattern::named("gpt2").ok_or("the pattern gpt2 is missing")?;
                    self.steps.extend_from_slice(gpt2.steps());
                }
                self.flush()?;
                self.has_byte_level = true;
                Ok(())
            }
            "Digits" => {
                self.steps.push(Step::Digits { individual: flag("individual_digits", false)? });
                Ok(())
            }
            "Punctuation" => {
                let behavior = value.get("behavior").unwrap_or(&Value::Null);
                let behavior = if behavior.is_null() { &json!("Isolated") } else { behavior };
                self.push_split(PUNCTUATION, behavior, false)
            }
            "Split" => {
                let regex = matcher::expression(value.get("pattern"))?;
                let behavior = value.get("behavior").unwrap_or(&Value::Null);
                self.push_split(&regex, behavior, flag("invert", false)?)
            }
            _ => Err(format!(
                "the pre-tokenizer {kind:?} is not supported; known are ByteLevel, Split, Digits, \
                 Punctuation and Sequence"
            )),
        }
    }

    /// Adds a split by `regex`: a step, or for "Removed" a stage.
    fn push_split(&mut self, regex: &str, behavior: &Value, invert: bool) -> Result<(), String> {
        let behavior = match behavior.as_str() {
            Some("Isolated") => Behavior::Isolated,
            Some("Contiguous") => Behavior::Contiguous,
            Some("MergedWithPrevious") => Behavior::MergedWithPrevious,
            Some("MergedWithNext") => Behavior::MergedWithNext,
            // What is removed is the text between matches, and there is none.
            Some("Removed") if invert && Pattern::from_regex(regex).is_ok_and(|p| p.covers()) => {
                return self.push_split(regex, &json!("Isolated"), false);
            }
            Some("Removed") if self.has_byte_level => {
                return Err(
                    "the behavior \"Removed\" after \"ByteLevel\" is not supported".to_owned()
                );
            }
            Some("Removed") => {
                if !self.steps.is_empty() {
                    self.flush()?;
                }
                let matcher = Matcher::new(regex)?;
                self.stages.push(Stage::Remove { matcher, invert });
                return Ok(());
            }
            _ => {
                return Err(format!(
                    "the behavior {behavior} of the pre-tokenizer \"Split\" is unknown"
                ));
            }
        };
        match Pattern::named("cl100k_base_tiktoken") {
            Some(own) if regex == CL100K_TIKTOKEN => self.steps.extend_from_slice(own.steps()),
            _ => self.steps.push(Step::Split { regex: regex.to_owned(), behavior, invert }),
        }
        Ok(())
    }
}

/// What Hugging Face's "Punctuation" matches: ASCII punctuation and general category P.
const PUNCTUATION: &str = r"[!-/:-@\[-`{-~\p{P}]";

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
            .for_each(text, true, &mut |piece, range| {
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
