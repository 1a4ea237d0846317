//! Which rules run, and with which settings: a named profile and changes to it.

use lslm_runtime::suggest::nearest;
use lslm_runtime::{Error, Result, hex};
use lslm_unicode::VERSION as UNICODE_VERSION;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::rules::RULES;
use crate::view::unit::WordUnit;

/// A named configuration.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// The name that [`CleanConfig::profile`] accepts.
    pub name: &'static str,
    /// The content of its file: `about`, `version`, `base` (another profile), and changes to the
    /// base; or `about` and `alias`, the profile that the name stands for.
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

/// All profiles.
///
/// "gopher" and "fineweb" have the filters of datatrove after the normalisers of "default"; names with
/// `@` have the filters only. "chinese" has those of FineWeb2 for cmn_Hani,
/// converted from jieba's words to characters. On 1,698 documents of Chinese Wikipedia and modern
/// prose, a word of jieba's is 1.6 of our units (1.74 without punctuation); counts, ratios and the
/// n of n-grams are scaled by that. Two limits were chosen to drop as many of these documents as
/// datatrove drops: that of the most frequent n-grams, since datatrove counts a space between two
/// words, and that of words with a letter.
///
/// A new profile is a file in `profiles/` and its name here.
pub static PROFILES: [Profile; 11] = profiles![
    "none",
    "default",
    "tidy",
    "code",
    "gopher",
    "fineweb",
    "chinese",
    "gopher@datatrove",
    "c4@datatrove",
    "fineweb@datatrove",
    "fineweb2@cmn_Hani",
];

impl Profile {
    /// Returns what the profile is for, in one line.
    pub fn about(&self) -> String {
        let about = self.read().ok().and_then(|file| Some(file.get("about")?.as_str()?.to_owned()));
        about.unwrap_or_default()
    }

    /// Returns the version, which increases when the same name means other rules or settings; 0 for
    /// an alias, which has that of the profile it stands for.
    pub fn version(&self) -> u64 {
        self.read().ok().and_then(|file| file.get("version")?.as_u64()).unwrap_or_default()
    }

    fn read(&self) -> Result<Map<String, Value>> {
        serde_json::from_str(self.json)
            .map_err(|error| Error::invalid(format!("profile {}: {error}", self.name)))
    }
}

/// What a [`Cleaner`](crate::Cleaner) does: an ordered list of stages, each a rule with its
/// settings.
///
/// As data it is one table: `profile`, `profile_version`, `unicode`, `unit`, `stages` (the names of the rules
/// that run, in order), and each rule by its name. Written, a rule has `false` or all of its
/// settings; read, only the differences from the profile need to be named. `stages` alone says the
/// order, because the order of keys means nothing in TOML or in keyword arguments.
///
/// ```
/// use lslm_clean::CleanConfig;
/// use serde_json::json;
///
/// let config = CleanConfig::profile("fineweb")?
///     .with(&json!({"gopher_quality": {"min_words": 20}, "redact": true}))?;
/// assert_eq!(config.to_value()["gopher_quality"]["min_words"], json!(20.0));
///
/// // mask addresses before judging what is left
/// let config = CleanConfig::profile("none")?.with(&json!({"stages": ["redact", "length"]}))?;
/// assert_eq!(config.stages().collect::<Vec<_>>(), ["redact", "length"]);
///
/// let error = CleanConfig::profile("finweb").unwrap_err();
/// assert_eq!(error.to_string(), r#"unknown profile "finweb": did you mean "fineweb"?"#);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CleanConfig {
    profile: &'static Profile,
    unit: WordUnit,
    /// In the order of [`RULES`]: an object, or `false`.
    rules: Vec<Value>,
    /// The rules that are on, as indices in [`RULES`], in the order in which they run.
    stages: Vec<usize>,
}

/// The key of the profile's name.
const PROFILE: &str = "profile";
/// The key of the profile's version.
const PROFILE_VERSION: &str = "profile_version";
/// The key of the list of stages.
const STAGES: &str = "stages";
/// The key of the unit that counts as a word.
const UNIT: &str = "unit";
/// The key of the version of Unicode.
const UNICODE: &str = "unicode";

