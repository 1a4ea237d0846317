//! Telephone numbers: international ones, and the national forms of some countries.

use crate::redact::context;
use crate::redact::folded::{Folded, digit_size, fold, is_separated};
use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;

/// Groups of digits in a number, at most; `+33 6 12 34 56 78` has six, an extension one more.
const MAX_GROUPS: usize = 8;
/// Digits in all groups, at most: an international prefix and 15 digits (E.164), or a card's 19.
const MAX_DIGITS: usize = 24;

/// Groups of digits with one separator between them.
///
/// ```text
/// +49 (0)30 901820     lead +    sizes 2 1 2 6    separators "()_", where _ is a space
/// ```
#[derive(Debug)]
pub(crate) struct Groups<'t> {
    haystack: Haystack<'t>,
    folded: Folded,
    lead: u8,
    digits: [u8; MAX_DIGITS],
    n_digits: usize,
    sizes: [u8; MAX_GROUPS],
    /// For each group, the folded characters up to its end.
    ends: [u8; MAX_GROUPS],
    /// After each group, the separator, or 0 after the last.
    separators: [u8; MAX_GROUPS],
    len: usize,
}

impl<'t> Groups<'t> {
    /// Reads the groups from the digit at `at` on, with a plus sign or a parenthesis before it;
    /// `None` if there are too many.
    pub(crate) fn new(haystack: Haystack<'t>, at: usize) -> Option<Self> {
        let text = haystack.bytes();
        let lead_size = lead_size(haystack, at);
        let is_part = |char: u8| char.is_ascii_digit() || b"+ -./()".contains(&char);
        let folded = Folded::new(text, at - lead_size, is_part);
        let mut groups = Self {
            haystack,
            folded,
            lead: 0,
            digits: [0; MAX_DIGITS],
            n_digits: 0,
            sizes: [0; MAX_GROUPS],
            ends: [0; MAX_GROUPS],
            separators: [0; MAX_GROUPS],
            len: 0,
        };
        groups.read(usize::from(lead_size > 0))?;
        let lead = groups.folded.chars()[0];
        if lead == b'(' && groups.separators[0] != b')' {
            // the parenthesis is around the whole number
            groups.folded = Folded::new(text, at, is_part);
            groups.ends[..groups.len].iter_mut().for_each(|end| *end -= 1);
        } else if lead_size > 0 {
            groups.lead = lead;
        }
        Some(groups)
    }

    fn read(&mut self, first: usize) -> Option<()> {
        let chars = self.folded.chars();
        let mut at = first;
        loop {
            let size = chars[at..].iter().take_while(|char| char.is_ascii_digit()).count();
            if self.len == MAX_GROUPS || self.n_digits + size > MAX_DIGITS {
                return None;
            }
            self.digits[self.n_digits..self.n_digits + size].copy_from_slice(&chars[at..at + size]);
            self.n_digits += size;
            at += size;
            self.sizes[self.len] = size as u8;
            self.ends[self.len] = at as u8;
            self.len += 1;
            let rest = &chars[at..];
            let (separator, width) = match rest {
                // after a country code only: later it begins another number
                [b' ', b'(', ..] if self.len == 1 => (b'(', 2),
                [b')', b' ' | b'-', ..] => (b')', 2),
                [char, ..] => (*char, 1),
                [] => return Some(()),
            };
            if separator == b'+' || !chars.get(at + width).is_some_and(u8::is_ascii_digit) {
                return Some(());
            }
            self.separators[self.len - 1] = separator;
            at += width;
        }
    }

    /// Returns the first byte of the number, its plus sign or parenthesis included.
    pub(crate) fn start(&self) -> usize {
        self.folded.end(0)
    }

    /// Returns whether there is a plus sign or a parenthesis before the digits.
    pub(crate) fn has_lead(&self) -> bool {
        self.lead != 0
    }

