//! What happens to text before it is split: nothing, a Unicode normal form, or small rewritings.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use icu_normalizer::properties::{
    CanonicalCombiningClassMapBorrowed, CanonicalCompositionBorrowed,
    CanonicalDecompositionBorrowed, Decomposed,
};
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use serde_json::Value;

use super::unicode9::is_newer;
use crate::normalize::matcher::Matcher;

/// One step of normalisation.
#[derive(Clone, Debug)]
enum Step {
    Form(Form),
    Replace { matcher: Matcher, content: String },
    Prepend(String),
}

/// A Unicode normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

/// The normalisation of a tokenizer: steps that follow each other; most have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normalizer {
    steps: Vec<Step>,
    /// what decides the result, in words that are equal for equal normalisers
    description: Vec<String>,
}

/// Where each place of a normalised text came from: pairs of (place there, place in the original),
/// ascending in both.
pub(crate) type Alignment = Vec<(usize, usize)>;

impl Normalizer {
    /// The normaliser of a `tokenizer.json`'s entry; an error names what is not supported.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let mut normalizer = Self::default();
        normalizer.add(value, 0)?;
        Ok(normalizer)
    }

    fn add(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("of no type");
        let step = match kind {
            "Sequence" if depth < 16 => {
                let Some(parts) = value.get("normalizers").and_then(Value::as_array) else {
                    return Err("the normalizer \"Sequence\" has no \"normalizers\"".to_owned());
                };
                return parts.iter().try_for_each(|part| self.add(part, depth + 1));
            }
            "NFC" => Step::Form(Form::Nfc),
            "NFD" => Step::Form(Form::Nfd),
            "NFKC" => Step::Form(Form::Nfkc),
            "NFKD" => Step::Form(Form::Nfkd),
            "Replace" => {
                let matcher = Matcher::from_json(value.get("pattern"))?;
                let Some(content) = value.get("content").and_then(Value::as_str) else {
                    return Err("the normalizer \"Replace\" has no \"content\"".to_owned());
                };
                Step::Replace { matcher, content: content.to_owned() }
            }
            "Prepend" => match value.get("prepend").and_then(Value::as_str) {
                Some(text) => Step::Prepend(text.to_owned()),
                None => return Err("the normalizer \"Prepend\" has no \"prepend\"".to_owned()),
            },
            _ => {
                return Err(format!(
                    "the normalizer {kind:?} is not supported; known are NFC, NFD, NFKC, NFKD, \
                     Replace, Prepend and Sequence"
                ));
            }
        };
        self.description.push(match &step {
            Step::Form(form) => format!("{form:?}"),
            Step::Replace { matcher, content } => format!("Replace {matcher} {content:?}"),
            Step::Prepend(text) => format!("Prepend {text:?}"),
        });
        self.steps.push(step);
        Ok(())
    }

    /// What decides the result; equal for equal normalisers, and one string a step.
    pub(crate) fn description(&self) -> &[String] {
        &self.description
    }

    /// Whether nothing is ever changed.
    pub(crate) fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// `text` normalised; borrowed when it is so already.
    ///
    /// Bytes that are not UTF-8 stay as they are and act as characters that join with nothing.
    pub(crate) fn apply<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            if let Some(changed) = step.apply(&text)? {
                text = Cow::Owned(changed);
            }
        }
        Ok(text)
    }

    /// The same with the alignment, which is `None` when nothing was changed.
    pub(crate) fn apply_aligned<'a>(
        &self,
        text: &'a [u8],
    ) -> Result<(Cow<'a, [u8]>, Option<Alignment>), String> {
        let mut text = Cow::Borrowed(text);
        let mut alignment: Option<Alignment> = None;
        for step in &self.steps {
            if step.apply(&text)?.is_none() {
                continue;
            }
            let (changed, own) = step.apply_aligned(&text)?;
            alignment = Some(match alignment {
                None => own,
                Some(before) => compose(&before, &own),
            });
            text = Cow::Owned(changed);
        }
        Ok((text, alignment))
    }
}

/// The alignment of two steps, the second's places being the first's.
fn compose(first: &[(usize, usize)], second: &[(usize, usize)]) -> Alignment {
    second
        .iter()
        .filter_map(|&(place, middle)| {
            let found = first.partition_point(|&(there, _)| there < middle);
            // a cut that the first step does not have is none of both together
            first
                .get(found)
                .filter(|&&(there, _)| there == middle)
                .map(|&(_, origin)| (place, origin))
        })
        .collect()
}

