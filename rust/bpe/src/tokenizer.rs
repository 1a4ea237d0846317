//! The tokenizer: all parts together, from bytes to ids.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use lslm_runtime::{Error, Result, Task, threads};
use serde_json::Value;

use crate::TokenId;
use crate::added_tokens::{Added, AddedToken, Part, Scanner, Scanners, Special};
use crate::decode::Table;
use crate::encode::cache::Cache;
use crate::encode::encoder::Run;
use crate::encode::model::{Merge, Model, Rules};
use crate::normalize::{self, Normalizer};
use crate::pretokenize::Pattern;
use crate::pretokenize::sequence::{self, Pretokenizer};
use crate::vocab::vocabulary::Vocabulary;

/// A byte-level BPE tokenizer. Immutable, shared between threads, cheap to clone.
#[derive(Clone)]
pub struct Tokenizer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) model: Model,
    pub(crate) normalizer: Normalizer,
    pub(crate) pretokenizer: Pretokenizer,
    pub(crate) added: Added,
    /// tokens whose names spell no bytes: never made by merging, only decoded
    pub(crate) odd: BTreeMap<TokenId, String>,
    /// the parts of a `tokenizer.json` that decide no ids, written back as they came
    pub(crate) kept: Kept,
    pub(crate) table: Table,
    /// tells caches apart
    pub(crate) number: u64,
    /// caches that calls leave warm for the next call
    caches: Vec<Mutex<Option<Box<Cache>>>>,
    fingerprint: OnceLock<[u8; 32]>,
}

/// The entries of a `tokenizer.json` besides model and added tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
    pub(crate) truncation: Value,
    pub(crate) padding: Value,
}

/// What a tokenizer is made of.
pub(crate) struct Parts {
    pub(crate) model: Model,
    pub(crate) normalizer: Normalizer,
    pub(crate) pretokenizer: Pretokenizer,
    pub(crate) added: Vec<AddedToken>,
    pub(crate) odd: BTreeMap<TokenId, String>,
    pub(crate) kept: Kept,
}

/// Ids with the part of the text that each of them stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<TokenId>,
    /// For each id, where it begins and ends in the text, in the unit that was asked for.
    pub offsets: Vec<Range<usize>>,
}

/// A part of a text on its way to ids.
enum Normalized<'a> {
    /// An added token.
    Token(TokenId),
    /// Text without any that is asked for, normalised.
    Text(&'a [u8]),
}

/// What takes the parts of a text.
type Visit<'a> = dyn FnMut(Normalized<'_>) -> Result<()> + 'a;

/// What offsets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of the text in UTF-8.
    Byte,
    /// Unicode scalar values; a byte that is not UTF-8 counts as one.
    Character,
}

/// When ids are only counted, those of about this many bytes are in memory.
const WINDOW: usize = 1 << 16;
/// The most caches that are kept for later calls.
const MOST_CACHES: usize = 64;

