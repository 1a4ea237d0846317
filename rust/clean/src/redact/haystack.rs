//! The text that is searched, and what is found in it.

use std::ops::Range;

use crate::redact::kind::Kind;

/// One match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

impl Match {
    pub(super) fn new(kind: Kind, range: Range<usize>) -> Self {
        Self { kind, range }
    }
}

/// The text that is searched, and the byte up to which it belongs to matches already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Haystack<'t> {
    pub(super) text: &'t str,
    pub(super) done: usize,
}

impl<'t> Haystack<'t> {
    pub(super) fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    /// Returns the byte at `at`, or a line feed outside the text.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes().get(at).copied().unwrap_or(b'\n')
    }

    /// Returns the byte that is `back` before `at`, or a line feed where the text or the last match
    /// ends.
    #[inline]
    pub(super) fn before(&self, at: usize, back: usize) -> u8 {
        at.checked_sub(back).filter(|at| *at >= self.done).map_or(b'\n', |at| self.bytes()[at])
    }

    /// Returns the text between the last match and `at`.
    pub(super) fn head(&self, at: usize) -> &'t str {
        &self.text[self.done..at]
    }
}
