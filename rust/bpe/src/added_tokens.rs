//! Added tokens: strings with ids of their own, whatever the merges are.
//!
//! Those that control a model, the *special tokens*, become ids in a text only when the caller
//! wants it ([`Special`]), so that no text can control a model by accident. An added token is one
//! when its file marks it special, or when it looks like markup (`<…>` or `[…]`): published files
//! lack the mark on tokens such as `<|fim_prefix|>`. The others, such as runs of spaces, are
//! ordinary vocabulary and always found.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};
use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result, TokenId};
use serde::{Deserialize, Serialize};

use crate::normalize::Normalizer;
use crate::normalize::matcher::Matcher;
use crate::vocab::vocabulary::MAX_IDS;

/// Which special tokens in a text become their ids.
///
/// ```
/// use lslm_bpe::{Special, Tokenizer};
///
/// # fn main() -> lslm_runtime::Result<()> {
/// # let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// # let pattern = lslm_bpe::pretokenize::Pattern::named("gpt2").unwrap();
/// let tokenizer = Tokenizer::new(&bytes, &[], pattern, &[("<|end|>".to_owned(), 256)])?;
/// let encode = |special: &Special| tokenizer.encode(b"<|end|>", special, &Default::default());
/// assert_eq!(encode(&Special::All)?, [256]);
/// assert_eq!(encode(&tokenizer.special_set(["<|end|>"])?)?, [256]);
/// assert_eq!(encode(&Special::None)?.len(), 7); // plain text, a byte an id
/// assert!(encode(&Special::Raise).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub enum Special {
    /// None: they are text like any other. The text is not even searched for them.
    #[default]
    None,
    /// All of them.
    All,
    /// None, and a text that contains one is an [`Error::Invalid`].
    Raise,
    /// Those of a set, made by [`crate::Tokenizer::special_set`].
    Set(SpecialSet),
}

/// Some of a tokenizer's special tokens.
#[derive(Clone, Debug)]
pub struct SpecialSet(pub(crate) Arc<Scanners>);

/// An added token as files describe it.
#[allow(clippy::struct_excessive_bools)] // the format's flags, independent of each other
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddedToken {
    pub(crate) id: TokenId,
    pub(crate) content: String,
    /// Whether it is found only where no word character is next to it.
    #[serde(default)]
    pub(crate) single_word: bool,
    /// Whether it also consumes the white space before it.
    #[serde(default)]
    pub(crate) lstrip: bool,
    /// Whether it also consumes the white space after it.
    #[serde(default)]
    pub(crate) rstrip: bool,
    /// Whether it is searched for in the normalised text.
    #[serde(default)]
    pub(crate) normalized: bool,
    /// Whether its file marks it special; see [`AddedToken::is_special`].
    #[serde(default)]
    pub(crate) special: bool,
}

impl AddedToken {
    /// Returns a special token without conditions, as tiktoken's are.
    pub(crate) fn special(content: String, id: TokenId) -> Self {
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

    /// Whether it becomes an id only when [`Special`] says so.
    pub(crate) fn is_special(&self) -> bool {
        let text = self.content.as_bytes();
        let is_markup = matches!(
            (text.first(), text.last()),
            (Some(b'<'), Some(b'>')) | (Some(b'['), Some(b']'))
        );
        self.special || (is_markup && text.len() > 2)
    }
}

/// All added tokens of a tokenizer, with scanners that find them.
#[derive(Clone, Debug)]
pub(crate) struct AddedTokens {
    /// In ascending order of the ids.
    pub(crate) tokens: Vec<AddedToken>,
    by_content: HashMap<String, usize>,
    by_id: HashMap<TokenId, usize>,
    /// Finds those that are not special.
    plain: Arc<Scanners>,
    /// Finds all.
    all: Arc<Scanners>,
}

impl AddedTokens {
    /// Returns the added tokens `tokens`; an error names one that is empty, has too large an id, or
    /// is listed twice.
    pub(crate) fn new(
        mut tokens: Vec<AddedToken>,
        normalizer: &Normalizer,
    ) -> std::result::Result<Self, String> {
        tokens.sort_by(|one, other| (one.id, &one.content).cmp(&(other.id, &other.content)));
        let mut by_content = HashMap::new();
        let mut by_id = HashMap::new();
        for (index, token) in tokens.iter().enumerate() {
            let AddedToken { id, content, .. } = token;
            if content.is_empty() {
                return Err(format!("the added token with id {id} is empty"));
            }
            if *id >= MAX_IDS {
                return Err(format!(
                    "the added token {content:?} has the id {id}; ids must be below {MAX_IDS}"
                ));
            }
            if by_content.insert(content.clone(), index).is_some() {
                return Err(format!("the added token {content:?} is listed twice"));
            }
            // Two names may have one id, as in o200k_harmony; it is decoded as the first of them.
            by_id.entry(*id).or_insert(index);
        }
        let plain = Scanners::new(&tokens, |token| !token.is_special(), normalizer)?;
        let all = Scanners::new(&tokens, |_| true, normalizer)?;
        Ok(Self { tokens, by_content, by_id, plain: Arc::new(plain), all: Arc::new(all) })
    }

