//! The character encoding of an input: UTF-8, or a legacy encoding that is detected or named.
//!
//! ```text
//! sample      64 KiB around the first byte that is not ASCII, of the first 256 KiB
//! UTF-8       nothing in it is ill-formed, or less than its characters beyond ASCII: damaged
//! legacy      else, if chardetng's guess for the whole sample is also its guess for most of
//!             eight pieces; the share of those pieces is the confidence
//! refused     else, if much of it would become U+FFFD
//! ```
//!
//! No byte of these encodings is a line break unless the character is one, so a file is split into
//! lines first and decoded line by line. UTF-16 has no such property and is refused.

use std::borrow::Cow;
use std::path::Path;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8};
use lslm_runtime::{Error, Result};

use crate::options::Utf8Policy;
use crate::stream::Stream;
use crate::utf8::{self, Replacements};

/// Bytes at the start of a file that are searched for one that is not ASCII.
const MAX_SEARCHED: usize = 256 << 10;
/// Bytes of the sample.
const MAX_SAMPLE: usize = 64 << 10;
/// Bytes beyond ASCII that a detection needs; with fewer, stray bytes of a damaged file would decide.
const MIN_EVIDENCE: usize = 8;
/// Pieces of the sample that are guessed apart.
const PIECES: usize = 8;
/// The confidence that is enough to convert a file without being told.
const MIN_CONFIDENCE: f64 = 0.7;

/// The encoding of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextEncoding {
    encoding: &'static Encoding,
    /// The confidence of a detection; `None` for UTF-8 and for an encoding that was named.
    pub(crate) confidence: Option<f64>,
}

impl TextEncoding {
    pub(crate) const UTF_8: Self = Self { encoding: UTF_8, confidence: None };

    /// Returns the encoding with a name or label of the WHATWG Encoding Standard.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let encoding = Encoding::for_label(name.trim().as_bytes());
        match encoding.filter(|e| e.is_ascii_compatible()) {
            Some(encoding) => Ok(Self { encoding, confidence: None }),
            None => Err(Error::invalid(format!(
                "encoding = {name:?}: choose a name such as gb18030, big5, shift_jis, euc-kr, \
                 windows-1251, iso-8859-2 or utf-8; convert others to UTF-8 first"
            ))),
        }
    }

    /// Returns the encoding of a stream by its first bytes, which are not consumed. A file of which
    /// much would become U+FFFD is an error.
    pub(crate) fn detect(path: &Path, stream: &mut Stream) -> Result<Self> {
        let mut searched = 0;
        let found = loop {
            let wanted = (2 * searched).max(8 << 10);
            let head = stream.peek(wanted)?;
            let len = head.len();
            if let Some(found) = head[searched..].iter().position(|byte| !byte.is_ascii()) {
                break searched + found;
            }
            if len < wanted || len >= MAX_SEARCHED {
                return Ok(Self::UTF_8);
            }
            searched = len;
        };
        let start = found.saturating_sub(found % MAX_SAMPLE);
        let sample = stream.peek(start + MAX_SAMPLE)?;
        let is_whole = sample.len() < start + MAX_SAMPLE;
        judge(path, &sample[start..], is_whole)
    }

    pub(crate) fn is_utf8(self) -> bool {
        self.encoding == UTF_8
    }

    /// Returns the name in the WHATWG Encoding Standard.
    pub(crate) fn name(self) -> &'static str {
        self.encoding.name()
    }

    /// Returns `bytes` as text, and the ill-formed sequences that were replaced; see
    /// [`utf8::decode`].
    pub(crate) fn decode(
        self,
        bytes: &[u8],
        policy: Utf8Policy,
    ) -> Result<(Cow<'_, str>, Replacements), usize> {
        if self.is_utf8() {
            return utf8::decode(bytes, policy);
        }
        if let Some(text) = self.encoding.decode_without_bom_handling_and_without_replacement(bytes)
        {
            return Ok((text, Replacements::default()));
        }
        self.decode_with_replacement(bytes, policy).map(|(text, n)| (Cow::Owned(text), n))
    }

    /// The same as [`decode`](Self::decode) for owned bytes.
    pub(crate) fn decode_owned(
        self,
        bytes: Vec<u8>,
        policy: Utf8Policy,
    ) -> Result<(String, Replacements), usize> {
        if self.is_utf8() {
            return utf8::decode_owned(bytes, policy);
        }
        self.decode(&bytes, policy).map(|(text, n)| (text.into_owned(), n))
    }

    fn decode_with_replacement(
        self,
        bytes: &[u8],
        policy: Utf8Policy,
    ) -> Result<(String, Replacements), usize> {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let mut text = String::with_capacity(bytes.len() * 2);
        let (mut read, mut replaced) = (0, Replacements::default());
        loop {
            let rest = &bytes[read..];
            text.reserve(
                decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(64),
            );
            let (result, consumed) =
                decoder.decode_to_string_without_replacement(rest, &mut text, true);
            read += consumed;
            match result {
                DecoderResult::InputEmpty => return Ok((text, replaced)),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) if policy == Utf8Policy::Refuse => return Err(read),
                DecoderResult::Malformed(n_bytes, _) => replaced.push(&mut text, n_bytes.into()),
            }
        }
    }
}

