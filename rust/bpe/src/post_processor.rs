//! The ids that a file's post-processor puts around a text, for whoever asks for them.

use lslm_runtime::{Error, Result};
use serde_json::Value;

use crate::TokenId;
use crate::tokenizer::Tokenizer;

/// What stands before and behind the ids of a text. Made by [`Tokenizer::template`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    before: Vec<TokenId>,
    after: Vec<TokenId>,
}

impl Tokenizer {
    /// The template of the file that this tokenizer came from; an empty one when it has none.
    ///
    /// Encoding never applies it by itself. [`Error::Invalid`] names a post-processor that puts
    /// something else around a text than known ids.
    pub fn template(&self) -> Result<Template> {
        let mut template = Template::default();
        template.add(&self.0.kept.post_processor, 0).map_err(Error::Invalid)?;
        for &id in template.before.iter().chain(&template.after) {
            self.token_bytes(id)?;
        }
        Ok(template)
    }
}

impl Template {
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

    /// Takes what `value` puts around a text.
    fn add(&mut self, value: &Value, depth: usize) -> std::result::Result<(), String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("of no type");
        let broken = || format!("the post-processor {kind:?} is broken");
        match kind {
            _ if value.is_null() => Ok(()),
            // it changes offsets alone
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
                "the post-processor {kind:?} is not supported; known are TemplateProcessing, \
                 BertProcessing, RobertaProcessing, ByteLevel and Sequence"
            )),
        }
    }

    /// The ids of many texts and their offsets with the template around each of them.
    pub fn around_each(&self, ids: &[TokenId], offsets: &[i64]) -> (Vec<TokenId>, Vec<i64>) {
        let texts = offsets.len().saturating_sub(1);
        let more = self.before.len() + self.after.len();
        let mut all = Vec::with_capacity(ids.len() + texts * more);
        let mut places = Vec::with_capacity(offsets.len());
        places.push(0);
        for range in offsets.windows(2) {
            all.extend_from_slice(&self.before);
            all.extend_from_slice(&ids[range[0] as usize..range[1] as usize]);
            all.extend_from_slice(&self.after);
            places.push(all.len() as i64);
        }
        (all, places)
    }
}

fn id(value: &Value) -> Option<TokenId> {
    value.as_u64()?.try_into().ok()
}

/// The ids before and behind the one text in the template for single texts.
fn around(value: &Value) -> Option<(Vec<TokenId>, Vec<TokenId>)> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut behind = false;
    for piece in value.get("single")?.as_array()? {
        if let Some(special) = piece.get("SpecialToken") {
            let name = special.get("id")?.as_str()?;
            let ids = value.get("special_tokens")?.get(name)?.get("ids")?.as_array()?;
            let side = if behind { &mut after } else { &mut before };
            for value in ids {
                side.push(id(value)?);
            }
        } else if piece.get("Sequence").is_some() && !behind {
            behind = true;
        } else {
            return None;
        }
    }
    behind.then_some((before, after))
}