    /// Returns the added token that is written `content`.
    pub(crate) fn by_content(&self, content: &str) -> Option<&AddedToken> {
        self.by_content.get(content).map(|&index| &self.tokens[index])
    }

    /// Returns the added token with `id`, the first of several.
    pub(crate) fn by_id(&self, id: TokenId) -> Option<&AddedToken> {
        self.by_id.get(&id).map(|&index| &self.tokens[index])
    }

    /// Iterates over the special tokens.
    pub(crate) fn specials(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().filter(|token| token.is_special())
    }

    /// Returns the scanners for what `special` lets become ids.
    pub(crate) fn scanners<'a>(&'a self, special: &'a Special) -> &'a Scanners {
        match special {
            Special::None => &self.plain,
            Special::All | Special::Raise => &self.all,
            Special::Set(set) => &set.0,
        }
    }

    /// Returns the set of the special tokens `names`; the error for an unknown name suggests one.
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
        let wanted = |token: &AddedToken| !token.is_special() || chosen.contains(&token.id);
        let scanners = Scanners::new(&self.tokens, wanted, normalizer).map_err(Error::Invalid)?;
        Ok(SpecialSet(Arc::new(scanners)))
    }
}

/// Finds added tokens: some in the raw text, some in the normalised text.
#[derive(Clone, Debug)]
pub(crate) struct Scanners {
    pub(crate) raw: Option<Scanner>,
    pub(crate) normalized: Option<Scanner>,
}

impl Scanners {
    fn new(
        tokens: &[AddedToken],
        is_wanted: impl Fn(&AddedToken) -> bool,
        normalizer: &Normalizer,
    ) -> std::result::Result<Self, String> {
        let wanted = |normalized: bool| -> Vec<&AddedToken> {
            let fits = |token: &&AddedToken| token.normalized == normalized && is_wanted(token);
            tokens.iter().filter(fits).collect()
        };
        let raw = wanted(false);
        let contents: Vec<&[u8]> = raw.iter().map(|token| token.content.as_bytes()).collect();
        let normalized = wanted(true);
        let normal = normalized
            .iter()
            .map(|token| normalizer.apply(token.content.as_bytes()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let normal: Vec<&[u8]> = normal.iter().map(AsRef::as_ref).collect();
        Ok(Self {
            raw: Scanner::new(&raw, &contents)?,
            normalized: Scanner::new(&normalized, &normal)?,
        })
    }
}

/// A part of a text: an added token, or the text between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Token { id: TokenId, is_special: bool, range: Range<usize> },
    Text(Range<usize>),
}

/// Finds some added tokens in one pass.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    automaton: AhoCorasick,
    /// By pattern of the automaton: its token, and whether that is special.
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
        let tokens = tokens.iter().map(|&token| (token.clone(), token.is_special())).collect();
        Ok(Some(Self { automaton, tokens }))
    }

    /// Calls `f` with the parts of `text`: up to the leftmost token, the longest one there, and so
    /// on from its end.
    pub(crate) fn for_each(
        &self,
        text: &[u8],
        mut f: impl FnMut(Part) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            let (token, is_special) = &self.tokens[found.pattern().as_usize()];
            let (mut start, mut end) = (found.start(), found.end());
            if start == end {
                // The normal form of this token is empty.
                continue;
            }
            if token.single_word && (word_ends(&text[..start]) || word_begins(&text[end..])) {
                continue;
            }
            if token.lstrip {
                start = done.max(start - white_space_at_end(&text[..start]));
            }
            if token.rstrip {
                end += white_space_at_start(&text[end..]);
            }
            if done < start {
                f(Part::Text(done..start))?;
            }
            // White space that one token consumes can be another token. As in Hugging Face's library
            // that one is dropped when nothing is left of it, and else found all the same.
            if start < end {
                f(Part::Token { id: token.id, is_special: *is_special, range: start..end })?;
            }
            done = end.max(start);
        }
        if done < text.len() {
            f(Part::Text(done..text.len()))?;
        }
        Ok(())
    }
}

