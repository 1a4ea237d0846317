//! Splits by any regular expression, with Hugging Face's rules for matches and gaps.
//!
//! Used for patterns that are not published ones, and as the reference that the other splitters are
//! tested against. Expressions without look-around run on regex-automata, to which fancy-regex
//! delegates them.
//!
//! ```text
//! split(piece, steps):
//!     if there are no steps: emit(piece)
//!     spans = matches of steps[0] in piece, and the gaps between them
//!     parts = spans, joined as the step's behavior says
//!     for part in parts: split(part, steps[1..])
//! ```

use std::ops::Range;

use fancy_regex::{Regex, RegexBuilder};
use lslm_runtime::{Error, Result};

use super::published::{Behavior, DIGITS, Step};
use crate::normalize::matcher::replace_ill_formed;

/// The compiled steps of a pattern.
#[derive(Debug)]
pub(super) struct RegexEngine {
    steps: Vec<CompiledStep>,
}

#[derive(Debug)]
struct CompiledStep {
    regex: Regex,
    behavior: Behavior,
    invert: bool,
}

impl RegexEngine {
    /// Compiles `steps`; [`Error::Invalid`] for an expression that does not compile.
    pub(super) fn new(steps: &[Step]) -> Result<Self> {
        let steps = steps
            .iter()
            .map(|step| match step {
                Step::Split { regex, behavior, invert } => Ok(CompiledStep {
                    regex: compile(regex)?,
                    behavior: *behavior,
                    invert: *invert,
                }),
                Step::Digits { individual } => Ok(CompiledStep {
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
            self.split(text, 0..text.len(), 0, &mut pieces);
            for end in pieces {
                emit(end);
            }
        } else {
            let (repaired, origins) = replace_ill_formed(text);
            self.split(&repaired, 0..repaired.len(), 0, &mut pieces);
            for end in pieces {
                emit(origins[end]);
            }
        }
    }

    /// Appends the ends of the pieces of `text[range]` by the steps from `step` on.
    fn split(&self, text: &str, range: Range<usize>, step: usize, ends: &mut Vec<usize>) {
        if range.is_empty() {
            return;
        }
        let Some(compiled) = self.steps.get(step) else {
            ends.push(range.end);
            return;
        };
        let base = range.start;
        for part in compiled.parts(&text[range]) {
            self.split(text, base + part.start..base + part.end, step + 1, ends);
        }
    }
}

impl CompiledStep {
    /// Returns the pieces of `text` by this step; some may be empty.
    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
        let mut last = 0;
        for found in self.regex.find_iter(text) {
            // Without a backtracking limit, an error means that the engine is out of memory; the
            // rest of the text is then one piece.
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
        Error::invalid(format!(
            "the split pattern {regex:?} is not a valid regular expression: {error}"
        ))
    })
}
