//! Cleans one text after the other, by an ordered list of stages.
//!
//! ```text
//! for each stage:
//!     normaliser, redactor:  text = rule(text)
//!     filter:                stop and drop if a measure of view(text) fails
//!     line edit:             as a filter; then text = rule(view(text)), and a new view
//! ```
//!
//! Deduplication, the last stage of some, is not among them: it needs all documents of a job.
//!
//! Filters and line edits that follow one another share one view, up to the first line edit that
//! changes the text.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lslm_runtime::{Error, Result, Task, threads};
use rayon::prelude::*;

use crate::chars::CharacterSummary;
use crate::config::CleanConfig;
use crate::dedup::Dedup;
use crate::edit::{Detail, Edit, add_detail};
use crate::measure::{Judge, Measure};
use crate::places::place_of;
use crate::rule::{Evidence, Filter, LineEdit, Make, Rewrite};
use crate::rules::RULES;
use crate::view::{View, ViewBuffers};

/// The largest factor by which cleaning grows a text, in bytes. NFC reaches it: U+1D160 to U+1D164
/// grow from 4 bytes to 12 (Unicode Standard Annex 15, maximum expansion of NFC in UTF-8).
pub const MAX_GROWTH: usize = 3;

/// Batches of fewer bytes are cleaned on the calling thread: at 100 MB/s they take 0.7 ms, too
/// short to be worth waking threads.
const MIN_PARALLEL_BYTES: usize = 1 << 16;

/// Bytes of a text after which buffers are not kept: they take some twenty times its bytes.
const MAX_KEPT_TEXT: usize = 1 << 20;

/// How often normalisers run, at most, if the last round changed what the first of them, a repair,
/// may repair now. Two rounds are enough unless mojibake was broken up on purpose.
const MAX_ROUNDS: usize = 8;

/// The most bytes that a redactor matches, long keys apart: an e-mail address has at most
/// 64 + 1 + 253. Of a private key whose end is cut off, each whole line is found.
const MAX_MATCH_BYTES: usize = 320;

/// The rules of one configuration, built and ready; threads can share one.
///
/// ```
/// use lslm_clean::{CleanBuffers, CleanConfig, Cleaner};
///
/// let cleaner = Cleaner::new(&CleanConfig::profile("fineweb")?)?;
/// let mut buffers = CleanBuffers::default();
///
/// let cleaned = cleaner.clean("buy now buy now buy now", &mut buffers);
/// assert_eq!(cleaned.verdict.reason(), Some("gopher_repetition.top_2_gram"));
///
/// // every measure, for choosing limits
/// let measures = cleaner.explain("buy now buy now buy now", &mut buffers);
/// assert!(measures.iter().any(|m| m.name == "gopher_quality.too_few_words" && m.value == 6.0));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
pub struct Cleaner {
    config: CleanConfig,
    fingerprint: [u8; 32],
    stages: Vec<Stage>,
    dedup: Option<Dedup>,
    /// Memory of earlier batches.
    spare: Mutex<Vec<CleanBuffers>>,
}

/// A rule that was built from its settings.
struct Stage {
    /// Its index in [`RULES`].
    rule: usize,
    work: Work,
}

/// What a stage does.
enum Work {
    Normalise(Box<dyn Rewrite>),
    Redact(Box<dyn Rewrite>),
    EditLines(Box<dyn LineEdit>),
    Filter(Box<dyn Filter>),
}

/// The memory that a [`Cleaner`] works in. Keep one per thread and reuse it for every text.
#[derive(Debug, Default)]
pub struct CleanBuffers {
    /// The output of the next rule; its memory goes back and forth between texts.
    spare: String,
    view: ViewBuffers,
    /// The bytes of the longest text so far.
    longest: usize,
}

/// Buffers that go back to their cleaner when they are dropped, unless a long text made them large. A
/// batch that begins with new ones would fill its cache of words again.
struct LentBuffers<'c> {
    cleaner: &'c Cleaner,
    own: CleanBuffers,
}

impl Drop for LentBuffers<'_> {
    fn drop(&mut self) {
        if self.own.longest <= MAX_KEPT_TEXT {
            self.cleaner.spare().push(std::mem::take(&mut self.own));
        }
    }
}

/// A text after cleaning.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanedText<'t> {
    /// The text after the last stage, or at the one that dropped it; borrowed if nothing changed.
    pub text: Cow<'t, str>,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// How much each rule changed.
    pub changes: Changes,
}

