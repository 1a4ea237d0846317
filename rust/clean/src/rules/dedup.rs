//! The rule of deduplication, which a job runs over all documents after every other stage.

use crate::dedup::DedupSettings;
use crate::rule::Rule;

pub(super) const RULE: Rule = Rule::dedup::<DedupSettings>(
    "dedup",
    1,
    "removes documents, and lines or paragraphs, that equal an earlier one",
);