impl Tokenizer {
    /// The tokenizer of `tokens` (the bytes of each id, in order) and `merges` (pairs of ids, in
    /// order of priority), as a trainer makes it.
    ///
    /// An id without bytes is none of the vocabulary's, such as one of a special token in front.
    /// Texts are cut by `pattern`; `special_tokens` are strings with ids of their own, usually the
    /// ones behind `tokens`. [`Error::Invalid`] when a merge names no token, when its joined bytes
    /// are none, or when names or ids occur twice.
    pub fn new(
        tokens: &[Vec<u8>],
        merges: &[(TokenId, TokenId)],
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self> {
        let numbered = (0..).zip(tokens).filter(|(_, token)| !token.is_empty());
        let numbered = numbered.map(|(id, token)| (id, &token[..]));
        let vocabulary = Vocabulary::new(numbered).map_err(Error::Invalid)?;
        let mut listed = Vec::with_capacity(merges.len());
        let mut joined = Vec::new();
        for &(left, right) in merges {
            joined.clear();
            joined.extend_from_slice(vocabulary.get(left));
            joined.extend_from_slice(vocabulary.get(right));
            let parts = !vocabulary.get(left).is_empty() && !vocabulary.get(right).is_empty();
            let Some(token) = vocabulary.find(&joined).filter(|_| parts) else {
                return Err(Error::invalid(format!(
                    "the merge of {left} and {right} makes nothing that is a token"
                )));
            };
            listed.push(Merge { left, right, token });
        }
        let model = Model::new(vocabulary, listed, Rules::default()).map_err(Error::Invalid)?;
        Self::with_pattern(model, pattern, special_tokens).map_err(Error::Invalid)
    }

    /// The tokenizer of `model` and a pattern, without normalisation.
    pub(crate) fn with_pattern(
        model: Model,
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self, String> {
        let added = special_tokens
            .iter()
            .map(|(content, id)| AddedToken::control(content.clone(), *id))
            .collect();
        let kept = Kept {
            pre_tokenizer: sequence::to_json(&pattern),
            decoder: serde_json::json!({
                "type": "ByteLevel",
                "add_prefix_space": true,
                "trim_offsets": true,
                "use_regex": true,
            }),
            ..Kept::default()
        };
        Self::from_parts(Parts {
            model,
            normalizer: Normalizer::default(),
            pretokenizer: Pretokenizer::new(pattern),
            added,
            odd: BTreeMap::new(),
            kept,
        })
    }

    pub(crate) fn from_parts(parts: Parts) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let Parts { model, normalizer, pretokenizer, added, odd, kept } = parts;
        let added = Added::new(added, &normalizer)?;
        for token in &added.tokens {
            let taken = model.vocabulary.get(token.id);
            if !taken.is_empty() && taken != token.content.as_bytes() {
                return Err(format!(
                    "the added token {:?} has the id {}, which stands for {:?}",
                    token.content,
                    token.id,
                    String::from_utf8_lossy(taken)
                ));
            }
        }
        let table = Table::new(&model.vocabulary, &added, &odd)?;
        let kept_caches = MOST_CACHES.min(threads::default_threads() * 2);
        Ok(Self(Arc::new(Inner {
            model,
            normalizer,
            pretokenizer,
            added,
            odd,
            kept,
            table,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            caches: (0..kept_caches).map(|_| Mutex::default()).collect(),
            fingerprint: OnceLock::new(),
        })))
    }

    /// One more than the largest id: the number of rows that a model's embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.0.table.len()
    }

