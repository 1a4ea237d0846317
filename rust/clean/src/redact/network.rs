//! Addresses of the Internet and of network hardware.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::redact::context;
use crate::redact::folded::Folded;
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;

/// Characters of an IPv6 address in text, at most: RFC 4291 with an IPv4 address at its end.
const MAX_IPV6_CHARS: usize = 45;
/// Four numbers up to this one may be a section or a version; they need a word before them, a port
/// or a mask to be an address.
const MAX_SMALL_OCTET: u8 = 31;

/// Returns the public IPv4 address that starts with the digit at `start`.
pub(crate) fn ipv4(haystack: Haystack<'_>, start: usize) -> Option<Match> {
    let before = haystack.before(start, 1);
    let is_inside = before.is_ascii_alphanumeric()
        || matches!(before, b'.' | b'-')
        || (before == b'/' && haystack.before(start, 2).is_ascii_alphanumeric())
        || (before == b'=' && b"=<>~!".contains(&haystack.before(start, 2)));
    if is_inside {
        return None;
    }
    let folded = Folded::new(haystack.bytes(), start, |char| char.is_ascii_digit() || char == b'.');
    let (octets, count) = octets(folded.chars())?;
    let end = folded.end(count);
    let next = |offset: usize| haystack.byte(end + offset);
    let is_longer = next(0).is_ascii_alphanumeric()
        || matches!(next(0), b'_' | b'-')
        || (next(0) == b'.' && next(1).is_ascii_alphanumeric());
    if is_longer || !is_public(octets.into()) || context::follows(haystack, start, context::VERSION)
    {
        return None;
    }
    let is_small = octets.iter().all(|octet| *octet <= MAX_SMALL_OCTET) && octets != [octets[0]; 4];
    let has_suffix = matches!(next(0), b':' | b'/') && next(1).is_ascii_digit();
    let is_address = !is_small
        || has_suffix
        || before == b'/'
        || context::follows(haystack, start, context::ADDRESS);
    if is_address { Some(Match::new(Kind::Ipv4, start..end)) } else { None }
}

/// Returns the four numbers that `chars` starts with, and their length.
fn octets(chars: &[u8]) -> Option<([u8; 4], usize)> {
    let mut octets = [0_u8; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            if chars.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = chars[at..].iter().take_while(|char| char.is_ascii_digit()).count();
        let number = std::str::from_utf8(&chars[at..at + digits]).ok()?;
        *octet = (1..=3).contains(&digits).then(|| number.parse().ok())??;
        at += digits;
    }
    Some((octets, at))
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

/// Returns the public IPv6 address whose first colon is at `at`: one of 2000::/3, which all public
/// ones are, but for the prefixes reserved for documentation.
pub(crate) fn ipv6(haystack: Haystack<'_>, at: usize) -> Option<Match> {
    let start = at.checked_sub(4).filter(|start| *start >= haystack.done)?;
    let is_first = matches!(haystack.byte(start), b'2' | b'3')
        && haystack.bytes()[start..at].iter().all(u8::is_ascii_hexdigit);
    let before = haystack.before(start, 1);
    if !is_first || before.is_ascii_alphanumeric() || b":._-".contains(&before) {
        return None;
    }
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = haystack.bytes()[start..]
        .iter()
        .take(MAX_IPV6_CHARS + 1)
        .take_while(|b| is_part(b))
        .count();
    let run = &haystack.text[start..start + length];
    let trimmed = run.trim_end_matches('.');
    let trimmed = trimmed.strip_suffix(':').filter(|rest| !rest.ends_with(':')).unwrap_or(trimmed);
    let address: Ipv6Addr = trimmed.parse().ok()?;
    let end = start + trimmed.len();
    let [first, second, ..] = address.segments();
    let is_documentation =
        (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000);
    let is_longer = haystack.byte(end).is_ascii_alphanumeric() || haystack.byte(end) == b'_';
    if first & 0xe000 != 0x2000 || is_documentation || is_longer {
        return None;
    }
    Some(Match::new(Kind::Ipv6, start..end))
}

/// Returns the hardware address whose first separator, a colon or a hyphen, is at `at`: six pairs
/// of hexadecimal digits, not all equal.
pub(crate) fn mac(haystack: Haystack<'_>, at: usize) -> Option<Match> {
    let start = at.checked_sub(2).filter(|start| *start >= haystack.done)?;
    let separator = haystack.byte(at);
    let bytes = haystack.bytes().get(start..start + 17)?;
    let is_pairs = bytes.chunks(3).all(|pair| {
        pair[0].is_ascii_hexdigit()
            && pair[1].is_ascii_hexdigit()
            && pair.get(2).is_none_or(|byte| *byte == separator)
    });
    let is_edge = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'_' && byte != separator;
    if !is_pairs || !is_edge(haystack.before(start, 1)) || !is_edge(haystack.byte(start + 17)) {
        return None;
    }
    let is_one_pair = bytes.chunks(3).all(|pair| pair[..2] == bytes[..2]);
    // 21-12-31-23-59-59 is a time
    let is_time =
        separator == b'-' && bytes[..2] != *b"00" && !bytes.iter().any(u8::is_ascii_alphabetic);
    if is_one_pair || is_time { None } else { Some(Match::new(Kind::Mac, start..start + 17)) }
}
