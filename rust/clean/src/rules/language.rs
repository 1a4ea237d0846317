//! Keeps documents of some languages.

use std::collections::BTreeMap;

use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::language::{detect_language, known_code};
use crate::measure::{Flow, Judge};
use crate::rule::{Build, Filter, Rule};
use crate::view::View;

pub(super) const RULE: Rule = Rule::filter::<Language>(
    "language",
    1,
    "keeps documents of the languages that it names, each from a confidence on",
);

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LanguageSettings {
    /// Languages that stay, as ISO 639-1 or 639-3 codes, each with the least confidence; all if
    /// there is none.
    keep: BTreeMap<String, f64>,
}

struct Language {
    /// By ISO 639-3 code.
    keep: BTreeMap<&'static str, f64>,
}

impl Build for Language {
    type Settings = LanguageSettings;

    fn build(settings: LanguageSettings) -> Result<Self> {
        let known = |(code, least): (&String, &f64)| {
            let wrong = |near| {
                let text =
                    format!("language.keep: unknown language {code:?}: did you mean {near:?}?");
                Error::invalid(text)
            };
            Ok((known_code(code).map_err(wrong)?, *least))
        };
        Ok(Self { keep: settings.keep.iter().map(known).collect::<Result<_>>()? })
    }
}

impl Filter for Language {
    /// The measure has the name of the language, so that the funnel counts what was dropped by it.
    fn check(&self, document: &View<'_>, judge: &mut Judge<'_>) -> Flow {
        let Some(found) = detect_language(document.text()) else {
            let limit = (!self.keep.is_empty()).then_some(1.0);
            return judge.at_least("unknown", 0.0, limit);
        };
        match self.keep.get(found.code) {
            Some(least) => judge.at_least(found.code, found.confidence, Some(*least)),
            // with no language named, a signal that drops nothing
            None if self.keep.is_empty() => judge.at_least(found.code, found.confidence, Some(0.0)),
            None => judge.at_most(found.code, found.confidence, Some(0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{CleanBuffers, CleanConfig, Cleaner};

    #[test]
    fn other_languages_are_dropped_by_name() {
        let settings = json!({"language": {"keep": {"en": 0.0, "deu": 1.1}}});
        let config = CleanConfig::profile("none").unwrap().with(&settings).unwrap();
        let cleaner = Cleaner::new(&config).unwrap();
        for (text, expected) in [
            ("The quick brown fox jumps over the lazy dog.", None),
            (
                "Un magicien n'est jamais en retard, pas plus qu'il n'est en avance.",
                Some("language.fra"),
            ),
            ("Der schnelle braune Fuchs springt über den faulen Hund.", Some("language.deu")),
            ("1234", Some("language.unknown")),
        ] {
            let cleaned = cleaner.clean(text, &mut CleanBuffers::default());
            assert_eq!(cleaned.verdict.reason(), expected, "{text}");
        }
        let wrong = json!({"language": {"keep": {"enf": 0.5}}});
        let wrong = CleanConfig::profile("none").unwrap().with(&wrong).unwrap();
        let message = Cleaner::new(&wrong).err().unwrap().to_string();
        assert_eq!(message, "language.keep: unknown language \"enf\": did you mean \"eng\"?");
    }
}
