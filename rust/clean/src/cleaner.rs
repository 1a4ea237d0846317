//! Cleans one text after the other, by an ordered list of stages.
//!
//! ```text
//! for each stage:
//!     normaliser, redactor:  text = rule(text)
//!     filter:                stop and drop if a measure of view(text) fails
//!     line edit:             as a filter; then text = rule(view(text)), and a new view
//! ```
//!
//! The stage `dedup` is not among them: it needs all documents of a job, which runs the stages before
//! it on each document, compares what they leave, and runs the stages after it on what that leaves.
//!
//! Filters and line edits that follow one another share one view, up to the first line edit that
//! changes the text.

mod changes;
mod document;
mod excerpt;

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lslm_runtime::{Error, Result, Task, threads};
use rayon::prelude::*;

use crate::chars::CharacterSummary;
use crate::config::CleanConfig;
use crate::dedup::Dedup;
use crate::edit::{Edit, RemovedLine};
use crate::measure::{Judge, Measure};
use crate::places::place_of;
use crate::rule::{Evidence, Filter, LineEdit, Make, Rewrite};
use crate::rules::RULES;
use crate::view::{View, ViewBuffers};

pub use changes::Changes;
pub use document::{CleanedText, DocumentOptions, DocumentResult, StageRange, Verdict};

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
    /// The number of stages before deduplication.
    n_before: usize,
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

