//! Drops documents by lists of words and of URLs, which stand in files.
//!
//! A list has one entry a line; empty lines and lines that begin with `# ` are none. All entries of a
//! list are one automaton, so that the time does not depend on their number.
//!
//! * A word or phrase is found in any case, as a whole word: no letter, mark or number stands
//!   next to it. Scripts without spaces, such as Chinese and Thai, have no such border.
//! * A URL entry is a host, which stands for its subdomains too, or a host with the beginning of a
//!   path: `example.org`, `example.org/ads/`. It is compared with the URL that the document's
//!   record has.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use lslm_runtime::{Error, Result, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chars::{Properties, property_table};
use crate::measure::{Flow, Judge};
use crate::rule::{Build, Evidence, Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<Lists>(
    "lists",
    1,
    "drops documents with words, or of URLs, that stand in a list",
)
.with_files(&["words", "urls"]);

/// Bytes of a list, at most. The automaton takes some ten times as many.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// Bytes of an entry, at most: a longer line is prose, or not text.
const MAX_ENTRY_BYTES: usize = 1000;

/// Paths are relative to the working folder; null for no list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ListSettings {
    words: Option<String>,
    /// Set when the list is read: a list with another content is refused.
    words_sha256: Option<String>,
    /// Places in a document where a word of the list stands, at most.
    max_words: f64,
    urls: Option<String>,
    urls_sha256: Option<String>,
    /// The field or column of the document's URL.
    url_key: String,
}

impl Default for ListSettings {
    fn default() -> Self {
        Self {
            words: None,
            words_sha256: None,
            max_words: 0.0,
            urls: None,
            urls_sha256: None,
            url_key: "url".to_owned(),
        }
    }
}

struct Lists {
    words: Option<Entries>,
    max_words: f64,
    urls: Option<Entries>,
}

impl Build for Lists {
    type Settings = ListSettings;

    fn build(settings: ListSettings) -> Result<Self> {
        let ListSettings { words, urls, .. } = &settings;
        if words.is_none() && urls.is_none() {
            return Err(Error::invalid("lists: name a file, lists.words=FILE or lists.urls=FILE"));
        }
        let read = |path: &Option<String>, hash: &Option<String>, kind| {
            path.as_ref().map(|path| Entries::read(path, hash.as_deref(), kind)).transpose()
        };
        Ok(Self {
            words: read(words, &settings.words_sha256, Kind::Words)?,
            max_words: settings.max_words,
            urls: read(urls, &settings.urls_sha256, Kind::Urls)?,
        })
    }
}

impl Filter for Lists {
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        if let (Some(urls), Some(url)) = (&self.urls, judge.url()) {
            let found = f64::from(u8::from(urls.find_url(url).is_some()));
            judge.at_most("url", found, Some(0.0))?;
        }
        match &self.words {
            Some(words) => {
                let found = words.find_words(document.text()).count() as f64;
                judge.at_most("word", found, Some(self.max_words))
            }
            None => Flow::Continue(()),
        }
    }

    fn evidence(&self, document: &View<'_>, url: Option<&str>, part: &str) -> Option<Evidence> {
        if part == "url" {
            let urls = self.urls.as_ref()?;
            let entry = urls.names[urls.find_url(url?)?].clone();
            return Some(Evidence { range: None, entry: Some(entry) });
        }
        let words = self.words.as_ref()?;
        let (index, range) = words.find_words(document.text()).next()?;
        Some(Evidence { range: Some(range), entry: Some(words.names[index].clone()) })
    }
}

/// What a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Words,
    Urls,
}

/// The entries of a list.
struct Entries {
    automaton: AhoCorasick,
    /// The entry of each pattern: letters beyond ASCII have a pattern for each of three cases.
    of_pattern: Vec<u32>,
    names: Vec<Box<str>>,
}

