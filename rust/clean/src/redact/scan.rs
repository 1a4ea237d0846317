//! The search for triggers, and which kinds each may begin.

use std::sync::LazyLock;

use aho_corasick::packed::{self, Searcher};

use crate::redact::folded::{digit_size, fold, is_separated};
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::KindSet;
use crate::redact::phone::Groups;
use crate::redact::{bank, email, identity, network, phone, secret};

/// Strings that begin or surround private data and have no trigger byte, each with what it means.
/// None has fewer than three bytes: by two, the vector search finds too many places to check.
const MARKS: [(&str, Mark); 35] = [
    ("AKIA", Mark::Token),
    ("ASIA", Mark::Token),
    ("LTAI", Mark::Token),
    ("AKID", Mark::Token),
    ("AIza", Mark::Token),
    ("ya29.", Mark::Token),
    ("SG.", Mark::Token),
    ("eyJ", Mark::Jwt),
    ("[at]", Mark::Spelled),
    ("(at)", Mark::Spelled),
    ("{at}", Mark::Spelled),
    ("[AT]", Mark::Spelled),
    ("(AT)", Mark::Spelled),
    ("[At]", Mark::Spelled),
    ("(At)", Mark::Spelled),
    ("&#64;", Mark::Escape),
    ("&#x40;", Mark::Escape),
    ("&commat;", Mark::Escape),
    ("%40", Mark::Escape),
    ("QQ:", Mark::Account),
    ("QQ：", Mark::Account),
    ("QQ号", Mark::Account),
    ("QQ群", Mark::Account),
    ("QQ ", Mark::Account),
    ("qq:", Mark::Account),
    ("qq：", Mark::Account),
    ("qq号", Mark::Account),
    ("qq群", Mark::Account),
    ("qq ", Mark::Account),
    ("微信", Mark::Account),
    ("WeChat", Mark::Account),
    ("Wechat", Mark::Account),
    ("wechat", Mark::Account),
    ("weixin", Mark::Account),
    ("Weixin", Mark::Account),
];

/// What one of [`MARKS`] means.
#[derive(Clone, Copy)]
enum Mark {
    /// It begins a token.
    Token,
    /// It begins a JSON web token.
    Jwt,
    /// It stands for the sign of an e-mail address between words.
    Spelled,
    /// It stands for the sign of an e-mail address.
    Escape,
    /// A name in a messenger follows it.
    Account,
}

static SEARCHER: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    packed::Config::new().builder().extend(MARKS.iter().map(|(mark, _)| mark)).build()
});

/// What a byte may trigger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trigger {
    None,
    Digit,
    At,
    Colon,
    Hyphen,
    Underscore,
    /// The first byte of a full-width form; only digits and `＠` trigger.
    Wide,
}

static TRIGGERS: [Trigger; 256] = {
    let mut triggers = [Trigger::None; 256];
    let mut digit = b'0';
    while digit <= b'9' {
        triggers[digit as usize] = Trigger::Digit;
        digit += 1;
    }
    triggers[b'@' as usize] = Trigger::At;
    triggers[b':' as usize] = Trigger::Colon;
    triggers[b'-' as usize] = Trigger::Hyphen;
    triggers[b'_' as usize] = Trigger::Underscore;
    triggers[0xef] = Trigger::Wide;
    triggers
};

/// Calls `found` with each match of `kinds` in `text`, from front to back.
pub(crate) fn scan(text: &str, kinds: KindSet, mut found: impl FnMut(Match)) {
    let bytes = text.as_bytes();
    let mut marks = Marks::new(bytes);
    let mut haystack = Haystack { text, done: 0 };
    let mut at = 0;
    loop {
        let trigger = next_trigger(bytes, at);
        // marks before the next trigger
        while let Some((start, size, mark)) = marks.before(trigger) {
            if start >= haystack.done
                && let Some(match_) = marked(haystack, start, size, mark)
                && kinds.has(match_.kind)
            {
                haystack.done = match_.range.end;
                found(match_);
            }
        }
        if trigger == bytes.len() {
            return;
        }
        at = trigger.max(haystack.done);
        if at > trigger {
            continue;
        }
        let (match_, next) = triggered(haystack, trigger, kinds);
        at = next;
        if let Some(match_) = match_ {
            haystack.done = match_.range.end;
            at = match_.range.end;
            found(match_);
        }
    }
}

