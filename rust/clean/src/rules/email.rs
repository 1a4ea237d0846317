//! E-mail addresses.

use std::ops::Range;

use lslm_runtime::Result;
use serde::{Deserialize, Serialize};

use crate::rule::{Build, Edit, Rewrite, Rule};

pub(super) const RULE: Rule = Rule::redactor::<Email>("email", 2, "masks e-mail addresses");

/// The longest local part that RFC 5321 allows, and the longest domain.
const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 253;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// What stands in the place of an address.
    replacement: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { replacement: "email@example.com".to_owned() }
    }
}

struct Email(Settings);

impl Build for Email {
    type Settings = Settings;

    fn build(settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }
}

impl Rewrite for Email {
    fn apply(&self, edit: &mut Edit<'_>) {
        let bytes = edit.text().as_bytes();
        let mut done = 0;
        for at in memchr::memchr_iter(b'@', bytes) {
            let Some(range) = address(bytes, done, at) else { continue };
            done = range.end;
            // `git@host` is how a repository is named over SSH: it is nobody's address, and code
            // that loses it breaks
            if bytes[range.start..at] == *b"git" {
                continue;
            }
            if bytes[range.clone()] != *self.0.replacement.as_bytes() {
                edit.replace(range, &self.0.replacement, 1);
            }
        }
    }
}

/// The address around the `@` at `at`, none of it before `from`.
fn address(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte);
    let before = &bytes[from..at];
    let length = before.iter().rev().take(LONGEST_LOCAL + 1).take_while(|b| is_local(**b)).count();
    if length > LONGEST_LOCAL || before.last() == Some(&b'.') {
        return None;
    }
    let local = &before[before.len() - length..];
    let local = match local.windows(2).rposition(|pair| pair == b"..") {
        Some(place) => &local[place + 2..],
        None => local,
    };
    let local = &local[local.iter().position(u8::is_ascii_alphanumeric)?..];

    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let after = &bytes[at + 1..];
    let length = after.iter().take(LONGEST_DOMAIN + 1).take_while(|b| is_domain(**b)).count();
    if length > LONGEST_DOMAIN || after.get(length) == Some(&b'@') {
        return None;
    }
    let domain = domain(&after[..length])?;
    Some(at - local.len()..at + 1 + domain)
}

/// The length of the domain that `text` begins with: labels and a last one of letters.
fn domain(text: &[u8]) -> Option<usize> {
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

    fn masked(text: &str) -> String {
        let rule = Email(Settings { replacement: "<>".to_owned() });
        let mut out = String::new();
        let mut edit = Edit::new(text, &mut out);
        rule.apply(&mut edit);
        if edit.finish() == 0 { text.to_owned() } else { out }
    }

    #[test]
    fn addresses_are_found() {
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
            assert_eq!(masked(text), expected, "{text:?}");
        }
        let long = format!("{}@b.cc", "a".repeat(65));
        assert_eq!(masked(&long), long);
    }
}
