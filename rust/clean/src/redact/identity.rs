//! Numbers of persons and organisations.

use crate::redact::context;
use crate::redact::folded::Folded;
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;
use crate::redact::phone::{Groups, is_start};

/// Characters of a Chinese identity number and of a social credit code.
const LENGTH: usize = 18;

/// Returns the Chinese identity number or social credit code that starts with the character at
/// `start`: a run of 18 letters and digits, or 15 digits of an old identity card.
pub(crate) fn chinese(haystack: Haystack<'_>, start: usize) -> Option<Match> {
    if haystack.before(start, 1).is_ascii_alphanumeric() || haystack.before(start, 1) == b'.' {
        return None;
    }
    let folded = Folded::new(haystack.bytes(), start, |char| char.is_ascii_alphanumeric());
    let number = folded.chars();
    let kind = match number.len() {
        LENGTH if is_resident_id(number) => Kind::Identity,
        LENGTH if is_credit_code(number) => Kind::CreditCode,
        15 if is_old_resident_id(number) && !context::follows(haystack, start, context::THING) => {
            Kind::Identity
        }
        _ => return None,
    };
    Some(Match::new(kind, start..folded.end(number.len())))
}

/// Returns the value of the decimal digits `digits`.
fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// Returns whether the first two digits are those of a province.
fn is_region(number: &[u8]) -> bool {
    matches!(
        value(&number[..2]),
        11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83
    )
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Returns whether the region exists, the date of birth is a date, and the check character is
/// right.
fn is_resident_id(number: &[u8]) -> bool {
    /// Of the digits in the sum modulo 11: GB 11643-1999, the ISO 7064 system MOD 11-2.
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    if !number[..17].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let (year, month, day) =
        (value(&number[6..10]), value(&number[10..12]), value(&number[12..14]));
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(byte, w)| u32::from(byte - b'0') * w).sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    is_region(number)
        && (1850..=2099).contains(&year)
        && is_date(year, month, day)
        && number[17].to_ascii_uppercase() == check
}

/// Returns whether 15 digits are an identity number of before 1999: region, and a date of birth in
/// the twentieth century. There is no check digit.
fn is_old_resident_id(number: &[u8]) -> bool {
    number.iter().all(u8::is_ascii_digit)
        && is_region(number)
        && is_date(1900 + value(&number[6..8]), value(&number[8..10]), value(&number[10..12]))
}

/// Returns whether the registry, the region and the check character of a social credit code are
/// right: GB 32100-2015.
fn is_credit_code(number: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let values = |char: &u8| ALPHABET.iter().position(|known| known == char);
    let Some(values) = number.iter().map(values).collect::<Option<Vec<usize>>>() else {
        return false;
    };
    let is_registry = b"159ANY".contains(&number[0]) && b"1239".contains(&number[1]);
    if !is_registry || !number[2..8].iter().all(u8::is_ascii_digit) {
        return false;
    }
    // the weights are the powers of 3 modulo 31
    let (mut sum, mut weight) = (0, 1);
    for value in &values[..17] {
        sum += value * weight;
        weight = weight * 3 % 31;
    }
    values[17] == (31 - sum % 31) % 31
}

/// Returns the US social security number that `groups` are: three, two and four digits with
/// hyphens, none of the groups that are never given out.
pub(crate) fn ssn(haystack: Haystack<'_>, groups: &Groups<'_>) -> Option<Match> {
    let digits = groups.digits();
    let is_form = groups.sizes() == [3, 2, 4] && groups.separators() == b"--" && !groups.has_lead();
    if !is_form || !is_start(haystack, groups) {
        return None;
    }
    let area = value(&digits[..3]);
    let is_given =
        !matches!(area, 0 | 666 | 900..) && digits[3..5] != *b"00" && digits[5..] != *b"0000";
    if is_given { Some(Match::new(Kind::Ssn, groups.start()..groups.end_if_last()?)) } else { None }
}

/// Returns the identity number of Hong Kong whose six digits start at `digits`: a letter or two
/// before them, a check character in parentheses after.
pub(crate) fn hong_kong(haystack: Haystack<'_>, digits: usize) -> Option<Match> {
    let letters = letters_before(haystack, digits)?;
    let folded = Folded::new(haystack.bytes(), digits, |char| char.is_ascii_graphic());
    let [number @ .., b'(', b'0'..=b'9' | b'A', b')'] = folded.chars().get(..9)? else {
        return None;
    };
    if number.iter().all(u8::is_ascii_digit) {
        Some(Match::new(Kind::Identity, digits - letters..folded.end(9)))
    } else {
        None
    }
}

/// Returns the number of a passport whose digits start at `digits`: a letter or two, seven or eight
/// digits, and the word before it.
pub(crate) fn passport(haystack: Haystack<'_>, digits: usize) -> Option<Match> {
    let start = digits - letters_before(haystack, digits)?;
    let folded = Folded::new(haystack.bytes(), digits, |char| char.is_ascii_alphanumeric());
    let number = folded.chars();
    let is_number = (7..=8).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    if is_number && context::follows(haystack, start, context::PASSPORT) {
        Some(Match::new(Kind::Passport, start..folded.end(number.len())))
    } else {
        None
    }
}

/// Returns how many capital letters, one or two, stand alone before the byte `at`.
fn letters_before(haystack: Haystack<'_>, at: usize) -> Option<usize> {
    let count = (1..=3).take_while(|back| haystack.before(at, *back).is_ascii_uppercase()).count();
    let is_alone = !haystack.before(at, count + 1).is_ascii_alphanumeric();
    (matches!(count, 1 | 2) && is_alone).then_some(count)
}

/// Returns the name in QQ or WeChat that follows the word of `size` bytes at `at`.
pub(crate) fn account(haystack: Haystack<'_>, at: usize, size: usize) -> Option<Match> {
    let text = haystack.text;
    let before = haystack.before(at, 1);
    let head = &text.as_bytes()[at..at + size];
    let is_qq = head[..2].eq_ignore_ascii_case(b"qq");
    // of `QQ:` only the letters are the word
    let size = if is_qq { 2 } else { size };
    if before.is_ascii_alphanumeric() {
        return None;
    }
    let rest = &text[at + size..];
    let name = rest.trim_start_matches([
        '号', '號', '群', ' ', ':', '：', 'I', 'D', 'i', 'd', '是', '为', '=',
    ]);
    let between = &rest[..rest.len() - name.len()];
    let has_sign = between.contains([':', '：', '号', '號', '=']);
    if between.len() > 16 {
        return None;
    }
    let start = text.len() - name.len();
    let is_part =
        |char: u8| char.is_ascii_alphanumeric() || (!is_qq && matches!(char, b'_' | b'-'));
    let folded = Folded::new(text.as_bytes(), start, is_part);
    let chars = folded.chars();
    let digits = chars.iter().filter(|char| char.is_ascii_digit()).count();
    let is_name = if is_qq {
        digits == chars.len() && (5..=11).contains(&digits) && (has_sign || digits > 6)
    } else {
        let is_telling = digits > 0 || chars.contains(&b'_') || chars.contains(&b'-');
        (6..=20).contains(&chars.len())
            && chars[0].is_ascii_alphabetic()
            && is_telling
            && !between.is_empty()
    };
    if is_name { Some(Match::new(Kind::Account, start..folded.end(chars.len()))) } else { None }
}