/// The part of the original that `start..end` of the normalised text came from.
pub(crate) fn origin(alignment: &[(usize, usize)], start: usize, end: usize) -> (usize, usize) {
    let from = alignment.partition_point(|&(there, _)| there <= start);
    let to = alignment.partition_point(|&(there, _)| there < end);
    let from = from.checked_sub(1).and_then(|i| alignment.get(i)).map_or(0, |&(_, origin)| origin);
    let to = alignment.get(to).or(alignment.last()).map_or(from, |&(_, origin)| origin);
    (from, to.max(from))
}

impl Step {
    /// The changed text, or `None` when it stays as it is.
    fn apply(&self, text: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Form(form) => Ok(form.apply(text)),
            Self::Prepend(_) if text.is_empty() => Ok(None),
            Self::Prepend(prefix) => Ok(Some([prefix.as_bytes(), text].concat())),
            Self::Replace { matcher, content } => {
                let found = matcher.find_all(text)?;
                if found.is_empty() {
                    return Ok(None);
                }
                let mut changed = Vec::with_capacity(text.len());
                let mut done = 0;
                for (start, end) in found {
                    changed.extend_from_slice(&text[done..start]);
                    changed.extend_from_slice(content.as_bytes());
                    done = end;
                }
                changed.extend_from_slice(&text[done..]);
                Ok(Some(changed))
            }
        }
    }

    fn apply_aligned(&self, text: &[u8]) -> Result<(Vec<u8>, Alignment), String> {
        let mut alignment = vec![(0, 0)];
        let mut changed = Vec::with_capacity(text.len());
        match self {
            Self::Form(form) => {
                let mut start = 0;
                for end in form.boundaries(text) {
                    let part = &text[start..end];
                    match form.apply(part) {
                        Some(part) => changed.extend(part),
                        None => changed.extend_from_slice(part),
                    }
                    alignment.push((changed.len(), end));
                    start = end;
                }
            }
            Self::Prepend(prefix) => {
                changed.extend_from_slice(prefix.as_bytes());
                alignment.push((changed.len(), 0));
                copy_aligned(text, 0..text.len(), &mut changed, &mut alignment);
            }
            Self::Replace { matcher, content } => {
                let mut done = 0;
                for (start, end) in matcher.find_all(text)? {
                    copy_aligned(text, done..start, &mut changed, &mut alignment);
                    changed.extend_from_slice(content.as_bytes());
                    alignment.push((changed.len(), end));
                    done = end;
                }
                copy_aligned(text, done..text.len(), &mut changed, &mut alignment);
            }
        }
        Ok((changed, alignment))
    }
}

/// Copies `range` of `text` with a cut after each byte.
fn copy_aligned(
    text: &[u8],
    range: std::ops::Range<usize>,
    changed: &mut Vec<u8>,
    alignment: &mut Alignment,
) {
    for place in range {
        changed.push(text[place]);
        alignment.push((changed.len(), place + 1));
    }
}

impl Form {
    fn apply(self, text: &[u8]) -> Option<Vec<u8>> {
        // ASCII is in every normal form
        if text.is_ascii() {
            return None;
        }
        if let Ok(text) = std::str::from_utf8(text) {
            if self == Self::Nfc && is_plain(text) {
                return None;
            }
            return match self.normalize(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed.into_bytes()),
            };
        }
        // copied only as far as something changes: ill-formed bytes may be many
        let mut changed: Option<Vec<u8>> = None;
        let (mut start, mut copied) = (0, 0);
        for chunk in text.utf8_chunks() {
            let end = start + chunk.valid().len();
            if !chunk.valid().is_ascii()
                && let Cow::Owned(part) = self.normalize(chunk.valid())
            {
                let changed = changed.get_or_insert_default();
                changed.extend_from_slice(&text[copied..start]);
                changed.extend_from_slice(part.as_bytes());
                copied = end;
            }
            start = end + chunk.invalid().len();
        }
        if let Some(changed) = &mut changed {
            changed.extend_from_slice(&text[copied..]);
        }
        changed
    }

    /// The normal form as Hugging Face's library knows it, where newer characters stand for
    /// themselves and part what is before and behind them.
    ///
    /// Text that is in today's normal form is in the older one too: its parts have no more to
    /// reorder, decompose or join than the whole. So only changed text is looked through.
    fn normalize(self, text: &str) -> Cow<'_, str> {
        let today = self.today(text);
        if matches!(today, Cow::Borrowed(_)) || !text.contains(is_newer) {
            return today;
        }
        let mut changed = String::with_capacity(text.len());
        for part in text.split_inclusive(is_newer) {
            let newer = part.chars().next_back().filter(|&c| is_newer(c));
            let known = &part[..part.len() - newer.map_or(0, char::len_utf8)];
            changed.push_str(&self.today(known));
            changed.extend(newer);
        }
        if changed == text { Cow::Borrowed(text) } else { Cow::Owned(changed) }
    }

    /// The normal form as of the newest Unicode.
    fn today(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Nfc => ComposingNormalizerBorrowed::new_nfc().normalize(text),
            Self::Nfkc => ComposingNormalizerBorrowed::new_nfkc().normalize(text),
            Self::Nfd => DecomposingNormalizerBorrowed::new_nfd().normalize(text),
            Self::Nfkd => DecomposingNormalizerBorrowed::new_nfkd().normalize(text),
        }
    }

    /// Ends of parts of `text` that can be normalised each by itself.
    ///
    /// A part may end before a character whose decomposition begins with a starter that composes
    /// with nothing before it. Which characters do compose backwards is read off the canonical
    /// decompositions of all characters, so the rule needs no table of its own.
    fn boundaries(self, text: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut place = 0;
        for chunk in text.utf8_chunks() {
            for (offset, c) in chunk.valid().char_indices() {
                if place + offset > 0 && self.starts_part(c) {
                    ends.push(place + offset);
                }
            }
            place += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                if place > 0 {
                    ends.push(place);
                }
                place += chunk.invalid().len();
                ends.push(place);
            }
        }
        ends.push(text.len());
        ends.dedup();
        ends
    }

    fn starts_part(self, c: char) -> bool {
        if c.is_ascii() || is_newer(c) {
            return true;
        }
        let mut buffer = [0; 4];
        let form = if matches!(self, Self::Nfc | Self::Nfd) { Self::Nfd } else { Self::Nfkd };
        let first = form.normalize(c.encode_utf8(&mut buffer)).chars().next().unwrap_or(c);
        is_starter(first) && !composes_backwards(first)
    }
}

