//! All rules in the order in which they run. A new rule is a file here and two lines below.

mod ansi;
mod bom;
mod breaks;
mod c4;
mod c4_paragraphs;
mod code;
mod controls;
mod dedup;
mod fineweb;
mod gopher_quality;
mod gopher_repetition;
mod hidden;
mod language;
mod length;
mod lines;
mod lists;
mod nfc;
mod pattern;
mod redact;
mod repair;
mod spaces;
mod utf8;

use crate::rule::Rule;

/// Every rule. The order is that of a profile without a list of stages, and the place of a rule that
/// is switched on: normalisers, line edits, filters, redaction, deduplication.
pub static RULES: [Rule; 23] = [
    // normalisers: repair sees the text as it was written; NFC comes after every rule that removes
    // characters, since a removal may leave two characters side by side that NFC composes
    repair::RULE,
    repair::DATATROVE,
    ansi::RULE,
    breaks::RULE,
    controls::RULE,
    bom::RULE,
    hidden::RULE,
    nfc::RULE,
    spaces::RULE,
    // line edits: before the filters, which judge what is left
    lines::RULE,
    c4::RULE,
    // filters: the cheap ones first
    utf8::RULE,
    length::RULE,
    code::RULE,
    language::RULE,
    pattern::RULE,
    lists::RULE,
    c4_paragraphs::RULE,
    gopher_repetition::RULE,
    gopher_quality::RULE,
    fineweb::RULE,
    redact::RULE,
    // compares what those before it leave; a list of stages may have more after it
    dedup::RULE,
];
