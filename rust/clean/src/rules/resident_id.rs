//! Masks numbers of Chinese resident identity cards (GB 11643-1999).

use std::ops::Range;

use crate::rule::Rule;
use crate::rules::redactor::{PrivateData, Redactor};

pub(super) const RULE: Rule = Rule::redactor::<Redactor<ResidentId>>(
    "resident_id",
    1,
    "masks numbers of Chinese identity cards whose region, date and check digit are valid",
);

/// Characters of a number: 17 digits and a check digit or X.
const LENGTH: usize = 18;

struct ResidentId;

impl PrivateData for ResidentId {
    const REPLACEMENT: &'static str = "000000000000000000";

    /// Looks at every 17th byte only: 17 digits in a row cover one of these positions. From a digit
    /// there, the run of digits is measured in both directions.
    fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let mut at = LENGTH - 2;
        while at < text.len() {
            if !text[at].is_ascii_digit() {
                at += LENGTH - 1;
                continue;
            }
            let before = text[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let start = at - before;
            let run = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let length = match text.get(start + run) {
                Some(b'X' | b'x') if run == LENGTH - 1 => LENGTH,
                _ => run,
            };
            let is_free = |index: Option<usize>| {
                !index.and_then(|index| text.get(index)).is_some_and(u8::is_ascii_alphanumeric)
            };
            if length == LENGTH
                && is_free(start.checked_sub(1))
                && is_free(Some(start + LENGTH))
                && is_valid(&text[start..start + LENGTH])
            {
                found(start..start + LENGTH);
            }
            at = start + run + LENGTH - 1;
        }
    }
}

/// Returns whether the region exists, the date of birth is a date, and the check character is
/// right.
fn is_valid(number: &[u8]) -> bool {
    /// Of the digits in the sum modulo 11: GB 11643-1999, the ISO 7064 system MOD 11-2.
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let value = |range: Range<usize>| {
        number[range].iter().fold(0_u32, |value, byte| value * 10 + u32::from(byte - b'0'))
    };
    let is_region = matches!(
        value(0..2),
        11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83
    );
    let (year, month, day) = (value(6..10), value(10..12), value(12..14));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let is_date = (1850..=2099).contains(&year) && (1..=days).contains(&day);
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(byte, w)| u32::from(byte - b'0') * w).sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    is_region && is_date && number[17].to_ascii_uppercase() == check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let mut count = 0;
        ResidentId::find(text.as_bytes(), |_| count += 1);
        count
    }

    #[test]
    fn only_whole_valid_numbers_are_found() {
        // the example of the standard, and one whose check character is X
        for number in ["11010519491231002X", "11010519491231002x", "440524188001010014"] {
            for text in
                [number.to_owned(), format!("身份证号：{number}。"), format!("{number:>40}")]
            {
                assert_eq!(count(&text), 1, "{text:?}");
            }
            for text in [format!("1{number}"), format!("{number}1"), format!("a{number}")] {
                assert_eq!(count(&text), 0, "{text:?}");
            }
        }
        for wrong in
            ["110105194912310021", "99010519491231002X", "11010519491331002X", "000000000000000000"]
        {
            assert_eq!(count(wrong), 0, "{wrong}");
        }
        let many = "11010519491231002X,".repeat(7);
        assert_eq!(count(&many), 7);
    }

    #[test]
    fn a_number_is_found_at_every_offset() {
        for before in 0..60 {
            let text = format!("{}11010519491231002X{}", " ".repeat(before), " ".repeat(5));
            assert_eq!(count(&text), 1, "{before}");
        }
    }
}
