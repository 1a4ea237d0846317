//! Masks private data; what is found, and how, is in [`crate::redact`].

use std::collections::BTreeMap;

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::chars::{Properties, properties_of};
use crate::edit::Edit;
use crate::redact::{KINDS, KindSet, scan};
use crate::rule::{Build, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::redactor::<Redact>(
    "redact",
    1,
    "masks private data: addresses, telephone and card numbers, identities, keys",
);

/// Searches of one text at most. A replacement may uncover a second match beside it, and that a
/// third; texts of people need two searches, the second of which finds nothing.
const MAX_SEARCHES: usize = 8;

/// The value of `replacement` that stands for `<EMAIL>`, `<PHONE>` and so on.
const PLACEHOLDER: &str = "placeholder";
/// The value of `replacement` that leaves nothing.
const REMOVE: &str = "remove";

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct RedactSettings {
    /// What a match is replaced by: "placeholder", "remove", or any other text as it is.
    replacement: String,
    /// Each kind by its name, and whether it is masked.
    #[serde(flatten)]
    kinds: BTreeMap<String, bool>,
}

impl Default for RedactSettings {
    fn default() -> Self {
        let kinds = KINDS.iter().map(|entry| (entry.name.to_owned(), true)).collect();
        Self { replacement: PLACEHOLDER.to_owned(), kinds }
    }
}

struct Redact {
    kinds: KindSet,
    /// What a match is replaced by; `None` for its placeholder.
    replacement: Option<String>,
}

impl Build for Redact {
    type Settings = RedactSettings;

    fn build(settings: RedactSettings) -> Result<Self> {
        let mut kinds = KindSet::NONE;
        for (name, is_on) in &settings.kinds {
            let Some(entry) = KINDS.iter().find(|entry| entry.name == name) else {
                let near = nearest(name, KINDS.iter().map(|entry| entry.name)).unwrap_or("email");
                return Err(Error::invalid(format!("redact.{name}: did you mean redact.{near}?")));
            };
            if *is_on {
                kinds = kinds.with(entry.kind);
            }
        }
        let replacement = match settings.replacement.as_str() {
            PLACEHOLDER => None,
            REMOVE => Some(String::new()),
            text if text.contains(|char: char| char.is_numeric() || "@:".contains(char)) => {
                return Err(Error::invalid(format!(
                    "redact.replacement = {text:?}: use \"placeholder\", \"remove\" or a text \
                     without digits, @ and colons, which would be private data itself"
                )));
            }
            text => Some(text.to_owned()),
        };
        Ok(Self { kinds, replacement })
    }
}

impl Redact {
    /// Returns `text` with each match replaced, and counts the matches by kind; `None` if there is
    /// none.
    fn masked(&self, text: &str, counts: &mut [u64; KINDS.len()]) -> Option<String> {
        let (mut masked, mut done) = (String::new(), 0);
        scan(text, self.kinds, |found| {
            let entry = found.kind.entry();
            masked.push_str(&text[done..found.range.start]);
            masked.push_str(self.replacement.as_deref().unwrap_or(entry.placeholder));
            done = found.range.end + combining(&text[found.range.end..]);
            counts[found.kind as usize] += 1;
        });
        (done > 0).then(|| masked + &text[done..])
    }
}

/// Returns the bytes of the characters at the start of `text` that combine with the one before, and
/// would with the end of a replacement: `>` and U+0338 are one character under NFC.
fn combining(text: &str) -> usize {
    let combines = |char: &char| {
        let is_jamo = matches!(char, '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}');
        is_jamo || properties_of(*char).has(Properties::MARK)
    };
    text.chars().take_while(combines).map(char::len_utf8).sum()
}

impl Rewrite for Redact {
    fn apply(&self, edit: &mut Edit<'_>) {
        let text = edit.text();
        let mut counts = [0; KINDS.len()];
        let Some(mut masked) = self.masked(text, &mut counts) else { return };
        for _ in 1..MAX_SEARCHES {
            let Some(again) = self.masked(&masked, &mut counts) else { break };
            masked = again;
        }
        edit.replace(0..text.len(), &masked, counts.iter().sum());
        for (entry, count) in KINDS.iter().zip(counts).filter(|(_, count)| *count > 0) {
            edit.count(entry.count, count);
        }
    }
}
