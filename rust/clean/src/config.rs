//! Which rules run and with what settings: a named profile, and what was changed in it.

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::rule::RuleKind;
use crate::rules::RULES;
use crate::view::WordUnit;

/// A named configuration.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// The file that it is from: `about`, `base` (another profile), and changes to that.
    json: &'static str,
}

macro_rules! profiles {
    ($($name:literal),+ $(,)?) => {
        [$(Profile {
            name: $name,
            json: include_str!(concat!("profiles/", $name, ".json")),
        }),+]
    };
}

/// Every profile there is.
///
/// "gopher" and "fineweb" have datatrove's settings. "chinese" has those of FineWeb2 for cmn_Hani,
/// which are for jieba's words, carried over to characters: on 1,698 documents of Chinese Wikipedia
/// and modern prose one of jieba's words is 1.6 units of ours (1.74 without punctuation), so that
/// counts, ratios and the n of n-grams are scaled by that; the bounds of the most frequent n-grams,
/// where the peer counts a space between two words, and of words with a letter are those that drop
/// as many of these documents as the peer's do.
///
/// A new one is a file in `profiles/` and its name here.
pub static PROFILES: [Profile; 6] =
    profiles!["none", "default", "code", "gopher", "fineweb", "chinese"];

impl Profile {
    /// What it is for, in one line.
    pub fn about(&self) -> String {
        let about = self.read().ok().and_then(|file| Some(file.get("about")?.as_str()?.to_owned()));
        about.unwrap_or_default()
    }

    fn read(&self) -> Result<Map<String, Value>> {
        serde_json::from_str(self.json)
            .map_err(|error| Error::invalid(format!("profile {}: {error}", self.name)))
    }
}

/// What a [`Cleaner`](crate::Cleaner) does: for each rule its settings, or that it is off.
///
/// Written as data it is one table: `profile`, `unit`, and each rule by its name with `false` or
/// all of its settings. Read, it may name only what differs from the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanConfig {
    profile: String,
    unit: WordUnit,
    /// In the order of [`RULES`]: an object, or `false`.
    rules: Vec<Value>,
}

/// The switch of all redactors at once.
const REDACT: &str = "redact";
const PROFILE: &str = "profile";
const UNIT: &str = "unit";

impl CleanConfig {
    /// The profile called `name`; an unknown one is an [`Error::Invalid`] with the nearest.
    pub fn profile(name: &str) -> Result<Self> {
        let Some(profile) = PROFILES.iter().find(|profile| profile.name == name) else {
            let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names.join(", ")),
            };
            return Err(Error::invalid(format!("unknown profile {name:?}: {hint}")));
        };
        let mut file = profile.read()?;
        file.shift_remove("about");
        let mut config = match file.shift_remove("base") {
            Some(Value::String(base)) => Self::profile(&base)?,
            _ => Self {
                profile: String::new(),
                unit: WordUnit::Word,
                rules: vec![false.into(); RULES.len()],
            },
        };
        name.clone_into(&mut config.profile);
        config.with(&Value::Object(file))
    }

    /// This configuration with `changes`: a JSON object of rules by name, each with `true`, `false`
    /// or an object of settings; `redact` switches all redactors; `unit` is "word" or "char".
    ///
    /// An unknown key, a wrong type or a value that a rule cannot use is an [`Error::Invalid`] that
    /// names it.
    pub fn with(mut self, changes: &Value) -> Result<Self> {
        let Value::Object(changes) = changes else {
            return Err(Error::invalid(format!("{changes}: use a table of rules")));
        };
        // the switch comes first, so that `redact` and one redactor by name can stand together
        if let Some(switch) = changes.get(REDACT) {
            let Value::Bool(_) = switch else {
                return Err(Error::invalid(format!("redact = {switch}: use true or false")));
            };
            for (rule, settings) in RULES.iter().zip(&mut self.rules) {
                if rule.kind() == RuleKind::Redactor {
                    *settings = rule.change(settings, switch)?;
                }
            }
        }
        for (key, change) in changes {
            match key.as_str() {
                REDACT => {}
                UNIT => {
                    self.unit = serde_json::from_value(change.clone()).map_err(|_| {
                        Error::invalid(format!("unit = {change}: use \"word\" or \"char\""))
                    })?;
                }
                name => {
                    let place = RULES.iter().position(|rule| rule.name == name);
                    let place = place.ok_or_else(|| unknown(name))?;
                    self.rules[place] = RULES[place].change(&self.rules[place], change)?;
                }
            }
        }
        Ok(self)
    }

    /// The configuration that `value` describes: an object with `profile` (default "default") and
    /// changes to it, as [`CleanConfig::with`] takes them. The inverse of [`CleanConfig::to_value`].
    pub fn from_value(value: &Value) -> Result<Self> {
        let Value::Object(table) = value else {
            return Err(Error::invalid(format!("{value}: use a table of rules")));
        };
        let mut changes = table.clone();
        let config = match changes.shift_remove(PROFILE) {
            None => Self::profile("default")?,
            Some(Value::String(name)) => Self::profile(&name)?,
            Some(other) => return Err(Error::invalid(format!("profile = {other}: use a name"))),
        };
        config.with(&Value::Object(changes))
    }

    /// All of it as a JSON object: what [`CleanConfig::from_value`] reads.
    pub fn to_value(&self) -> Value {
        let mut table = Map::new();
        table.insert(PROFILE.to_owned(), self.profile.clone().into());
        table.insert(UNIT.to_owned(), unit_name(self.unit).into());
        for (rule, settings) in RULES.iter().zip(&self.rules) {
            let bare = settings.as_object().is_some_and(Map::is_empty);
            let value = if bare { Value::Bool(true) } else { settings.clone() };
            table.insert(rule.name.to_owned(), value);
        }
        Value::Object(table)
    }

    /// The name of the profile that it began as.
    pub fn profile_name(&self) -> &str {
        &self.profile
    }

    /// What a word is.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// The settings of the rules that are on, in their order of work.
    pub(crate) fn active(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.rules.iter().enumerate().filter(|(_, settings)| settings.is_object())
    }

    /// SHA-256 over what decides the result: the unit, and of each rule that is on its name, version
    /// and settings. The profile's name and rules that are off do not count.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(format!("lslm-clean 1\nunit {}\n", unit_name(self.unit)));
        for (place, settings) in self.active() {
            let rule = &RULES[place];
            hash.update(format!("{} {} {settings}\n", rule.name, rule.version));
        }
        hash.finalize().into()
    }
}

