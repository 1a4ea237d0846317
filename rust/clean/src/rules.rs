//! All rules, in the order in which they run. A new one is a file here and its two lines below.

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
mod mobile_phone;
mod nfc;
mod resident_id;
mod spaces;
mod utf8;

use crate::rule::Rule;

/// Every rule there is: normalisers, then filters, then redactors, each in its order of work.
pub static RULES: [Rule; 16] = [
    // normalisers: NFC stands behind all that takes characters away, so that nothing new composes
    breaks::RULE,
    controls::RULE,
    bom::RULE,
    hidden::RULE,
    nfc::RULE,
    spaces::RULE,
    // filters: the cheap ones first
    utf8::RULE,
    length::RULE,
    code::RULE,
    gopher_repetition::RULE,
    gopher_quality::RULE,
    fineweb::RULE,
    // redactors: the more particular number first, so that its digits are not taken for another's
    email::RULE,
    ipv4::RULE,
    resident_id::RULE,
    mobile_phone::RULE,
];
