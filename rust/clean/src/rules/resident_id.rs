//! Numbers of Chinese resident identity cards (GB 11643-1999).

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::redactor::<ResidentId>(
    "resident_id",
    1,
    "masks numbers of Chinese identity cards whose region, date and check digit are right",
);

const LENGTH: usize = 18;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// What stands in the place of a number.
    replacement: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replacement: "0".repeat(LENGTH) }
    }
}

struct ResidentId(Settings);

impl Build for ResidentId {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }
}

impl Rewrite for ResidentId {
    fn apply(&self, edit: &mut Edit<'_>) {
        let bytes = edit.text().as_bytes();
        // seventeen digits cannot hide between two of these places
        let mut at = LENGTH - 2;
        while at < bytes.len() {
            if !bytes[at].is_ascii_digit() {
                at += LENGTH - 1;
                continue;
            }
            let back = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let start = at - back;
            let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let length = match bytes.get(start + run) {
                Some(b'X' | b'x') if run == LENGTH - 1 => LENGTH,
                _ => run,
            };
            let free = |place: Option<usize>| {
                !place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_alphanumeric)
            };
            if length == LENGTH
                && free(start.checked_sub(1))
                && free(Some(start + LENGTH))
                && is_number(&bytes[start..start + LENGTH])
            {
                edit.replace(start..start + LENGTH, &self.0.replacement, 1);
            }
            at = start + run + LENGTH - 1;
        }
    }
}

/// Whether region, date of birth and check character fit together.
fn is_number(number: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let value = |range: std::ops::Range<usize>| {
        number[range].iter().fold(0_u32, |value, byte| value * 10 + u32::from(byte - b'0'))
    };
    let region = matches!(
        value(0..2),
        11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83
    );
    let (year, month, day) = (value(6..10), value(10..12), value(12..14));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let date = (1850..=2099).contains(&year) && (1..=days).contains(&day);
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(byte, w)| u32::from(byte - b'0') * w).sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    region && date && number[17].to_ascii_uppercase() == check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> u64 {
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        ResidentId(Settings::default()).apply(&mut edit);
        edit.finish()
    }

    #[test]
    fn only_whole_and_right_numbers_are_masked() {
        // the example of the standard, and one whose check character is X
        for number in ["11010519491231002X", "11010519491231002x", "440524188001010014"] {
            for text in
                [number.to_owned(), format!("身份证号：{number}。"), format!("{number:>40}")]
            {
                assert_eq!(finds(&text), 1, "{text:?}");
            }
            for text in [format!("1{number}"), format!("{number}1"), format!("a{number}")] {
                assert_eq!(finds(&text), 0, "{text:?}");
            }
        }
        for wrong in
            ["110105194912310021", "99010519491231002X", "11010519491331002X", "000000000000000000"]
        {
            assert_eq!(finds(wrong), 0, "{wrong}");
        }
        let many = "11010519491231002X,".repeat(7);
        assert_eq!(finds(&many), 7);
    }

    #[test]
    fn a_number_is_found_at_every_place() {
        for before in 0..60 {
            let text = format!("{}11010519491231002X{}", " ".repeat(before), " ".repeat(5));
            assert_eq!(finds(&text), 1, "{before}");
        }
    }
}