/// Whether a document is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It passed every filter.
    Keep,
    /// This measure is outside its limit; it is the first such one.
    Drop(Measure),
}

impl Verdict {
    /// Returns whether the document is kept.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the measure that failed, or `None` for a kept document.
    pub fn measure(&self) -> Option<&Measure> {
        match self {
            Self::Keep => None,
            Self::Drop(measure) => Some(measure),
        }
    }

    /// Returns the name of the measure that failed, or `None` for a kept document.
    pub fn reason(&self) -> Option<&str> {
        self.measure().map(|measure| measure.name.as_str())
    }
}

/// How much each rule changed: characters for normalisers, lines for line edits, matches for
/// redactors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    counts: [u64; RULES.len()],
    /// Parts of the counts that have names of their own.
    details: Vec<Detail>,
}

impl Changes {
    /// Returns the rules that changed something, in the order of [`RULES`], with how much; then
    /// the parts of these counts that have names of their own, such as "nfc.singletons".
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let pairs = RULES.iter().zip(self.counts);
        let rules = pairs.filter(|(_, count)| *count > 0).map(|(rule, count)| (rule.name, count));
        rules.chain(self.details.iter().copied())
    }

    /// Returns whether no rule changed anything.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; RULES.len()]
    }

    /// Adds what `edit` changed for the rule with this index, and returns whether it changed
    /// anything.
    fn add(&mut self, rule: usize, mut edit: Edit<'_>) -> bool {
        for detail in edit.take_details() {
            add_detail(&mut self.details, detail);
        }
        let changed = edit.finish();
        self.counts[rule] += changed;
        changed > 0
    }
}

impl Cleaner {
    /// Builds the stages of `config`.
    ///
    /// An [`Error::Invalid`](lslm_runtime::Error::Invalid) names the setting that cannot be used.
    pub fn new(config: &CleanConfig) -> Result<Self> {
        let config = config.clone().with_hashes()?;
        let (mut stages, mut dedup) = (Vec::new(), None);
        for (rule, settings) in config.active() {
            let work = match RULES[rule].make {
                Make::Normaliser(make) => Work::Normalise(make(settings)?),
                Make::Redactor(make) => Work::Redact(make(settings)?),
                Make::LineEdit(make) => Work::EditLines(make(settings)?),
                Make::Filter(make) => Work::Filter(make(settings)?),
                Make::Dedup => {
                    let settings = serde_json::from_value(settings.clone())
                        .map_err(|error| Error::invalid(format!("dedup: {error}")))?;
                    dedup = Some(Dedup::new(settings)?);
                    continue;
                }
            };
            stages.push(Stage { rule, work });
        }
        let (fingerprint, spare) = (config.fingerprint(), Mutex::default());
        Ok(Self { config, fingerprint, stages, dedup, spare })
    }

    /// Returns what compares documents, if the configuration has that stage. It is the work of a job
    /// over all of them; [`Cleaner::clean`], which sees one, leaves it out.
    pub fn dedup(&self) -> Option<&Dedup> {
        self.dedup.as_ref()
    }

    /// Returns the configuration that the rules were built from.
    pub fn config(&self) -> &CleanConfig {
        &self.config
    }

    /// Returns [`CleanConfig::fingerprint`] of the configuration.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Returns the name of the field with the URL of a document, if a stage compares it.
    pub fn url_key(&self) -> Option<&str> {
        self.config.setting("lists", "urls").filter(|urls| !urls.is_null())?;
        self.config.setting("lists", "url_key")?.as_str()
    }

