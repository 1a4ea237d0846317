//! Numbers of bank cards and accounts, all with check digits.

use crate::redact::context;
use crate::redact::folded::Folded;
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;
use crate::redact::phone::{Groups, is_start};

/// Returns the card number that `groups` are: issuer, length and check digit are valid.
pub(crate) fn card(haystack: Haystack<'_>, groups: &Groups<'_>) -> Option<Match> {
    let digits = groups.digits();
    if !(13..=19).contains(&digits.len())
        || groups.has_lead()
        || !is_luhn(digits)
        || !is_issued(digits)
    {
        return None;
    }
    let is_bare = groups.sizes().len() == 1;
    let is_grouped = matches!(
        groups.sizes(),
        [4, 4, 4, 1..=4] | [4, 4, 4, 4, 1..=3] | [4, 6, 4 | 5] | [6, 10 | 13]
    ) && groups.has_one_separator();
    let start = groups.start();
    let is_thing = is_bare && context::follows(haystack, start, context::THING);
    if !(is_bare || is_grouped) || is_thing || !is_start(haystack, groups) {
        return None;
    }
    Some(Match::new(Kind::Card, start..groups.end_if_last()?))
}

/// Returns whether an issuer gives out numbers with this beginning and length.
fn is_issued(digits: &[u8]) -> bool {
    let value = |count: usize| {
        digits[..count].iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'))
    };
    match digits.len() {
        13 => value(1) == 4,
        14 => matches!(value(2), 36 | 38 | 39) || matches!(value(3), 300..=305),
        15 => matches!(value(2), 34 | 37),
        16 => {
            value(1) == 4
                || matches!(value(2), 35 | 51..=55 | 62 | 65)
                || matches!(value(3), 644..=649)
                || matches!(value(4), 2221..=2720 | 6011)
        }
        _ => value(2) == 62 || (digits.len() == 19 && value(1) == 4),
    }
}

/// Returns whether the last digit is that of Luhn's formula (ISO/IEC 7812-1, annex B).
fn is_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let value = u32::from(digit - b'0') << (index % 2);
            value / 10 + value % 10
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != b'0')
}

/// Lengths of the account numbers of each country (SWIFT's IBAN registry, release 96).
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 \
    CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 \
    HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 \
    ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 \
    SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// Returns the IBAN whose two check digits start at `digits`, after the letters of the country.
pub(crate) fn iban(haystack: Haystack<'_>, digits: usize) -> Option<Match> {
    let start = digits.checked_sub(2).filter(|start| *start >= haystack.done)?;
    if haystack.before(start, 1).is_ascii_alphanumeric() {
        return None;
    }
    let is_part = |char: u8| char.is_ascii_uppercase() || char.is_ascii_digit() || char == b' ';
    let folded = Folded::new(haystack.bytes(), start, is_part);
    let chars = folded.chars();
    let country = std::str::from_utf8(chars.get(..2)?).ok()?;
    let entry = IBAN_LENGTHS.split_whitespace().find(|entry| entry.starts_with(country))?;
    let length: usize = entry[2..].parse().ok()?;
    // in one piece, or in groups of four
    let is_grouped = chars.get(4) == Some(&b' ');
    let (mut number, mut count) = (Vec::with_capacity(length), 0);
    while number.len() < length {
        let char = *chars.get(count)?;
        if is_grouped && count % 5 == 4 {
            if char != b' ' {
                return None;
            }
        } else if char == b' ' {
            return None;
        } else {
            number.push(char);
        }
        count += 1;
    }
    let end = folded.end(count);
    let is_longer = haystack.byte(end).is_ascii_alphanumeric();
    if is_longer || !is_mod_97(&number) { None } else { Some(Match::new(Kind::Iban, start..end)) }
}

/// Returns whether the check digits are right: ISO 13616, the ISO 7064 system MOD 97-10.
fn is_mod_97(number: &[u8]) -> bool {
    let rotated = number[4..].iter().chain(&number[..4]);
    let remainder = rotated.fold(0_u32, |value, char| match char {
        b'0'..=b'9' => (value * 10 + u32::from(char - b'0')) % 97,
        _ => (value * 100 + u32::from(char - b'A') + 10) % 97,
    });
    remainder == 1
}
