//! Masks public IPv4 addresses.

use std::net::Ipv4Addr;
use std::ops::Range;

use crate::rule::Rule;
use crate::rules::redactor::{PrivateData, Redactor};

pub(super) const RULE: Rule = Rule::redactor::<Redactor<Ipv4>>(
    "ipv4",
    1,
    "masks public IPv4 addresses; private, reserved and multicast ones stay",
);

struct Ipv4;

impl PrivateData for Ipv4 {
    /// An address that RFC 5737 reserves for documentation.
    const REPLACEMENT: &'static str = "192.0.2.1";

    fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let mut done = 0;
        for dot in memchr::memchr_iter(b'.', text) {
            if dot < done {
                continue;
            }
            let Some((range, address)) = dotted_quad(text, dot) else { continue };
            done = range.end;
            if is_public(address) {
                found(range);
            }
        }
    }
}

/// Returns the bytes and the address of the four numbers whose first full stop is at `dot`, unless
/// they are part of something longer, such as a version.
#[inline]
fn dotted_quad(bytes: &[u8], dot: usize) -> Option<(Range<usize>, Ipv4Addr)> {
    let digits = bytes[..dot].iter().rev().take(4).take_while(|b| b.is_ascii_digit()).count();
    let start = dot - digits;
    let before = start.checked_sub(1).map(|index| bytes[index]);
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return None;
    }
    let mut octets = [0_u8; 4];
    let mut at = start;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = bytes[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let number = std::str::from_utf8(&bytes[at..at + digits]).ok()?;
        *octet = (1..=3).contains(&digits).then(|| number.parse().ok())??;
        at += digits;
    }
    let next = |offset: usize| bytes.get(at + offset).copied().unwrap_or(b' ');
    let is_longer = next(0).is_ascii_alphanumeric()
        || matches!(next(0), b'_' | b'-')
        || (next(0) == b'.' && next(1).is_ascii_alphanumeric());
    (!is_longer).then(|| (start..at, Ipv4Addr::from(octets)))
}

/// Returns whether `address` is absent from IANA's registry of special-purpose addresses.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocols = a == 192 && b == 0 && c == 0;
    !(a == 0
        || a >= 224
        || shared
        || benchmark
        || protocols
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::redactor::masked;

    #[test]
    fn only_public_addresses_are_masked() {
        for (text, expected) in [
            ("from 8.8.8.8.", "from <>."),
            ("8.8.4.4:53, 1.1.1.1/32", "<>:53, <>/32"),
            ("地址8.8.8.8，", "地址<>，"),
            ("10.0.0.1 127.0.0.1 192.168.1.1 172.16.0.1 169.254.1.1 100.64.0.1", ""),
            ("0.1.2.3 224.0.0.1 255.255.255.255 198.51.100.7 192.0.2.1", ""),
            ("1.2.3 1.2.3.4.5 v1.2.3.4 1.2.3.4-rc 256.1.1.1 1.2.3.1234 1.2.3.4a ..", ""),
            ("12345.1.2.3 1..2.3.4", ""),
        ] {
            let expected = if expected.is_empty() { text } else { expected };
            assert_eq!(masked::<Ipv4>(text), expected, "{text:?}");
        }
    }
}