impl Entries {
    /// Reads the list in `path`, whose content must have the SHA-256 `hash`, if it is known.
    fn read(path: &str, hash: Option<&str>, kind: Kind) -> Result<Self> {
        let path = Path::new(path);
        let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if size > MAX_LIST_BYTES {
            return Err(Error::invalid(format!(
                "{}: {size} bytes are more than a list may have, {MAX_LIST_BYTES}: divide it",
                path.display()
            )));
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        if hash.is_some_and(|hash| hash != hex(&Sha256::digest(&bytes))) {
            return Err(Error::invalid(format!("{}: changed while it was read", path.display())));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            Error::format(path, error.valid_up_to() as u64, "not UTF-8: convert the list")
        })?;
        let (mut patterns, mut entries, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let entry = line.trim_start_matches('\u{feff}').trim();
            if entry.is_empty() || line.starts_with("# ") {
                continue;
            }
            if entry.len() > MAX_ENTRY_BYTES || entry.contains(char::is_control) {
                return Err(Error::invalid(format!(
                    "{}: line {number} is longer than {MAX_ENTRY_BYTES} bytes or has control \
                     characters: a list has one word, phrase or URL a line",
                    path.display()
                )));
            }
            let entry = match kind {
                Kind::Words => entry,
                Kind::Urls => host_and_path(entry),
            };
            // an entry that stands twice, in another case too, is one
            let new =
                cases(entry).into_iter().filter(|case| seen.insert(case.to_ascii_lowercase()));
            let n_patterns = patterns.len();
            patterns.extend(new);
            if patterns.len() > n_patterns {
                entries.resize(patterns.len(), names.len() as u32);
                names.push(entry.into());
            }
        }
        if names.is_empty() {
            return Err(Error::invalid(format!("{}: the list has no entry", path.display())));
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        Ok(Self { automaton, of_pattern: entries, names })
    }

    /// Returns each place of an entry as a whole word, with the index of the entry.
    fn find_words<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (usize, Range<usize>)> + 't {
        let found = self
            .automaton
            .find_overlapping_iter(text)
            .map(|found| (self.of_pattern[found.pattern().as_usize()] as usize, found.range()));
        found.filter(|(_, range)| is_border(text, range.start) && is_border(text, range.end))
    }

    /// Returns the index of an entry that `url` is of.
    fn find_url(&self, url: &str) -> Option<usize> {
        let url = host_and_path(url);
        let host_end = url.find(['/', '?', '#', ':']).unwrap_or(url.len());
        let is_of_entry = |range: &Range<usize>| {
            // from the beginning of a label of the host, to its end or into the path
            let starts = range.start == 0 || url.as_bytes()[range.start - 1] == b'.';
            let ends = range.end >= host_end;
            starts && range.start < host_end && ends
        };
        let mut found = self.automaton.find_overlapping_iter(url);
        let found = found.find(|found| is_of_entry(&found.range()))?;
        Some(self.of_pattern[found.pattern().as_usize()] as usize)
    }
}

/// Returns a URL without scheme, user and "www.".
fn host_and_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host_end = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..host_end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    rest.strip_prefix("www.").unwrap_or(rest)
}

