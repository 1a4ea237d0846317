//! Splits by any regular expression, with Hugging Face's rules for matches and gaps.
//!
//! Used for patterns that are not published ones, and as the reference that the other splitters are
//! tested against. What an [`Automaton`] can match runs there; the rest, look-around and back
//! references, in fancy-regex, which tries alternatives one after the other.
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

use super::automaton::Automaton;
use super::published::{Behavior, DIGITS, Step};
use crate::normalize::matcher::replace_ill_formed;

/// The compiled steps of a pattern.
#[derive(Debug)]
pub(super) struct RegexEngine {
    steps: Vec<CompiledStep>,
}

#[derive(Debug)]
struct CompiledStep {
    finder: Finder,
    behavior: Behavior,
    invert: bool,
}

/// Finds the matches of a step's expression.
#[derive(Debug)]
enum Finder {
    Automaton(Box<Automaton>),
    Backtracking(Regex),
}

/// Collects the ends of pieces into batches.
struct Batch<'a> {
    ends: Vec<usize>,
    flush: &'a mut dyn FnMut(&[usize]),
}

/// Ends in a batch, at most, as in [`bitmask`](super::bitmask).
const BATCH: usize = 256;

impl Batch<'_> {
    #[inline]
    fn push(&mut self, end: usize) {
        self.ends.push(end);
        if self.ends.len() == BATCH {
            (self.flush)(&self.ends);
            self.ends.clear();
        }
    }
}

impl RegexEngine {
    /// Compiles `steps`; [`Error::Invalid`] for an expression that does not compile.
    pub(super) fn new(steps: &[Step]) -> Result<Self> {
        let finder = |regex: &str| match Automaton::new(regex) {
            Some(automaton) => Ok(Finder::Automaton(Box::new(automaton))),
            None => compile(regex).map(Finder::Backtracking),
        };
        Self::with_finders(steps, finder)
    }

    /// Returns the engine that the others are compared with: every alternative is tried in its turn.
    #[cfg(test)]
    pub(super) fn reference(steps: &[Step]) -> Result<Self> {
        Self::with_finders(steps, |regex| compile(regex).map(Finder::Backtracking))
    }

    fn with_finders(steps: &[Step], finder: impl Fn(&str) -> Result<Finder>) -> Result<Self> {
        let step = |step: &Step| {
            Ok(match step {
                Step::Split { regex, behavior, invert } => {
                    CompiledStep { finder: finder(regex)?, behavior: *behavior, invert: *invert }
                }
                Step::Digits { individual } => CompiledStep {
                    finder: finder(DIGITS)?,
                    behavior: if *individual { Behavior::Isolated } else { Behavior::Contiguous },
                    invert: false,
                },
            })
        };
        Ok(Self { steps: steps.iter().map(step).collect::<Result<_>>()? })
    }

    /// Whether every step runs in an automaton, in linear time and without backtracking.
    pub(super) fn is_automaton(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.finder, Finder::Automaton(_)))
    }

    /// Calls `flush` with the ends of the pieces of `text`, ascending, in batches; the last one is its
    /// length.
    pub(super) fn ends(&self, text: &[u8], flush: &mut dyn FnMut(&[usize])) {
        if let Ok(text) = std::str::from_utf8(text) {
            self.split_all(text, flush);
        } else {
            let (repaired, origins) = replace_ill_formed(text);
            let mut original = Vec::new();
            self.split_all(&repaired, &mut |ends| {
                original.clear();
                original.extend(ends.iter().map(|&end| origins[end]));
                flush(&original);
            });
        }
    }

    fn split_all(&self, text: &str, flush: &mut dyn FnMut(&[usize])) {
        let mut batch = Batch { ends: Vec::with_capacity(BATCH), flush };
        split(&self.steps, text, 0..text.len(), &mut batch);
        if !batch.ends.is_empty() {
            (batch.flush)(&batch.ends);
        }
    }
}

/// Adds the ends of the pieces of `text[range]` by `steps` to `batch`.
fn split(steps: &[CompiledStep], text: &str, range: Range<usize>, batch: &mut Batch<'_>) {
    if range.is_empty() {
        return;
    }
    let Some((step, rest)) = steps.split_first() else {
        batch.push(range.end);
        return;
    };
    let base = range.start;
    step.for_each_part(&text[range], &mut |part| {
        split(rest, text, base + part.start..base + part.end, batch);
    });
}

impl Finder {
    /// Calls `emit` with the start and end of each match in `text`, ascending; some may be empty.
    fn for_each(&self, text: &str, mut emit: impl FnMut(usize, usize)) {
        match self {
            Self::Automaton(automaton) => automaton.for_each(text, emit),
            Self::Backtracking(regex) => {
                for found in regex.find_iter(text) {
                    // Without a backtracking limit, an error means that the engine is out of
                    // memory; the rest of the text is then one piece.
                    let Ok(found) = found else { break };
                    emit(found.start(), found.end());
                }
            }
        }
    }
}

impl CompiledStep {
    /// Calls `emit` with the pieces of `text` by this step; some may be empty.
    fn for_each_part(&self, text: &str, emit: &mut dyn FnMut(Range<usize>)) {
        if self.behavior != Behavior::Isolated {
            return self.parts(text).into_iter().for_each(emit);
        }
        let mut last = 0;
        self.finder.for_each(text, |start, end| {
            if start > last {
                emit(last..start);
            }
            emit(start..end);
            last = end;
        });
        if last < text.len() {
            emit(last..text.len());
        }
    }

    /// Returns the pieces of `text` by a step that joins matches and gaps.
    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
        let mut last = 0;
        self.finder.for_each(text, |start, end| {
            if start > last {
                spans.push((last..start, self.invert));
            }
            spans.push((start..end, !self.invert));
            last = end;
        });
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
