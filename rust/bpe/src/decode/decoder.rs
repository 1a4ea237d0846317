//! Decoding of one sequence, of many, and of a stream.

use lslm_runtime::{Error, Result, Task, TokenId, threads};
use rayon::prelude::*;

use crate::tokenizer::Tokenizer;

/// A batch of fewer ids is decoded by the calling thread; starting others takes longer.
const MIN_PARALLEL_IDS: usize = 1 << 16;

impl Tokenizer {
    /// Appends the bytes that `ids` stand for to `out`; [`Error::UnknownToken`] for an id that no
    /// token has, with `out` as it was.
    ///
    /// With SentencePiece's vocabularies the space that encoding puts before a text is left out.
    pub fn decode_into(&self, ids: &[TokenId], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.0.token_bytes.decode_into(ids, out)?;
        if self.strips_space() && out.get(start) == Some(&b' ') {
            out.remove(start);
        }
        Ok(())
    }

    /// Whether a space at the start of a text is none of the text's own: SentencePiece's encoding has put
    /// it there.
    fn strips_space(&self) -> bool {
        self.0.characters.as_ref().is_some_and(|names| names.strips_space)
    }

    /// Returns the bytes of several sequences: `ids` is split at `offsets`, whose first is 0 and
    /// whose last is the number of ids. The same for any number of `threads`.
    pub fn decode_batch(
        &self,
        ids: &[TokenId],
        offsets: &[i64],
        threads: Option<usize>,
        task: &Task,
    ) -> Result<Vec<Vec<u8>>> {
        let threads = threads::resolve(threads)?;
        let is_partition = offsets.first() == Some(&0)
            && offsets.last() == Some(&(ids.len() as i64))
            && offsets.is_sorted();
        if !is_partition {
            return Err(Error::invalid(format!(
                "offsets must ascend from 0 to {}, the number of ids",
                ids.len()
            )));
        }
        task.begin("decode", "ids", Some(ids.len() as u64));
        let decode = |pair: &[i64]| {
            let part = &ids[pair[0] as usize..pair[1] as usize];
            let mut out = Vec::new();
            self.decode_into(part, &mut out)?;
            task.advance(part.len() as u64)?;
            Ok(out)
        };
        if threads == 1 || ids.len() < MIN_PARALLEL_IDS {
            return offsets.windows(2).map(decode).collect();
        }
        threads::pool(threads)?
            .install(|| offsets.par_windows(2).with_min_len(16).map(decode).collect())
    }

    /// Returns a decoder for ids that arrive one after the other.
    pub fn decoder(&self) -> StreamDecoder {
        StreamDecoder { tokenizer: self.clone(), pending: Vec::new(), is_first: true }
    }
}

/// Decodes ids as they arrive into text of whole characters.
///
/// ```
/// use lslm_bpe::{Special, Tokenizer};
///
/// # fn main() -> lslm_runtime::Result<()> {
/// # let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// # let pattern = lslm_bpe::pretokenize::Pattern::named("gpt2").unwrap();
/// let tokenizer = Tokenizer::new(&bytes, &[], pattern, &[])?;
/// let ids = tokenizer.encode("é!".as_bytes(), &Special::None, &Default::default())?;
/// let mut decoder = tokenizer.decoder();
/// assert_eq!(decoder.push(&ids[..1])?, ""); // the first byte of two
/// assert_eq!(decoder.push(&ids[1..])?, "é!");
/// assert_eq!(decoder.finish(), "");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    /// The first bytes of a character that is not complete yet, at most 3.
    pending: Vec<u8>,
    /// No id has been decoded.
    is_first: bool,
}

impl StreamDecoder {
    /// Returns the text that `ids` complete. The start of a character is held back until the rest
    /// arrives; bytes that no continuation makes a character become U+FFFD at once.
    ///
    /// After an [`Error::UnknownToken`] the decoder is as it was before.
    pub fn push(&mut self, ids: &[TokenId]) -> Result<String> {
        let held = self.pending.len();
        let mut bytes = std::mem::take(&mut self.pending);
        if let Err(error) = self.tokenizer.0.token_bytes.decode_into(ids, &mut bytes) {
            bytes.truncate(held);
            self.pending = bytes;
            return Err(error);
        }
        if self.is_first && self.tokenizer.strips_space() && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        self.is_first &= ids.is_empty();
        let ready = bytes.len() - incomplete_len(&bytes);
        self.pending = bytes.split_off(ready);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the text of what is still held back: U+FFFD if the last character is incomplete.
    pub fn finish(&mut self) -> String {
        let pending = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&pending).into_owned()
    }
}

/// Returns how many bytes at the end of `bytes` are the start of a character that more bytes could
/// complete.
fn incomplete_len(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len() - bytes.len().min(3)..];
    (1..=tail.len())
        .rev()
        .find(|&len| {
            let end = &tail[tail.len() - len..];
            // No error length: more bytes could make it valid.
            std::str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_characters_are_held_back() {
        for (bytes, held) in [
            (&b"abc"[..], 0),
            (b"a\xC3", 1),
            (b"a\xE4\xB8", 2),
            (b"\xF0\x9F\x98", 3),
            (b"\xF0\x9F\x98\x80", 0),
            (b"\xE4\xB8\xADa", 0),
            (b"\xFF", 0),
            (b"\xE0\x80", 0),
            (b"\xED\xA0", 0),
            (b"", 0),
        ] {
            assert_eq!(incomplete_len(bytes), held, "{bytes:?}");
        }
    }
}