    /// Runs the stages over `text`, up to the one that drops it.
    pub fn clean<'t>(&self, text: &'t str, buffers: &mut CleanBuffers) -> CleanedText<'t> {
        self.clean_document(text, None, buffers)
    }

    /// Runs the stages over the text of a document that comes from `url`.
    pub fn clean_document<'t>(
        &self,
        text: &'t str,
        url: Option<&str>,
        buffers: &mut CleanBuffers,
    ) -> CleanedText<'t> {
        let mut changes = Changes::default();
        let mut judge = Judge::new(None).with_url(url);
        let text = self.run(text, &mut judge, buffers, &mut changes);
        let verdict = judge.finish().map_or(Verdict::Keep, Verdict::Drop);
        CleanedText { text, verdict, changes }
    }

    /// Returns [`Cleaner::clean`] of each text, in order, computed on `threads` threads.
    ///
    /// A batch of less than 64 KiB runs on the calling thread. `task` counts texts.
    pub fn clean_batch<'t, T: AsRef<str> + Sync>(
        &self,
        texts: &'t [T],
        threads: usize,
        task: &Task,
    ) -> Result<Vec<CleanedText<'t>>> {
        let work = |buffers: &mut LentBuffers<'_>, text: &'t T| {
            task.advance(1)?;
            Ok(self.clean(text.as_ref(), &mut buffers.own))
        };
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        if threads == 1 || bytes < MIN_PARALLEL_BYTES {
            let mut buffers = self.lend();
            return texts.iter().map(|text| work(&mut buffers, text)).collect();
        }
        let pool = threads::pool(threads)?;
        pool.install(|| texts.par_iter().map_init(|| self.lend(), work).collect())
    }

    /// Calls `work` with buffers that earlier calls and batches filled, as far as there are some.
    ///
    /// ```
    /// use lslm_clean::{CleanConfig, Cleaner};
    ///
    /// let cleaner = Cleaner::new(&CleanConfig::profile("gopher")?)?;
    /// let cleaned = cleaner.with_buffers(|buffers| cleaner.clean("buy now", buffers));
    /// assert!(!cleaned.verdict.is_kept());
    /// # Ok::<(), lslm_runtime::Error>(())
    /// ```
    pub fn with_buffers<R>(&self, work: impl FnOnce(&mut CleanBuffers) -> R) -> R {
        work(&mut self.lend().own)
    }

    fn lend(&self) -> LentBuffers<'_> {
        let own = self.spare().pop().unwrap_or_default();
        LentBuffers { cleaner: self, own }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<CleanBuffers>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every measure of `text`, including those after the first failure.
    pub fn explain(&self, text: &str, buffers: &mut CleanBuffers) -> Vec<Measure> {
        self.explain_document(text, None, buffers)
    }

    /// Returns every measure of the text of a document that comes from `url`.
    pub fn explain_document(
        &self,
        text: &str,
        url: Option<&str>,
        buffers: &mut CleanBuffers,
    ) -> Vec<Measure> {
        let mut all = Vec::new();
        let mut judge = Judge::new(Some(&mut all)).with_url(url);
        self.run(text, &mut judge, buffers, &mut Changes::default());
        all
    }

    /// Returns what shows why a document with `url` was dropped because of `measure`: `text` is its
    /// text at that stage, as [`Cleaner::clean_document`] returned it.
    pub fn evidence(&self, text: &str, url: Option<&str>, measure: &Measure) -> Evidence {
        let Some((name, part)) = measure.name.split_once('.') else { return Evidence::default() };
        let view = View::new(text, self.config.unit(), ViewBuffers::default());
        let mut filters = self.stages.iter().filter_map(|stage| match &stage.work {
            Work::Filter(filter) if RULES[stage.rule].name == name => Some(filter),
            _ => None,
        });
        let own = filters.next().and_then(|filter| filter.evidence(&view, url, part));
        own.unwrap_or_else(|| Evidence { range: place_of(&measure.name, &view), entry: None })
    }

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
        let (mut buffers, mut changes) = (CleanBuffers::default(), Changes::default());
        let mut excerpt = Cow::Borrowed(head);
        for stage in &self.stages {
            if let Work::Redact(rule) = &stage.work {
                rewrite(stage.rule, &**rule, &mut excerpt, &mut buffers, &mut changes);
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

    /// Runs the stages in order, until `judge` ends it; returns the text as it is then.
    fn run<'t>(
        &self,
        text: &'t str,
        judge: &mut Judge<'_>,
        buffers: &mut CleanBuffers,
        changes: &mut Changes,
    ) -> Cow<'t, str> {
        buffers.longest = buffers.longest.max(text.len());
        let mut text = Cow::Borrowed(text);
        let mut summary: Option<CharacterSummary> = None;
        let mut stages = &self.stages[..];
        let mut word_count = None;
        while let Some((stage, rest)) = stages.split_first() {
            // of the text as it is now: any other stage may change it
            let words = word_count.take();
            match &stage.work {
                Work::Normalise(_) => {
                    stages = normalise(stages, &mut text, &mut summary, buffers, changes);
                }
                Work::Redact(rule) => {
                    stages = rest;
                    if rewrite(stage.rule, &**rule, &mut text, buffers, changes) {
                        summary = None;
                    }
                }
                Work::Filter(_) | Work::EditLines(_) => {
                    let after = self.judge((&text, words), stages, judge, buffers, changes);
                    word_count = after.word_count;
                    if let Some(edited) = after.edited {
                        replace(&mut text, edited, buffers);
                        summary = None;
                    }
                    match after.rest {
                        Some(rest) => stages = rest,
                        None => break,
                    }
                }
            }
        }
        text
    }

    /// Runs the filters and line edits at the start of `stages` over one view of `text`, of which the
    /// number of words may be known.
    fn judge<'s>(
        &self,
        (text, word_count): (&str, Option<usize>),
        stages: &'s [Stage],
        judge: &mut Judge<'_>,
        buffers: &mut CleanBuffers,
        changes: &mut Changes,
    ) -> Judged<'s> {
        let view = View::new(text, self.config.unit(), std::mem::take(&mut buffers.view))
            .with_word_count(word_count);
        let mut after = Judged { edited: None, word_count: None, rest: Some(stages) };
        while let Some((stage, rest)) = after.rest.and_then(<[Stage]>::split_first) {
            judge.begin_rule(RULES[stage.rule].name);
            let flow = match &stage.work {
                Work::Normalise(_) | Work::Redact(_) => break,
                Work::Filter(filter) => filter.check(&view, judge),
                Work::EditLines(rule) => {
                    let mut edit = Edit::new(text, &mut buffers.spare);
                    let flow = rule.apply(&view, &mut edit, judge);
                    let word_count = edit.word_count;
                    if flow.is_continue() && changes.add(stage.rule, edit) {
                        after.word_count = word_count;
                        after.edited = Some(std::mem::take(&mut buffers.spare));
                    }
                    flow
                }
            };
            after.rest = flow.is_continue().then_some(rest);
            if after.edited.is_some() {
                break;
            }
        }
        buffers.view = view.into_buffers();
        after
    }
}