/// Bytes that are compared together: two or one vector registers.
const BLOCK: usize = 32;
/// The bytes of a block, and two more, which decide whether a full-width form is a trigger.
const WINDOW: usize = BLOCK + 2;

/// Returns the index of the first byte from `at` on that may trigger, or the length of the text.
#[inline]
fn next_trigger(bytes: &[u8], mut at: usize) -> usize {
    loop {
        while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) {
            // comparisons without a branch, which the compiler vectorises; ':' follows '9' in ASCII
            let mut any = 0;
            for index in 0..BLOCK {
                let [byte, second, third] = [window[index], window[index + 1], window[index + 2]];
                any |= u8::from(byte.wrapping_sub(b'0') <= b':' - b'0')
                    | u8::from(byte == b'@')
                    | u8::from(byte == b'-')
                    | u8::from(byte == b'_')
                    | (u8::from(byte == 0xef) & is_wide_trigger(second, third));
            }
            if any != 0 {
                break;
            }
            at += BLOCK;
        }
        let end = bytes.len().min(at + BLOCK);
        let found = (at..end).find(|at| match TRIGGERS[usize::from(bytes[*at])] {
            Trigger::None => false,
            Trigger::Wide => is_wide_trigger(bytes[at + 1], bytes[at + 2]) == 1,
            _ => true,
        });
        match found {
            Some(found) => return found,
            None if end == bytes.len() => return end,
            None => at = end,
        }
    }
}

/// Returns 1 if the bytes after 0xef make it a full-width digit or `＠`, else 0.
#[inline(always)]
fn is_wide_trigger(second: u8, third: u8) -> u8 {
    u8::from(second == 0xbc) & (u8::from(third.wrapping_sub(0x90) < 10) | u8::from(third == 0xa0))
}

/// The marks of a text, from front to back.
struct Marks<'t> {
    bytes: &'t [u8],
    next: Option<(usize, usize, Mark)>,
}

impl<'t> Marks<'t> {
    fn new(bytes: &'t [u8]) -> Self {
        Self { bytes, next: Self::find(bytes, 0) }
    }

    fn find(bytes: &[u8], at: usize) -> Option<(usize, usize, Mark)> {
        let found = match &*SEARCHER {
            Some(searcher) => {
                let found =
                    searcher.find_in(bytes, aho_corasick::Span { start: at, end: bytes.len() })?;
                (found.start(), found.pattern().as_usize())
            }
            None => first_mark(bytes, at)?,
        };
        let (mark, meaning) = MARKS[found.1];
        Some((found.0, mark.len(), meaning))
    }

    /// Returns the next mark that starts before `limit`: its start, size and meaning.
    #[inline]
    fn before(&mut self, limit: usize) -> Option<(usize, usize, Mark)> {
        let next = self.next.filter(|(start, ..)| *start < limit)?;
        self.next = Self::find(self.bytes, next.0 + 1);
        Some(next)
    }
}

/// Returns the first mark from `at` on and its index in [`MARKS`]; for machines without the vector
/// instructions of the searcher.
fn first_mark(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let places = MARKS.iter().enumerate().filter_map(|(index, (mark, _))| {
        memchr::memmem::find(&bytes[at..], mark.as_bytes()).map(|place| (at + place, index))
    });
    places.min()
}

fn marked(haystack: Haystack<'_>, start: usize, size: usize, mark: Mark) -> Option<Match> {
    match mark {
        Mark::Token => secret::token(haystack, start),
        Mark::Jwt => secret::jwt(haystack, start),
        Mark::Spelled => email::find_spelled(haystack, start, size),
        Mark::Escape => email::find(haystack, start, size),
        Mark::Account => identity::account(haystack, start, size),
    }
}

