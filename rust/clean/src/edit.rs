//! A text that is rewritten from front to back.

use std::ops::Range;

/// A text that one rule rewrites from front to back; nothing is copied before the first change.
pub struct Edit<'a> {
    text: &'a str,
    out: &'a mut String,
    /// The byte of `text` up to which `out` is complete.
    done: usize,
    changed: u64,
    details: Vec<Detail>,
    /// The number of words of the new text, if the rule counted them.
    pub(crate) word_count: Option<usize>,
    /// The lines that were removed, if they are collected.
    pub(crate) removed_lines: Option<Vec<RemovedLine>>,
}

/// A line that a line edit removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedLine {
    /// The name under which it was counted, such as "lines.too_short".
    pub reason: &'static str,
    /// Its text, without the line break.
    pub text: String,
}

/// A name such as "nfc.singletons", and how many of a rule's changes it counts.
pub(crate) type Detail = (&'static str, u64);

impl<'a> Edit<'a> {
    pub(crate) fn new(text: &'a str, out: &'a mut String) -> Self {
        out.clear();
        let (details, word_count, removed_lines) = (Vec::new(), None, None);
        Self { text, out, done: 0, changed: 0, details, word_count, removed_lines }
    }

    /// Returns the text as it was before this rule.
    #[inline]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Replaces the bytes `range`, which must lie after every range replaced before, by `with`.
    ///
    /// Counts `amount` changes: characters for a normaliser, matches for a redactor.
    #[inline]
    pub fn replace(&mut self, range: Range<usize>, with: &str, amount: u64) {
        if self.changed == 0 {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(&self.text[self.done..range.start]);
        self.out.push_str(with);
        self.done = range.end;
        self.changed += amount;
    }

    /// Removes the bytes `range` and counts their characters.
    pub fn remove(&mut self, range: Range<usize>) {
        let amount = self.text[range.clone()].chars().count() as u64;
        self.replace(range, "", amount);
    }

    /// Counts `amount` of the changes under a name of their own, which begins with that of the rule:
    /// "nfc.singletons".
    pub fn count(&mut self, name: &'static str, amount: u64) {
        add_detail(&mut self.details, (name, amount));
    }

    /// Counts `line`, which the rule removes, under a name of its own.
    pub fn count_line(&mut self, name: &'static str, line: &str) {
        self.count(name, 1);
        if let Some(lines) = &mut self.removed_lines {
            lines.push(RemovedLine { reason: name, text: line.to_owned() });
        }
    }

    /// Returns what [`count`](Self::count) counted, and forgets it.
    pub(crate) fn take_details(&mut self) -> Vec<Detail> {
        std::mem::take(&mut self.details)
    }

    /// Returns the number of changes. The new text is in the buffer, unless there is no change.
    pub(crate) fn finish(self) -> u64 {
        if self.changed > 0 {
            self.out.push_str(&self.text[self.done..]);
        }
        self.changed
    }
}

/// Adds `more` to the count of its name, which becomes the last if it is new.
pub(crate) fn add_detail(details: &mut Vec<Detail>, more: Detail) {
    match details.iter_mut().find(|(name, _)| *name == more.0) {
        Some((_, count)) => *count += more.1,
        None => details.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_without_changes_copies_nothing() {
        let mut out = String::from("old");
        let mut edit = Edit::new("abcdef", &mut out);
        edit.replace(1..2, "XY", 1);
        edit.remove(3..5);
        assert_eq!(edit.finish(), 3);
        assert_eq!(out, "aXYcf");
        let edit = Edit::new("abc", &mut out);
        assert_eq!(edit.finish(), 0);
        assert!(out.is_empty());
    }
}
