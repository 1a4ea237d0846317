//! Finds the shared data, and names the peer's settings and reasons.

#![allow(dead_code)] // each test program uses a part

use std::path::PathBuf;

/// Returns the path of the shared file `name`, or `None`, with a message, if it is missing.
///
/// The folder is `LSLM_DATA`, or `../shared/data` beside the repository. With `LSLM_REQUIRE_DATA=1`
/// a missing file fails the test.
#[allow(clippy::print_stderr)] // a skipped test says so
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("LSLM_DATA")
        .map_or_else(|| root.join("../shared/data"), |given| root.join(given));
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("LSLM_REQUIRE_DATA").is_ok_and(|value| value == "1");
    assert!(!required, "{} is missing and LSLM_REQUIRE_DATA=1", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}

/// Returns the decompressed content of a zstd file.
pub(crate) fn unpacked(path: PathBuf) -> String {
    let bytes = std::fs::read(path).unwrap();
    String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap()
}

/// Names of datatrove's settings and reasons, each with ours.
const NAMES: [(&str, &str); 30] = [
    ("min_doc_words", "min_words"),
    ("max_doc_words", "max_words"),
    ("line_punct_thr", "min_line_punct_ratio"),
    ("short_line_thr", "max_short_line_ratio"),
    ("short_line_length", "short_line_chars"),
    ("new_line_ratio", "max_list_ratio"),
    ("gopher_short_doc", "gopher_quality.too_few_words"),
    ("gopher_long_doc", "gopher_quality.too_many_words"),
    ("gopher_below_avg_threshold", "gopher_quality.short_words"),
    ("gopher_above_avg_threshold", "gopher_quality.long_words"),
    ("gopher_too_many_hashes", "gopher_quality.hashes"),
    ("gopher_too_many_ellipsis", "gopher_quality.ellipses"),
    ("gopher_too_many_bullets", "gopher_quality.bullet_lines"),
    ("gopher_too_many_end_ellipsis", "gopher_quality.ellipsis_lines"),
    ("gopher_below_alpha_threshold", "gopher_quality.letter_words"),
    ("gopher_enough_stop_words", "gopher_quality.stop_words"),
    ("dup_line_frac", "gopher_repetition.dup_line_frac"),
    ("dup_para_frac", "gopher_repetition.dup_para_frac"),
    ("dup_line_char_frac", "gopher_repetition.dup_line_char_frac"),
    ("dup_para_char_frac", "gopher_repetition.dup_para_char_frac"),
    ("top_2_gram", "gopher_repetition.top_2_gram"),
    ("top_3_gram", "gopher_repetition.top_3_gram"),
    ("top_4_gram", "gopher_repetition.top_4_gram"),
    ("duplicated_5_n_grams", "gopher_repetition.dup_5_gram"),
    ("duplicated_6_n_grams", "gopher_repetition.dup_6_gram"),
    ("duplicated_7_n_grams", "gopher_repetition.dup_7_gram"),
    ("line_punct_ratio", "fineweb.line_punct_ratio"),
    ("short_line_ratio", "fineweb.short_line_ratio"),
    ("char_dup_ratio", "fineweb.char_dup_ratio"),
    ("list_ratio", "fineweb.list_ratio"),
];

/// Returns our name for one of datatrove's.
pub(crate) fn ours(name: &str) -> &str {
    NAMES.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours)
}
