//! Masks e-mail addresses.

use std::ops::Range;

use crate::rule::Rule;
use crate::rules::redactor::{PrivateData, Redactor};

pub(super) const RULE: Rule =
    Rule::redactor::<Redactor<Email>>("email", 2, "masks e-mail addresses");

/// Bytes of a local part, at most: RFC 5321, section 4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// Bytes of a domain name, at most: RFC 1035 allows 255 with two bytes of encoding.
const MAX_DOMAIN_BYTES: usize = 253;

struct Email;

impl PrivateData for Email {
    const REPLACEMENT: &'static str = "email@example.com";

    fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let mut done = 0;
        for at in memchr::memchr_iter(b'@', text) {
            let Some(range) = address(text, done, at) else { continue };
            done = range.end;
            // `git@host` names a repository over SSH: it is not a person's address, and masking it
            // breaks code
            if text[range.start..at] != *b"git" {
                found(range);
            }
        }
    }
}

/// Returns the bytes of the address around the `@` at `at`; none of them is before `from`.
#[inline]
fn address(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte);
    let before = &bytes[from..at];
    let length =
        before.iter().rev().take(MAX_LOCAL_BYTES + 1).take_while(|b| is_local(**b)).count();
    if length > MAX_LOCAL_BYTES || before.last() == Some(&b'.') {
        return None;
    }
    let local = &before[before.len() - length..];
    let local = match local.windows(2).rposition(|pair| pair == b"..") {
        Some(dots) => &local[dots + 2..],
        None => local,
    };
    let local = &local[local.iter().position(u8::is_ascii_alphanumeric)?..];

    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let after = &bytes[at + 1..];
    let length = after.iter().take(MAX_DOMAIN_BYTES + 1).take_while(|b| is_domain(**b)).count();
    if length > MAX_DOMAIN_BYTES || after.get(length) == Some(&b'@') {
        return None;
    }
    let domain = domain_length(&after[..length])?;
    Some(at - local.len()..at + 1 + domain)
}

/// Returns the length of the domain at the start of `text`: labels, the last of them letters only.
fn domain_length(text: &[u8]) -> Option<usize> {
    let (mut start, mut labels, mut found) = (0, 0, None);
    for part in text.split(|byte| *byte == b'.') {
        let length = part.iter().rposition(|byte| *byte != b'-').map_or(0, |last| last + 1);
        if length == 0 || part[0] == b'-' {
            break;
        }
        labels += 1;
        if labels > 1 && length >= 2 && part[..length].iter().all(u8::is_ascii_alphabetic) {
            found = Some(start + length);
        }
        if length < part.len() {
            break;
        }
        start += part.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::redactor::masked;

    #[test]
    fn addresses_are_masked_and_nothing_around_them() {
        for (text, expected) in [
            ("write to a.b+c@d-e.co.uk.", "write to <>."),
            ("邮箱foo_1@qq.com。", "邮箱<>。"),
            ("<'x@y.org'>", "<'<>'>"),
            ("a..b@c.dd", "a..<>"),
            ("two: a@b.cc, d@e.ff", "two: <>, <>"),
            ("a@b.cc.x", "<>.x"),
            ("a@b.cc-", "<>-"),
            ("mailto:me@a.museum?x", "mailto:<>?x"),
            (
                "@name @ a@b a.@b.cc a@-b.cc a@b..cc a@1.2 @b.cc",
                "@name @ a@b a.@b.cc a@-b.cc a@b..cc a@1.2 @b.cc",
            ),
            ("git@github.com:x/y ssh://git@host.org/x", "git@github.com:x/y ssh://git@host.org/x"),
            ("legit@host.org git.it@host.org", "<> <>"),
            ("user@host.org:password", "<>:password"),
        ] {
            assert_eq!(masked::<Email>(text), expected, "{text:?}");
        }
        let long = format!("{}@b.cc", "a".repeat(65));
        assert_eq!(masked::<Email>(&long), long);
    }
}
