//! E-mail addresses: in ASCII, internationalised, and written out against harvesters.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::chars::{Properties, properties_of};
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;

/// Bytes of a local part, at most: RFC 5321, section 4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// Bytes of a domain name, at most: RFC 1035 allows 255 with two bytes of encoding.
const MAX_DOMAIN_BYTES: usize = 253;
/// Bytes of a top-level domain of ASCII letters, at most; the longest in the list has 24.
const MAX_TOP_LEVEL_BYTES: usize = 24;

/// The top-level domains of the IANA root zone, in lower case: the ICANN section of the public
/// suffix list of 2023-02-09. A name that is not among them is a method or a file name, as in
/// `x@w.transpose` and `getty@tty1.service`.
static TOP_LEVEL_DOMAINS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("top_level_domains.txt").split_whitespace().collect());

/// Returns the address around the sign of `size` bytes at `at`: `@`, a full-width one, or an escape.
pub(crate) fn find(haystack: Haystack<'_>, at: usize, size: usize) -> Option<Match> {
    let is_spaced = haystack.before(at, 1) == b' ' && haystack.byte(at + size) == b' ';
    let gap = usize::from(is_spaced);
    let start = local_start(haystack, at - gap)?;
    let end = domain_end(haystack.text, at + size + gap)?;
    let local = &haystack.text[start..at - gap];
    // `git@host` names a repository over SSH: it is not a person's address, and masking it breaks
    // code
    let is_other = local == "git" || (is_spaced && local.len() < 3);
    if is_other { None } else { Some(Match::new(Kind::Email, start..end)) }
}

/// Returns the address around a bracketed word, such as `[at]`, of `size` bytes at `at`; its full
/// stops may be bracketed words too.
pub(crate) fn find_spelled(haystack: Haystack<'_>, at: usize, size: usize) -> Option<Match> {
    let head = haystack.head(at);
    let start = local_start(haystack, haystack.done + head.trim_end_matches(' ').len())?;
    let text = haystack.text;
    let mut end = at + size + blanks(&text[at + size..]);
    let mut labels = 0;
    loop {
        let length =
            text[end..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'-').count();
        if length == 0 || length > MAX_LOCAL_BYTES {
            return None;
        }
        labels += 1;
        let label = &text[end..end + length];
        end += length;
        match dot(&text[end..]) {
            Some(size) if labels < 8 => end += size,
            _ if labels > 1 && is_top_level(label) => {
                return Some(Match::new(Kind::Email, start..end));
            }
            _ => return None,
        }
    }
}

/// Returns the bytes of the full stop or bracketed word that `text` starts with, blanks included.
fn dot(text: &str) -> Option<usize> {
    let before = blanks(text);
    let rest = &text.as_bytes()[before..];
    let is_word = rest.get(..5).is_some_and(|word| {
        ["[dot]", "(dot)", "{dot}"].iter().any(|dot| word.eq_ignore_ascii_case(dot.as_bytes()))
    });
    let is_dot = before == 0
        && rest.first() == Some(&b'.')
        && rest.get(1).is_some_and(u8::is_ascii_alphanumeric);
    let size = before + if is_word { 5 } else { usize::from(is_dot) };
    (is_word || is_dot).then(|| size + if is_word { blanks(&text[size..]) } else { 0 })
}

/// Returns the number of blanks, at most two, that `text` starts with.
fn blanks(text: &str) -> usize {
    text.bytes().take(2).take_while(|byte| *byte == b' ').count()
}

/// Returns the first byte of the local part that ends at `end`.
fn local_start(haystack: Haystack<'_>, end: usize) -> Option<usize> {
    let head = haystack.head(end);
    if let Some(inner) = head.strip_suffix('"') {
        let window = inner.floor_char_boundary(inner.len().saturating_sub(MAX_LOCAL_BYTES));
        let quote = inner[window..].rfind(['"', '\n']).map(|at| window + at)?;
        let is_quoted = inner[quote..].starts_with('"') && quote + 1 < inner.len();
        return is_quoted.then_some(haystack.done + quote);
    }
    let last = head.chars().next_back()?;
    if last == '.' {
        return None;
    }
    let is_local: fn(char) -> bool =
        if is_unspaced(last) { is_foreign_local } else { is_western_local };
    let length: usize = head
        .chars()
        .rev()
        .take_while(|c| is_local(*c))
        .take(MAX_LOCAL_BYTES + 1)
        .map(char::len_utf8)
        .sum();
    if length > MAX_LOCAL_BYTES {
        return None;
    }
    let local = &head[head.len() - length..];
    let local = local.rfind("..").map_or(local, |dots| &local[dots + 2..]);
    let first = local.find(char::is_alphanumeric)?;
    Some(end - local.len() + first)
}