/// Runs the normalisers at the start of `stages`, again from a rule that adds characters on as long
/// as that changes anything; returns the stages after them.
fn normalise<'s>(
    stages: &'s [Stage],
    text: &mut Cow<'_, str>,
    summary: &mut Option<CharacterSummary>,
    buffers: &mut CleanBuffers,
    changes: &mut Changes,
) -> &'s [Stage] {
    // where the next round begins, and whether a rule after that changed the text
    let (mut restart, mut is_changed, mut rounds) = (None, false, 1);
    let mut rest = stages;
    loop {
        let Some((Stage { rule: index, work: Work::Normalise(rule) }, after)) = rest.split_first()
        else {
            match restart {
                Some(again) if is_changed && rounds < MAX_ROUNDS => {
                    (rest, is_changed, rounds) = (again, false, rounds + 1);
                    continue;
                }
                _ => return rest,
            }
        };
        let known = summary.get_or_insert_with(|| CharacterSummary::of(text));
        let changed =
            rule.may_change(text, known) && rewrite(*index, &**rule, text, buffers, changes);
        if rule.adds_characters() {
            restart = restart.or(Some(rest));
            if changed {
                *summary = None;
            }
        } else {
            is_changed |= changed;
        }
        rest = after;
    }
}

/// What [`Cleaner::judge`] leaves.
struct Judged<'s> {
    /// The new text, if the last stage changed it.
    edited: Option<String>,
    /// The number of words of the new text, if the last stage counted them.
    word_count: Option<usize>,
    /// The stages that did not run; `None` for a document that is dropped.
    rest: Option<&'s [Stage]>,
}

/// Runs one rule over `text`, which is copied only when the rule changes something; returns whether
/// it does.
fn rewrite(
    index: usize,
    rule: &dyn Rewrite,
    text: &mut Cow<'_, str>,
    buffers: &mut CleanBuffers,
    changes: &mut Changes,
) -> bool {
    let mut edit = Edit::new(text, &mut buffers.spare);
    rule.apply(&mut edit);
    let changed = changes.add(index, edit);
    if changed {
        let new = std::mem::take(&mut buffers.spare);
        replace(text, new, buffers);
    }
    changed
}

/// Sets `text` to `new`, and keeps the memory of the old text for the next rule.
fn replace(text: &mut Cow<'_, str>, new: String, buffers: &mut CleanBuffers) {
    if let Cow::Owned(old) = std::mem::replace(text, Cow::Owned(new)) {
        buffers.spare = old;
    }
}

#[cfg(test)]
mod tests;
