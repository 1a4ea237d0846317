//! The whole way of one text: normalise, judge, redact.

use std::borrow::Cow;

use lslm_runtime::{Result, Task, threads};
use rayon::prelude::*;

use crate::chars::CharacterSummary;
use crate::config::CleanConfig;
use crate::rule::{Edit, Filter, Judge, Make, Measure, Rewrite};
use crate::rules::RULES;
use crate::view::{View, ViewBuffers};

/// The rules of one configuration, ready to work; shared between threads.
pub struct Cleaner {
    config: CleanConfig,
    fingerprint: [u8; 32],
    normalisers: Vec<(usize, Box<dyn Rewrite>)>,
    filters: Vec<(usize, Box<dyn Filter>)>,
    redactors: Vec<(usize, Box<dyn Rewrite>)>,
}

/// Memory that a [`Cleaner`] works in; one per thread, used again for each text.
#[derive(Debug, Default)]
pub struct CleanBuffers {
    spare: String,
    buffers: ViewBuffers,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanedText<'t> {
    /// The text after all normalisers and, if it is kept, redactors; borrowed if nothing changed.
    pub text: Cow<'t, str>,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// What was changed in it.
    pub changes: Changes,
}

/// Whether a document is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It passed every filter.
    Keep,
    /// It failed this one.
    Drop(Measure),
}

impl Verdict {
    /// Whether it is kept.
    pub fn keeps(&self) -> bool {
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

/// How much each rule changed: characters for normalisers, finds for redactors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    counts: [u64; RULES.len()],
}

impl Changes {
    /// Rules that changed something, in their order of work, with how much.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let pairs = RULES.iter().zip(self.counts);
        pairs.filter(|(_, count)| *count > 0).map(|(rule, count)| (rule.name, count))
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; RULES.len()]
    }
}

/// Batches below this many bytes are done sooner than threads are woken.
const SMALL_BATCH: usize = 1 << 16;

impl Cleaner {
    /// The rules that `config` switches on; an [`Error::Invalid`](lslm_runtime::Error::Invalid)
    /// names a setting that cannot be used.
    pub fn new(config: &CleanConfig) -> Result<Self> {
        let (mut normalisers, mut filters, mut redactors) = (Vec::new(), Vec::new(), Vec::new());
        for (place, settings) in config.active() {
            match RULES[place].make {
                Make::Normaliser(make) => normalisers.push((place, make(settings)?)),
                Make::Filter(make) => filters.push((place, make(settings)?)),
                Make::Redactor(make) => redactors.push((place, make(settings)?)),
            }
        }
        let fingerprint = config.fingerprint();
        Ok(Self { config: config.clone(), fingerprint, normalisers, filters, redactors })
    }

    /// What it was made from.
    pub fn config(&self) -> &CleanConfig {
        &self.config
    }

