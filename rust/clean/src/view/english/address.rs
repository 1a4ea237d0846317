//! Addresses of pages, mail addresses and host names, which are one word.

use crate::view::english::tables::{class, has};

/// Returns whether `text` is an address of a page, a mail address, or a host name.
pub(super) fn is_address(text: &str) -> bool {
    if !text.contains('.') {
        return false;
    }
    let scheme = text.find("://").filter(|at| {
        let is_scheme =
            |char: char| char.is_alphanumeric() || matches!(char, '_' | '+' | '-' | '.');
        text[..*at].chars().count() >= 2 && text[..*at].chars().all(is_scheme)
    });
    let mut starts = vec![0];
    starts.extend(scheme.map(|at| at + 3));
    starts.extend(text.match_indices('@').filter(|(at, _)| *at > 0).map(|(at, _)| at + 1));
    starts.into_iter().any(|start| is_host_and_path(&text[start..]))
}

/// Returns whether `text` is a host, a port if any, and a path if any.
fn is_host_and_path(text: &str) -> bool {
    let is_host = |char: char| {
        char.is_ascii_alphanumeric()
            || matches!(char, '.' | '_' | '-')
            || ('\u{a1}'..='\u{ffff}').contains(&char)
    };
    let end = text.find(|char| !is_host(char)).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            if !(2..=5).contains(&digits) {
                return false;
            }
            &port[digits..]
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && (is_host_name(host) || is_public_quad(host))
}

/// Returns whether `host` is labels and a domain of lower-case letters.
fn is_host_name(host: &str) -> bool {
    let Some((labels, domain)) = host.rsplit_once('.') else { return false };
    let is_domain = (2..=63).contains(&domain.chars().count())
        && domain.chars().all(|char| has(Some(char), class::LOWER));
    let is_edge = |char: Option<char>| char.is_some_and(|char| !matches!(char, '_' | '-'));
    is_domain
        && labels.split('.').all(|label| {
            label.chars().count() <= 64
                && is_edge(label.chars().next())
                && is_edge(label.chars().next_back())
        })
}

/// Returns whether `host` is an IPv4 address that is neither private nor ends in 0 or 255.
fn is_public_quad(host: &str) -> bool {
    let mut octets = [0_u32; 4];
    let mut parts = host.split('.');
    for octet in &mut octets {
        let Some(part) = parts.next().filter(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        }) else {
            return false;
        };
        *octet = part.parse().unwrap_or(256);
    }
    let [a, b, c, d] = octets;
    let is_private = matches!((a, b), (10 | 127, _) | (169, 254) | (192, 168) | (172, 16..=31));
    parts.next().is_none()
        && (1..=223).contains(&a)
        && b < 256
        && c < 256
        && (1..255).contains(&d)
        && !is_private
}