    /// Returns all digits, in ASCII.
    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..self.n_digits]
    }

    /// Returns the number of digits in each group.
    pub(crate) fn sizes(&self) -> &[u8] {
        &self.sizes[..self.len]
    }

    /// Returns the separators between the groups.
    pub(crate) fn separators(&self) -> &[u8] {
        &self.separators[..self.len - 1]
    }

    /// Returns whether all separators are the same, a blank or a hyphen.
    pub(crate) fn has_one_separator(&self) -> bool {
        let separators = self.separators();
        separators.iter().all(|char| *char == separators[0] && matches!(char, b' ' | b'-'))
    }

    /// Returns the byte after the last group, unless the number continues there.
    pub(crate) fn end_if_last(&self) -> Option<usize> {
        self.end_of(self.len)
    }

    /// Returns the byte after the first `count` groups, unless the number continues there.
    fn end_of(&self, count: usize) -> Option<usize> {
        let end = self.folded.end(usize::from(self.ends[count - 1]));
        match self.separators[count - 1] {
            0 => {}
            b'/' => return Some(end),
            b' ' if count == 1 => return Some(end),
            _ => return None,
        }
        let (bytes, next) = (self.haystack.bytes(), self.haystack.byte(end));
        let folded = fold(bytes, end).map_or(next, |(char, _)| char);
        // thousands or decimals; a second number after a comma has more digits or a separator
        let has_fraction = || {
            let rest = &bytes[(end + 1).min(bytes.len())..];
            let digits = rest.iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
            (1..7).contains(&digits) && !is_separated(rest, digits)
        };
        let continues = folded.is_ascii_alphanumeric()
            || matches!(next, b'_' | b'%' | b'@')
            || (next == b',' && has_fraction())
            || (matches!(folded, b'.' | b'-') && digit_size(bytes, end + 1) > 0);
        (!continues).then_some(end)
    }

    /// Returns the value of the first `count` digits.
    fn prefix(&self, count: usize) -> u32 {
        let digits = &self.digits()[..count.min(self.n_digits)];
        digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
    }
}

/// Returns the bytes of the plus sign or opening parenthesis before `at`, or 0.
fn lead_size(haystack: Haystack<'_>, at: usize) -> usize {
    let head = haystack.head(at);
    match head.chars().next_back() {
        Some(char @ ('+' | '(' | '＋' | '（')) => char.len_utf8(),
        _ => 0,
    }
}

/// Returns whether a number may start where `groups` starts: it is not the end of a longer one, an
/// amount, or part of a name.
pub(crate) fn is_start(haystack: Haystack<'_>, groups: &Groups<'_>) -> bool {
    let start = groups.start();
    let before = |back| haystack.before(start, back);
    let is_long = groups.sizes()[0] >= 7;
    let last = haystack.head(start).chars().next_back().unwrap_or('\n');
    match last {
        '_'
        | '$'
        | '#'
        | '%'
        | '@'
        | '€'
        | '£'
        | '¥'
        | '￥'
        | '~'
        | '*'
        | '^'
        | '×'
        | '0'..='9'
        | '\u{ff10}'..='\u{ff19}' => false,
        'a'..='z' | 'A'..='Z' => {
            let head = haystack.head(start);
            let word = head.trim_end_matches(|char: char| char.is_ascii_alphabetic()).len();
            context::follows(haystack, start, context::PHONE) && head.len() - word <= 9
        }
        '.' | '-' | '+' | '\'' => {
            !before(2).is_ascii_alphanumeric() && !matches!(before(2), b'/' | b'-' | b'.')
        }
        ',' => is_long || !before(2).is_ascii_digit(),
        // after another number, which may be a match already
        '/' => is_long && (before(2).is_ascii_digit() || before(2) == b'\n'),
        // 13:50:00.123456789
        ':' => !before(2).is_ascii_digit(),
        ' ' => {
            let is_list = before(2).is_ascii_digit() && groups.separators().contains(&b' ');
            !is_list && !matches!(before(2), b'$' | b'+')
        }
        _ => true,
    }
}

/// Returns the telephone number at the start of `groups`.
pub(crate) fn find(haystack: Haystack<'_>, groups: &Groups<'_>) -> Option<Match> {
    // too few digits, or two years
    if groups.digits().len() < 7 || *groups.sizes() == [4, 4] || !is_start(haystack, groups) {
        return None;
    }
    let start = groups.start();
    let has_word = context::follows(haystack, start, context::PHONE);
    let is_assigned = haystack.head(start).trim_end_matches(' ').ends_with('=');
    let is_thing = !has_word && (is_assigned || context::follows(haystack, start, context::THING));
    for count in (1..=groups.len).rev() {
        let Some(end) = groups.end_of(count) else { continue };
        let digits = groups.sizes()[..count].iter().map(|size| usize::from(*size)).sum();
        let is_number = match groups.lead {
            b'+' => is_international(groups, count, digits),
            _ => {
                (is_national(groups, count, digits) && !(is_thing && count == 1))
                    || is_dialled_international(groups, count, digits)
                    || (has_word
                        && (8..=15).contains(&digits)
                        && !groups.separators().contains(&b'.'))
            }
        };
        if is_number {
            return Some(Match::new(Kind::Phone, start..end));
        }
    }
    None
}