/// Returns the match that the byte at `at` triggers, if any, and where to continue without one.
#[inline]
fn triggered(haystack: Haystack<'_>, at: usize, kinds: KindSet) -> (Option<Match>, usize) {
    let hexadecimal = |at: usize| haystack.byte(at).is_ascii_hexdigit();
    let is_pair = || at > 0 && hexadecimal(at - 1) && hexadecimal(at + 1);
    let wanted = |match_: Option<Match>| match_.filter(|match_| kinds.has(match_.kind));
    let match_ = match TRIGGERS[usize::from(haystack.byte(at))] {
        Trigger::Digit => return number(haystack, at, kinds),
        Trigger::Wide => match fold(haystack.bytes(), at) {
            Some((b'0'..=b'9', _)) => return number(haystack, at, kinds),
            Some((b'@', size)) => email::find(haystack, at, size),
            _ => None,
        },
        Trigger::At => email::find(haystack, at, 1),
        Trigger::Colon
            if is_pair() || (at > 0 && hexadecimal(at - 1) && haystack.byte(at + 1) == b':') =>
        {
            wanted(network::ipv6(haystack, at)).or_else(|| network::mac(haystack, at))
        }
        Trigger::Hyphen if haystack.byte(at + 1) == b'-' => {
            if haystack.before(at, 1) == b'-' {
                None
            } else {
                secret::private_key(haystack, at)
            }
        }
        Trigger::Hyphen if is_pair() && haystack.byte(at + 3) == b'-' => {
            wanted(network::mac(haystack, at)).or_else(|| secret::token_around(haystack, at))
        }
        Trigger::Hyphen | Trigger::Underscore => secret::token_around(haystack, at),
        _ => None,
    };
    (wanted(match_), at + 1)
}

/// Returns the match that starts with the run of digits at `at`, or shortly before it, and where to
/// continue without one: after the run.
#[inline]
fn number(haystack: Haystack<'_>, at: usize, kinds: KindSet) -> (Option<Match>, usize) {
    let bytes = haystack.bytes();
    let (mut end, mut count) = (at, 0);
    loop {
        let size = digit_size(bytes, end);
        if size == 0 {
            break;
        }
        end += size;
        count += 1;
    }
    let is_capital = haystack.before(at, 1).is_ascii_uppercase();
    if count < 7 && !is_capital && !is_separated(bytes, end) {
        return (None, end);
    }
    (checked_number(haystack, at, end, count, kinds), end)
}

/// Returns the first valid match that the run of `count` digits from `at` to `end` belongs to.
#[inline(never)]
fn checked_number(
    haystack: Haystack<'_>,
    at: usize,
    end: usize,
    count: usize,
    kinds: KindSet,
) -> Option<Match> {
    let wanted = |match_: Option<Match>| match_.filter(|match_| kinds.has(match_.kind));
    if haystack.before(at, 1).is_ascii_uppercase() {
        let letters = match count {
            2 | 3.. if haystack.before(at, 2).is_ascii_uppercase() && count != 6 => {
                wanted(bank::iban(haystack, at))
            }
            _ => None,
        };
        let start = at - 1;
        let found = letters
            .or_else(|| (count == 6).then(|| wanted(identity::hong_kong(haystack, at))).flatten())
            .or_else(|| (count > 6).then(|| wanted(identity::passport(haystack, at))).flatten())
            .or_else(|| {
                (count > 6 && b"ANY".contains(&haystack.byte(start)))
                    .then(|| wanted(identity::chinese(haystack, start)))
                    .flatten()
            });
        if found.is_some() {
            return found;
        }
    }
    let next = haystack.byte(end);
    if count <= 3
        && (next == b'.' || next == 0xef)
        && let found @ Some(_) = wanted(network::ipv4(haystack, at))
    {
        return found;
    }
    if count > 7 {
        let found = wanted(identity::chinese(haystack, at))
            .or_else(|| wanted(secret::telegram(haystack, at, count)));
        if found.is_some() {
            return found;
        }
    }
    let groups = Groups::new(haystack, at)?;
    wanted(bank::card(haystack, &groups))
        .or_else(|| wanted(identity::ssn(haystack, &groups)))
        .or_else(|| wanted(phone::find(haystack, &groups)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_is_found_at_every_offset() {
        let triggers = (0..0x80_u8).filter(|byte| TRIGGERS[usize::from(*byte)] != Trigger::None);
        let triggers = triggers.map(char::from).chain("０９＠".chars());
        for char in triggers.chain("xé中，／：？Ａ。\u{fffd}".chars()) {
            let is_trigger = char.is_numeric() || "@-_:＠".contains(char);
            for before in 0..3 * BLOCK {
                for after in [0, 1, 40] {
                    let text = "x".repeat(before) + &char.to_string() + &"，".repeat(after);
                    let expected = if is_trigger { before } else { text.len() };
                    assert_eq!(next_trigger(text.as_bytes(), 0), expected, "{char} {before}");
                }
            }
        }
    }
}