/// Returns `entry` as it is, in capitals, in lower case and capitalised: only as it is where the
/// automaton's own comparison, of ASCII letters, is enough.
fn cases(entry: &str) -> Vec<String> {
    let mut cases = vec![entry.to_owned()];
    if !entry.is_ascii() {
        let lower = entry.to_lowercase();
        let mut letters = lower.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        for case in [entry.to_uppercase(), first + letters.as_str(), lower] {
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    cases
}

/// Returns whether a word may begin or end at byte `at`: not both characters beside it belong to
/// words of a script with spaces.
fn is_border(text: &str, at: usize) -> bool {
    let table = property_table();
    let is_inside = |char: Option<char>| {
        char.is_some_and(|char| {
            let properties = table.of(char);
            properties.has(Properties::WORD) && !properties.has(Properties::UNSPACED)
        })
    };
    !(is_inside(text[..at].chars().next_back()) && is_inside(text[at..].chars().next()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{CleanBuffers, CleanConfig, Cleaner};

    fn entries(lines: &str, kind: Kind) -> Result<Entries> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        Entries::read(file.path().to_str().unwrap(), None, kind)
    }

    #[test]
    fn words_are_found_whole_and_in_any_case() {
        let list =
            entries("# a comment\nass\nbad phrase\nслово\n坏词\n\nass\n", Kind::Words).unwrap();
        let found = |text: &str| list.find_words(text).map(|(at, _)| &*list.names[at]).next();
        for (text, expected) in [
            ("An ASS, braying", Some("ass")),
            ("assassin, class", None),
            ("a Bad Phrase.", Some("bad phrase")),
            ("bad phrases", None),
            ("Слово", Some("слово")),
            ("СЛОВО!", Some("слово")),
            ("словоформа", None),
            ("这是坏词语", Some("坏词")),
            ("", None),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn urls_are_of_hosts_and_their_subdomains() {
        let list = entries("example.org\nhttps://www.site.com/ads/\nbücher.example\n", Kind::Urls)
            .unwrap();
        for (url, expected) in [
            ("https://example.org/a?b", true),
            ("http://www.example.org", true),
            ("http://user@sub.example.org:80/", true),
            ("EXAMPLE.ORG", true),
            ("https://notexample.org/", false),
            ("https://example.org.evil.net/", false),
            ("https://other.net/example.org", false),
            ("https://site.com/ads/1", true),
            ("https://site.com/adverts", false),
            ("https://BÜCHER.example/", true),
        ] {
            assert_eq!(list.find_url(url).is_some(), expected, "{url}");
        }
    }

    #[test]
    fn lists_that_are_none_are_refused() {
        let message = |lines: &str| entries(lines, Kind::Words).err().unwrap().to_string();
        assert!(message("").contains("has no entry"));
        assert!(message("\n# only a comment\n").contains("has no entry"));
        assert!(message("a\nb\0c\n").contains("line 2"));
        assert!(message(&"long ".repeat(300)).contains("line 1"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x89PNG\r\n\xff").unwrap();
        let path = file.path().to_str().unwrap();
        let error = Entries::read(path, None, Kind::Words).err().unwrap().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
        file.as_file().set_len(MAX_LIST_BYTES + 1).unwrap();
        let error = Entries::read(path, None, Kind::Words).err().unwrap().to_string();
        assert!(error.contains("more than a list may have"), "{error}");
    }

    #[test]
    fn the_fingerprint_is_that_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let config = |name: &str, lines: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, lines).unwrap();
            let settings = json!({"lists": {"words": path}});
            CleanConfig::profile("none").unwrap().with(&settings).unwrap()
        };
        let cleaner = |config: &CleanConfig| Cleaner::new(config).unwrap();
        let first = cleaner(&config("a", "one\ntwo\n"));
        assert_eq!(first.fingerprint(), cleaner(&config("b", "one\ntwo\n")).fingerprint());
        assert_ne!(first.fingerprint(), cleaner(&config("c", "one\n")).fingerprint());
        let cleaned = first.clean("one or two", &mut CleanBuffers::default());
        let measure = cleaned.verdict.measure().unwrap();
        assert_eq!((measure.name.as_str(), measure.value), ("lists.word", 2.0));
        // the configuration of a job names the content: another is not taken for it
        let stored = first.config().clone();
        std::fs::write(folder.path().join("a"), "three\n").unwrap();
        let error = Cleaner::new(&stored).err().unwrap().to_string();
        assert!(error.contains("another content"), "{error}");
        let none = CleanConfig::profile("none").unwrap().with(&json!({"lists": true})).unwrap();
        assert!(Cleaner::new(&none).err().unwrap().to_string().contains("name a file"));
    }

    proptest! {
        #[test]
        fn words_equal_a_search_for_each(
            list in proptest::collection::vec("[abé中]{1,3}", 1..6),
            text in "[abcé中 .]{0,30}",
        ) {
            let entries = entries(&list.join("\n"), Kind::Words).unwrap();
            let mut expected: Vec<Range<usize>> = Vec::new();
            for word in list.iter().collect::<HashSet<_>>() {
                for at in text.char_indices().map(|(at, _)| at) {
                    let end = at + word.len();
                    let is_inside = |char: Option<char>| char.is_some_and(|c| "abcé".contains(c));
                    let split = |at: usize| {
                        is_inside(text[..at].chars().next_back()) && is_inside(text[at..].chars().next())
                    };
                    if text[at..].starts_with(word.as_str()) && !split(at) && !split(end) {
                        expected.push(at..end);
                    }
                }
            }
            let mut found: Vec<_> = entries.find_words(&text).map(|(_, range)| range).collect();
            found.sort_by_key(|range| (range.start, range.end));
            expected.sort_by_key(|range| (range.start, range.end));
            prop_assert_eq!(found, expected);
        }
    }
}
