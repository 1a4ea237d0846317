//! Masks Chinese mobile phone numbers.

use std::ops::Range;

use crate::rule::Rule;
use crate::rules::redactor::{PrivateData, Redactor};

pub(super) const RULE: Rule = Rule::redactor::<Redactor<MobilePhone>>(
    "mobile_phone",
    1,
    "masks Chinese mobile numbers: 11 digits that start with 13 to 19, also as 3-4-4 and after +86",
);

struct MobilePhone;

impl PrivateData for MobilePhone {
    /// Replaces the eleven digits; a country code stays. It is not a mobile number.
    const REPLACEMENT: &'static str = "10000000000";

    fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let mut done = 0;
        for at in memchr::memchr_iter(b'1', text) {
            if at >= done
                && let Some(range) = number(text, at)
            {
                done = range.end;
                found(range);
            }
        }
    }
}

/// Returns the bytes of the number that starts with the `1` at `at`.
#[inline]
fn number(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if !matches!(bytes.get(at + 1), Some(b'3'..=b'9')) || !may_precede(&bytes[..at]) {
        return None;
    }
    let digits = |from: usize, count: usize| {
        bytes.get(from..from + count).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let end = if digits(at, 11) {
        at + 11
    } else {
        let separator = *bytes.get(at + 3)?;
        let is_grouped = matches!(separator, b'-' | b' ')
            && digits(at, 3)
            && digits(at + 4, 4)
            && bytes.get(at + 8) == Some(&separator)
            && digits(at + 9, 4);
        is_grouped.then_some(at + 13)?
    };
    let next = bytes.get(end).copied().unwrap_or(b' ');
    let continues = matches!(next, b'.' | b'-') && digits(end + 1, 1);
    (!next.is_ascii_alphanumeric() && next != b'_' && !continues).then_some(at..end)
}

/// Returns whether a number may start after `before`: it ends with nothing that the number would be
/// part of, or with a country code.
fn may_precede(before: &[u8]) -> bool {
    let is_free = |before: &[u8]| {
        !before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.-+".contains(byte))
    };
    let code_end = before.strip_suffix(b"-").or(before.strip_suffix(b" ")).unwrap_or(before);
    is_free(before)
        || ["+86", "0086", "86"]
            .iter()
            .any(|code| code_end.strip_suffix(code.as_bytes()).is_some_and(is_free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::redactor::masked;

    #[test]
    fn numbers_are_masked_unless_part_of_longer_ones() {
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
            assert_eq!(masked::<MobilePhone>(text), expected, "{text:?}");
        }
    }
}
