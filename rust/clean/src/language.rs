//! The language of a text, from a sample of it.
//!
//! The detector is whatlang: scripts, then trigrams, for 70 languages. A text is judged by at most
//! three stretches of it, so that a long one costs no more than a page.

use lslm_runtime::suggest::nearest;
use whatlang::Lang;

/// Bytes of each stretch that is read: some hundred characters of any script decide a language.
const STRETCH_BYTES: usize = 700;

/// Languages with a code of two letters (ISO 639-1), and their code of three (ISO 639-3).
const SHORT_CODES: [(&str, &str); 66] = [
    ("af", "afr"),
    ("am", "amh"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("no", "nob"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("vi", "vie"),
    ("zh", "cmn"),
];

/// A detected language: its code of three letters and name, and a confidence from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectedLanguage {
    /// The code in ISO 639-3, such as "eng".
    pub code: &'static str,
    /// The name in English.
    pub name: &'static str,
    /// 1 is certain.
    pub confidence: f64,
}

/// Returns the language of `text`, or `None` if no letter tells it.
///
/// ```
/// use lslm_clean::detect_language;
///
/// assert_eq!(detect_language("敏捷的棕色狐狸跳过了懒狗。").unwrap().code, "cmn");
/// assert_eq!(detect_language("12 + 30 = 42"), None);
/// ```
pub fn detect_language(text: &str) -> Option<DetectedLanguage> {
    let found = whatlang::detect(&sample(text))?;
    let lang = found.lang();
    Some(DetectedLanguage {
        code: lang.code(),
        name: lang.eng_name(),
        confidence: found.confidence(),
    })
}

/// Returns the beginning, the middle and the end of a long text.
fn sample(text: &str) -> String {
    if text.len() <= 3 * STRETCH_BYTES {
        return text.to_owned();
    }
    let stretch = |start: usize| {
        let start = text.floor_char_boundary(start);
        &text[start..text.floor_char_boundary(start + STRETCH_BYTES)]
    };
    let last = text.len() - STRETCH_BYTES;
    [stretch(0), stretch(last / 2), stretch(last)].join("\n")
}

/// Returns the code of three letters for a code of two or three; for an unknown one, the nearest.
pub(crate) fn known_code(code: &str) -> Result<&'static str, &'static str> {
    let long = SHORT_CODES.iter().find(|(short, _)| *short == code).map_or(code, |(_, long)| long);
    match Lang::from_code(long) {
        Some(lang) => Ok(lang.code()),
        None => Err(nearest(code, Lang::all().iter().map(Lang::code)).unwrap_or("eng")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_detected_from_stretches() {
        let english = "The quick brown fox jumps over the lazy dog and runs away. ";
        let french = "Un magicien n'est jamais en retard, pas plus qu'il n'est en avance. ";
        for (text, expected) in [
            (english.repeat(200), Some("eng")),
            (french.to_owned(), Some("fra")),
            ("Привет, как дела? Сегодня хорошая погода.".to_owned(), Some("rus")),
            ("吾輩は猫である。名前はまだ無い。".to_owned(), Some("jpn")),
            ("12 + 30".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(detect_language(&text).map(|found| found.code), expected);
        }
    }

    #[test]
    fn every_short_code_is_a_known_language() {
        for (short, long) in SHORT_CODES {
            assert_eq!(known_code(short), Ok(long));
        }
        assert_eq!(known_code("deu"), Ok("deu"));
        assert_eq!(known_code("enf"), Err("eng"));
    }
}