    /// The control tokens with their ids, in the order of the ids.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, TokenId)> {
        self.0.added.controls().map(|token| (token.content.as_str(), token.id))
    }

    /// The token that ends a document: the one control token with a usual name for it; `None` when
    /// there is none or more than one.
    pub fn eos_id(&self) -> Option<TokenId> {
        let mut found = self.0.added.controls().filter(|token| EOS.contains(&&*token.content));
        let first = found.next()?;
        found.next().is_none().then_some(first.id)
    }

    /// The pattern that texts are cut by before pairs are merged.
    pub fn pattern(&self) -> &Pattern {
        self.0.pretokenizer.pattern()
    }

    /// The bytes that `id` stands for.
    pub fn token_bytes(&self, id: TokenId) -> Result<&[u8]> {
        self.0.table.get(id).ok_or_else(|| self.unknown(id))
    }

    /// The id that stands for exactly `bytes`: of a token, or of an added token of this text.
    pub fn token_id(&self, bytes: &[u8]) -> Option<TokenId> {
        let added = || {
            let text = std::str::from_utf8(bytes).ok()?;
            let odd = || self.0.odd.iter().find(|(_, name)| *name == text).map(|(&id, _)| id);
            self.0.added.by_content(text).map(|token| token.id).or_else(odd)
        };
        self.0.model.vocabulary.find(bytes).or_else(added)
    }

    /// What the file asked for that encoding does not do, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let kept = &self.0.kept;
        let mut notes = Vec::new();
        let kind = kept.post_processor.get("type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "ByteLevel") {
            notes.push(format!(
                "the post-processor {kind:?} is not applied: encode adds no ids unless its \
                 template is asked for"
            ));
        }
        for (name, value) in [("truncation", &kept.truncation), ("padding", &kept.padding)] {
            if !value.is_null() {
                notes.push(format!("{name} is not applied: encode gives all ids and no others"));
            }
        }
        notes
    }

    /// SHA-256 over everything that decides ids; equal for the same tokenizer whatever file it
    /// came from.
    pub fn fingerprint(&self) -> [u8; 32] {
        *self.0.fingerprint.get_or_init(|| crate::fingerprint::fingerprint(self))
    }

    /// A policy that makes ids of the control tokens in `names` and of no others;
    /// [`Error::UnknownToken`] for a name that is not there.
    pub fn special_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Special> {
        self.0.added.set(names, &self.0.normalizer).map(Special::Set)
    }

    /// Appends the ids of `text` to `out`. The ids are never added to by markers.
    ///
    /// `text` may be any bytes; those that are not UTF-8 split like U+FFFD and keep their value.
    /// [`Error::Invalid`] when a control token is met and `special` is [`Special::Raise`], or when
    /// a byte has no token and the vocabulary no substitute.
    pub fn encode_into(
        &self,
        text: &[u8],
        special: &Special,
        cache: &mut Cache,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        self.encode_into_task(text, special, cache, &Task::default(), out)
    }

    /// [`Tokenizer::encode_into`] that can be interrupted through `task`.
    pub fn encode_into_task(
        &self,
        text: &[u8],
        special: &Special,
        cache: &mut Cache,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        cache.claim(self.0.number);
        self.parts(text, special, &mut |part| match part {
            Normalized::Token(id) => {
                out.push(id);
                Ok(())
            }
            Normalized::Text(text) => self.encode_plain(text, cache, task, out),
        })
    }

    pub(crate) fn scanners<'a>(&'a self, special: &'a Special) -> &'a Scanners {
        match special {
            Special::None => &self.0.added.plain,
            Special::All | Special::Raise => &self.0.added.all,
            Special::Set(set) => &set.0,
        }
    }

    /// Calls `f` with the parts of `text`: added tokens, and normalised text without any.
    fn parts(&self, text: &[u8], special: &Special, f: &mut Visit<'_>) -> Result<()> {
        let Scanners { raw, normalized } = self.scanners(special);
        // in text without added tokens of the first kind, those of the second
        let late = |text: &[u8], f: &mut Visit<'_>| {
            let text = self.normalized(text)?;
            each_part(normalized.as_ref(), &text, special, f)
        };
        each_part(raw.as_ref(), text, special, &mut |part| match part {
            Normalized::Token(_) => f(part),
            Normalized::Text(text) => late(text, f),
        })
    }

    pub(crate) fn normalized<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        if self.0.normalizer.is_identity() {
            return Ok(Cow::Borrowed(text));
        }
        self.0.normalizer.apply(text).map_err(Error::Invalid)
    }

    /// Cuts and merges.
    pub(crate) fn encode_plain(
        &self,
        text: &[u8],
        cache: &mut Cache,
        task: &Task,
        out: &mut Vec<TokenId>,
    ) -> Result<()> {
        let model = &self.0.model;
        let Some(pattern) = self.0.pretokenizer.only_pattern() else {
            return self.0.pretokenizer.for_each(text, &mut |piece, _| {
                let mut run = Run::new(model, cache, task, out);
                run.text(piece);
                run.pieces(&[piece.len()]);
                run.finish().map(|_| ())
            });
        };
        let mut run = Run::new(model, cache, task, out);
        run.text(text);
        pattern.for_each_batch(text, |ends| run.pieces(ends));
        run.finish().map(|_| ())
    }

    /// Lends `f` a cache that earlier calls have warmed.
    ///
    /// A fork can freeze a lock in its locked state; a cache behind such a lock is passed over, and
    /// none is ever waited for.
    pub fn with_cache<R>(&self, f: impl FnOnce(&mut Cache) -> R) -> R {
        let mut taken = self.0.caches.iter().find_map(|slot| slot.try_lock().ok()?.take());
        let cache = taken.get_or_insert_default();
        let result = f(cache);
        if let Some(mut slot) =
            self.0.caches.iter().find_map(|slot| slot.try_lock().ok().filter(|slot| slot.is_none()))
        {
            *slot = taken;
        }
        result
    }

    /// The ids of `text`, with a warm cache of this tokenizer's own.
    pub fn encode(&self, text: &[u8], special: &Special, task: &Task) -> Result<Vec<TokenId>> {
        self.with_cache(|cache| {
            let mut out = Vec::with_capacity(text.len() / 4 + 8);
            self.encode_into_task(text, special, cache, task, &mut out)?;
            Ok(out)
        })
    }

    /// How many ids `text` has. They are never all in memory.
    pub fn count(&self, text: &[u8], special: &Special, task: &Task) -> Result<usize> {
        self.with_cache(|cache| {
            cache.claim(self.0.number);
            let (mut count, mut ids) = (0, Vec::new());
            self.parts(text, special, &mut |part| {
                count += match part {
                    Normalized::Token(_) => 1,
                    Normalized::Text(text) => self.count_plain(text, cache, task, &mut ids)?,
                };
                Ok(())
            })?;
            Ok(count)
        })
    }

    /// How many ids text without added tokens has; `ids` is memory to use again.
    fn count_plain(
        &self,
        text: &[u8],
        cache: &mut Cache,
        task: &Task,
        ids: &mut Vec<TokenId>,
    ) -> Result<usize> {
        let mut count = 0;
        let mut add = |text: &[u8], ends: &[usize]| {
            ids.clear();
            let mut run = Run::new(&self.0.model, cache, task, ids);
            run.text(text);
            run.pieces(ends);
            run.finish()?;
            count += ids.len();
            Ok(())
        };
        if let Some(pattern) = self.0.pretokenizer.only_pattern() {
            let (mut start, mut ends, mut outcome) = (0, Vec::new(), Ok(()));
            pattern.for_each_batch(text, |batch| {
                ends.extend(batch.iter().map(|end| end - start));
                let end = ends.last().map_or(start, |end| start + end);
                if outcome.is_ok() && (end - start >= WINDOW || end == text.len()) {
                    outcome = add(&text[start..end], &ends);
                    start = end;
                    ends.clear();
                }
            });
            outcome?;
        } else {
            self.0.pretokenizer.for_each(text, &mut |piece, _| add(piece, &[piece.len()]))?;
        }
        Ok(count)
    }

    /// The ids of `text` with the part of `text` that each stands for, counted in `unit`.
    ///
    /// In characters, a token that holds a part of one covers it whole. Where normalisation has
    /// changed the text, a token covers all that its bytes came from.
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        special: &Special,
        unit: Unit,
        task: &Task,
    ) -> Result<Encoding> {
        let mut encoding = self.with_cache(|cache| {
            cache.claim(self.0.number);
            self.encode_located(text, special, cache, task)
        })?;
        if unit == Unit::Character {
            in_characters(text, &mut encoding.offsets);
        }
        Ok(encoding)
    }

    fn encode_located(
        &self,
        text: &[u8],
        special: &Special,
        cache: &mut Cache,
        task: &Task,
    ) -> Result<Encoding> {
        let scanners = self.scanners(special);
        let mut encoding = Encoding::default();
        let whole = |f: &mut dyn FnMut(Part) -> Result<()>| f(Part::Text(0..text.len()));
        let mut parts = Vec::new();
        let mut gather = |part| {
            parts.push(part);
            Ok(())
        };
        match &scanners.raw {
            Some(raw) => raw.for_each(text, gather)?,
            None => whole(&mut gather)?,
        }
        for part in parts {
            let range = match part {
                Part::Text(range) => range,
                Part::Token { id, control, range } => {
                    refuse(special, control, &text[range.clone()])?;
                    encoding.ids.push(id);
                    encoding.offsets.push(range);
                    continue;
                }
            };
            let base = range.start;
            let (normal, alignment) =
                self.0.normalizer.apply_aligned(&text[range]).map_err(Error::Invalid)?;
            let origin = |range: Range<usize>| {
                let (start, end) = match &alignment {
                    None => (range.start, range.end),
                    Some(alignment) => normalize::origin(alignment, range.start, range.end),
                };
                base + start..base + end
            };
            let mut parts = Vec::new();
            match &scanners.normalized {
                None => parts.push(Part::Text(0..normal.len())),
                Some(scanner) => scanner.for_each(&normal, |part| {
                    parts.push(part);
                    Ok(())
                })?,
            }
            for part in parts {
                let range = match part {
                    Part::Text(range) => range,
                    Part::Token { id, control, range } => {
                        refuse(special, control, &normal[range.clone()])?;
                        encoding.ids.push(id);
                        encoding.offsets.push(origin(range));
                        continue;
                    }
                };
                let inner = range.start;
                self.0.pretokenizer.for_each(&normal[range], &mut |piece, place| {
                    let first = encoding.ids.len();
                    let model = &self.0.model;
                    let mut run = Run::new(model, cache, task, &mut encoding.ids);
                    run.text(piece);
                    run.pieces(&[piece.len()]);
                    run.finish()?;
                    // the blank that a piece may have got in front lies nowhere
                    let extra = piece.len() - place.len();
                    let mut done = 0;
                    for &id in &encoding.ids[first..] {
                        let start = done;
                        done += self.token_width(id, piece.len() - start);
                        let at = |place_in_piece: usize| {
                            inner + place.start + place_in_piece.saturating_sub(extra)
                        };
                        encoding.offsets.push(origin(at(start)..at(done)));
                    }
                    Ok(())
                })?;
            }
        }
        Ok(encoding)
    }

    /// How many bytes of a piece `id` stands for, at most `left`.
    fn token_width(&self, id: TokenId, left: usize) -> usize {
        self.0.table.get(id).map_or(0, <[u8]>::len).min(left)
    }

    /// Where to cut `text` so that at most `n` ids are left: the length of the longest start of
    /// `text` that ends where an id ends and has no more than `n` ids itself.
    ///
    /// With `whole_characters` the cut also keeps characters whole.
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
            // a shorter text may be cut in another way at its end
            if self.count(&text[..end], special, task)? <= n {
                return Ok(end);
            }
        }
        Ok(0)
    }

    pub(crate) fn unknown(&self, id: TokenId) -> Error {
        let size = self.vocab_size();
        let hint = if (id as usize) < size { "is not used" } else { "is too large" };
        Error::UnknownToken(format!("the id {id} {hint}: this tokenizer's ids are below {size}"))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let specials = self.0.added.controls().count();
        write!(
            f,
            "Tokenizer({} ids, {:?}, {specials} special tokens)",
            self.vocab_size(),
            self.pattern()
        )
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.fingerprint() == other.fingerprint()
    }
}

