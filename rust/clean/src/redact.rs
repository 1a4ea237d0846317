//! Finds private data: addresses, numbers, keys.
//!
//! ```text
//! for each trigger of the text, from front to back:      one table lookup per byte
//!     for each kind that the trigger may belong to:
//!         the whole match, checked: form, check digits, what stands around it
//!     report the first that is valid, and continue after it
//! ```
//!
//! 1. Triggers are digits, `@`, `:`, `-`, `_` and the lead byte of full-width forms; a vector search
//!    for some twenty strings (`AKIA`, `eyJ`, `微信` …) finds what has none of them.
//! 2. A trigger is a single comparison away from being discarded in ordinary text: a number needs
//!    seven digits or a separator with a digit after it, `:` needs a hexadecimal digit on both sides.
//! 3. What comes before a match is read only as far back as the end of the last match, so that a
//!    second search, over the text with its matches replaced, sees the same.
//!
//! [`KINDS`] is the only list of kinds: their names in a configuration, in counts, and as
//! placeholders.

mod bank;
mod context;
mod email;
mod folded;
mod haystack;
mod identity;
mod kind;
mod network;
mod phone;
mod scan;
mod secret;

#[cfg(test)]
pub(crate) use haystack::Match;
pub(crate) use kind::{KINDS, KindSet};
pub(crate) use scan::scan;

/// Pieces of private data and what may stand around them, for property tests.
#[cfg(test)]
pub(crate) fn pieces() -> impl proptest::strategy::Strategy<Value = String> {
    let pieces = "(a|me|@|＠|\\.|-|－|:|/|\\+|\\(|\\)|,|_| |  |\n|\\[at\\]|x\\.org|b\\.cn|8\\.8\\.8\\.8|1|０|\
        13812345678|\\+86 |86-|415-555-2671|\\(202\\) 555|0755|26543210|400|11010519491231002X|４111|4111 1111 1111 1111|\
        2400:cb00::1|00:1b:44:11:3a:b7|DE89 3704 0044 0532 0130 00|219-09-9999|AKIAIOSFODNN7EXAMPLE|eyJhbGciOiJIUzI1|\
        ghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5|-----BEGIN PRIVATE KEY-----\n|QQ：|微信号|tel|id |中|é|\u{301}|\u{338}|\\PC){0,14}";
    proptest::strategy::Strategy::prop_map(pieces, |text: String| text)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn matches(text: &str) -> Vec<Match> {
        let mut found = Vec::new();
        scan(text, KindSet::ALL, |match_| found.push(match_));
        found
    }

    /// Returns `text` with each match as its placeholder.
    fn masked(text: &str) -> String {
        let mut masked = text.to_owned();
        for found in matches(text).iter().rev() {
            masked.replace_range(found.range.clone(), found.kind.entry().placeholder);
        }
        masked
    }

    /// Returns the cases of the repository, and those of the shared data if they are there, each
    /// with the path.
    fn cases() -> Vec<(String, Vec<Value>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let data = std::env::var_os("LSLM_DATA");
        let data = data.map_or_else(|| root.join("../shared/data"), |given| root.join(given));
        let own = root.join("testdata/clean/redaction.json");
        assert!(own.exists(), "{}", own.display());
        let read = |path: &PathBuf| {
            let cases = serde_json::from_slice(&std::fs::read(path).ok()?).unwrap();
            Some((path.display().to_string(), cases))
        };
        [own, data.join("../cases/redaction.json")].iter().filter_map(read).collect()
    }

    /// `testdata/clean/redaction.json` was written before the rules ran on it.
    #[test]
    fn private_data_goes_and_the_rest_stays() {
        for (path, cases) in cases() {
            let (mut right, mut all, mut wrong) = ([0.0; 2], [0.0; 2], Vec::new());
            for case in &cases {
                let is_private = case["private"].as_bool().unwrap();
                let found = matches(case["text"].as_str().unwrap());
                all[usize::from(is_private)] += 1.0;
                right[usize::from(is_private)] +=
                    f64::from(u8::from(found.is_empty() != is_private));
                if found.is_empty() == is_private {
                    wrong.push(case["text"].to_string());
                }
            }
            let [other, private] = [right[0] / all[0], right[1] / all[1]];
            assert!(other >= 0.95 && private >= 0.95, "{path}: {other} {private} {wrong:#?}");
        }
    }

    #[test]
    fn a_match_is_the_whole_and_nothing_around_it() {
        for (text, expected) in [
            ("write to a.b+c@d-e.co.uk.", "write to <EMAIL>."),
            ("<'x@y.org'>", "<'<EMAIL>'>"),
            ("a..b@c.de, d@e.fr", "a..<EMAIL>, <EMAIL>"),
            ("a@b.cc.x a@b.cc- ?to=me@a.museum&x", "<EMAIL>.x <EMAIL>- ?to=<EMAIL>&x"),
            ("jane [at] example [dot] com now", "<EMAIL> now"),
            ("이메일은kim@naver.com입니다", "이메일은<EMAIL>입니다"),
            ("邮箱：用户@例子.中国。", "邮箱：<EMAIL>。"),
            ("git@github.com:x/y legit@host.org", "git@github.com:x/y <EMAIL>"),
            ("8.8.4.4:53, 1.1.1.1/32 地址8.8.8.8，", "<IPV4>:53, <IPV4>/32 地址<IPV4>，"),
            ("[2400:cb00::1]:80 2400:cb00::1.", "[<IPV6>]:80 <IPV6>."),
            ("13812345678/13912345678、+86 138-1234-5678", "<PHONE>/<PHONE>、<PHONE>"),
            ("(202) 555-0143 (202-555-0143)", "<PHONE> (<PHONE>)"),
            ("（0755）26543210", "<PHONE>"),
            ("202-555-0143,202-555-0144", "<PHONE>,<PHONE>"),
            ("x 4111 1111 1111 1111.", "x <CARD>."),
            ("key=AKIAIOSFODNN7EXAMPLE\n", "key=<API_KEY>\n"),
            ("身份证11010519491231002X。", "身份证<IDENTITY>。"),
            ("QQ：123456789，微信号：zhang_88", "QQ：<ACCOUNT>，微信号：<ACCOUNT>"),
        ] {
            assert_eq!(masked(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_of_other_things_stay() {
        for text in [
            "(1659–1695) 1999-2001 17900000000 850/900/1800",
            "0 01111 0000000000 05 05 05 05 05",
            "-922337203685477,5807 +262142-12-31 +10000-09-09 01:46:39 18:58:00.123456789",
            "const FLAG: u64 = 17179869184;",
            "10.0.0.1 127.0.0.1 192.168.1.1 224.0.0.1 198.51.100.7 2001:db8::1 fe80::1",
            "@name @ a@b a.@b.cc a@-b.cc a@b..cc a@1.2 @b.cc x@w.transpose() y@m.to(device)",
            "r\"-----BEGIN PRIVATE KEY-----\"",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn matches_are_in_order_and_of_the_wanted_kinds(text in pieces(), kind in 0..KINDS.len()) {
            let mut end = 0;
            for found in matches(&text) {
                prop_assert!(found.range.start >= end && found.range.end > found.range.start);
                prop_assert!(text.get(found.range.clone()).is_some());
                end = found.range.end;
            }
            let kind = KINDS[kind].kind;
            scan(&text, KindSet::NONE.with(kind), |found| assert_eq!(found.kind, kind));
        }
    }
}