impl CleanConfig {
    /// Returns the configuration of the profile `name`; an alias is resolved.
    ///
    /// An unknown name is an [`Error::Invalid`] that suggests the nearest one.
    pub fn profile(name: &str) -> Result<Self> {
        let Some(profile) = PROFILES.iter().find(|profile| profile.name == name) else {
            let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("choose one of {}", names.join(", ")),
            };
            return Err(Error::invalid(format!("unknown profile {name:?}: {hint}")));
        };
        let mut file = profile.read()?;
        if let Some(Value::String(resolved)) = file.get("alias") {
            return Self::profile(resolved);
        }
        file.shift_remove("about");
        file.shift_remove("version");
        let mut config = match file.shift_remove("base") {
            Some(Value::String(base)) => Self::profile(&base)?,
            _ => Self {
                profile,
                unit: WordUnit::Word,
                rules: vec![false.into(); RULES.len()],
                stages: Vec::new(),
            },
        };
        config.profile = profile;
        config.with(&Value::Object(file))
    }

    /// Returns this configuration with `changes`, a JSON object:
    ///
    /// - a rule by its name, with `true`, `false` or an object of settings. A rule that this
    ///   switches on runs before the first stage that [`RULES`] has after it;
    /// - `stages`, the names of all rules that run, in order;
    /// - `unit`, the name of a [`WordUnit`].
    ///
    /// An unknown key, a wrong type or a value that a rule cannot use is an [`Error::Invalid`] that
    /// names it.
    pub fn with(mut self, changes: &Value) -> Result<Self> {
        let Value::Object(changes) = changes else {
            return Err(Error::invalid(format!("{changes}: use a table of rules")));
        };
        // the list first, so that it can be combined with settings of its rules
        if let Some(names) = changes.get(STAGES) {
            self.set_stages(names)?;
        }
        for (key, change) in changes {
            match key.as_str() {
                STAGES => {}
                PROFILE_VERSION => self.check_version(change)?,
                UNICODE => check_unicode(change)?,
                UNIT => {
                    self.unit = serde_json::from_value(change.clone()).map_err(|_| {
                        let names = WordUnit::ALL.map(WordUnit::name).join(", ");
                        Error::invalid(format!("unit = {change}: use one of {names}"))
                    })?;
                }
                name => self.change(rule_index(name)?, change)?,
            }
        }
        Ok(self)
    }

    /// Sets the order of the stages to `names`; rules that it does not name are off.
    fn set_stages(&mut self, names: &Value) -> Result<()> {
        let wrong =
            || Error::invalid(format!("stages = {names}: use a list of names of rules, each once"));
        let mut stages = Vec::new();
        for name in names.as_array().ok_or_else(wrong)? {
            let index = rule_index(name.as_str().ok_or_else(wrong)?)?;
            if stages.contains(&index) {
                return Err(wrong());
            }
            self.rules[index] = RULES[index].change(&self.rules[index], &Value::Bool(true))?;
            stages.push(index);
        }
        for index in self.stages.iter().filter(|index| !stages.contains(index)) {
            self.rules[*index] = Value::Bool(false);
        }
        self.stages = stages;
        Ok(())
    }

    /// Switches one rule on or off, or changes its settings.
    fn change(&mut self, index: usize, change: &Value) -> Result<()> {
        self.rules[index] = RULES[index].change(&self.rules[index], change)?;
        let is_on = self.rules[index].is_object();
        let at = self.stages.iter().position(|stage| *stage == index);
        match at {
            Some(at) if !is_on => {
                self.stages.remove(at);
            }
            None if is_on => {
                let later = self.stages.iter().position(|stage| *stage > index);
                self.stages.insert(later.unwrap_or(self.stages.len()), index);
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses the version of a profile that is not the one that this library has.
    fn check_version(&self, version: &Value) -> Result<()> {
        let (name, own) = (self.profile.name, self.profile.version());
        if version.as_u64() == Some(own) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "profile_version = {version}: the profile {name} is version {own} here; remove \
             profile_version to use it"
        )))
    }

    /// Returns the configuration that `value` describes: an object with `profile` (if missing,
    /// "default") and changes to it as in [`CleanConfig::with`]. The inverse of
    /// [`CleanConfig::to_value`].
    pub fn from_value(value: &Value) -> Result<Self> {
        let Value::Object(table) = value else {
            return Err(Error::invalid(format!("{value}: use a table of rules")));
        };
        let mut changes = table.clone();
        let config = match changes.shift_remove(PROFILE) {
            None => Self::profile("default")?,
            Some(Value::String(name)) => Self::profile(&name)?,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "profile = {other}: use the name of a profile"
                )));
            }
        };
        config.with(&Value::Object(changes))
    }

    /// Returns the whole configuration as a JSON object, which [`CleanConfig::from_value`] reads.
    pub fn to_value(&self) -> Value {
        let mut table = Map::new();
        table.insert(PROFILE.to_owned(), self.profile.name.into());
        table.insert(PROFILE_VERSION.to_owned(), self.profile.version().into());
        table.insert(UNICODE.to_owned(), UNICODE_VERSION.into());
        table.insert(UNIT.to_owned(), self.unit.name().into());
        table.insert(STAGES.to_owned(), self.stages().collect());
        for (rule, settings) in RULES.iter().zip(&self.rules) {
            let bare = settings.as_object().is_some_and(Map::is_empty);
            let value = if bare { Value::Bool(true) } else { settings.clone() };
            table.insert(rule.name.to_owned(), value);
        }
        Value::Object(table)
    }

    /// Returns the name of the profile that the changes were made to; never an alias.
    pub fn profile_name(&self) -> &'static str {
        self.profile.name
    }

    /// Returns [`Profile::version`] of that profile.
    pub fn profile_version(&self) -> u64 {
        self.profile.version()
    }

    /// Returns the names of the rules that run, in order.
    pub fn stages(&self) -> impl Iterator<Item = &'static str> {
        self.stages.iter().map(|index| RULES[*index].name)
    }

    /// Returns the unit that counts as a word.
    pub fn unit(&self) -> WordUnit {
        self.unit
    }

    /// Returns the index in [`RULES`] and the settings of each stage, in order.
    pub(crate) fn active(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.stages.iter().map(|index| (*index, &self.rules[*index]))
    }

    /// Returns this configuration with the SHA-256 of each file that its settings name. A file whose
    /// content is not the one of the configuration is an error.
    pub(crate) fn with_hashes(mut self) -> Result<Self> {
        for index in self.stages.clone() {
            let Value::Object(settings) = &mut self.rules[index] else { continue };
            for key in RULES[index].files {
                let Some(path) = settings.get(*key).and_then(Value::as_str) else { continue };
                if !std::fs::metadata(path).map_err(Error::io(path))?.is_file() {
                    return Err(Error::invalid(format!("{path}: is not a file")));
                }
                let bytes = std::fs::read(path).map_err(Error::io(path))?;
                let found = hex(&Sha256::digest(&bytes));
                let name = format!("{key}_sha256");
                let known = settings.get(&name).and_then(Value::as_str);
                if known.is_some_and(|known| known != found) {
                    return Err(Error::invalid(format!(
                        "{path}: has another content than when the configuration was made; remove \
                         {}.{name} to use it",
                        RULES[index].name
                    )));
                }
                settings.insert(name, found.into());
            }
        }
        Ok(self)
    }

    /// Returns one setting of a rule that is on.
    pub(crate) fn setting(&self, rule: &str, key: &str) -> Option<&Value> {
        let index = RULES.iter().position(|known| known.name == rule)?;
        self.rules[index].get(key)
    }

    /// Returns the SHA-256 of everything that decides the result: the version of Unicode, the unit, and
    /// the name, version and settings of each stage, in order. The profile's name and rules that are off do not
    /// enter it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let unit = self.unit;
        hash.update(format!("lslm-clean 2\nunicode {UNICODE_VERSION}\n"));
        hash.update(format!("unit {} {}\n", unit.name(), unit.version()));
        for (index, settings) in self.active() {
            let rule = &RULES[index];
            let mut settings = settings.clone();
            if let Some(table) = settings.as_object_mut() {
                // the content of a file counts, not where it lies
                table.retain(|key, _| !rule.files.contains(&key.as_str()));
            }
            hash.update(format!("{} {} {settings}\n", rule.name, rule.version));
        }
        hash.finalize().into()
    }
}

