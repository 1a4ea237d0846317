//! How much each rule changed a text.

use crate::edit::{Detail, Edit, add_detail};
use crate::rules::RULES;

/// How much each rule changed: characters for normalisers, lines for line edits, matches for
/// redactors. It takes memory only if something changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Option<Box<Counts>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// In the order of [`RULES`].
    rules: [u64; RULES.len()],
    /// Parts of the counts that have names of their own.
    details: Vec<Detail>,
}

impl Changes {
    /// Returns the rules that changed something, in the order of [`RULES`], with how much; then
    /// the parts of these counts that have names of their own, such as "nfc.singletons".
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().flat_map(|counts| {
            let pairs = RULES.iter().zip(counts.rules).filter(|(_, count)| *count > 0);
            pairs.map(|(rule, count)| (rule.name, count)).chain(counts.details.iter().copied())
        })
    }

    /// Returns whether no rule changed anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds what `edit` changed for the rule with this index, and returns whether it changed
    /// anything.
    pub(super) fn add(&mut self, rule: usize, mut edit: Edit<'_>) -> bool {
        let details = edit.take_details();
        let changed = edit.finish();
        if changed == 0 {
            return false;
        }
        let counts = self.0.get_or_insert_default();
        counts.rules[rule] += changed;
        for detail in details {
            add_detail(&mut counts.details, detail);
        }
        true
    }
}
