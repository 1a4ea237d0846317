//! Finds the matches of a split expression with a lazy DFA, which reads most bytes once.
//!
//! ```text
//! at = 0
//! while at < text.len():
//!     (alternative, end) = the match that begins at `at`             anchored, one table load a byte
//!     if it is `\s+(?!\S)` and the text goes on:
//!         end = the start of the last character
//!         if end == at: the same with the alternatives after it
//!     if there is none: at = where the next match begins             unanchored, for gaps
//!     emit(at, end)
//! ```
//!
//! The alternative that a backtracking engine takes is the first that matches; a DFA built for
//! leftmost-first matching ends in its state with its number.

use std::sync::Mutex;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::{Anchored, Input, MatchKind, PatternID, meta};

use super::alternatives::{Alternative, alternatives};

/// Bytes of lazily built states, at most: those of the published expressions take some hundred kB.
const CACHE_CAPACITY: usize = 8 << 20;
/// Memory of searches that is kept for later ones: as many as the threads that often split at once.
const MAX_CACHES: usize = 64;

/// An expression as automata.
#[derive(Debug)]
pub(super) struct Automaton {
    all: DFA,
    /// By alternative: if it is `\s+(?!\S)`, the automaton of those after it.
    after: Vec<Option<DFA>>,
    /// Finds where the next match begins.
    search: meta::Regex,
    caches: Mutex<Vec<Caches>>,
}

/// The lazily built states of each automaton.
#[derive(Debug)]
struct Caches {
    all: Cache,
    after: Vec<Option<Cache>>,
}

impl Automaton {
    /// Returns the automaton of `expression`; `None` if no automaton has its matches.
    pub(super) fn new(expression: &str) -> Option<Self> {
        let list = alternatives(expression)?;
        let expressions: Vec<&str> = list.iter().map(|one| one.expression.as_str()).collect();
        let after = |(i, one): (usize, &Alternative)| {
            if one.is_trailing { build(&expressions[i + 1..]).map(Some) } else { Some(None) }
        };
        Some(Self {
            all: build(&expressions)?,
            after: list.iter().enumerate().map(after).collect::<Option<_>>()?,
            search: meta::Regex::new_many(&expressions).ok()?,
            caches: Mutex::default(),
        })
    }

    /// Calls `emit` with the start and end of each match in `text`, ascending.
    pub(super) fn for_each(&self, text: &str, mut emit: impl FnMut(usize, usize)) {
        // Only tried: a fork can leave a lock locked forever.
        let kept = self.caches.try_lock().ok().and_then(|mut caches| caches.pop());
        let mut caches = kept.unwrap_or_else(|| Caches {
            all: self.all.create_cache(),
            after: self.after.iter().map(|dfa| dfa.as_ref().map(DFA::create_cache)).collect(),
        });
        let mut at = 0;
        while at < text.len() {
            if let Some(end) = self.end_of_match(&mut caches, text, at) {
                emit(at, end);
                at = end;
                continue;
            }
            let next = text[at..].chars().next().map_or(1, char::len_utf8);
            let Some(found) = self.search.search(&Input::new(text).range(at + next..)) else {
                break;
            };
            at = found.start();
        }
        if let Ok(mut kept) = self.caches.try_lock()
            && kept.len() < MAX_CACHES
        {
            kept.push(caches);
        }
    }

    /// Returns the end of the match that begins at `at`.
    #[inline]
    fn end_of_match(&self, caches: &mut Caches, text: &str, at: usize) -> Option<usize> {
        let (alternative, end) = find(&self.all, &mut caches.all, text, at)?;
        let i = alternative.as_usize();
        let Some(dfa) = &self.after[i] else { return Some(end) };
        if end == text.len() {
            return Some(end);
        }
        let last = text[..end].char_indices().next_back().map_or(at, |(last, _)| last);
        if last > at {
            return Some(last);
        }
        let cache = caches.after[i].as_mut()?;
        find(dfa, cache, text, at).map(|(_, end)| end)
    }
}

/// Returns the lazy DFA of several expressions, the first of which has priority.
fn build(expressions: &[&str]) -> Option<DFA> {
    let config = DFA::config()
        .match_kind(MatchKind::LeftmostFirst)
        .cache_capacity(CACHE_CAPACITY)
        .skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_many(expressions).ok()
}

/// Returns the match that begins at `at`: the number of its expression and its end.
#[inline]
fn find(dfa: &DFA, cache: &mut Cache, text: &str, at: usize) -> Option<(PatternID, usize)> {
    let input = Input::new(text).range(at..).anchored(Anchored::Yes);
    // Never an error: no byte stops the search, and it may clear its cache as often as it needs.
    let found = dfa.try_search_fwd(cache, &input).ok()??;
    Some((found.pattern(), found.offset()))
}
