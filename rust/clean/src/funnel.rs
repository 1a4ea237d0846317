//! Counts documents through the cleaning: read, kept, dropped by reason, changed by rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cleaner::{CleanedText, Cleaner, DocumentOptions, Verdict};
use crate::dedup::DocumentPosition;
use crate::language::{DetectedLanguage, detect_language};
use crate::measure::Measure;
use crate::signals::Signal;

/// Examples kept for each reason: enough to see what a rule drops, on a third of a screen.
const MAX_EXAMPLES: usize = 3;
/// Bytes of text in an example: about three lines of a terminal.
const MAX_EXAMPLE_BYTES: usize = 240;

/// The reason that names the words of one language.
const STOP_WORDS: &str = "gopher_quality.stop_words";
/// The rule whose reasons are about copies.
const DEDUP: &str = "dedup.";
/// Documents that a corpus has, at least, for advice on how many are left of it.
const MIN_JUDGED: u64 = 20;
/// The rule whose reasons name entries of lists.
const LISTS: &str = "lists.";

/// Counts over documents. The funnels of the parts of an input, merged in any order, equal the
/// funnel of the whole.
///
/// ```
/// use lslm_clean::{CleanBuffers, CleanConfig, Cleaner, DocumentPosition, Funnel};
///
/// let cleaner = Cleaner::new(&CleanConfig::profile("default")?)?;
/// let (mut buffers, mut funnel) = (CleanBuffers::default(), Funnel::default());
/// for (index, text) in ["some text", ""].iter().enumerate() {
///     let position = DocumentPosition { partition: 0, index: index as u64 };
///     let cleaned = cleaner.clean(text, &mut buffers);
///     funnel.add(position, text.len() as u64, &cleaned, &cleaner);
/// }
/// assert_eq!((funnel.documents, funnel.documents_kept), (2, 1));
/// assert_eq!(funnel.dropped["length.too_short"].documents, 1);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Funnel {
    /// Documents read.
    pub documents: u64,
    /// Their bytes, before cleaning.
    pub bytes: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Their bytes, after cleaning.
    pub bytes_kept: u64,
    /// Documents dropped, by reason: the name of the measure that failed.
    pub dropped: BTreeMap<String, Dropped>,
    /// Changes to the texts of all documents, by rule.
    pub changes: BTreeMap<String, Change>,
    /// The distribution of each signal over a sample of the documents, if it was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, Signal>,
    /// The documents without the URL that a list is compared with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_url: u64,
    /// What deduplication compared, by kind: "document", "line" or "paragraph".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dedup: BTreeMap<String, Duplicates>,
}

/// What deduplication compared and found, of one kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Duplicates {
    /// The documents or parts that were compared.
    pub compared: u64,
    /// Those that equal an earlier one, and are removed.
    pub removed: u64,
    /// Those of them that equal one of an older index.
    pub older: u64,
    /// The number of groups of equal ones, by their size; an older index does not count.
    pub groups: BTreeMap<u64, u64>,
}

/// The documents dropped for one reason.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Dropped {
    /// The number of documents.
    pub documents: u64,
    /// Their bytes, before cleaning.
    pub bytes: u64,
    /// The first three of them, by position.
    pub examples: Vec<DroppedExample>,
    /// For lists, the number of documents by the entry that was found first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, u64>,
}

/// The changes that one rule made.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Change {
    /// The number of documents with a change.
    pub documents: u64,
    /// The number of characters changed, or of matches for a redactor.
    pub amount: u64,
}

