//! Reads the settings that FineWeb-2 publishes for each language.
//!
//! The files (`configs/LANGUAGE_Script.yml` of huggingface/fineweb-2) are YAML of three forms, and
//! only these are read: `key: scalar`, a list of scalars, a list of pairs.

use lslm_runtime::{Error, Result};
use serde_json::{Map, Number, Value, json};

use crate::config::CleanConfig;
use crate::view::unit::WordUnit;

/// The profile whose other settings a file shares.
const BASE: &str = "fineweb2@cmn_Hani";

impl CleanConfig {
    /// Returns FineWeb-2's filters with the settings of `yaml`, the content of one of its files, for
    /// the language `name`, such as "fra_Latn".
    ///
    /// Words are jieba's for Chinese (`_Hani`); for every other language they are runs of letters
    /// and numbers, not those of the segmenter that datatrove has for it. A missing setting or a
    /// value of another form is an [`Error::Invalid`] that names it.
    ///
    /// ```
    /// use lslm_clean::CleanConfig;
    ///
    /// let error = CleanConfig::fineweb2("dup_line_frac: 0.2\n", "fra_Latn").unwrap_err();
    /// assert_eq!(error.to_string(), "fra_Latn: line_punct_thr is missing");
    /// ```
    pub fn fineweb2(yaml: &str, name: &str) -> Result<Self> {
        let settings = parse(yaml).map_err(|error| Error::invalid(format!("{name}: {error}")))?;
        let get = |key: &str| {
            let missing = || Error::invalid(format!("{name}: {key} is missing"));
            settings.get(key).cloned().ok_or_else(missing)
        };
        // datatrove checks no limit of 0
        let limit = |key: &str| {
            get(key).map(|value| if value.as_f64() == Some(0.0) { Value::Null } else { value })
        };
        let unit = if name.ends_with("_Hani") { WordUnit::Jieba } else { WordUnit::Word };
        Self::profile(BASE)?.with(&json!({
            "unit": unit.name(),
            "fineweb": {
                "min_line_punct_ratio": limit("line_punct_thr")?,
                "max_list_ratio": get("new_line_ratio")?,
            },
            "gopher_repetition": {
                "dup_line_frac": limit("dup_line_frac")?,
                "top_n_grams": get("top_n_grams")?,
                "dup_n_grams": get("dup_n_grams")?,
            },
            "gopher_quality": {
                "min_mean_word_chars": limit("min_avg_word_length")?,
                "max_mean_word_chars": limit("max_avg_word_length")?,
                "min_letter_words": limit("max_non_alpha_words_ratio")?,
                "stop_words": get("stopwords")?,
            },
        }))
    }
}

/// Returns the keys and values of a file.
fn parse(yaml: &str) -> Result<Map<String, Value>, String> {
    let mut settings = Map::new();
    let mut last = String::new();
    for line in yaml.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let list = settings.get_mut(&last).and_then(Value::as_array_mut);
        if let Some(item) = line.strip_prefix("- - ") {
            list.ok_or(line)?.push(json!([scalar(item)?]));
        } else if let Some(item) = line.strip_prefix("  - ") {
            let pair = list.and_then(|list| list.last_mut()).and_then(Value::as_array_mut);
            pair.ok_or(line)?.push(scalar(item)?);
        } else if let Some(item) = line.strip_prefix("- ") {
            list.ok_or(line)?.push(scalar(item)?);
        } else {
            let (key, value) = line.split_once(':').ok_or_else(|| format!("no key in {line:?}"))?;
            key.clone_into(&mut last);
            let value = match value.trim() {
                "" => json!([]),
                value => scalar(value)?,
            };
            settings.insert(last.clone(), value);
        }
    }
    Ok(settings)
}

/// Returns a number or a string, plain or quoted.
fn scalar(text: &str) -> Result<Value, String> {
    if let Some(inner) = text.strip_prefix('"') {
        let inner = inner.strip_suffix('"').ok_or_else(|| format!("no closing quote in {text}"))?;
        return unescaped(inner).map(Value::String);
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\'')) {
        return Ok(inner.replace("''", "'").into());
    }
    let number = text.parse::<i64>().ok().map(Number::from);
    let number = number.or_else(|| text.parse().ok().and_then(Number::from_f64));
    Ok(number.map_or_else(|| text.into(), Value::Number))
}

/// Returns `text` with its escapes replaced: those of a code point, of `"` and of `\`.
fn unescaped(text: &str) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = match rest.bytes().next() {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let wrong = || format!("unknown escape in {text:?}");
        if digits == 0 {
            let char = rest.chars().next().filter(|char| matches!(char, '"' | '\\' | '/'));
            result.push(char.ok_or_else(wrong)?);
            rest = &rest[1..];
        } else {
            let code = rest.get(1..=digits).and_then(|code| u32::from_str_radix(code, 16).ok());
            result.push(code.and_then(char::from_u32).ok_or_else(wrong)?);
            rest = &rest[1 + digits..];
        }
    }
    Ok(result + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lists and the scalars of the published file for cmn_Hani.
    const CMN_HANI: &str = "dup_line_frac: 0.287\ndup_n_grams:\n- - 5\n  - 0.198\n- - 6\n  - 0.182\n\
        - - 7\n  - 0.167\n- - 8\n  - 0.154\n- - 9\n  - 0.14\n- - 10\n  - 0.127\nlanguage_score: 0.692\n\
        line_punct_thr: 0.106\nmax_avg_word_length: 5\nmax_non_alpha_words_ratio: 0.735\n\
        min_avg_word_length: 1\nnew_line_ratio: 0.178\nstopwords:\n- \"\\u7684\"\n- \"\\u5E74\"\n\
        - \"\\u5728\"\n- \"\\u6708\"\n- \"\\u662F\"\n- \"\\u548C\"\n- \"\\u65E5\"\n- \"\\u4E86\"\n\
        - \"\\u65BC\"\n- \"\\xB7\"\n- \"\\u70BA\"\n- \"\\u6709\"\n- \"\\u88AB\"\n- \"\\u4EBA\"\n\
        - \"\\u4E2D\"\n- \"\\u4E3A\"\n- \"\\u4ED6\"\n- \"\\u8207\"\n- \"\\u5F8C\"\n- \"\\u4E5F\"\n\
        - \"\\u800C\"\n- \"\\u7531\"\ntop_n_grams:\n- - 2\n  - 0.256\n- - 3\n  - 0.201\n- - 4\n  - 0.171\n";

    #[test]
    fn the_published_file_gives_the_profile() {
        let read = CleanConfig::fineweb2(CMN_HANI, "cmn_Hani").unwrap();
        assert_eq!(read, CleanConfig::profile(BASE).unwrap());
        let other = CMN_HANI.replace("line_punct_thr: 0.106", "line_punct_thr: 0");
        let read = CleanConfig::fineweb2(&other, "tha_Thai").unwrap().to_value();
        assert_eq!(read["fineweb"]["min_line_punct_ratio"], Value::Null);
        assert_eq!(read["unit"], "word");
    }

    #[test]
    fn mistakes_are_named() {
        for (yaml, expected) in [
            ("- 1\n", "xx: - 1"),
            ("nothing\n", "xx: no key in \"nothing\""),
            ("a: \"\\q\"\n", "xx: unknown escape in \"\\\\q\""),
            ("dup_line_frac: 'it''s'\nline_punct_thr: 1\n", "xx: new_line_ratio is missing"),
        ] {
            let error = CleanConfig::fineweb2(yaml, "xx").unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }
}
