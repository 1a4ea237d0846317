//! One text in one call: its ids, their number, their offsets.

use lslm_runtime::{Result, Task, TokenId};

use crate::added_tokens::Special;
use crate::encode::encoder::Encoder;
use crate::encode::offsets::{Encoding, Offsets, Unit, bytes_to_characters};
use crate::encode::walk::Walk;
use crate::encode::workspace::Workspace;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    pub(super) fn walk<'a>(&'a self, special: &'a Special) -> Walk<'a> {
        Walk {
            scanners: self.0.added.scanners(special),
            special,
            normalizer: &self.0.normalizer,
            pretokenizer: &self.0.pretokenizer,
        }
    }

    /// Returns the ids of `text`, with a workspace that earlier calls have warmed.
    ///
    /// `text` may be any bytes; those that are not UTF-8 are split like U+FFFD and keep their
    /// value. The ids of a post-processor's template are not added; see [`Tokenizer::template`].
    /// [`Error::Invalid`](lslm_runtime::Error::Invalid) when the text contains a special token and
    /// `special` is [`Special::Raise`], or when a byte has no token and the vocabulary has no
    /// unknown token.
    pub fn encode(&self, text: &[u8], special: &Special, task: &Task) -> Result<Vec<TokenId>> {
        self.with_workspace(|workspace| {
            let mut out = Vec::with_capacity(text.len() / 4 + 8);
            self.encode_into_task(text, special, workspace, task, &mut out)?;
            Ok(out)
        })
    }

    /// Appends the ids of `text` to `out`, as [`Tokenizer::encode`] returns them.
    pub fn encode_into(
        &self,
        text: &[u8],
        special: &Special,
        workspace: &mut Workspace,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        self.encode_into_task(text, special, workspace, &Task::default(), out)
    }

    /// [`Tokenizer::encode_into`] that `task` can cancel.
    pub fn encode_into_task(
        &self,
        text: &[u8],
        special: &Special,
        workspace: &mut Workspace,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        workspace.claim(self.0.number);
        let mut encoder = Encoder::new(&self.0.model, workspace, task, out);
        let walked = self.walk(special).encode(text, &mut encoder, None);
        encoder.finish()?;
        walked
    }

    /// Returns the number of ids of `text`, which are never all in memory.
    pub fn count(&self, text: &[u8], special: &Special, task: &Task) -> Result<usize> {
        self.with_workspace(|workspace| {
            workspace.claim(self.0.number);
            let mut ids = Vec::new();
            let mut encoder = Encoder::new(&self.0.model, workspace, task, &mut ids).counting();
            let walked = self.walk(special).encode(text, &mut encoder, None);
            let count = encoder.finish_count()?;
            walked.map(|()| count)
        })
    }

    /// Returns the ids of `text` with the range of `text` that each stands for, in `unit`.
    ///
    /// In characters, a token with a part of one covers it whole. Where normalisation has changed
    /// the text, a token covers all that its bytes come from.
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        special: &Special,
        unit: Unit,
        task: &Task,
    ) -> Result<Encoding> {
        let mut ids = Vec::new();
        let mut offsets = Offsets::new(&self.0.token_bytes);
        self.with_workspace(|workspace| {
            workspace.claim(self.0.number);
            let mut encoder = Encoder::new(&self.0.model, workspace, task, &mut ids);
            let walked = self.walk(special).encode(text, &mut encoder, Some(&mut offsets));
            encoder.finish()?;
            walked
        })?;
        let mut offsets = offsets.into_ranges();
        if unit == Unit::Character {
            bytes_to_characters(text, &mut offsets);
        }
        Ok(Encoding { ids, offsets })
    }

    /// Returns how many bytes of `text` to keep so that it has at most `n` ids: the length of its
    /// longest prefix that ends where an id ends and has at most `n` ids itself.
    ///
    /// With `whole_characters` the prefix also ends where a character ends.
    pub fn truncate(
        &self,
        text: &[u8],
        n: usize,
        special: &Special,
        whole_characters: bool,
        task: &Task,
    ) -> Result<usize> {
        let encoding = self.encode_with_offsets(text, special, Unit::Byte, task)?;
        if encoding.ids.len() <= n {
            return Ok(text.len());
        }
        for kept in (1..=n).rev() {
            let mut end = encoding.offsets[kept - 1].end;
            if whole_characters {
                while end > 0 && end < text.len() && text[end] & 0xC0 == 0x80 {
                    end -= 1;
                }
            }
            // A shorter text may be pre-tokenised differently at its end.
            if self.count(&text[..end], special, task)? <= n {
                return Ok(end);
            }
        }
        Ok(0)
    }
}
