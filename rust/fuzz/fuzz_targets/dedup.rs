//! Removes the parts of any text that occurred before: what is left has no part twice, and equals what
//! a set of strings leaves. Opens any bytes as a saved index, which must be an error.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use lslm_clean::Dedup;
use lslm_clean::dedup::{DedupIndex, DedupSettings, PartKind};

fuzz_target!(|input: (bool, bool, u8, &str, &[u8])| {
    let (is_lines, normalise, min, text, index) = input;
    let parts = Some(if is_lines { PartKind::Lines } else { PartKind::Paragraphs });
    let min_part_chars = usize::from(min % 8);
    let settings = DedupSettings { parts, normalise, min_part_chars, ..DedupSettings::default() };
    let dedup = Dedup::new(settings).expect("settings that name something to compare");
    let mut buffer = String::new();
    let parts = dedup.parts(text, &mut buffer);
    assert!(parts.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
    let mut seen = HashSet::new();
    let repeats: Vec<bool> = parts.iter().map(|part| !seen.insert(part.hash)).collect();
    let left = dedup.without(text, &parts, |part| repeats[part]);
    let again: Vec<u128> = dedup.parts(&left, &mut buffer).iter().map(|part| part.hash).collect();
    let kept = parts.iter().zip(&repeats).filter(|(_, repeats)| !**repeats);
    let kept: Vec<u128> = kept.map(|(part, _)| part.hash).collect();
    assert_eq!(again, kept, "{left:?}");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for bytes in [index.to_vec(), [b"lslmseen\x02\0\0\0\0\0\0\0{}".as_slice(), index].concat()] {
        std::fs::write(file.path(), bytes).expect("a temporary file can be written");
        assert!(DedupIndex::open(file.path()).is_err());
    }
});
