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
    for text in ["plain text\n", "中文，全角！\n", "é ü \u{915}\u{94d}\u{200d}\u{937}"] {
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
fn batches_use_the_buffers_of_earlier_ones_but_of_no_long_text() {
    let (cleaner, task) = (cleaner("gopher", &json!({})), Task::default());
    cleaner.clean_batch(&["well-known"], 1, &task).unwrap();
    assert_eq!(cleaner.spare().len(), 1);
    cleaner.with_buffers(|buffers| assert_eq!(buffers.longest, "well-known".len()));
    let long = "a".repeat(MAX_KEPT_TEXT + 1);
    cleaner.clean_batch(&["short", &long], 1, &task).unwrap();
    assert!(cleaner.spare().is_empty());
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

/// Returns the beginning of `text` as an example.
fn excerpt(cleaner: &Cleaner, text: &str, max_bytes: usize) -> String {
    cleaner.excerpt(text, None, max_bytes).0
}

#[test]
fn an_excerpt_is_around_the_place_that_decided() {
    let settings = json!({"redact": true});
    let config = CleanConfig::profile("none").unwrap().with(&settings).unwrap();
    let cleaner = Cleaner::new(&config).unwrap();
    for start in [0, 5, 400, 5000] {
        let text = "中".repeat(start) + "me@site.org the place and more " + &"x ".repeat(500);
        let at = text.find("the place").unwrap();
        let (shown, place) = cleaner.excerpt(&text, Some(at..at + 9), 100);
        assert_eq!(&shown[place.unwrap()], "the place");
        assert!(shown.len() <= 100 && !shown.contains("me@site"), "{shown}");
    }
    let text = "write to me@site.org";
    let (shown, place) = cleaner.excerpt(text, Some(9..20), 100);
    assert_eq!((shown.as_str(), place), ("write to <EMAIL>", None));
}

#[test]
fn excerpts_of_dropped_texts_are_redacted() {
    let redacting = cleaner("none", &json!({"redact": true}));
    assert_eq!(excerpt(&redacting, "to me@site.org", 9), "to <EMAIL");
    assert_eq!(excerpt(&redacting, "中中", 4), "中");
    // an address cut in two by the end of the excerpt, after many that shrink
    let long = format!("{}@site.org", "x".repeat(60));
    for before in 0..900 {
        let text = format!("{} {}", ".".repeat(before), format!("{long} ").repeat(20));
        let excerpt = excerpt(&redacting, &text, 240);
        assert!(excerpt.len() <= 240 && !excerpt.contains('x'), "{excerpt}");
    }
    let plain = cleaner("none", &json!({}));
    assert_eq!(excerpt(&plain, "to me@site.org", 9), "to me@sit");
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
    for cleaner in [cleaner("gopher", &json!({"gopher_quality": false})), cleaner("tidy", &lines)] {
        let single: Vec<_> = texts.iter().map(|text| cleaner.clean(text, &mut buffers)).collect();
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

    /// With measures, stages go on after a failure: the other results are as without.
    #[test]
    fn measures_change_nothing_and_ranges_of_stages_make_the_whole(
        text in "(word |bad line\n|a\n|\n|\r\n|# |x x |中文。|me@site.org |[1] end\\.\n|\\{){0,25}"
    ) {
        let stages = json!({
            "stages": ["breaks", "lines", "length", "dedup", "c4", "gopher_repetition", "redact"],
            "lines": {"containing": ["bad"]}, "length": {"min_chars": 12}, "c4": {"min_sentences": 1},
        });
        let cleaner = cleaner("none", &stages);
        let mut buffers = CleanBuffers::default();
        let plain = cleaner.clean(&text, &mut buffers);
        let with = |stages, measures| DocumentOptions {
            stages, measures, removed_lines: true, ..DocumentOptions::default()
        };
        let all = cleaner.clean_document(&text, with(StageRange::All, true), &mut buffers);
        prop_assert_eq!(&all.cleaned, &plain);
        prop_assert_eq!(&all.measures, &cleaner.explain(&text, &mut buffers));
        let bare = cleaner.clean_document(&text, with(StageRange::All, false), &mut buffers);
        prop_assert_eq!(&bare.removed_lines, &all.removed_lines);
        let counted = plain.changes.iter().filter(|(name, _)| matches!(
            *name, "lines.phrase" | "c4.no_end" | "c4.few_words"
        ));
        prop_assert_eq!(counted.map(|(_, count)| count).sum::<u64>(), all.removed_lines.len() as u64);
        let first = cleaner.clean_document(&text, with(StageRange::BeforeDedup, true), &mut buffers);
        let mut measures = first.measures;
        let mut last = first.cleaned.clone();
        if first.cleaned.verdict.is_kept() {
            let text = first.cleaned.text.into_owned();
            let late = with(StageRange::AfterDedup, true);
            let found = cleaner.clean_document(&text, late, &mut buffers);
            measures.extend(found.measures);
            last.verdict = found.cleaned.verdict;
            last.text = found.cleaned.text.into_owned().into();
            prop_assert_eq!(&measures, &all.measures);
        }
        prop_assert_eq!((last.text, last.verdict), (plain.text, plain.verdict));
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