impl Cleaner {
    /// Builds the stages of `config`.
    ///
    /// An [`Error::Invalid`](lslm_runtime::Error::Invalid) names the setting that cannot be used.
    pub fn new(config: &CleanConfig) -> Result<Self> {
        let config = config.clone().with_hashes()?;
        let (mut stages, mut dedup) = (Vec::new(), None);
        let mut n_before = None;
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
                    n_before = Some(stages.len());
                    continue;
                }
            };
            stages.push(Stage { rule, work });
        }
        let (fingerprint, spare) = (config.fingerprint(), Mutex::default());
        let n_before = n_before.unwrap_or(stages.len());
        Ok(Self { config, fingerprint, stages, dedup, n_before, spare })
    }

    /// Returns what compares documents, if the configuration has that stage. It is the work of a job
    /// over all of them; [`Cleaner::clean`], which sees one, leaves it out and runs all other stages.
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

    /// Returns whether there are stages in this range.
    pub fn has_stages(&self, range: StageRange) -> bool {
        !self.stages(range).is_empty()
    }

    fn stages(&self, range: StageRange) -> &[Stage] {
        let (before, after) = self.stages.split_at(self.n_before);
        match range {
            StageRange::All => &self.stages,
            StageRange::BeforeDedup => before,
            StageRange::AfterDedup => after,
        }
    }

    /// Returns the name of the field with the URL of a document, if one of these stages compares it.
    pub fn url_key(&self, range: StageRange) -> Option<&str> {
        self.stages(range).iter().find(|stage| RULES[stage.rule].name == "lists")?;
        self.config.setting("lists", "urls").filter(|urls| !urls.is_null())?;
        self.config.setting("lists", "url_key")?.as_str()
    }

    /// Runs the stages over `text`, up to the one that drops it.
    pub fn clean<'t>(&self, text: &'t str, buffers: &mut CleanBuffers) -> CleanedText<'t> {
        self.clean_document(text, DocumentOptions::default(), buffers).cleaned
    }

    /// Runs the stages that `options` names over the text of a document, up to the one that drops it;
    /// where measures are asked for, those after it too, which changes nothing of the other results.
    ///
    /// ```
    /// use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentOptions};
    /// use serde_json::json;
    ///
    /// let config = CleanConfig::profile("none")?.with(&json!({"lines": {"min_chars": 3}}))?;
    /// let cleaner = Cleaner::new(&config)?;
    /// let options = DocumentOptions { removed_lines: true, ..DocumentOptions::default() };
    /// let found = cleaner.clean_document("long\nno\n", options, &mut CleanBuffers::default());
    /// assert_eq!(found.cleaned.text, "long\n");
    /// assert_eq!(found.removed_lines[0].text, "no");
    /// # Ok::<(), lslm_runtime::Error>(())
    /// ```
    pub fn clean_document<'t>(
        &self,
        text: &'t str,
        options: DocumentOptions<'_>,
        buffers: &mut CleanBuffers,
    ) -> DocumentResult<'t> {
        let mut measures = Vec::new();
        let all = options.measures.then_some(&mut measures);
        let mut run = Run {
            judge: Judge::new(all).with_url(options.url),
            changes: Changes::default(),
            removed_lines: options.removed_lines.then(Vec::new),
            at_drop: None,
            buffers,
        };
        let text = self.run(text, self.stages(options.stages), &mut run);
        let Run { judge, changes, removed_lines, at_drop, .. } = run;
        let verdict = judge.finish().map_or(Verdict::Keep, Verdict::Drop);
        let (text, changes) = at_drop.unwrap_or((text, changes));
        let cleaned = CleanedText { text, verdict, changes };
        DocumentResult { cleaned, measures, removed_lines: removed_lines.unwrap_or_default() }
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
        let options = DocumentOptions { measures: true, ..DocumentOptions::default() };
        self.clean_document(text, options, buffers).measures
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

    /// Runs `stages` in order, until the judge ends it; returns the text as it is then.
    fn run<'t>(&self, text: &'t str, stages: &[Stage], run: &mut Run<'_, 't>) -> Cow<'t, str> {
        run.buffers.longest = run.buffers.longest.max(text.len());
        let mut text = Cow::Borrowed(text);
        let mut summary: Option<CharacterSummary> = None;
        let mut stages = stages;
        let mut word_count = None;
        while let Some((stage, rest)) = stages.split_first() {
            // of the text as it is now: any other stage may change it
            let words = word_count.take();
            match &stage.work {
                Work::Normalise(_) => stages = normalise(stages, &mut text, &mut summary, run),
                Work::Redact(rule) => {
                    stages = rest;
                    if rewrite(stage.rule, &**rule, &mut text, run) {
                        summary = None;
                    }
                }
                Work::Filter(_) | Work::EditLines(_) => {
                    let after = self.judge((&text, words), stages, run);
                    word_count = after.word_count;
                    if let Some(edited) = after.edited {
                        replace(&mut text, edited, run.buffers);
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
    fn judge<'s, 't>(
        &self,
        (text, word_count): (&Cow<'t, str>, Option<usize>),
        stages: &'s [Stage],
        run: &mut Run<'_, 't>,
    ) -> Judged<'s> {
        let view = View::new(text, self.config.unit(), std::mem::take(&mut run.buffers.view))
            .with_word_count(word_count);
        let mut after = Judged { edited: None, word_count: None, rest: Some(stages) };
        while let Some((stage, rest)) = after.rest.and_then(<[Stage]>::split_first) {
            run.judge.begin_rule(RULES[stage.rule].name);
            let n_failed = run.judge.n_failed();
            let flow = match &stage.work {
                Work::Normalise(_) | Work::Redact(_) => break,
                Work::Filter(filter) => filter.check(&view, &mut run.judge),
                Work::EditLines(rule) => {
                    let mut edit = Edit::new(text, &mut run.buffers.spare);
                    edit.removed_lines = run.removed_lines.as_ref().map(|_| Vec::new());
                    let flow = rule.apply(&view, &mut edit, &mut run.judge);
                    // a text that this stage drops stays as it was before
                    if run.judge.n_failed() == n_failed {
                        let (word_count, lines) = (edit.word_count, edit.removed_lines.take());
                        if run.changes.add(stage.rule, edit) {
                            after.word_count = word_count;
                            after.edited = Some(std::mem::take(&mut run.buffers.spare));
                        }
                        run.add_lines(lines);
                    }
                    flow
                }
            };
            if n_failed == 0 && run.judge.n_failed() > 0 && flow.is_continue() {
                run.at_drop = Some((text.clone(), run.changes.clone()));
            }
            after.rest = flow.is_continue().then_some(rest);
            if after.edited.is_some() {
                break;
            }
        }
        run.buffers.view = view.into_buffers();
        after
    }
}

/// What the stages have found of one text so far.
struct Run<'r, 't> {
    judge: Judge<'r>,
    changes: Changes,
    /// The lines that line edits removed before the drop, if they are collected.
    removed_lines: Option<Vec<RemovedLine>>,
    /// Where measures continue after the stage that dropped the text: the text there, and the changes
    /// up to there.
    at_drop: Option<(Cow<'t, str>, Changes)>,
    buffers: &'r mut CleanBuffers,
}

impl<'r> Run<'r, '_> {
    fn new(buffers: &'r mut CleanBuffers) -> Self {
        let (judge, changes) = (Judge::new(None), Changes::default());
        Self { judge, changes, removed_lines: None, at_drop: None, buffers }
    }

    fn add_lines(&mut self, more: Option<Vec<RemovedLine>>) {
        if self.at_drop.is_none()
            && let Some(lines) = &mut self.removed_lines
        {
            lines.extend(more.into_iter().flatten());
        }
    }
}

/// Runs the normalisers at the start of `stages`, again from a rule that adds characters on as long
/// as that changes anything; returns the stages after them.
fn normalise<'s>(
    stages: &'s [Stage],
    text: &mut Cow<'_, str>,
    summary: &mut Option<CharacterSummary>,
    run: &mut Run<'_, '_>,
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
        let changed = rule.may_change(text, known) && rewrite(*index, &**rule, text, run);
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
    run: &mut Run<'_, '_>,
) -> bool {
    let mut edit = Edit::new(text, &mut run.buffers.spare);
    rule.apply(&mut edit);
    let changed = run.changes.add(index, edit);
    if changed {
        let new = std::mem::take(&mut run.buffers.spare);
        replace(text, new, run.buffers);
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