/// Refuses a version of Unicode that is not the one of this library's tables: letters, normal forms
/// and so results may differ.
fn check_unicode(version: &Value) -> Result<()> {
    if version.as_str() == Some(UNICODE_VERSION) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "unicode = {version}: the tables here are those of Unicode {UNICODE_VERSION}; remove \
         unicode to use them"
    )))
}

/// Returns the index of a rule in [`RULES`], or an error with the nearest name.
fn rule_index(name: &str) -> Result<usize> {
    let index = RULES.iter().position(|rule| rule.name == name);
    index.ok_or_else(|| unknown_rule(name))
}

/// Returns the error for a key that is not a rule, with the nearest that is.
fn unknown_rule(name: &str) -> Error {
    let known = || RULES.iter().map(|rule| rule.name).chain([STAGES, UNIT]);
    let hint = match nearest(name, known()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("choose one of {}", known().collect::<Vec<_>>().join(", ")),
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
    fn every_profile_survives_writing_and_reading() {
        for profile in &PROFILES {
            let config = CleanConfig::profile(profile.name).unwrap();
            assert!(!profile.about().is_empty());
            assert_eq!(config.profile_name(), profile.name);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<CleanConfig>(&text).unwrap(), config);
        }
    }

    #[test]
    fn mistakes_are_named_with_the_nearest_name() {
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
        assert_eq!(text, "length.min_chars = \"three\": must be a number");
        let text = message(base().with(&json!({"bom": {"form": "C"}})));
        assert_eq!(text, "unknown setting bom.form: this rule has no settings: use true or false");
        assert_eq!(
            message(base().with(&json!({"redact": {"emai": false}}))),
            "unknown setting redact.emai: did you mean redact.email?"
        );
        assert!(message(base().with(&json!({"nfc": 3}))).starts_with("nfc = 3: use true"));
        let text = message(base().with(&json!({"nfc": "keep-singeltons"})));
        assert!(text.ends_with("did you mean nfc.keep_singletons?"), "{text}");
        let text = message(base().with(&json!({"length": "min-chars"})));
        assert!(text.starts_with("length = \"min-chars\": length.min_chars has a value"), "{text}");
        let nfc = base().with(&json!({"nfc": "keep-singletons"})).unwrap().to_value();
        assert_eq!(nfc["nfc"], json!({"keep_singletons": true}));
        assert!(message(base().with(&json!([1]))).starts_with("[1]: use a table"));
        assert!(message(base().with(&json!({"unit": "line"}))).starts_with("unit = \"line\""));
        assert!(message(base().with(&json!({"redact": 1}))).starts_with("redact = 1"));
    }

    #[test]
    fn changes_are_applied_on_top_of_the_profile() {
        let config = CleanConfig::from_value(&json!({
            "profile": "gopher",
            "gopher_quality": {"min_words": 10, "max_words": null},
            "nfc": false,
            "redact": {"phone": false},
        }))
        .unwrap();
        let value = config.to_value();
        assert_eq!(value["gopher_quality"]["min_words"], json!(10.0));
        assert_eq!(value["gopher_quality"]["max_words"], json!(null));
        assert_eq!(value["gopher_quality"]["max_symbol_ratio"], json!(0.1));
        assert_eq!(value["nfc"], json!(false));
        assert_eq!(value["redact"]["email"], json!(true));
        assert_eq!(value["redact"]["phone"], json!(false));
        // switched off and on again, a rule has its own defaults, not those of the profile
        let off = config.with(&json!({"gopher_quality": false})).unwrap();
        let on = off.with(&json!({"gopher_quality": true})).unwrap();
        assert_eq!(on.to_value()["gopher_quality"]["min_words"], json!(50.0));
    }

    #[test]
    fn stages_are_an_ordered_list() {
        let order = |config: &CleanConfig| config.stages().collect::<Vec<_>>();
        let none = CleanConfig::profile("none").unwrap();
        let own = json!({"stages": ["length", "nfc", "fineweb"], "length": {"min_chars": 7}});
        let config = none.clone().with(&own).unwrap();
        assert_eq!(order(&config), ["length", "nfc", "fineweb"]);
        assert_eq!(config.to_value()["length"]["min_chars"], json!(7.0));
        assert_eq!(CleanConfig::from_value(&config.to_value()).unwrap(), config);
        let other = none.clone().with(&json!({"stages": ["nfc", "length", "fineweb"],
            "length": {"min_chars": 7}}));
        assert_ne!(other.unwrap().fingerprint(), config.fingerprint());
        // a rule that is switched on comes before the first stage that RULES has after it
        let more = config.clone().with(&json!({"spaces": true, "redact": true})).unwrap();
        assert_eq!(order(&more), ["spaces", "length", "nfc", "fineweb", "redact"]);
        let less = more.with(&json!({"nfc": false, "redact": null})).unwrap();
        assert_eq!(order(&less), ["spaces", "length", "fineweb"]);
        let base = CleanConfig::profile("fineweb").unwrap();
        let only = base.with(&json!({"stages": ["gopher_quality"]})).unwrap();
        assert_eq!(order(&only), ["gopher_quality"]);
        assert_eq!(only.to_value()["fineweb"], json!(false));
        for wrong in [json!("nfc"), json!(["nfc", "nfc"]), json!([1])] {
            let message = message(none.clone().with(&json!({"stages": wrong})));
            assert!(message.contains("use a list of names"), "{message}");
        }
        let early = none.clone().with(&json!({"stages": ["dedup", "nfc"]})).unwrap();
        assert_eq!(order(&early), ["dedup", "nfc"]);
        let more = none.clone().with(&json!({"dedup": true, "redact": true})).unwrap();
        assert_eq!(order(&more), ["redact", "dedup"]);
        let message = message(none.with(&json!({"stages": ["nfx"]})));
        assert!(message.contains("did you mean"), "{message}");
    }

    #[test]
    fn another_version_of_a_profile_is_refused() {
        let mut value = CleanConfig::profile("default").unwrap().to_value();
        value["profile_version"] = json!(0);
        assert!(message(CleanConfig::from_value(&value)).starts_with("profile_version = 0: the"));
        let mut value = CleanConfig::profile("default").unwrap().to_value();
        assert_eq!(value["unicode"], json!(UNICODE_VERSION));
        value["unicode"] = json!("9.0.0");
        assert!(message(CleanConfig::from_value(&value)).contains("the tables here are those of"));
    }

    #[test]
    fn the_fingerprint_depends_on_the_resolved_settings_only() {
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
