//! [`Normalizer`]: changes a text before it is pre-tokenized, by a Unicode normal form,
//! replacements or a prefix; most tokenizers have none.

use std::borrow::Cow;

use serde_json::Value;

use super::alignment::{Alignment, compose};
use super::matcher::Matcher;
use super::normal_form::NormalForm;

/// One step of normalisation.
#[derive(Clone, Debug)]
enum NormalizerStep {
    Form(NormalForm),
    Replace {
        matcher: Matcher,
        content: String,
    },
    Prepend(String),
    /// Puts a space for each U+2581, as vocabularies of characters are kept here.
    Spaces,
}

/// The normalisation of a tokenizer: steps applied in order; without steps, text is unchanged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normalizer {
    steps: Vec<NormalizerStep>,
    /// One string a step, for fingerprints; equal for equal normalizers.
    description: Vec<String>,
}

impl Normalizer {
    /// Returns the normalizer of a `tokenizer.json`'s entry; an error names what is not supported.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let mut normalizer = Self::default();
        normalizer.add(value, 0)?;
        Ok(normalizer)
    }

    /// Adds the step of one entry, or those of a "Sequence" at depth `depth`.
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
            "NFC" => NormalizerStep::Form(NormalForm::Nfc),
            "NFD" => NormalizerStep::Form(NormalForm::Nfd),
            "NFKC" => NormalizerStep::Form(NormalForm::Nfkc),
            "NFKD" => NormalizerStep::Form(NormalForm::Nfkd),
            "Replace" => {
                let matcher = Matcher::from_json(value.get("pattern"))?;
                let Some(content) = value.get("content").and_then(Value::as_str) else {
                    return Err("the normalizer \"Replace\" has no \"content\"".to_owned());
                };
                NormalizerStep::Replace { matcher, content: content.to_owned() }
            }
            "Prepend" => match value.get("prepend").and_then(Value::as_str) {
                Some(text) => NormalizerStep::Prepend(text.to_owned()),
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
            NormalizerStep::Form(form) => format!("{form:?}"),
            NormalizerStep::Replace { matcher, content } => {
                format!("Replace {matcher} {content:?}")
            }
            NormalizerStep::Prepend(text) => format!("Prepend {text:?}"),
            NormalizerStep::Spaces => "Spaces".to_owned(),
        });
        self.steps.push(step);
        Ok(())
    }

    /// Returns the normalizer of a vocabulary of characters, in which U+2581 stands for a space: its result
    /// has the space instead. And whether it leaves no spaces by itself.
    pub(crate) fn with_spaces(mut self) -> (Self, bool) {
        let is_space = |step: &NormalizerStep| {
            matches!(step, NormalizerStep::Replace { matcher, content }
                if matcher.is(" ") && content == "\u{2581}")
        };
        let replaces = self.steps.iter().any(is_space);
        // At the end both become spaces anyway.
        while self.steps.last().is_some_and(is_space) {
            self.steps.pop();
            self.description.pop();
        }
        if let [NormalizerStep::Prepend(text)] = &mut self.steps[..] {
            *text = text.replace('\u{2581}', " ");
        }
        self.steps.push(NormalizerStep::Spaces);
        self.description.push("Spaces".to_owned());
        (self, replaces)
    }

    /// Returns what decides the result, for fingerprints: one string a step, equal for equal
    /// normalizers.
    pub(crate) fn description(&self) -> &[String] {
        &self.description
    }

    /// Returns whether no text is changed.
    pub(crate) fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns `text` normalised; borrowed if nothing changes.
    ///
    /// Bytes that are not UTF-8 stay, and compose with no character.
    pub(crate) fn apply<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            if let Some(changed) = step.apply(&text)? {
                text = Cow::Owned(changed);
            }
        }
        Ok(text)
    }

    /// Returns the same with its alignment, which is `None` if nothing changes.
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

impl NormalizerStep {
    /// Returns the changed text, or `None` if it is unchanged.
    fn apply(&self, text: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Form(form) => Ok(form.apply(text)),
            Self::Prepend(_) if text.is_empty() => Ok(None),
            Self::Prepend(prefix) => Ok(Some([prefix.as_bytes(), text].concat())),
            Self::Spaces => {
                if space_marks(text).next().is_none() {
                    return Ok(None);
                }
                Ok(Some(self.apply_aligned(text)?.0))
            }
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

    /// Returns the changed text and its alignment.
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
            Self::Spaces => {
                let mut done = 0;
                for start in space_marks(text) {
                    copy_aligned(text, done..start, &mut changed, &mut alignment);
                    changed.push(b' ');
                    done = start + '\u{2581}'.len_utf8();
                    alignment.push((changed.len(), done));
                }
                copy_aligned(text, done..text.len(), &mut changed, &mut alignment);
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

/// Returns where U+2581 is in `text`.
fn space_marks(text: &[u8]) -> impl Iterator<Item = usize> {
    let is_mark = move |at: &usize| text[*at..].starts_with("\u{2581}".as_bytes());
    (0..text.len()).filter(move |&at| text[at] == 0xE2).filter(is_mark)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::alignment::origin;
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
    fn ill_formed_bytes_stay_and_compose_with_nothing() {
        assert_eq!(
            &*nfc().apply(b"e\xCC\x81\xFFe\xCC\x81\xE4\xB8").unwrap(),
            b"\xC3\xA9\xFF\xC3\xA9\xE4\xB8"
        );
    }

    #[test]
    fn characters_after_unicode_9_separate_the_text_around_them() {
        // As in tokenizers 0.23.3; today's Unicode would reorder the two, or compose them.
        for text in ["\u{93C}\u{16FF0}", "\u{105D2}\u{307}", "e\u{16FF0}\u{301}"] {
            assert!(matches!(nfc().apply(text.as_bytes()).unwrap(), Cow::Borrowed(_)));
        }
        let text = "e\u{301}\u{93C}\u{16FF0}e\u{301}";
        let expected = "\u{E9}\u{93C}\u{16FF0}\u{E9}";
        assert_eq!(&*nfc().apply(text.as_bytes()).unwrap(), expected.as_bytes());
    }

    #[test]
    fn the_steps_of_a_sequence_apply_in_order() {
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
    fn an_unsupported_normalizer_is_named_in_the_error() {
        let error = Normalizer::from_json(&json!({"type": "BertNormalizer"})).unwrap_err();
        assert!(error.contains("BertNormalizer"), "{error}");
    }

    proptest! {
        /// The alignment covers both texts.
        #[test]
        fn parts_normalised_separately_are_the_whole_normalised(text in "[a\u{301}\u{323}\u{E9}\u{1100}\u{1161}\u{11A8}\u{AC00}\u{AC01}\u{FB01}\u{1E9B}\u{93C}\u{16FF0}\u{105D2}\u{307}]{0,12}", form in 0..4) {
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