/// A document that was dropped.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DroppedExample {
    /// Its position in the input. Funnels on disk have the key `place`.
    #[serde(rename = "place")]
    pub position: DocumentPosition,
    /// The value and the limit of the measure that failed.
    pub measured: Option<(f64, f64)>,
    /// Some of its text, redacted like kept text: the beginning, or what is around the place that
    /// decided.
    pub text: String,
    /// The characters of `text` that decided, from and to, if it is a single place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<(usize, usize)>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Funnel {
    /// Counts the document at `position`, of `bytes` bytes, which `cleaner` turned into `cleaned`.
    pub fn add(
        &mut self,
        position: DocumentPosition,
        bytes: u64,
        cleaned: &CleanedText<'_>,
        cleaner: &Cleaner,
    ) {
        self.add_document(position, bytes, DocumentOptions::default(), cleaned, cleaner);
    }

    /// Counts the document at `position`, of `bytes` bytes, which `cleaner` turned into `cleaned` by
    /// `options`.
    pub fn add_document(
        &mut self,
        position: DocumentPosition,
        bytes: u64,
        options: DocumentOptions<'_>,
        cleaned: &CleanedText<'_>,
        cleaner: &Cleaner,
    ) {
        self.documents += 1;
        self.bytes += bytes;
        self.add_outcome(position, bytes, options, cleaned, cleaner);
    }

    /// Counts what the stages after deduplication made of a document that was counted as kept with
    /// `bytes_kept` bytes; it had `bytes` before cleaning.
    pub fn recount(
        &mut self,
        position: DocumentPosition,
        (bytes, bytes_kept): (u64, u64),
        options: DocumentOptions<'_>,
        cleaned: &CleanedText<'_>,
        cleaner: &Cleaner,
    ) {
        self.documents_kept -= 1;
        self.bytes_kept -= bytes_kept;
        self.add_outcome(position, bytes, options, cleaned, cleaner);
    }

    /// Counts changes and verdict of a document of `bytes` bytes.
    fn add_outcome(
        &mut self,
        position: DocumentPosition,
        bytes: u64,
        options: DocumentOptions<'_>,
        cleaned: &CleanedText<'_>,
        cleaner: &Cleaner,
    ) {
        let url = options.url;
        let misses_url = url.is_none() && cleaner.url_key(options.stages).is_some();
        self.without_url += u64::from(misses_url);
        for (rule, amount) in cleaned.changes.iter() {
            let change = self.changes.entry(rule.to_owned()).or_default();
            change.documents += 1;
            change.amount += amount;
        }
        match &cleaned.verdict {
            Verdict::Keep => {
                self.documents_kept += 1;
                self.bytes_kept += cleaned.text.len() as u64;
            }
            Verdict::Drop(measure) => {
                let measured = Some((measure.value, measure.limit));
                if !self.dropped.contains_key(&measure.name) {
                    self.dropped.insert(measure.name.clone(), Dropped::default());
                }
                let Some(dropped) = self.dropped.get_mut(&measure.name) else { return };
                dropped.documents += 1;
                dropped.bytes += bytes;
                let may_show = dropped.may_show(position);
                if !may_show && !measure.name.starts_with(LISTS) {
                    return;
                }
                let found = cleaner.evidence(&cleaned.text, url, measure);
                if let Some(entry) = found.entry {
                    *dropped.entries.entry(entry.into()).or_default() += 1;
                }
                if may_show {
                    let (text, place) =
                        cleaner.excerpt(&cleaned.text, found.range, MAX_EXAMPLE_BYTES);
                    let chars = |end: usize| text[..end].chars().count();
                    let span = place.map(|place| (chars(place.start), chars(place.end)));
                    dropped.add_examples([DroppedExample { position, measured, text, span }]);
                }
            }
        }
    }

    /// Counts the measures of one document among the signals.
    pub fn add_signals(&mut self, measures: &[Measure]) {
        for measure in measures {
            if !self.signals.contains_key(&measure.name) {
                self.signals.insert(measure.name.clone(), Signal::default());
            }
            if let Some(signal) = self.signals.get_mut(&measure.name) {
                signal.add(measure);
            }
        }
    }

    /// Moves a document that was counted as kept to those dropped because of `measure`: one that is
    /// found to be a duplicate later. It had `bytes_before` bytes before cleaning, and is `text` now.
    pub fn drop_kept(
        &mut self,
        position: DocumentPosition,
        measure: &Measure,
        bytes_before: u64,
        text: &str,
        cleaner: &Cleaner,
    ) {
        self.documents_kept -= 1;
        self.bytes_kept -= text.len() as u64;
        let dropped = self.dropped.entry(measure.name.clone()).or_default();
        dropped.documents += 1;
        dropped.bytes += bytes_before;
        if dropped.may_show(position) {
            // redaction may be among the stages that did not run
            let (text, _) = cleaner.excerpt(text, None, MAX_EXAMPLE_BYTES);
            let measured = Some((measure.value, measure.limit));
            dropped.add_examples([DroppedExample { position, measured, text, span: None }]);
        }
    }

    /// Counts a change of a document that was counted as kept: `amount` of the rule, which left
    /// `bytes_after` of `bytes_before` bytes.
    pub fn edit_kept(&mut self, rule: &str, amount: u64, bytes_before: u64, bytes_after: u64) {
        self.bytes_kept = self.bytes_kept + bytes_after - bytes_before;
        let change = self.changes.entry(rule.to_owned()).or_default();
        change.documents += 1;
        change.amount += amount;
    }

    /// Adds the counts and examples of `other`.
    pub fn merge(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.documents_kept += other.documents_kept;
        self.bytes_kept += other.bytes_kept;
        for (reason, more) in other.dropped {
            let dropped = self.dropped.entry(reason).or_default();
            dropped.documents += more.documents;
            dropped.bytes += more.bytes;
            dropped.add_examples(more.examples);
            for (entry, count) in more.entries {
                *dropped.entries.entry(entry).or_default() += count;
            }
        }
        self.without_url += other.without_url;
        for (name, more) in other.signals {
            self.signals.entry(name).or_default().merge(more);
        }
        for (rule, more) in other.changes {
            let change = self.changes.entry(rule).or_default();
            change.documents += more.documents;
            change.amount += more.amount;
        }
        for (kind, more) in other.dedup {
            let duplicates = self.dedup.entry(kind).or_default();
            duplicates.compared += more.compared;
            duplicates.removed += more.removed;
            duplicates.older += more.older;
            for (size, count) in more.groups {
                *duplicates.groups.entry(size).or_default() += count;
            }
        }
    }

    /// Returns what to do when most documents, or most of the dropped ones, were dropped by the rule
    /// that has stop words and word lengths of one language: the language of the dropped examples, and
    /// the profile to use. Also when no document has the URL that a list is compared with.
    pub fn advice(&self) -> Option<String> {
        if self.without_url > 0 && self.without_url == self.documents {
            return Some(format!(
                "none of {} documents has the field that lists.urls is compared with: set \
                 lists.url_key",
                self.documents
            ));
        }
        let is_of_words = |reason: &str| reason.starts_with("gopher_quality.");
        let by_words = self.dropped.iter().filter(|(reason, _)| is_of_words(reason));
        let documents: u64 = by_words.clone().map(|(_, dropped)| dropped.documents).sum();
        let by_stop_words = self.dropped.get(STOP_WORDS).map_or(0, |dropped| dropped.documents);
        // a tenth of all is more than English prose without one of these words
        let dominates =
            2 * by_stop_words > self.documents_dropped() && 10 * by_stop_words > self.documents;
        if documents == 0 || (2 * documents < self.documents && !dominates) {
            return self.advice_on_little_left();
        }
        let hint = match language_of(by_words) {
            Some(language) if language.code != "eng" => profile_for(language),
            _ if by_stop_words > 0 => {
                format!("{STOP_WORDS} is for one language: set its stop words, or null")
            }
            _ => return self.advice_on_little_left(),
        };
        let all = self.documents;
        let is_most = 2 * documents >= all;
        let (count, rule) =
            if is_most { (documents, "gopher_quality") } else { (by_stop_words, STOP_WORDS) };
        Some(format!("{count} of {all} documents were dropped by {rule}; {hint}"))
    }

    /// Returns what to do when nearly all documents were dropped, whatever the rules: the language of
    /// the dropped examples, if that is not English, or the rule that drops the most.
    fn advice_on_little_left(&self) -> Option<String> {
        // duplicates say nothing of the rules
        let by_rules = || self.dropped.iter().filter(|(reason, _)| !reason.starts_with(DEDUP));
        let dropped: u64 = by_rules().map(|(_, dropped)| dropped.documents).sum();
        if self.documents < MIN_JUDGED || 10 * dropped <= 9 * self.documents {
            return None;
        }
        let (kept, all) = (self.documents_kept, self.documents);
        let (reason, _) = by_rules().max_by_key(|(_, dropped)| dropped.documents)?;
        let hint = match language_of(by_rules()) {
            Some(language) if language.code != "eng" => profile_for(language),
            _ => format!("{reason} drops the most: see its limit, or choose another profile"),
        };
        Some(format!("{kept} of {all} documents are left; {hint}"))
    }

    /// Returns the number of documents dropped.
    pub fn documents_dropped(&self) -> u64 {
        self.dropped.values().map(|dropped| dropped.documents).sum()
    }
}

