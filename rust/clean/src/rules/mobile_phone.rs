//! Chinese mobile phone numbers.

use std::ops::Range;

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::redactor::<MobilePhone>(
    "mobile_phone",
    1,
    "masks Chinese mobile numbers: 11 digits from 13 to 19, also as 3-4-4 and behind +86",
);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// What stands in the place of the eleven digits; a country code stays.
    replacement: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replacement: "10000000000".to_owned() }
    }
}

struct MobilePhone(Settings);

impl Build for MobilePhone {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }
}

impl Rewrite for MobilePhone {
    fn apply(&self, edit: &mut Edit<'_>) {
        let bytes = edit.text().as_bytes();
        let mut done = 0;
        for at in memchr::memchr_iter(b'1', bytes) {
            if at >= done
                && let Some(range) = number(bytes, at)
            {
                done = range.end;
                edit.replace(range, &self.0.replacement, 1);
            }
        }
    }
}

/// The number that begins with the `1` at `at`.
fn number(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if !matches!(bytes.get(at + 1), Some(b'3'..=b'9')) || !begins(&bytes[..at]) {
        return None;
    }
    let digits = |from: usize, count: usize| {
        bytes.get(from..from + count).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let end = if digits(at, 11) {
        at + 11
    } else {
        let mark = *bytes.get(at + 3)?;
        let grouped = matches!(mark, b'-' | b' ')
            && digits(at, 3)
            && digits(at + 4, 4)
            && bytes.get(at + 8) == Some(&mark)
            && digits(at + 9, 4);
        grouped.then_some(at + 13)?
    };
    let next = bytes.get(end).copied().unwrap_or(b' ');
    let goes_on = matches!(next, b'.' | b'-') && digits(end + 1, 1);
    (!next.is_ascii_alphanumeric() && next != b'_' && !goes_on).then_some(at..end)
}

/// Whether a number may begin behind `before`: nothing that it would be a part of, or a country code.
fn begins(before: &[u8]) -> bool {
    let free = |before: &[u8]| {
        !before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.-+".contains(byte))
    };
    let without = before.strip_suffix(b"-").or(before.strip_suffix(b" ")).unwrap_or(before);
    free(before)
        || ["+86", "0086", "86"]
            .iter()
            .any(|code| without.strip_suffix(code.as_bytes()).is_some_and(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        MobilePhone(Settings::default()).apply(&mut edit);
        if edit.finish() == 0 { text.to_owned() } else { out.replace("10000000000", "<>") }
    }

    #[test]
    fn numbers_are_found_and_longer_ones_left() {
        for (text, expected) in [
            ("电话13812345678。", "电话<>。"),
            ("+8613812345678 +86 138-1234-5678", "+86<> +86 <>"),
            ("0086-19912345678,8615012345678", "0086-<>,86<>"),
            ("138 1234 5678;138-1234-5678", "<>;<>"),
            ("12012345678 1381234567 138123456789 913812345678 a13812345678", ""),
            ("3.13812345678 13812345678.5 138-1234 5678 13812345678a", ""),
            ("10000000000", ""),
        ] {
            let expected = if expected.is_empty() { text } else { expected };
            assert_eq!(masked(text), expected, "{text:?}");
        }
    }
}