/// Returns the encoding of a sample; `is_whole` says whether it ends with the file.
fn judge(path: &Path, sample: &[u8], is_whole: bool) -> Result<TextEncoding> {
    let (mut n_characters, mut n_beyond_ascii, mut n_bad) = (0_usize, 0_usize, 0_usize);
    let mut chunks = sample.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        n_characters += chunk.valid().chars().count();
        n_beyond_ascii += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        let is_cut_off = chunks.peek().is_none() && !is_whole;
        n_bad += usize::from(!chunk.invalid().is_empty() && !is_cut_off);
    }
    if n_bad == 0 || n_beyond_ascii >= n_bad {
        return Ok(TextEncoding::UTF_8);
    }
    let n_evidence = sample.iter().filter(|byte| !byte.is_ascii()).count();
    let (encoding, confidence) = guess(sample, n_evidence);
    let confidence = Some(confidence);
    if n_evidence >= MIN_EVIDENCE && confidence >= Some(MIN_CONFIDENCE) {
        return Ok(TextEncoding { encoding, confidence });
    }
    if 4 * n_bad <= n_characters {
        return Ok(TextEncoding::UTF_8); // stray bytes, which become U+FFFD and are counted
    }
    let name = encoding.name();
    Err(Error::format(
        path,
        None,
        format!(
            "not UTF-8, and too little or too mixed to be sure of another encoding; if it is \
             {name}, read it with the encoding {name}, or convert it: iconv -f {name} -t UTF-8"
        ),
    ))
}

/// Returns the most likely legacy encoding of a sample, and the share of its pieces that chardetng
/// decodes in the same way by themselves.
fn guess(sample: &[u8], n_evidence: usize) -> (&'static Encoding, f64) {
    let guess_of = |bytes: &[u8]| {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(bytes, true);
        detector.guess(None, Utf8Detection::Deny)
    };
    let whole = guess_of(sample);
    let target = (n_evidence / PIECES).max(MIN_EVIDENCE / 2);
    let (mut n_pieces, mut n_equal) = (0_u32, 0_u32);
    let (mut start, mut evidence) = (0, 0);
    for (offset, byte) in sample.iter().enumerate() {
        evidence += usize::from(!byte.is_ascii());
        // a space or a line break is never a part of a longer character
        let is_last = offset + 1 == sample.len();
        if (evidence >= target && matches!(byte, b' ' | b'\n')) || (is_last && evidence > 0) {
            let piece = &sample[start..=offset];
            let own = guess_of(piece);
            let text = |e: &'static Encoding| e.decode_without_bom_handling(piece).0;
            n_pieces += 1;
            n_equal += u32::from(own == whole || text(own) == text(whole));
            (start, evidence) = (offset + 1, 0);
        }
    }
    (whole, f64::from(n_equal) / f64::from(n_pieces.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{BIG5, EUC_KR, GB18030, SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};
    use proptest::prelude::*;

    fn judged(bytes: &[u8]) -> Result<TextEncoding> {
        judge(Path::new("a"), bytes, true)
    }

    #[test]
    fn texts_in_their_usual_encodings_are_recognised() {
        for (encoding, text) in [
            (GB18030, "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。"),
            (BIG5, "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心。"),
            (SHIFT_JIS, "すべての人間は、生まれながらにして自由であり、平等である。"),
            (EUC_KR, "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."),
            (WINDOWS_1251, "Все люди рождаются свободными и равными в своём достоинстве."),
            (
                WINDOWS_1252,
                "Alle Menschen möchten Süßes, Äpfel, Öl, Übermut, Größe, für später größere Bäume, schöne Häuser.",
            ),
        ] {
            let (bytes, _, _) = encoding.encode(text);
            let found = judged(&bytes).unwrap();
            assert_eq!(
                found.decode(&bytes, Utf8Policy::Refuse).unwrap(),
                (text.into(), Replacements::default())
            );
            assert!(found.confidence.unwrap() >= MIN_CONFIDENCE);
        }
    }

    #[test]
    fn damaged_utf8_stays_utf8() {
        for bytes in [&b"a caf\xe9"[..], "Größe für Bäume \u{fc}".as_bytes(), b"\xff", b""] {
            let mut damaged = bytes.to_vec();
            damaged.extend_from_slice("äöü \u{4e00}".as_bytes());
            damaged.push(0x80);
            assert!(judged(&damaged).unwrap().is_utf8());
        }
    }

    #[test]
    fn what_would_be_mostly_replacements_is_refused() {
        let error = judged(b"\xc4\xe3\xba\xc3").unwrap_err().to_string();
        assert!(error.contains("iconv -f ") && error.contains(" -t UTF-8"), "{error}");
    }

    #[test]
    fn malformed_sequences_are_counted() {
        let encoding = TextEncoding::named("shift_jis").unwrap();
        let bytes = b"a\x82\xa0\x82\xffb\x82";
        assert_eq!(encoding.decode(bytes, Utf8Policy::Replace).unwrap().0, "aあ\u{fffd}b\u{fffd}");
        assert_eq!(encoding.decode(bytes, Utf8Policy::Replace).unwrap().1.count(), 2);
        assert!(encoding.decode(bytes, Utf8Policy::Refuse).is_err());
        assert!(TextEncoding::named("utf-16").is_err() && TextEncoding::named("x").is_err());
    }

    proptest! {
        #[test]
        fn utf8_is_never_taken_for_something_else(text: String, cut in 0..4_usize) {
            let bytes = &text.as_bytes()[..text.len().saturating_sub(cut)];
            let whole = judge(Path::new("a"), text.as_bytes(), true).unwrap();
            let part = judge(Path::new("a"), bytes, false).unwrap();
            prop_assert!(whole.is_utf8() && part.is_utf8());
        }
    }
}
