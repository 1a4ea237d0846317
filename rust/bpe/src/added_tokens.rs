//! Added tokens: strings that are ids of their own, whatever the merges say.
//!
//! Those that steer a model, *control tokens*, become ids in a text only when the caller asks for
//! it ([`Special`]), so that no text can steer by accident. An added token is one when its file
//! marks it special, or when it looks like markup (`<…>` or `[…]`): published files forget the mark
//! on tokens such as `<|fim_prefix|>`. The others, such as runs of blanks, are ordinary vocabulary
//! and always found.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};
use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::TokenId;
use crate::normalize::Normalizer;
use crate::normalize::matcher::Matcher;

/// Which control tokens in a text become their ids.
#[derive(Clone, Debug, Default)]
pub enum Special {
    /// None: they are text like any other. The text is not even searched for them.
    #[default]
    None,
    /// All of them.
    All,
    /// None, and a text with one in it is an [`Error::Invalid`].
    Raise,
    /// Those of a set, made by [`crate::Tokenizer::special_set`].
    Set(SpecialSet),
}

/// Some of a tokenizer's control tokens.
#[derive(Clone, Debug)]
pub struct SpecialSet(pub(crate) Arc<Scanners>);

/// An added token as files describe it.
#[allow(clippy::struct_excessive_bools)] // the format's flags, independent of each other
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddedToken {
    pub(crate) id: TokenId,
    pub(crate) content: String,
    /// found only where no word character touches it
    #[serde(default)]
    pub(crate) single_word: bool,
    /// takes the white space before it
    #[serde(default)]
    pub(crate) lstrip: bool,
    /// takes the white space behind it
    #[serde(default)]
    pub(crate) rstrip: bool,
    /// looked for in the normalised text
    #[serde(default)]
    pub(crate) normalized: bool,
    #[serde(default)]
    pub(crate) special: bool,
}

impl AddedToken {
    /// A control token without conditions, as tiktoken's are.
    pub(crate) fn control(content: String, id: TokenId) -> Self {
        Self {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    /// Whether it becomes an id only when asked for.
    pub(crate) fn is_control(&self) -> bool {
        let text = self.content.as_bytes();
        let markup = matches!(
            (text.first(), text.last()),
            (Some(b'<'), Some(b'>')) | (Some(b'['), Some(b']'))
        );
        self.special || (markup && text.len() > 2)
    }
}

/// All added tokens of a tokenizer, and how they are found.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    /// in the order of their ids
    pub(crate) tokens: Vec<AddedToken>,
    by_content: HashMap<String, usize>,
    by_id: HashMap<TokenId, usize>,
    /// finds those that are always found
    pub(crate) plain: Arc<Scanners>,
    /// finds all
    pub(crate) all: Arc<Scanners>,
}

impl Added {
    pub(crate) fn new(
        mut tokens: Vec<AddedToken>,
        normalizer: &Normalizer,
    ) -> std::result::Result<Self, String> {
        tokens.sort_by(|one, other| (one.id, &one.content).cmp(&(other.id, &other.content)));
        let mut by_content = HashMap::new();
        let mut by_id = HashMap::new();
        for (place, token) in tokens.iter().enumerate() {
            let AddedToken { id, content, .. } = token;
            if content.is_empty() {
                return Err(format!("the added token with id {id} is empty"));
            }
            if *id >= crate::vocab::vocabulary::MOST_IDS {
                return Err(format!(
                    "the added token {content:?} has the id {id}, which is too large"
                ));
            }
            if by_content.insert(content.clone(), place).is_some() {
                return Err(format!("the added token {content:?} is listed twice"));
            }
            // two names may have one id, as in o200k_harmony; it is decoded as the first of them
            by_id.entry(*id).or_insert(place);
        }
        let plain = Scanners::new(&tokens, |token| !token.is_control(), normalizer)?;
        let all = Scanners::new(&tokens, |_| true, normalizer)?;
        Ok(Self { tokens, by_content, by_id, plain: Arc::new(plain), all: Arc::new(all) })
    }

    pub(crate) fn by_content(&self, content: &str) -> Option<&AddedToken> {
        self.by_content.get(content).map(|&place| &self.tokens[place])
    }

    pub(crate) fn by_id(&self, id: TokenId) -> Option<&AddedToken> {
        self.by_id.get(&id).map(|&place| &self.tokens[place])
    }

