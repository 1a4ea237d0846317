//! The template of a `tokenizer.json`: ids before and after those of a text.

use lslm_runtime::{Error, Result, TokenId};
use serde_json::Value;

use crate::tokenizer::Tokenizer;

/// The ids before and after those of each text. See [`Tokenizer::template`].
///
/// ```
/// use lslm_bpe::Template;
///
/// let template = Template::new([1], [2]); // BOS and EOS
/// let (ids, offsets) = template.around_each(&[7, 8, 9], &[0, 2, 3]);
/// assert_eq!(ids, [1, 7, 8, 2, 1, 9, 2]);
/// assert_eq!(offsets, [0, 4, 7]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    before: Vec<TokenId>,
    after: Vec<TokenId>,
}

impl Tokenizer {
    /// Returns the template of the file that this tokenizer was loaded from; an empty one when it
    /// has none.
    ///
    /// Encoding never applies it by itself. [`Error::Invalid`] when the file's post-processor does
    /// something other than adding known ids around a text.
    pub fn template(&self) -> Result<Template> {
        let mut template = Template::default();
        template.add(&self.0.passthrough.post_processor, 0).map_err(Error::Invalid)?;
        for &id in template.before.iter().chain(&template.after) {
            self.token_bytes(id)?;
        }
        Ok(template)
    }
}

impl Template {
    /// Returns the template of these ids.
    pub fn new(
        before: impl IntoIterator<Item = TokenId>,
        after: impl IntoIterator<Item = TokenId>,
    ) -> Self {
        Self { before: before.into_iter().collect(), after: after.into_iter().collect() }
    }

    /// Returns the ids before those of a text.
    pub fn before(&self) -> &[TokenId] {
        &self.before
    }

    /// Returns the ids after those of a text.
    pub fn after(&self) -> &[TokenId] {
        &self.after
    }

    fn set(
        &mut self,
        before: Vec<TokenId>,
        after: Vec<TokenId>,
    ) -> std::result::Result<(), String> {
        if *self != Self::default() {
            return Err("a post-processor with more than one template is not supported".to_owned());
        }
        *self = Self { before, after };
        Ok(())
    }

    /// Adds the ids that the post-processor `value` adds around a text.
    fn add(&mut self, value: &Value, depth: usize) -> std::result::Result<(), String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("of no type");
        let broken = || {
            format!("the post-processor {kind:?} is broken: an entry is missing or of another type")
        };
        match kind {
            _ if value.is_null() => Ok(()),
            // It changes only offsets.
            "ByteLevel" => Ok(()),
            "Sequence" if depth < 16 => {
                let parts = value.get("processors").and_then(Value::as_array).ok_or_else(broken)?;
                parts.iter().try_for_each(|part| self.add(part, depth + 1))
            }
            "BertProcessing" | "RobertaProcessing" => {
                let id = |key: &str| value.get(key)?.get(1).and_then(id);
                let ids = id("cls").zip(id("sep")).ok_or_else(broken)?;
                self.set(vec![ids.0], vec![ids.1])
            }
            "TemplateProcessing" => {
                let (before, after) = around(value).ok_or_else(broken)?;
                self.set(before, after)
            }
            _ => Err(format!(
                "the post-processor {kind:?} is not supported; use TemplateProcessing, \
                 BertProcessing, RobertaProcessing, ByteLevel or Sequence"
            )),
        }
    }

    /// Returns the ids of many texts and their offsets with the template around each text.
    pub fn around_each(&self, ids: &[TokenId], offsets: &[i64]) -> (Vec<TokenId>, Vec<i64>) {
        let n_texts = offsets.len().saturating_sub(1);
        let n_added = self.before.len() + self.after.len();
        let mut all = Vec::with_capacity(ids.len() + n_texts * n_added);
        let mut all_offsets = Vec::with_capacity(offsets.len());
        all_offsets.push(0);
        for range in offsets.windows(2) {
            all.extend_from_slice(&self.before);
            all.extend_from_slice(&ids[range[0] as usize..range[1] as usize]);
            all.extend_from_slice(&self.after);
            all_offsets.push(all.len() as i64);
        }
        (all, all_offsets)
    }
}

fn id(value: &Value) -> Option<TokenId> {
    value.as_u64()?.try_into().ok()
}

/// Returns the ids before and after the text in the template for single texts.
fn around(value: &Value) -> Option<(Vec<TokenId>, Vec<TokenId>)> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut is_after = false;
    for part in value.get("single")?.as_array()? {
        if let Some(special) = part.get("SpecialToken") {
            let name = special.get("id")?.as_str()?;
            let ids = value.get("special_tokens")?.get(name)?.get("ids")?.as_array()?;
            let side = if is_after { &mut after } else { &mut before };
            for value in ids {
                side.push(id(value)?);
            }
        } else if part.get("Sequence").is_some() && !is_after {
            is_after = true;
        } else {
            return None;
        }
    }
    is_after.then_some((before, after))
}