fn unit_name(unit: WordUnit) -> &'static str {
    match unit {
        WordUnit::Word => "word",
        WordUnit::Char => "char",
    }
}

fn unknown(name: &str) -> Error {
    let known = || RULES.iter().map(|rule| rule.name).chain([REDACT, UNIT]);
    let hint = match nearest(name, known()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
    };
    Error::invalid(format!("unknown cleaning rule {name:?}: {hint}"))
}

impl Serialize for CleanConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CleanConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(&value).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(result: Result<CleanConfig>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn every_profile_is_read_and_written() {
        for profile in &PROFILES {
            let config = CleanConfig::profile(profile.name).unwrap();
            assert!(!profile.about().is_empty());
            assert_eq!(config.profile_name(), profile.name);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<CleanConfig>(&text).unwrap(), config);
        }
    }

    #[test]
    fn mistakes_are_named_with_what_is_near() {
        let base = || CleanConfig::profile("default").unwrap();
        assert_eq!(
            message(CleanConfig::profile("finweb")),
            "unknown profile \"finweb\": did you mean \"fineweb\"?"
        );
        assert_eq!(
            message(base().with(&json!({"lenght": true}))),
            "unknown cleaning rule \"lenght\": did you mean \"length\"?"
        );
        assert_eq!(
            message(base().with(&json!({"length": {"min_char": 3}}))),
            "unknown setting length.min_char: did you mean length.min_chars?"
        );
        let text = message(base().with(&json!({"length": {"min_chars": "three"}})));
        assert!(text.starts_with("length.min_chars = \"three\": invalid type"), "{text}");
        let text = message(base().with(&json!({"nfc": {"form": "C"}})));
        assert_eq!(text, "unknown setting nfc.form: this rule is only true or false");
        assert!(message(base().with(&json!({"nfc": 3}))).starts_with("nfc = 3: use true"));
        assert!(message(base().with(&json!([1]))).starts_with("[1]: use a table"));
        assert!(message(base().with(&json!({"unit": "line"}))).starts_with("unit = \"line\""));
        assert!(message(base().with(&json!({"redact": 1}))).starts_with("redact = 1"));
    }

    #[test]
    fn changes_lie_over_the_profile() {
        let config = CleanConfig::from_value(&json!({
            "profile": "gopher",
            "gopher_quality": {"min_words": 10, "max_words": null},
            "nfc": false,
            "redact": true,
            "mobile_phone": false,
        }))
        .unwrap();
        let value = config.to_value();
        assert_eq!(value["gopher_quality"]["min_words"], json!(10.0));
        assert_eq!(value["gopher_quality"]["max_words"], json!(null));
        assert_eq!(value["gopher_quality"]["max_symbol_ratio"], json!(0.1));
        assert_eq!(value["nfc"], json!(false));
        assert!(value["email"].is_object());
        assert_eq!(value["mobile_phone"], json!(false));
        // switched off and on again, a rule has its own defaults
        let off = config.with(&json!({"gopher_quality": false})).unwrap();
        let on = off.with(&json!({"gopher_quality": true})).unwrap();
        assert_eq!(on.to_value()["gopher_quality"]["min_words"], json!(50.0));
    }

    #[test]
    fn the_fingerprint_follows_what_matters() {
        let base = CleanConfig::profile("fineweb").unwrap();
        let again = base.clone().with(&json!({"fineweb": {"short_line_chars": 30}})).unwrap();
        assert_eq!(base.fingerprint(), again.fingerprint());
        let other = base.clone().with(&json!({"fineweb": {"short_line_chars": 31}})).unwrap();
        assert_ne!(base.fingerprint(), other.fingerprint());
        let names: std::collections::HashSet<_> = PROFILES
            .iter()
            .map(|profile| CleanConfig::profile(profile.name).unwrap().fingerprint())
            .collect();
        assert_eq!(names.len(), PROFILES.len());
    }
}