/// Whether `text` is made of characters alone that NFC leaves as they are beside any others, as most
/// text is. False says nothing.
fn is_plain(text: &str) -> bool {
    let plain = plain();
    let bytes = text.as_bytes();
    let mut place = 0;
    while let Some(&first) = bytes.get(place) {
        if first < 0x80 {
            let ascii = bytes[place..].first_chunk().is_some_and(|chunk: &[u8; 8]| {
                u64::from_le_bytes(*chunk) & 0x8080_8080_8080_8080 == 0
            });
            place += if ascii { 8 } else { 1 };
            continue;
        }
        let inner = |i: usize| bytes.get(place + i).map_or(0, |&byte| usize::from(byte & 0x3F));
        let first = usize::from(first);
        let (c, length) = match first {
            0xC0..0xE0 => ((first & 0x1F) << 6 | inner(1), 2),
            0xE0..0xF0 => ((first & 0xF) << 12 | inner(1) << 6 | inner(2), 3),
            _ => return false,
        };
        if plain[c / 64] >> (c % 64) & 1 == 0 {
            return false;
        }
        place += length;
    }
    true
}

/// A bit for each character below U+10000: NFC leaves it as it is, and it joins with nothing before
/// it.
fn plain() -> &'static [u64; 1 << 10] {
    static PLAIN: OnceLock<Box<[u64; 1 << 10]>> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let decompositions = CanonicalDecompositionBorrowed::new();
        let compositions = CanonicalCompositionBorrowed::new();
        let mut plain = Box::new([u64::MAX; 1 << 10]);
        let mut clear = |c: char| {
            if let Some(word) = plain.get_mut(c as usize / 64) {
                *word &= !(1 << (c as usize % 64));
            }
        };
        for c in '\0'..='\u{FFFF}' {
            match decompositions.decompose(c) {
                _ if !is_starter(c) => clear(c),
                Decomposed::Default => {}
                Decomposed::Expansion(a, b) if compositions.compose(a, b) == Some(c) => clear(b),
                _ => clear(c),
            }
        }
        plain
    })
}

fn is_starter(c: char) -> bool {
    CanonicalCombiningClassMapBorrowed::new().get_u8(c) == 0
}

