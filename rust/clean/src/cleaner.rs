//! Cleans one text after the other, by an ordered list of stages.
//!
//! ```text
//! for each stage:
//!     normaliser, redactor:  text = rule(text)
//!     filter:                stop and drop if a measure of view(text) fails
//!     line edit:             as a filter; then text = rule(view(text)), and a new view
//! ```
//!
//! Filters and line edits that follow one another share one view, up to the first line edit that
//! changes the text.

use std::borrow::Cow;

use lslm_runtime::{Result, Task, threads};
use rayon::prelude::*;
use serde_json::Value;

use crate::chars::CharacterSummary;
use crate::config::CleanConfig;
use crate::edit::{Detail, Edit, add_detail};
use crate::measure::{Judge, Measure};
use crate::rule::{Filter, LineEdit, Make, Rewrite};
use crate::rules::RULES;
use crate::view::{View, ViewBuffers};

/// The largest factor by which cleaning grows a text, in bytes. NFC reaches it: U+1D160 to U+1D164
/// grow from 4 bytes to 12 (Unicode Standard Annex 15, maximum expansion of NFC in UTF-8).
pub const MAX_GROWTH: usize = 3;

/// Batches of fewer bytes are cleaned on the calling thread: at 100 MB/s they take 0.7 ms, too
/// short to be worth waking threads.
const MIN_PARALLEL_BYTES: usize = 1 << 16;

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
        let build = |(rule, settings): (usize, &Value)| {
            let work = match RULES[rule].make {
                Make::Normaliser(make) => Work::Normalise(make(settings)?),
                Make::Redactor(make) => Work::Redact(make(settings)?),
                Make::LineEdit(make) => Work::EditLines(make(settings)?),
                Make::Filter(make) => Work::Filter(make(settings)?),
            };
            Ok(Stage { rule, work })
        };
        let stages = config.active().map(build).collect::<Result<_>>()?;
        Ok(Self { config: config.clone(), fingerprint: config.fingerprint(), stages })
    }

    /// Returns the configuration that the rules were built from.
    pub fn config(&self) -> &CleanConfig {
        &self.config
    }

    /// Returns [`CleanConfig::fingerprint`] of the configuration.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Runs the stages over `text`, up to the one that drops it.
    pub fn clean<'t>(&self, text: &'t str, buffers: &mut CleanBuffers) -> CleanedText<'t> {
        let mut changes = Changes::default();
        let mut judge = Judge::new(None);
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
        let work = |buffers: &mut CleanBuffers, text: &'t T| {
            task.advance(1)?;
            Ok(self.clean(text.as_ref(), buffers))
        };
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        if threads == 1 || bytes < MIN_PARALLEL_BYTES {
            let mut buffers = CleanBuffers::default();
            return texts.iter().map(|text| work(&mut buffers, text)).collect();
        }
        let pool = threads::pool(threads)?;
        pool.install(|| texts.par_iter().map_init(CleanBuffers::default, work).collect())
    }

    /// Returns every measure of `text`, including those after the first failure.
    pub fn explain(&self, text: &str, buffers: &mut CleanBuffers) -> Vec<Measure> {
        let mut all = Vec::new();
        let mut judge = Judge::new(Some(&mut all));
        self.run(text, &mut judge, buffers, &mut Changes::default());
        all
    }

    /// Returns the beginning of `text`, redacted and of at most `max_bytes` bytes.
    ///
    /// For examples of dropped texts, which are not redacted as a whole.
    pub(crate) fn excerpt(&self, text: &str, max_bytes: usize) -> String {
        let head = &text[..text.floor_char_boundary(2 * max_bytes + MAX_MATCH_BYTES)];
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
        let safe = if head.len() < text.len() {
            excerpt.len().saturating_sub(MAX_MATCH_BYTES)
        } else {
            max_bytes
        };
        excerpt.truncate(excerpt.floor_char_boundary(safe.min(max_bytes)));
        excerpt
    }

    /// Runs the stages in order, until `judge` ends it; returns the text as it is then.
    fn run<'t>(
        &self,
        text: &'t str,
        judge: &mut Judge<'_>,
        buffers: &mut CleanBuffers,
        changes: &mut Changes,
    ) -> Cow<'t, str> {
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::PROFILES;
    use crate::naive;

    fn cleaner(profile: &str, changes: &serde_json::Value) -> Cleaner {
        Cleaner::new(&CleanConfig::profile(profile).unwrap().with(changes).unwrap()).unwrap()
    }

    /// Text in which the targets of all normalisers occur side by side.
    fn dirty() -> impl Strategy<Value = String> {
        let parts = "(a|b| |  |\t|\n|\n\n\n|\r\n|\r|\u{b}|\u{85}|\u{2028}|\u{0}|\u{7f}|\u{ffff}|\u{feff}|\
            \u{200b}|\u{200c}|\u{200d}|\u{202e}|\u{ad}|\u{fe0f}|\u{e0061}|\u{e0100}|🏴|👩|👍|🏽|\u{a0}|\u{3000}|\
            中|，|ن|می|क|\u{94d}|\u{93c}|e|\u{301}|\u{323}|\u{308}|\u{212b}|\u{1100}|\u{1161}|\u{11a8}|\u{fffd}|\
            \u{180e}|\u{1d15e}|\u{37e}|\u{2000}|\\PC){0,30}";
        parts.prop_map(|text: String| text)
    }

    #[test]
    fn a_text_is_copied_only_if_it_changes() {
        let cleaner = cleaner("default", &json!({}));
        let mut buffers = CleanBuffers::default();
        for text in ["plain text\n", "中文，全角！\n", "é ü \u{915}\u{94d}\u{200d}\u{937}"]
        {
            let cleaned = cleaner.clean(text, &mut buffers);
            assert!(matches!(cleaned.text, Cow::Borrowed(_)), "{text:?}");
            assert!(cleaned.changes.is_empty() && cleaned.verdict.is_kept());
        }
        let cleaned = cleaner.clean("a\r\nb\u{200b}\x07", &mut buffers);
        assert_eq!(cleaned.text, "a\nb\u{200b}");
        let changes: Vec<_> = cleaned.changes.iter().collect();
        assert_eq!(changes, [("controls", 2)]);
    }

    #[test]
    fn invisible_characters_stay_where_spelling_needs_them() {
        let cleaner = cleaner("tidy", &json!({}));
        let mut buffers = CleanBuffers::default();
        for (text, expected) in [
            ("👩\u{200d}💻 👍🏽 ❤\u{fe0f}\u{200d}🔥", "👩\u{200d}💻 👍🏽 ❤\u{fe0f}\u{200d}🔥"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("ശ്രീ\u{d4d}\u{200d}", "ശ്രീ\u{d4d}\u{200d}"),
            ("🏴\u{e0067}\u{e007f}", "🏴\u{e0067}\u{e007f}"),
            ("葛\u{e0100}飾", "葛\u{e0100}飾"),
            ("pass\u{200d}word\u{200c}s", "passwords"),
            ("a\u{e0067}\u{202e}b\u{2060}", "ab"),
            ("x\u{fe0f}\u{fe0f}\u{fe0e}y \u{fe0f}", "x\u{fe0f}y"),
            ("soft\u{ad}ly", "softly"),
            ("ភាសា\u{200b}\u{200b}ខ្មែរ a\u{200b}b", "ភាសា\u{200b}ខ្មែរ ab"),
            ("ไทย\u{feff}\u{200b}ไทย", "ไทย\u{200b}ไทย"),
        ] {
            assert_eq!(cleaner.clean(text, &mut buffers).text, expected, "{text:?}");
        }
    }

    #[test]
    fn full_width_punctuation_is_kept() {
        let text = "他说：“你好！”（真的？）……——《书》、１２％\n";
        let cleaner = cleaner("chinese", &json!({}));
        assert_eq!(cleaner.clean(text, &mut CleanBuffers::default()).text, text);
    }

    #[test]
    fn the_code_profile_keeps_indentation_and_blank_lines() {
        let text = "def f():\n\tif x:  # two\n\n\n\n\t\treturn '\u{a0}'   \n".repeat(5);
        let cleaner = cleaner("code", &json!({}));
        let cleaned = cleaner.clean(&text, &mut CleanBuffers::default());
        assert_eq!(cleaned.text, text);
        assert_eq!(cleaned.verdict, Verdict::Keep);
    }

    #[test]
    fn only_kept_texts_are_redacted() {
        let cleaner = cleaner("default", &json!({"redact": true, "length": {"min_chars": 12}}));
        let mut buffers = CleanBuffers::default();
        let kept = cleaner.clean("to me@site.org from 8.8.8.8", &mut buffers);
        assert_eq!(kept.text, "to <EMAIL> from <IPV4>");
        let changes: Vec<_> = kept.changes.iter().collect();
        assert_eq!(changes, [("redact", 2), ("redact.email", 1), ("redact.ipv4", 1)]);
        let dropped = cleaner.clean("me@site.org", &mut buffers);
        assert_eq!(dropped.text, "me@site.org");
        assert_eq!(dropped.verdict.reason().unwrap(), "length.too_short");
    }

    #[test]
    fn excerpts_of_dropped_texts_are_redacted() {
        let redacting = cleaner("none", &json!({"redact": true}));
        assert_eq!(redacting.excerpt("to me@site.org", 9), "to <EMAIL");
        assert_eq!(redacting.excerpt("中中", 4), "中");
        // an address cut in two by the end of the excerpt, after many that shrink
        let long = format!("{}@site.org", "x".repeat(60));
        for before in 0..900 {
            let text = format!("{} {}", ".".repeat(before), format!("{long} ").repeat(20));
            let excerpt = redacting.excerpt(&text, 240);
            assert!(excerpt.len() <= 240 && !excerpt.contains('x'), "{excerpt}");
        }
        let plain = cleaner("none", &json!({}));
        assert_eq!(plain.excerpt("to me@site.org", 9), "to me@sit");
    }

    #[test]
    fn explain_goes_on_after_the_first_failure() {
        let cleaner = cleaner("fineweb", &json!({}));
        let mut buffers = CleanBuffers::default();
        let text = "x\n".repeat(20);
        let measures = cleaner.explain(&text, &mut buffers);
        let first = measures.iter().find(|measure| !measure.passed).unwrap();
        let cleaned = cleaner.clean(&text, &mut buffers);
        assert_eq!(cleaned.verdict.reason().unwrap(), first.name);
        assert!(measures.iter().filter(|measure| !measure.passed).count() > 3);
        assert!(measures.iter().any(|measure| measure.name == "fineweb.list_ratio"));
    }

    #[test]
    fn a_batch_equals_its_texts_one_by_one_on_any_number_of_threads() {
        let dirty = "text  with\tblanks \nand Ã©\u{200b} \x1b[0m e\u{301}\n";
        let texts: Vec<String> = (0..3000).map(|n| format!("{n}{}", dirty.repeat(n % 9))).collect();
        let lines = json!({"lines": {"containing": ["with"]}});
        let mut buffers = CleanBuffers::default();
        for cleaner in
            [cleaner("gopher", &json!({"gopher_quality": false})), cleaner("tidy", &lines)]
        {
            let single: Vec<_> =
                texts.iter().map(|text| cleaner.clean(text, &mut buffers)).collect();
            for threads in [1, 3] {
                let batch = cleaner.clean_batch(&texts, threads, &Task::default()).unwrap();
                assert_eq!(batch, single);
            }
        }
        let cleaner = cleaner("none", &json!({}));
        let stopped = Task::default();
        stopped.cancel();
        assert!(cleaner.clean_batch(&texts, 3, &stopped).is_err());
    }

    #[test]
    fn empty_and_one_character_documents_get_a_verdict() {
        let mut buffers = CleanBuffers::default();
        for profile in &PROFILES {
            let cleaner = cleaner(profile.name, &json!({"redact": true}));
            for text in ["", "\n", " ", "\n\n\n", "\u{301}", "\u{feff}", "@", "1", "."] {
                let cleaned = cleaner.clean(text, &mut buffers);
                assert!(
                    profile.name == "none" || !cleaned.verdict.is_kept() || !text.trim().is_empty()
                );
                cleaner.explain(text, &mut buffers);
            }
        }
    }

    #[test]
    fn an_edit_renews_the_view_for_the_stages_after_it() {
        let edit = json!({"containing": ["login"]});
        let text = "Please login\n\nA text of some words.\n";
        let mut buffers = CleanBuffers::default();
        for (stages, reason) in [
            (json!(["length", "lines"]), None),
            (json!(["lines", "length"]), Some("length.too_short")),
            (json!(["lines", "spaces", "length"]), Some("length.too_short")),
        ] {
            let length = json!({"min_chars": 30});
            let all = json!({"stages": stages, "lines": edit, "length": length});
            let cleaned = cleaner("none", &all).clean(text, &mut buffers).verdict;
            assert_eq!(cleaned.reason(), reason, "{stages}");
        }
        // the view of the second line edit is that of the edited text
        let all = json!({"stages": ["lines", "spaces"], "lines": edit});
        let cleaner = cleaner("none", &all);
        let cleaned = cleaner.clean(text, &mut buffers);
        assert_eq!(cleaned.text, "A text of some words.\n");
        let changes: Vec<_> = cleaned.changes.iter().collect();
        assert_eq!(changes, [("spaces", 1), ("lines", 1), ("lines.phrase", 1)]);
    }

    #[test]
    fn explain_judges_the_edited_text() {
        let all = json!({"stages": ["lines", "length"], "lines": {"min_chars": 4}, "length": {"min_chars": 9}});
        let measures = cleaner("none", &all).explain("a\nb\nlong\n", &mut CleanBuffers::default());
        assert_eq!((measures[0].value, measures[0].passed), (5.0, false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn normalising_is_idempotent_bounded_and_equal_to_the_naive_twin(text in dirty()) {
            let mut buffers = CleanBuffers::default();
            for (profile, twin) in [("default", naive::lossless as fn(&str) -> String), ("tidy", naive::tidy)] {
                let changes = json!({"utf8": false, "length": false, "repair": false});
                let cleaner = cleaner(profile, &changes);
                let once = cleaner.clean(&text, &mut buffers);
                prop_assert_eq!(&*once.text, twin(&text));
                prop_assert_eq!(once.changes.is_empty(), once.text == text);
                prop_assert!(once.text.len() <= MAX_GROWTH * text.len());
                let twice = cleaner.clean(&once.text, &mut buffers);
                prop_assert_eq!(&twice.text, &once.text);
                prop_assert!(twice.changes.is_empty());
            }
        }

        #[test]
        fn any_choice_of_normalisers_is_idempotent(text in dirty(), on in 0_u8..128) {
            let names = ["ansi", "breaks", "controls", "bom", "hidden", "nfc", "spaces"];
            let switches = names.iter().enumerate().map(|(bit, name)| ((*name).to_owned(), (on >> bit & 1 == 1).into()));
            let cleaner = cleaner("none", &serde_json::Value::Object(switches.collect()));
            let mut buffers = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut buffers);
            let twice = cleaner.clean(&once.text, &mut buffers);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn tidying_is_idempotent_where_removals_leave_mojibake(
            text in "(Ã|©|Â|\u{a0}|â€™|€|\u{200b}|\u{7}|\u{ad}|ƒ|Ãƒ|\u{92}|\u{85}|\x1b\\[0m| |\n|a|é){0,20}"
        ) {
            let cleaner = cleaner("tidy", &json!({"utf8": false, "length": false}));
            let mut buffers = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut buffers);
            let twice = cleaner.clean(&once.text, &mut buffers);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn redacting_is_idempotent_and_bounded(text in crate::redact::pieces(), how in 0..3_usize) {
            let replacement = ["placeholder", "remove", "[gone]"][how];
            let settings = json!({"nfc": true, "redact": {"replacement": replacement}});
            let cleaner = cleaner("none", &settings);
            let mut buffers = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut buffers);
            prop_assert!(once.text.len() <= MAX_GROWTH * text.len());
            let twice = cleaner.clean(&once.text, &mut buffers);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn every_profile_gives_the_same_result_with_used_buffers(text in dirty()) {
            let mut buffers = CleanBuffers::default();
            for profile in &PROFILES {
                let cleaner = cleaner(profile.name, &json!({"redact": true}));
                let first = cleaner.clean(&text, &mut buffers);
                prop_assert_eq!(&first, &cleaner.clean(&text, &mut CleanBuffers::default()));
            }
        }
    }
}
