//! The datasets that a plan is given, and what identifies them.

use lslm_runtime::{Error, Result, hex};
use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::schedule::{SourceKey, content_of};
use crate::weight::Weight;

/// A dataset of a plan, with its name and weight.
#[derive(Clone, Debug)]
pub struct PlanSource {
    /// The dataset.
    pub dataset: Dataset,
    /// What its order depends on; `None` for its content.
    pub name: Option<String>,
    /// The proportion in which it is mixed; `None` in all sources for their numbers of tokens.
    pub weight: Option<f64>,
}

impl From<Dataset> for PlanSource {
    fn from(dataset: Dataset) -> Self {
        Self { dataset, name: None, weight: None }
    }
}

/// Returns the key of each source: its name, or its content; a dataset that stands alone has an
/// empty name.
pub(crate) fn keys_of(sources: &[PlanSource]) -> Result<Vec<SourceKey>> {
    let keys: Vec<SourceKey> = sources
        .iter()
        .map(|PlanSource { dataset, name, .. }| {
            let fingerprint = dataset.fingerprint();
            match name {
                Some(name) => SourceKey::new(name, &fingerprint),
                None if sources.len() == 1 => SourceKey::new("", &fingerprint),
                None => SourceKey::new(&hex(&content_of(&fingerprint)), &fingerprint),
            }
        })
        .collect();
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|other| other.name == key.name) {
            return Err(Error::invalid(format!(
                "two sources of a mixture are called {:?}: give each its own name, also where both \
                 are the same dataset",
                key.name
            )));
        }
    }
    Ok(keys)
}

/// Returns the hash of a dataset that stands alone, or of a mixture in any order.
pub(crate) fn fingerprint_of(
    sources: &[PlanSource],
    keys: &[SourceKey],
    weights: &[Weight],
) -> [u8; 32] {
    if let [source] = sources {
        return source.dataset.fingerprint();
    }
    let mut lines: Vec<String> = sources
        .iter()
        .zip(keys)
        .zip(weights)
        .map(|((source, key), weight)| {
            format!("{} {} {}\n", hex(&source.dataset.fingerprint()), weight.parts(), key.name)
        })
        .collect();
    lines.sort_unstable();
    Sha256::new_with_prefix("lslm-mixture-2\n").chain_update(lines.concat()).finalize().into()
}

/// Returns an [`Error::Mismatch`] unless two datasets have the same tokenizer.
pub(crate) fn check_same_tokenizer(first: &Dataset, other: &Dataset) -> Result<()> {
    let (a, b) = (first.manifest(), other.manifest());
    if a.vocab_size == b.vocab_size && a.tokenizer.fingerprint == b.tokenizer.fingerprint {
        return Ok(());
    }
    let name = |dataset: &Dataset| {
        let manifest = dataset.manifest();
        let fingerprint = manifest.tokenizer.fingerprint.as_deref().unwrap_or("unknown");
        let folder = dataset.folder().display();
        format!("{folder}: {} tokens, fingerprint {fingerprint}", manifest.vocab_size)
    };
    Err(Error::Mismatch {
        what: "the tokenizers of a mixture's datasets".into(),
        expected: name(first),
        found: name(other),
    })
}
