//! The general way to cut a text: a regular expression engine and Hugging Face's split rules.
//!
//! It serves patterns a user gives, and it is the reference the scanners are tested against.
//! Expressions without look-around run on regex-automata (fancy-regex hands them over whole).

use std::ops::Range;

use fancy_regex::{Regex, RegexBuilder};
use lslm_runtime::{Error, Result};

use super::published::{Behavior, DIGITS, Step};

/// Compiled steps.
#[derive(Debug)]
pub(super) struct Engine {
    steps: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    regex: Regex,
    behavior: Behavior,
    invert: bool,
}

impl Engine {
    /// Compiles `steps`; an expression that does not compile is [`Error::Invalid`].
    pub(super) fn new(steps: &[Step]) -> Result<Self> {
        let steps = steps
            .iter()
            .map(|step| match step {
                Step::Split { regex, behavior, invert } => {
                    Ok(Compiled { regex: compile(regex)?, behavior: *behavior, invert: *invert })
                }
                Step::Digits { individual } => Ok(Compiled {
                    regex: compile(DIGITS)?,
                    behavior: if *individual { Behavior::Isolated } else { Behavior::Contiguous },
                    invert: false,
                }),
            })
            .collect::<Result<_>>()?;
        Ok(Self { steps })
    }

    /// Calls `emit` with the end of each piece of `text`, ascending; the last one is its length.
    pub(super) fn ends(&self, text: &[u8], mut emit: impl FnMut(usize)) {
        let mut pieces = Vec::new();
        if let Ok(text) = std::str::from_utf8(text) {
            self.cut(text, 0..text.len(), 0, &mut pieces);
            for end in pieces {
                emit(end);
            }
        } else {
            let (shadow, source) = shadow(text);
            self.cut(&shadow, 0..shadow.len(), 0, &mut pieces);
            for end in pieces {
                emit(source[end]);
            }
        }
    }

    /// Pushes the ends of the pieces of `text[range]` as cut by the steps from `step` on.
    fn cut(&self, text: &str, range: Range<usize>, step: usize, ends: &mut Vec<usize>) {
        if range.is_empty() {
            return;
        }
        let Some(compiled) = self.steps.get(step) else {
            ends.push(range.end);
            return;
        };
        let base = range.start;
        for part in compiled.parts(&text[range]) {
            self.cut(text, base + part.start..base + part.end, step + 1, ends);
        }
    }
}

impl Compiled {
    /// The pieces of `text`, which may be empty ones.
    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
        let mut last = 0;
        for found in self.regex.find_iter(text) {
            // The backtracking limit is off, so that an error means an engine out of memory;
            // the rest of the text then stays one piece.
            let Ok(found) = found else { break };
            if found.start() > last {
                spans.push((last..found.start(), self.invert));
            }
            spans.push((found.start()..found.end(), !self.invert));
            last = found.end();
        }
        if last < text.len() {
            spans.push((last..text.len(), self.invert));
        }
        let mut parts: Vec<Range<usize>> = Vec::with_capacity(spans.len());
        let mut before = false;
        match self.behavior {
            Behavior::Isolated => parts.extend(spans.into_iter().map(|(span, _)| span)),
            Behavior::Contiguous => {
                for (span, is_match) in spans {
                    match parts.last_mut() {
                        Some(part) if is_match == before => part.end = span.end,
                        _ => parts.push(span),
                    }
                    before = is_match;
                }
            }
            Behavior::MergedWithPrevious => {
                for (span, is_match) in spans {
                    match parts.last_mut() {
                        Some(part) if is_match && !before => part.end = span.end,
                        _ => parts.push(span),
                    }
                    before = is_match;
                }
            }
            Behavior::MergedWithNext => {
                for (span, is_match) in spans.into_iter().rev() {
                    match parts.last_mut() {
                        Some(part) if is_match && !before => part.start = span.start,
                        _ => parts.push(span),
                    }
                    before = is_match;
                }
                parts.reverse();
            }
        }
        parts
    }
}

fn compile(regex: &str) -> Result<Regex> {
    RegexBuilder::new(regex).backtrack_limit(usize::MAX).build().map_err(|error| {
        Error::invalid(format!("the split pattern {regex:?} is not a valid expression: {error}"))
    })
}

/// `text` with U+FFFD for each ill-formed byte, and for each offset in that the one in `text`.
fn shadow(text: &[u8]) -> (String, Vec<usize>) {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut source = Vec::with_capacity(out.capacity() + 1);
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        source.extend(at..at + chunk.valid().len());
        at += chunk.valid().len();
        for _ in chunk.invalid() {
            out.push(char::REPLACEMENT_CHARACTER);
            source.extend([at; 3]);
            at += 1;
        }
    }
    source.push(at);
    (out, source)
}