/// Returns the language of the examples of these reasons, each of which counts by its confidence.
fn language_of<'d>(
    dropped: impl Iterator<Item = (&'d String, &'d Dropped)>,
) -> Option<DetectedLanguage> {
    let examples = dropped.flat_map(|(_, dropped)| &dropped.examples);
    let found: Vec<_> = examples.filter_map(|example| detect_language(&example.text)).collect();
    let weight = |code| -> f64 {
        let own = found.iter().filter(|other| other.code == code);
        own.map(|other| other.confidence).sum()
    };
    found.iter().copied().max_by(|a, b| weight(a.code).total_cmp(&weight(b.code)))
}

/// Returns what to use for documents of a language.
fn profile_for(language: DetectedLanguage) -> String {
    match language.code {
        "cmn" => "they look like Chinese: use the profile chinese or fineweb2@cmn_Hani".to_owned(),
        code => format!(
            "they look like {}: use FineWeb-2's settings file for {code}, or the profile default",
            language.name
        ),
    }
}

impl Dropped {
    /// Returns whether a document at `position` would be among the examples.
    fn may_show(&self, position: DocumentPosition) -> bool {
        let is_later = self.examples.last().is_some_and(|last| last.position < position);
        self.examples.len() < MAX_EXAMPLES || !is_later
    }

