//! All rules in the order in which they run. A new rule is a file here and two lines below.

mod ansi;
mod bom;
mod breaks;
mod code;
mod controls;
mod email;
mod fineweb;
mod gopher_quality;
mod gopher_repetition;
mod hidden;
mod ipv4;
mod length;
mod lines;
mod mobile_phone;
mod nfc;
mod redactor;
mod repair;
mod resident_id;
mod spaces;
mod utf8;

use crate::rule::Rule;

/// Every rule. The order is that of a profile without a list of stages, and the place of a rule that
/// is switched on: normalisers, line edits, filters, redactors.
pub static RULES: [Rule; 20] = [
    // normalisers: repair sees the text as it was written; NFC comes after every rule that removes characters, since a removal may leave
    // two characters side by side that NFC composes
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
    // filters: the cheap ones first
    utf8::RULE,
    length::RULE,
    code::RULE,
    gopher_repetition::RULE,
    gopher_quality::RULE,
    fineweb::RULE,
    // redactors: the longer number before the shorter one, so that a mobile number is never found
    // inside an identity number
    email::RULE,
    ipv4::RULE,
    resident_id::RULE,
    mobile_phone::RULE,
];