    /// [`CleanConfig::fingerprint`] of its configuration.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Normalises and judges `text`, and redacts it if it is kept.
    pub fn clean<'t>(&self, text: &'t str, scratch: &mut CleanBuffers) -> CleanedText<'t> {
        let mut changes = Changes::default();
        let text = self.normalise(text, scratch, &mut changes);
        let verdict = match self.judge(&text, scratch, None) {
            None => Verdict::Keep,
            Some(measure) => Verdict::Drop(measure),
        };
        let text = match verdict {
            Verdict::Keep => rewrite(&self.redactors, text, None, scratch, &mut changes),
            Verdict::Drop(_) => text,
        };
        CleanedText { text, verdict, changes }
    }

    /// [`Cleaner::clean`] of each text, in their order, on `threads` threads; a batch too small to
    /// be worth that stays on this one. `task` counts texts.
    pub fn clean_batch<'t, T: AsRef<str> + Sync>(
        &self,
        texts: &'t [T],
        threads: usize,
        task: &Task,
    ) -> Result<Vec<CleanedText<'t>>> {
        let work = |scratch: &mut CleanBuffers, text: &'t T| {
            task.advance(1)?;
            Ok(self.clean(text.as_ref(), scratch))
        };
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        if threads == 1 || bytes < SMALL_BATCH {
            let mut scratch = CleanBuffers::default();
            return texts.iter().map(|text| work(&mut scratch, text)).collect();
        }
        let pool = threads::pool(threads)?;
        pool.install(|| texts.par_iter().map_init(CleanBuffers::default, work).collect())
    }

    /// Every measure of `text` after normalisation, also behind the first that fails.
    pub fn explain(&self, text: &str, scratch: &mut CleanBuffers) -> Vec<Measure> {
        let text = self.normalise(text, scratch, &mut Changes::default());
        let mut all = Vec::new();
        self.judge(&text, scratch, Some(&mut all));
        all
    }

    /// How `text` begins, in at most `limit` bytes and with the redactors applied: for examples of
    /// what was dropped, which is not redacted as a whole.
    pub(crate) fn excerpt(&self, text: &str, limit: usize) -> String {
        /// No redactor looks for more than this; an e-mail address is 64 + 1 + 253 bytes at most.
        const LONGEST_FIND: usize = 320;
        let head = &text[..text.floor_char_boundary(2 * limit + LONGEST_FIND)];
        let (mut scratch, mut changes) = (CleanBuffers::default(), Changes::default());
        let mut excerpt =
            rewrite(&self.redactors, Cow::Borrowed(head), None, &mut scratch, &mut changes)
                .into_owned();
        // what the cut went through was not recognised, and must not be seen in part either
        let whole = if head.len() < text.len() {
            excerpt.len().saturating_sub(LONGEST_FIND)
        } else {
            limit
        };
        excerpt.truncate(excerpt.floor_char_boundary(whole.min(limit)));
        excerpt
    }

    fn normalise<'t>(
        &self,
        text: &'t str,
        scratch: &mut CleanBuffers,
        changes: &mut Changes,
    ) -> Cow<'t, str> {
        if self.normalisers.is_empty() {
            return Cow::Borrowed(text);
        }
        let survey = Some(CharacterSummary::of(text));
        rewrite(&self.normalisers, Cow::Borrowed(text), survey, scratch, changes)
    }

    fn judge(
        &self,
        text: &str,
        scratch: &mut CleanBuffers,
        all: Option<&mut Vec<Measure>>,
    ) -> Option<Measure> {
        if self.filters.is_empty() {
            return None;
        }
        let view = View::new(text, self.config.unit(), std::mem::take(&mut scratch.buffers));
        let mut judge = Judge::new(all);
        for (place, filter) in &self.filters {
            judge.begin(RULES[*place].name);
            if filter.check(&view, &mut judge).is_break() {
                break;
            }
        }
        scratch.buffers = view.into_buffers();
        judge.finish()
    }
}

