//! The way of every text to the encoder: normalise, pre-tokenise, merge.
//!
//! ```text
//! for each part of the text, cut at the added tokens that are found in raw text:
//!     an added token: its id
//!     text: normalise it; for each part, cut at the added tokens found in normalised text:
//!         an added token: its id
//!         text: pre-tokenise it; encode the pieces
//! ```
//!
//! Encoding, counting, offsets and batches are all this walk: they differ in what the [`Encoder`]
//! does with the ids, and in whether [`Offsets`] records where the pieces are.

use std::borrow::Cow;

use lslm_runtime::{Error, Result};

use crate::added_tokens::{Part, Scanner, Scanners, Special};
use crate::encode::encoder::Encoder;
use crate::encode::offsets::Offsets;
use crate::normalize::Normalizer;
use crate::pretokenize::sequence::Pretokenizer;

/// Ends of pieces that are encoded together.
const BATCH: usize = 256;

/// What a text goes through before it is merged.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) scanners: &'a Scanners,
    pub(crate) special: &'a Special,
    pub(crate) normalizer: &'a Normalizer,
    pub(crate) pretokenizer: &'a Pretokenizer,
}

impl Walk<'_> {
    /// Encodes `text` with `encoder`, and adds the range of each id to `offsets`.
    ///
    /// Errors of the encoder are returned by its `finish`; they are about text before that of an
    /// error from here.
    pub(crate) fn encode(
        &self,
        text: &[u8],
        encoder: &mut Encoder<'_>,
        mut offsets: Option<&mut Offsets<'_>>,
    ) -> Result<()> {
        self.for_each_part(self.scanners.raw.as_ref(), text, |part| {
            let range = match part {
                Part::Text(range) => range,
                Part::Token { id, range, .. } => {
                    encoder.push(id);
                    if let Some(offsets) = &mut offsets {
                        offsets.push_raw(range);
                    }
                    return Ok(());
                }
            };
            let is_first = range.start == 0;
            let normal = match &mut offsets {
                None if self.normalizer.is_identity() => Cow::Borrowed(&text[range]),
                None => self.normalizer.apply(&text[range]).map_err(Error::Invalid)?,
                Some(offsets) => {
                    let aligned = self.normalizer.apply_aligned(&text[range.clone()]);
                    let (normal, alignment) = aligned.map_err(Error::Invalid)?;
                    offsets.begin(range.start, alignment);
                    normal
                }
            };
            self.encode_normalized(&normal, is_first, encoder, offsets.as_deref_mut())
        })
    }

    fn encode_normalized(
        &self,
        text: &[u8],
        is_first: bool,
        encoder: &mut Encoder<'_>,
        mut offsets: Option<&mut Offsets<'_>>,
    ) -> Result<()> {
        self.for_each_part(self.scanners.normalized.as_ref(), text, |part| match part {
            Part::Text(range) => match &mut offsets {
                None => {
                    self.encode_segment(&text[range.clone()], is_first && range.start == 0, encoder)
                }
                Some(offsets) => {
                    let (text, start) = (&text[range.clone()], range.start);
                    let is_first = is_first && start == 0;
                    self.encode_segment_with_offsets(text, start, is_first, encoder, offsets)
                }
            },
            Part::Token { id, range, .. } => {
                encoder.push(id);
                if let Some(offsets) = &mut offsets {
                    offsets.push(range);
                }
                Ok(())
            }
        })
    }

    /// Encodes the pieces of normalised text without added tokens; `is_first` says that nothing comes
    /// before it in the text.
    fn encode_segment(&self, text: &[u8], is_first: bool, encoder: &mut Encoder<'_>) -> Result<()> {
        if let Some(pattern) = self.pretokenizer.only_pattern() {
            encoder.start_text();
            pattern.for_each_batch(text, |ends| encoder.pieces(text, ends));
            return Ok(());
        }
        if self.pretokenizer.only_splits() {
            self.encode_splits(&self.pretokenizer.prefixed(text, is_first), encoder);
            return Ok(());
        }
        self.pretokenizer.for_each(text, is_first, &mut |piece, _| {
            encoder.start_text();
            encoder.pieces(piece, &[piece.len()]);
            encoder.check()
        })
    }

    /// Encodes the pieces of a text that is only split.
    fn encode_splits(&self, text: &[u8], encoder: &mut Encoder<'_>) {
        encoder.start_text();
        let mut ends = Vec::with_capacity(BATCH);
        self.pretokenizer.for_each_end(text, &mut |end| {
            ends.push(end);
            if ends.len() == BATCH {
                encoder.pieces(text, &ends);
                ends.clear();
            }
        });
        encoder.pieces(text, &ends);
    }

    /// [`Self::encode_segment`] for a segment that begins at `start` of the normalised text, with
    /// the range of each id.
    fn encode_segment_with_offsets(
        &self,
        text: &[u8],
        start: usize,
        is_first: bool,
        encoder: &mut Encoder<'_>,
        offsets: &mut Offsets<'_>,
    ) -> Result<()> {
        encoder.mark();
        if let Some(pattern) = self.pretokenizer.only_pattern() {
            encoder.start_text();
            let mut piece = 0;
            pattern.for_each_batch(text, |ends| {
                for &end in ends {
                    encoder.pieces(text, &[end]);
                    encoder.mark();
                    offsets.add_piece(start + piece..start + end, 0);
                    piece = end;
                }
            });
        } else {
            self.pretokenizer.for_each(text, is_first, &mut |piece, range| {
                encoder.start_text();
                encoder.pieces(piece, &[piece.len()]);
                encoder.mark();
                let n_added = piece.len() - range.len();
                offsets.add_piece(start + range.start..start + range.end, n_added);
                encoder.check()
            })?;
        }
        let (ids, marks) = encoder.flush_marks();
        offsets.finish_pieces(ids, &marks);
        Ok(())
    }

    /// Calls `f` with the added tokens that `scanner` finds and the text between them.
    fn for_each_part(
        &self,
        scanner: Option<&Scanner>,
        text: &[u8],
        mut f: impl FnMut(Part) -> Result<()>,
    ) -> Result<()> {
        let Some(scanner) = scanner else { return f(Part::Text(0..text.len())) };
        scanner.for_each(text, |part| {
            if let Part::Token { is_special: true, range, .. } = &part
                && matches!(self.special, Special::Raise)
            {
                let name = String::from_utf8_lossy(&text[range.clone()]);
                return Err(Error::invalid(format!(
                    "the text contains the special token {name:?}; encode it with special=\"none\" \
                     as text or with special=\"all\" as a token"
                )));
            }
            f(part)
        })
    }
}
