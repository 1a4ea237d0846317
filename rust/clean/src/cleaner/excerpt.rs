//! A part of a dropped text to show, redacted like kept texts.

use std::borrow::Cow;
use std::ops::Range;

use crate::cleaner::{CleanBuffers, Cleaner, Run, Work, rewrite};

/// The most bytes that a redactor matches, long keys apart: an e-mail address has at most
/// 64 + 1 + 253. Of a private key whose end is cut off, each whole line is found.
const MAX_MATCH_BYTES: usize = 320;

impl Cleaner {
    /// Returns some of `text`, redacted and of at most `max_bytes` bytes: its beginning, or what is
    /// around the bytes `place`, with the bytes of the place in it.
    ///
    /// For examples of dropped texts, which are not redacted as a whole.
    pub(crate) fn excerpt(
        &self,
        text: &str,
        place: Option<Range<usize>>,
        max_bytes: usize,
    ) -> (String, Option<Range<usize>>) {
        let end = place.as_ref().map_or(0, |place| place.end);
        let head = &text[..text.floor_char_boundary(end + 2 * max_bytes + MAX_MATCH_BYTES)];
        let mut buffers = CleanBuffers::default();
        let mut run = Run::new(&mut buffers);
        let mut excerpt = Cow::Borrowed(head);
        for stage in &self.stages {
            if let Work::Redact(rule) = &stage.work {
                rewrite(stage.rule, &**rule, &mut excerpt, &mut run);
            }
        }
        let mut excerpt = excerpt.into_owned();
        // the end of `head` may cut a match in two, which is then not masked: leave out the bytes
        // that such a match could occupy
        if head.len() < text.len() {
            let safe = excerpt.len().saturating_sub(MAX_MATCH_BYTES);
            excerpt.truncate(excerpt.floor_char_boundary(safe));
        }
        // redaction moves the place, and may mask it
        let place = place.and_then(|place| {
            let shown = text.floor_char_boundary(place.end.min(place.start + max_bytes / 2));
            let part = text.get(place.start..shown).filter(|part| !part.is_empty())?;
            let from = excerpt.floor_char_boundary(place.start.saturating_sub(max_bytes));
            let at =
                excerpt[from..].find(part).map(|at| from + at).or_else(|| excerpt.find(part))?;
            Some(at..at + part.len())
        });
        let start = place.as_ref().map_or(0, |place| {
            let before = max_bytes.saturating_sub(place.len()) / 2;
            excerpt.floor_char_boundary(place.start.saturating_sub(before))
        });
        let end = excerpt.floor_char_boundary(start + max_bytes);
        let shown = excerpt[start..end.max(start)].to_owned();
        let place = place.map(|place| place.start - start..(place.end - start).min(shown.len()));
        (shown, place)
    }
}