/// Runs `rules` over `text`, copying it only where one changes something.
fn rewrite<'t>(
    rules: &[(usize, Box<dyn Rewrite>)],
    mut text: Cow<'t, str>,
    mut survey: Option<CharacterSummary>,
    scratch: &mut CleanBuffers,
    changes: &mut Changes,
) -> Cow<'t, str> {
    for (place, rule) in rules {
        if survey.as_ref().is_some_and(|survey| !rule.concerns(survey)) {
            continue;
        }
        let mut edit = Edit::new(&text, &mut scratch.spare);
        rule.apply(&mut edit);
        let changed = edit.finish();
        if changed == 0 {
            continue;
        }
        changes.counts[*place] += changed;
        let new = std::mem::take(&mut scratch.spare);
        if let Cow::Owned(old) = std::mem::replace(&mut text, Cow::Owned(new)) {
            scratch.spare = old;
        }
        if let Some(survey) = &mut survey {
            // what was between two blanks may be gone; no rule brings a class in that was not there
            survey.untidy = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::naive;

    fn cleaner(profile: &str, changes: &serde_json::Value) -> Cleaner {
        Cleaner::new(&CleanConfig::profile(profile).unwrap().with(changes).unwrap()).unwrap()
    }

    /// Text in which all rules of normalisation meet each other.
    fn dirty() -> impl Strategy<Value = String> {
        let pieces = "(a|b| |  |\t|\n|\n\n\n|\r\n|\r|\u{b}|\u{85}|\u{2028}|\u{0}|\u{7f}|\u{ffff}|\u{feff}|\
            \u{200b}|\u{200c}|\u{200d}|\u{202e}|\u{ad}|\u{fe0f}|\u{e0061}|\u{e0100}|🏴|👩|👍|🏽|\u{a0}|\u{3000}|\
            中|，|ن|می|क|\u{94d}|\u{93c}|e|\u{301}|\u{323}|\u{308}|\u{212b}|\u{1100}|\u{1161}|\u{11a8}|\u{fffd}|\
            \u{180e}|\u{1d15e}|\u{37e}|\u{2000}|\\PC){0,30}";
        pieces.prop_map(|text: String| text)
    }

    #[test]
    fn clean_text_is_borrowed_and_dirty_text_is_not() {
        let cleaner = cleaner("default", &json!({}));
        let mut scratch = CleanBuffers::default();
        for text in ["plain text\n", "中文，全角！\n", "é ü \u{915}\u{94d}\u{200d}\u{937}"]
        {
            let cleaned = cleaner.clean(text, &mut scratch);
            assert!(matches!(cleaned.text, Cow::Borrowed(_)), "{text:?}");
            assert!(cleaned.changes.is_empty() && cleaned.verdict.keeps());
        }
        let cleaned = cleaner.clean("a\r\nb\u{200b}\x07", &mut scratch);
        assert_eq!(cleaned.text, "a\nb");
        let changes: Vec<_> = cleaned.changes.iter().collect();
        assert_eq!(changes, [("breaks", 1), ("controls", 1), ("hidden", 1)]);
    }

    #[test]
    fn invisible_characters_stay_where_spelling_needs_them() {
        let cleaner = cleaner("default", &json!({}));
        let mut scratch = CleanBuffers::default();
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
        ] {
            assert_eq!(cleaner.clean(text, &mut scratch).text, expected, "{text:?}");
        }
    }

    #[test]
    fn full_width_punctuation_is_no_damage() {
        let text = "他说：“你好！”（真的？）……——《书》、１２％\n";
        let cleaner = cleaner("chinese", &json!({}));
        assert_eq!(cleaner.clean(text, &mut CleanBuffers::default()).text, text);
    }

    #[test]
    fn code_keeps_its_shape() {
        let text = "def f():\n\tif x:  # two\n\n\n\n\t\treturn '\u{a0}'   \n".repeat(5);
        let cleaner = cleaner("code", &json!({}));
        let cleaned = cleaner.clean(&text, &mut CleanBuffers::default());
        assert_eq!(cleaned.text, text);
        assert_eq!(cleaned.verdict, Verdict::Keep);
    }

    #[test]
    fn redaction_is_for_what_is_kept() {
        let cleaner = cleaner("default", &json!({"redact": true, "length": {"min_chars": 12}}));
        let mut scratch = CleanBuffers::default();
        let kept = cleaner.clean("to me@site.org from 8.8.8.8", &mut scratch);
        assert_eq!(kept.text, "to email@example.com from 192.0.2.1");
        assert_eq!(kept.changes.iter().collect::<Vec<_>>(), [("email", 1), ("ipv4", 1)]);
        let dropped = cleaner.clean("me@site.org", &mut scratch);
        assert_eq!(dropped.text, "me@site.org");
        assert_eq!(dropped.verdict.reason().unwrap(), "length.too_short");
    }

    #[test]
    fn examples_of_what_is_dropped_are_redacted_too() {
        let redacting = cleaner("none", &json!({"redact": true}));
        assert_eq!(redacting.excerpt("to me@site.org", 9), "to email@");
        assert_eq!(redacting.excerpt("中中", 4), "中");
        // an address that the cut goes through, and many that shrink before it
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
    fn explaining_goes_on_behind_the_first_reason() {
        let cleaner = cleaner("fineweb", &json!({}));
        let mut scratch = CleanBuffers::default();
        let text = "x\n".repeat(20);
        let measures = cleaner.explain(&text, &mut scratch);
        let first = measures.iter().find(|measure| !measure.passed).unwrap();
        let cleaned = cleaner.clean(&text, &mut scratch);
        assert_eq!(cleaned.verdict.reason().unwrap(), first.name);
        assert!(measures.iter().filter(|measure| !measure.passed).count() > 3);
        assert!(measures.iter().any(|measure| measure.name == "fineweb.list_ratio"));
    }

    #[test]
    fn a_batch_is_its_texts_in_order_on_any_number_of_threads() {
        let texts: Vec<String> =
            (0..3000).map(|n| format!("text {n}  with\tblanks \n").repeat(n % 9)).collect();
        let cleaner = cleaner("gopher", &json!({"gopher_quality": false}));
        let mut scratch = CleanBuffers::default();
        let single: Vec<_> = texts.iter().map(|text| cleaner.clean(text, &mut scratch)).collect();
        for threads in [1, 3] {
            let batch = cleaner.clean_batch(&texts, threads, &Task::default()).unwrap();
            assert_eq!(batch, single);
        }
        let stopped = Task::default();
        stopped.cancel();
        assert!(cleaner.clean_batch(&texts, 3, &stopped).is_err());
    }

    #[test]
    fn odd_documents_end_in_a_verdict() {
        let mut scratch = CleanBuffers::default();
        for profile in &crate::PROFILES {
            let cleaner = cleaner(profile.name, &json!({"redact": true}));
            for text in ["", "\n", " ", "\n\n\n", "\u{301}", "\u{feff}", "@", "1", "."] {
                let cleaned = cleaner.clean(text, &mut scratch);
                assert!(
                    profile.name == "none" || !cleaned.verdict.keeps() || !text.trim().is_empty()
                );
                cleaner.explain(text, &mut scratch);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn normalising_is_idempotent_bounded_and_as_the_naive_twin_says(text in dirty()) {
            let cleaner = cleaner("default", &json!({"utf8": false, "length": false}));
            let mut scratch = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut scratch);
            prop_assert_eq!(&*once.text, naive::normalise(&text));
            prop_assert_eq!(once.changes.is_empty(), once.text == text);
            prop_assert!(once.text.len() <= crate::MAX_GROWTH * text.len());
            let twice = cleaner.clean(&once.text, &mut scratch);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn any_choice_of_normalisers_is_idempotent(text in dirty(), on in 0_u8..64) {
            let names = ["breaks", "controls", "bom", "hidden", "nfc", "spaces"];
            let switches = names.iter().enumerate().map(|(bit, name)| ((*name).to_owned(), (on >> bit & 1 == 1).into()));
            let cleaner = cleaner("none", &serde_json::Value::Object(switches.collect()));
            let mut scratch = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut scratch);
            let twice = cleaner.clean(&once.text, &mut scratch);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn redacting_is_idempotent_and_bounded(
            text in "(a|me|@|\\.|\\.\\.|-|x\\.org|b\\.cc|8\\.8\\.8\\.8|1|13812345678|\\+86 |11010519491231002X| |中){0,16}"
        ) {
            let cleaner = cleaner("none", &json!({"redact": true}));
            let mut scratch = CleanBuffers::default();
            let once = cleaner.clean(&text, &mut scratch);
            prop_assert!(once.text.len() <= crate::MAX_GROWTH * text.len());
            let twice = cleaner.clean(&once.text, &mut scratch);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.changes.is_empty());
        }

        #[test]
        fn every_profile_takes_any_text(text in dirty()) {
            let mut scratch = CleanBuffers::default();
            for profile in &crate::PROFILES {
                let cleaner = cleaner(profile.name, &json!({"redact": true}));
                let first = cleaner.clean(&text, &mut scratch);
                prop_assert_eq!(&first, &cleaner.clean(&text, &mut CleanBuffers::default()));
            }
        }
    }
}