impl Eq for Tokenizer {}

/// The usual names of the token that ends a document.
const EOS: [&str; 9] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<EOS>",
    "[EOS]",
    "<|eos|>",
    "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>",
    "<|END_OF_TURN_TOKEN|>",
];

/// Calls `f` with the added tokens that `scanner` finds and the text between them.
fn each_part(
    scanner: Option<&Scanner>,
    text: &[u8],
    special: &Special,
    f: &mut Visit<'_>,
) -> Result<()> {
    let Some(scanner) = scanner else { return f(Normalized::Text(text)) };
    scanner.for_each(text, |part| match part {
        Part::Text(range) => f(Normalized::Text(&text[range])),
        Part::Token { id, control, range } => {
            refuse(special, control, &text[range])?;
            f(Normalized::Token(id))
        }
    })
}

fn refuse(special: &Special, control: bool, text: &[u8]) -> Result<()> {
    if control && matches!(special, Special::Raise) {
        let name = String::from_utf8_lossy(text);
        return Err(Error::invalid(format!(
            "the text contains the special token {name:?}; encode it with special=\"none\" as text \
             or with special=\"all\" as a token"
        )));
    }
    Ok(())
}

/// Turns offsets in bytes into offsets in characters.
fn in_characters(text: &[u8], offsets: &mut [Range<usize>]) {
    // characters that begin before each place, and whether one begins there
    let mut starts = vec![0_usize; text.len() + 1];
    let mut place = 0;
    let mut begin = vec![true; text.len() + 1];
    for chunk in text.utf8_chunks() {
        for (offset, c) in chunk.valid().char_indices() {
            for inner in 1..c.len_utf8() {
                begin[place + offset + inner] = false;
            }
        }
        place += chunk.valid().len() + chunk.invalid().len();
    }
    for place in 0..text.len() {
        starts[place + 1] = starts[place] + usize::from(begin[place]);
    }
    for range in offsets {
        // the character that a place lies in begins at or before it
        let start = starts[range.start] - usize::from(!begin[range.start]);
        let end = starts[range.end];
        *range = start..end.max(start);
    }
}