    /// Adds `more` examples and keeps the first ones by position.
    fn add_examples(&mut self, more: impl IntoIterator<Item = DroppedExample>) {
        self.examples.extend(more);
        self.examples.sort_by_key(|example| example.position);
        self.examples.truncate(MAX_EXAMPLES);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::cleaner::CleanBuffers;
    use crate::config::CleanConfig;

    fn count(texts: &[(u64, &String)], cleaner: &Cleaner) -> Funnel {
        let mut buffers = CleanBuffers::default();
        let mut funnel = Funnel::default();
        for (index, text) in texts {
            let position = DocumentPosition { partition: index % 2, index: *index };
            funnel.add(position, text.len() as u64, &cleaner.clean(text, &mut buffers), cleaner);
        }
        funnel
    }

    #[test]
    fn a_profile_of_another_language_is_named() {
        let settings = json!({"stages": ["gopher_quality"]});
        let config = CleanConfig::profile("fineweb@datatrove").unwrap().with(&settings).unwrap();
        let cleaner = Cleaner::new(&config).unwrap();
        let advice = |words: &str| {
            let text = words.repeat(10);
            count(&[(0, &text), (1, &text)], &cleaner).advice()
        };
        let german =
            advice("Jede Person hat Anspruch auf Leben, Freiheit und Sicherheit. ").unwrap();
        assert!(german.starts_with("2 of 2 documents") && german.contains("German"), "{german}");
        let chinese = advice("人人 生而 自由， 在 尊严 和 权利 上 一律 平等 的 人们。 ").unwrap();
        assert!(chinese.contains("fineweb2@cmn_Hani"), "{chinese}");
        assert_eq!(advice("All of the people have to be free and equal with that. "), None);
    }

    proptest! {
        #[test]
        fn funnels_of_the_parts_merge_to_that_of_the_whole(
            texts in proptest::collection::vec("(word |x  y|\n|\u{200b}|中){0,6}", 0..30),
            cut in 0..30_usize,
        ) {
            let config = CleanConfig::profile("default").unwrap();
            let config = config.with(&json!({"length": {"min_chars": 5, "max_words": 3}})).unwrap();
            let cleaner = Cleaner::new(&config).unwrap();
            let numbered: Vec<(u64, &String)> = (0..).zip(&texts).collect();
            let whole = count(&numbered, &cleaner);
            let (left, right) = numbered.split_at(cut.min(numbered.len()));
            let mut merged = count(right, &cleaner);
            merged.merge(count(left, &cleaner));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.documents, texts.len() as u64);
            prop_assert_eq!(whole.documents_kept + whole.documents_dropped(), whole.documents);
            let text = serde_json::to_string(&whole).unwrap();
            prop_assert_eq!(serde_json::from_str::<Funnel>(&text).unwrap(), whole);
        }
    }
}