/// Returns whether a character may be part of a local part in Latin, Greek or Cyrillic. Signs that
/// RFC 5322 allows but that separate addresses from other things, as in `?to=me@site.org`, are not.
fn is_western_local(char: char) -> bool {
    char.is_ascii_alphanumeric()
        || matches!(char, '.' | '_' | '%' | '+' | '-' | '\'' | '&' | '~' | '!' | '*')
        || (('\u{c0}'..'\u{530}').contains(&char) && char.is_alphabetic())
}

/// Returns whether a character may be part of a local part in another script.
fn is_foreign_local(char: char) -> bool {
    char.is_ascii_digit() || matches!(char, '.' | '_' | '-') || is_unspaced(char)
}

fn is_unspaced(char: char) -> bool {
    char >= '\u{530}' && char.is_alphanumeric()
}

/// Returns the byte after the domain that starts at `start`.
fn domain_end(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    if let Some(literal) = rest.strip_prefix('[') {
        let end = literal.bytes().take(MAX_LOCAL_BYTES).position(|byte| byte == b']')?;
        let address = literal[..end].strip_prefix("IPv6:").unwrap_or(&literal[..end]);
        return address.parse::<IpAddr>().is_ok().then_some(start + end + 2);
    }
    let is_ascii = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.');
    let is_label = |char: char| {
        is_ascii(char)
            || (char >= '\u{80}'
                && (char.is_alphanumeric() || properties_of(char).has(Properties::MARK)))
    };
    let run = |is_part: &dyn Fn(char) -> bool| {
        let end =
            rest.char_indices().find(|(_, char)| !is_part(*char)).map_or(rest.len(), |(at, _)| at);
        &rest[..end]
    };
    let ascii = run(&is_ascii);
    let length = match domain_length(ascii) {
        Some(length) => length,
        None => domain_length(run(&is_label))?,
    };
    let next = rest[length..].chars().next();
    // a second sign, or a call: `x@y.to(device)`
    let is_other = length > MAX_DOMAIN_BYTES
        || next == Some('(')
        || (length == ascii.len() && next == Some('@'));
    (!is_other).then_some(start + length)
}

/// Returns the length of the domain at the start of `text`: labels, the last a top-level domain.
fn domain_length(text: &str) -> Option<usize> {
    let (mut start, mut labels, mut found) = (0, 0, None);
    for part in text.split('.') {
        let label = part.trim_end_matches('-');
        if label.is_empty() || label.starts_with('-') {
            break;
        }
        labels += 1;
        if labels > 1 {
            found = top_level_length(label).map(|length| start + length).or(found);
        }
        if label.len() < part.len() {
            break;
        }
        start += part.len() + 1;
    }
    found
}

/// Returns the length of the top-level domain that `label` is, or, in a script without spaces,
/// starts with.
fn top_level_length(label: &str) -> Option<usize> {
    if is_top_level(label) {
        return Some(label.len());
    }
    let is_unspaced = label.chars().all(|char| properties_of(char).has(Properties::UNSPACED));
    let ends = label.char_indices().map(|(at, char)| at + char.len_utf8()).take(6);
    ends.filter(|end| is_unspaced && TOP_LEVEL_DOMAINS.contains(&label[..*end])).last()
}

/// Returns whether `label` is a top-level domain, regardless of case; punycode always is.
fn is_top_level(label: &str) -> bool {
    if !label.is_ascii() {
        return TOP_LEVEL_DOMAINS.contains(label.to_lowercase().as_str());
    }
    let mut lower = [0; MAX_TOP_LEVEL_BYTES];
    let Some(lower) = lower.get_mut(..label.len()) else { return false };
    lower.copy_from_slice(label.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower)
        .is_ok_and(|lower| lower.starts_with("xn--") || TOP_LEVEL_DOMAINS.contains(lower))
}