/// Whether `c` is the second half of some character's canonical decomposition.
fn composes_backwards(c: char) -> bool {
    static SECONDS: OnceLock<HashSet<char>> = OnceLock::new();
    let seconds = SECONDS.get_or_init(|| {
        let decompositions = CanonicalDecompositionBorrowed::new();
        let compositions = CanonicalCompositionBorrowed::new();
        let second = |c| match decompositions.decompose(c) {
            Decomposed::Expansion(a, b) if compositions.compose(a, b).is_some() => Some(b),
            _ => None,
        };
        ('\0'..=char::MAX).filter_map(second).collect()
    });
    seconds.contains(&c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nfc() -> Normalizer {
        Normalizer::from_json(&json!({"type": "NFC"})).unwrap()
    }

    #[test]
    fn text_in_normal_form_is_borrowed() {
        for text in ["", "plain", "caf\u{E9} \u{4E2D}\u{6587}"] {
            assert!(matches!(nfc().apply(text.as_bytes()).unwrap(), Cow::Borrowed(_)));
        }
        assert_eq!(&*nfc().apply("cafe\u{301}".as_bytes()).unwrap(), "caf\u{E9}".as_bytes());
    }

    #[test]
    fn common_characters_are_plain_and_others_are_not() {
        assert!(is_plain("12345678 “caf\u{E9}” — 中文，カ Ж"));
        for c in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let text = &*c.encode_utf8(&mut buffer);
            let alone =
                Form::Nfc.starts_part(c) && matches!(Form::Nfc.normalize(text), Cow::Borrowed(_));
            if c <= '\u{FFFF}' {
                // today's class of a newer character may say that it joins
                assert!(is_plain(text) == alone || is_newer(c) && alone, "{c:?}");
            } else {
                assert!(!is_plain(text));
            }
        }
    }

    #[test]
    fn bytes_that_are_not_text_stay() {
        assert_eq!(
            &*nfc().apply(b"e\xCC\x81\xFFe\xCC\x81\xE4\xB8").unwrap(),
            b"\xC3\xA9\xFF\xC3\xA9\xE4\xB8"
        );
    }

    #[test]
    fn newer_characters_part_what_is_around_them() {
        // as tokenizers 0.23.3: today's Unicode would exchange the two, or join them
        for text in ["\u{93C}\u{16FF0}", "\u{105D2}\u{307}", "e\u{16FF0}\u{301}"] {
            assert!(matches!(nfc().apply(text.as_bytes()).unwrap(), Cow::Borrowed(_)));
        }
        let text = "e\u{301}\u{93C}\u{16FF0}e\u{301}";
        let expected = "\u{E9}\u{93C}\u{16FF0}\u{E9}";
        assert_eq!(&*nfc().apply(text.as_bytes()).unwrap(), expected.as_bytes());
    }

    #[test]
    fn steps_follow_each_other() {
        let normalizer = Normalizer::from_json(&json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "_"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
            {"type": "Replace", "pattern": {"Regex": "\\d+"}, "content": ""},
        ]}))
        .unwrap();
        let (text, alignment) = normalizer.apply_aligned(b"a 12 b").unwrap();
        assert_eq!(&*text, b"_a__b");
        let alignment = alignment.unwrap();
        assert_eq!(origin(&alignment, 0, 2), (0, 1));
        assert_eq!(origin(&alignment, 1, 2), (0, 1));
        assert_eq!(origin(&alignment, 4, 5), (5, 6));
        assert_eq!(&*normalizer.apply(b"").unwrap(), b"");
    }

    #[test]
    fn unknown_ones_are_named() {
        let error = Normalizer::from_json(&json!({"type": "BertNormalizer"})).unwrap_err();
        assert!(error.contains("BertNormalizer"), "{error}");
    }

    proptest! {
        /// What is said to be plain is left as it is by the normal form.
        #[test]
        fn plain_text_stays(text in "[a\u{301}\u{E9}\u{4E00}-\u{4EFF}\u{2014}\u{3099}\u{304B}\u{AC00}\u{11A8}\u{212B}\u{1F600}]{0,9}") {
            prop_assert!(!is_plain(&text) || Form::Nfc.today(&text) == text);
        }

        /// Normalising part by part gives the whole, and the alignment covers both texts.
        #[test]
        fn parts_make_the_whole(text in "[a\u{301}\u{323}\u{E9}\u{1100}\u{1161}\u{11A8}\u{AC00}\u{AC01}\u{FB01}\u{1E9B}\u{93C}\u{16FF0}\u{105D2}\u{307}]{0,12}", form in 0..4) {
            let form = ["NFC", "NFD", "NFKC", "NFKD"][form as usize];
            let normalizer = Normalizer::from_json(&json!({"type": form})).unwrap();
            let whole = normalizer.apply(text.as_bytes()).unwrap();
            let (parts, alignment) = normalizer.apply_aligned(text.as_bytes()).unwrap();
            prop_assert_eq!(&whole, &parts);
            if let Some(alignment) = alignment {
                prop_assert!(alignment.is_sorted());
                prop_assert_eq!(alignment.last().copied(), Some((parts.len(), text.len())));
                prop_assert_eq!(origin(&alignment, 0, parts.len()), (0, text.len()));
            }
        }
    }
}