    pub(crate) fn controls(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().filter(|token| token.is_control())
    }

    /// What finds the plain tokens and those named; an unknown name is an error that suggests.
    pub(crate) fn set<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        normalizer: &Normalizer,
    ) -> Result<SpecialSet> {
        let mut chosen = std::collections::HashSet::new();
        for name in names {
            let Some(token) = self.by_content(name) else {
                let known = self.tokens.iter().map(|token| token.content.as_str());
                let hint = nearest(name, known).map_or_else(
                    || "see special_tokens".into(),
                    |near| format!("did you mean {near:?}?"),
                );
                return Err(Error::UnknownToken(format!("{name:?} is not an added token: {hint}")));
            };
            chosen.insert(token.id);
        }
        let wanted = |token: &AddedToken| !token.is_control() || chosen.contains(&token.id);
        let scanners = Scanners::new(&self.tokens, wanted, normalizer).map_err(Error::Invalid)?;
        Ok(SpecialSet(Arc::new(scanners)))
    }
}

/// Finds added tokens: some in the text as it is, some in the normalised text.
#[derive(Clone, Debug)]
pub(crate) struct Scanners {
    pub(crate) raw: Option<Scanner>,
    pub(crate) normalized: Option<Scanner>,
}

impl Scanners {
    fn new(
        tokens: &[AddedToken],
        wanted: impl Fn(&AddedToken) -> bool,
        normalizer: &Normalizer,
    ) -> std::result::Result<Self, String> {
        let of = |normalized: bool| -> Vec<&AddedToken> {
            let fits = |token: &&AddedToken| token.normalized == normalized && wanted(token);
            tokens.iter().filter(fits).collect()
        };
        let raw = of(false);
        let contents: Vec<&[u8]> = raw.iter().map(|token| token.content.as_bytes()).collect();
        let late = of(true);
        let normal = late
            .iter()
            .map(|token| normalizer.apply(token.content.as_bytes()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let normal: Vec<&[u8]> = normal.iter().map(AsRef::as_ref).collect();
        Ok(Self { raw: Scanner::new(&raw, &contents)?, normalized: Scanner::new(&late, &normal)? })
    }
}

/// A part of a text: an added token or what lies between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Token { id: TokenId, control: bool, range: Range<usize> },
    Text(Range<usize>),
}

/// Finds some added tokens, all at once.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    automaton: AhoCorasick,
    tokens: Vec<(AddedToken, bool)>,
}

impl Scanner {
    fn new(
        tokens: &[&AddedToken],
        contents: &[&[u8]],
    ) -> std::result::Result<Option<Self>, String> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(contents)
            .map_err(|error| format!("too many added tokens: {error}"))?;
        let tokens = tokens.iter().map(|&token| (token.clone(), token.is_control())).collect();
        Ok(Some(Self { automaton, tokens }))
    }

    /// The parts of `text`: the longest token at the leftmost place, then from its end on.
    pub(crate) fn for_each(
        &self,
        text: &[u8],
        mut f: impl FnMut(Part) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            let (token, control) = &self.tokens[found.pattern().as_usize()];
            let (mut start, mut end) = (found.start(), found.end());
            if start == end {
                // a token that the normaliser has made nothing of
                continue;
            }
            if token.single_word && (word_ends(&text[..start]) || word_begins(&text[end..])) {
                continue;
            }
            if token.lstrip {
                start = done.max(start - blank_at_end(&text[..start]));
            }
            if token.rstrip {
                end += blank_at_start(&text[end..]);
            }
            if done < start {
                f(Part::Text(done..start))?;
            }
            // blanks that one token has taken can be another token: as in the reference, it is
            // dropped when all of it is gone, and else found all the same
            if start < end {
                f(Part::Token { id: token.id, control: *control, range: start..end })?;
            }
            done = end.max(start);
        }
        if done < text.len() {
            f(Part::Text(done..text.len()))?;
        }
        Ok(())
    }
}