/// Returns whether the digits after a plus sign are a number: E.164.
fn is_international(groups: &Groups<'_>, count: usize, digits: usize) -> bool {
    let has_trunk =
        groups.sizes()[..count].get(1) == Some(&1) && groups.separators().starts_with(b"()");
    let digits = digits - usize::from(has_trunk);
    // +2021-12-31 is a date
    if count == 3 && groups.sizes()[2] < 3 {
        return false;
    }
    match groups.prefix(2) {
        10..=19 => digits == 11 && is_american(&groups.digits()[1..]),
        86 => (11..=13).contains(&digits),
        0..=9 => false,
        _ => (if count > 1 { 8..=15 } else { 10..=15 }).contains(&digits),
    }
}

/// Returns whether the digits are a number after the international prefix 00.
fn is_dialled_international(groups: &Groups<'_>, count: usize, digits: usize) -> bool {
    let is_known = matches!(groups.prefix(4), 10..=98);
    groups.digits().starts_with(b"00")
        && is_known
        && groups.sizes()[0] > 1
        && groups.separators[0] != b'.'
        && (if count > 1 { 11..=17 } else { 13..=15 }).contains(&digits)
}

/// Returns whether the first `count` groups, of `n_digits` digits, are a number as it is written in
/// its country.
fn is_national(groups: &Groups<'_>, count: usize, n_digits: usize) -> bool {
    let (sizes, digits) = (&groups.sizes()[..count], groups.digits());
    let separators = &groups.separators()[..count - 1];
    let is_even = separators.iter().all(|char| *char == separators[0]);
    // a round number is an amount
    let is_mobile =
        |digits: &[u8]| digits[0] == b'1' && digits[1] >= b'3' && !digits.ends_with(b"00000");
    let is_free = matches!(groups.prefix(3), 400 | 800);
    match sizes {
        [11] => is_mobile(digits) || digits.starts_with(b"07"),
        [13] | [2, 11] | [2, 3, 4, 4] => groups.prefix(2) == 86 && is_mobile(&digits[2..]),
        [3, 4, 4] if is_even && is_mobile(digits) => true,
        [3, 7] | [3, 4, 3] => is_free && is_even,
        [3, 3, 4] if digits[0] != b'0' => {
            let is_form =
                (is_even && separators[0] != b'/') || separators[0] == b')' || separators == b"/-";
            is_form && (is_american(digits) || is_free)
        }
        [1, 3, 3, 4] => digits[0] == b'1' && is_american(&digits[1..]),
        _ => {
            matches!(digits, [b'0', b'1'..=b'9', ..])
                && has_trunk_form(sizes, separators, &digits[..n_digits])
        }
    }
}

/// Returns whether ten digits are a number of North America: area code and exchange start with 2 to
/// 9, and no area code ends with 11.
fn is_american(digits: &[u8]) -> bool {
    digits[0] >= b'2' && digits[3] >= b'2' && digits[1..3] != *b"11"
}

/// Returns whether groups that start with the trunk prefix 0 have a form of China, France, Germany,
/// Japan or the United Kingdom.
fn has_trunk_form(sizes: &[u8], separators: &[u8], digits: &[u8]) -> bool {
    let n_digits = digits.len();
    let is_repeated = digits.chunks(2).all(|pair| *pair == digits[..pair.len()]);
    let Some(first) = separators.first() else { return false };
    let is_even = separators.iter().all(|char| char == first);
    let last = sizes[sizes.len() - 1];
    match first {
        // 06 12 34 56 78
        b' ' | b'.' | b'-' if *sizes == [2; 5] => is_even && !is_repeated,
        // 0755-26543210-801
        b'-' | b')' if matches!(sizes, [3..=4, 7..=8, 1..=4]) => separators[1] == b'-',
        b'-' | b'/' | b')' => {
            (9..=12).contains(&n_digits)
                && (2..=5).contains(&sizes[0])
                && sizes.len() <= 4
                && last >= 3
                && separators[1..].iter().all(|char| matches!(char, b'-' | b' '))
        }
        b' ' => {
            (9..=12).contains(&n_digits)
                && (3..=5).contains(&sizes[0])
                && sizes.len() <= 4
                && is_even
                && sizes[1..].iter().all(|size| *size >= 3)
        }
        _ => false,
    }
}