/// Returns the first character of `text`, or U+FFFD if it does not begin with one.
fn first_character(text: &[u8]) -> Option<char> {
    let chunk = text[..text.len().min(4)].utf8_chunks().next()?;
    Some(chunk.valid().chars().next().unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Returns the last character of `text`, or U+FFFD if it does not end with one.
fn last_character(text: &[u8]) -> Option<char> {
    if text.is_empty() {
        return None;
    }
    let max_len = text.len().min(4);
    let whole = (1..=max_len).find_map(|len| {
        let tail = std::str::from_utf8(&text[text.len() - len..]).ok()?;
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

/// Returns the number of bytes of white space that `text` begins with.
fn white_space_at_start(text: &[u8]) -> usize {
    let mut size = 0;
    while let Some(c) = first_character(&text[size..]).filter(|c| c.is_whitespace()) {
        size += c.len_utf8();
    }
    size
}

/// Returns the number of bytes of white space that `text` ends with.
fn white_space_at_end(text: &[u8]) -> usize {
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
        AddedToken { special: false, ..AddedToken::special(content.to_owned(), id) }
    }

    fn parts(tokens: Vec<AddedToken>, text: &str) -> Vec<(Option<TokenId>, Range<usize>)> {
        let added = AddedTokens::new(tokens, &Normalizer::default()).unwrap();
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
    fn the_leftmost_token_and_the_longest_there_is_found() {
        let tokens = vec![token(1, "ab"), token(2, "abc"), token(3, "bcd")];
        assert_eq!(
            parts(tokens, "xabcdab"),
            [(None, 0..1), (Some(2), 1..4), (None, 4..5), (Some(1), 5..7)]
        );
    }

    #[test]
    fn the_flags_decide_where_a_token_is_found_and_what_it_consumes() {
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
    fn markup_is_special_without_the_mark() {
        assert!(token(0, "<|fim_prefix|>").is_special());
        assert!(token(0, "[MASK]").is_special());
        assert!(!token(0, "   ").is_special());
        assert!(!token(0, "<>").is_special());
        assert!(AddedToken::special("x".to_owned(), 0).is_special());
    }

    #[test]
    fn an_unknown_name_is_an_error_with_a_suggestion() {
        let added = AddedTokens::new(vec![token(1, "<|end|>")], &Normalizer::default()).unwrap();
        let error = added.set(["<|emd|>"], &Normalizer::default()).unwrap_err();
        assert!(error.to_string().contains("<|end|>"), "{error}");
        // Two names of one id are both found; it is decoded as the first in order.
        let added =
            AddedTokens::new(vec![token(1, "b"), token(1, "a")], &Normalizer::default()).unwrap();
        assert_eq!(added.by_id(1).unwrap().content, "a");
        assert_eq!(added.by_content("b").unwrap().id, 1);
        assert!(
            AddedTokens::new(vec![token(1, "a"), token(2, "a")], &Normalizer::default()).is_err()
        );
    }
}