/// The first character of `text`, or U+FFFD if it does not begin with one.
fn first_character(text: &[u8]) -> Option<char> {
    let chunk = text[..text.len().min(4)].utf8_chunks().next()?;
    Some(chunk.valid().chars().next().unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn last_character(text: &[u8]) -> Option<char> {
    if text.is_empty() {
        return None;
    }
    let longest = text.len().min(4);
    let whole = (1..=longest).find_map(|length| {
        let tail = std::str::from_utf8(&text[text.len() - length..]).ok()?;
        tail.chars().next_back()
    });
    Some(whole.unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Whether `c` is a word character, `\w` of UTS 18.
fn is_word(c: char) -> bool {
    static WORD: OnceLock<Option<Matcher>> = OnceLock::new();
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let word = WORD.get_or_init(|| Matcher::new(r"\w").ok());
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer).as_bytes();
    word.as_ref().and_then(|word| word.find_all(text).ok()).is_some_and(|found| !found.is_empty())
}

fn word_ends(text: &[u8]) -> bool {
    last_character(text).is_some_and(is_word)
}

fn word_begins(text: &[u8]) -> bool {
    first_character(text).is_some_and(is_word)
}

fn blank_at_start(text: &[u8]) -> usize {
    let mut size = 0;
    while let Some(c) = first_character(&text[size..]).filter(|c| c.is_whitespace()) {
        size += c.len_utf8();
    }
    size
}

fn blank_at_end(text: &[u8]) -> usize {
    let mut size = 0;
    while let Some(c) = last_character(&text[..text.len() - size]).filter(|c| c.is_whitespace()) {
        size += c.len_utf8();
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: TokenId, content: &str) -> AddedToken {
        AddedToken { special: false, ..AddedToken::control(content.to_owned(), id) }
    }

    fn parts(tokens: Vec<AddedToken>, text: &str) -> Vec<(Option<TokenId>, Range<usize>)> {
        let added = Added::new(tokens, &Normalizer::default()).unwrap();
        let mut out = Vec::new();
        let scanner = added.all.raw.as_ref().unwrap();
        scanner
            .for_each(text.as_bytes(), |part| {
                out.push(match part {
                    Part::Token { id, range, .. } => (Some(id), range),
                    Part::Text(range) => (None, range),
                });
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn the_longest_at_the_leftmost_place() {
        let tokens = vec![token(1, "ab"), token(2, "abc"), token(3, "bcd")];
        assert_eq!(
            parts(tokens, "xabcdab"),
            [(None, 0..1), (Some(2), 1..4), (None, 4..5), (Some(1), 5..7)]
        );
    }

    #[test]
    fn flags_are_followed() {
        let tokens = vec![
            AddedToken { single_word: true, ..token(1, "cat") },
            AddedToken { lstrip: true, ..token(2, "<l>") },
            AddedToken { rstrip: true, ..token(3, "<r>") },
        ];
        assert_eq!(parts(tokens.clone(), "cat"), [(Some(1), 0..3)]);
        assert_eq!(parts(tokens.clone(), "cats \u{E9}cat"), [(None, 0..10)]);
        assert_eq!(parts(tokens.clone(), "-cat-"), [(None, 0..1), (Some(1), 1..4), (None, 4..5)]);
        assert_eq!(
            parts(tokens, "a \u{3000}<l> <r>\n b"),
            [(None, 0..1), (Some(2), 1..8), (None, 8..9), (Some(3), 9..14), (None, 14..15)]
        );
    }

    #[test]
    fn what_looks_like_markup_is_control() {
        assert!(token(0, "<|fim_prefix|>").is_control());
        assert!(token(0, "[MASK]").is_control());
        assert!(!token(0, "   ").is_control());
        assert!(!token(0, "<>").is_control());
        assert!(AddedToken::control("x".to_owned(), 0).is_control());
    }

    #[test]
    fn names_that_are_not_there_suggest() {
        let added = Added::new(vec![token(1, "<|end|>")], &Normalizer::default()).unwrap();
        let error = added.set(["<|emd|>"], &Normalizer::default()).unwrap_err();
        assert!(error.to_string().contains("<|end|>"), "{error}");
        // two names of one id are both found, and the first in order is what it is decoded as
        let added = Added::new(vec![token(1, "b"), token(1, "a")], &Normalizer::default()).unwrap();
        assert_eq!(added.by_id(1).unwrap().content, "a");
        assert_eq!(added.by_content("b").unwrap().id, 1);
        assert!(Added::new(vec![token(1, "a"), token(2, "a")], &Normalizer::default()).is_err());
    }
}
