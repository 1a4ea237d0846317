//! The inputs of a job as its plan has them.

use std::time::UNIX_EPOCH;

use lslm_corpus::Corpus;
use lslm_runtime::{Error, Result};
use serde_json::{Value, json};

/// Returns the inputs for the plan: name, size and time of the last change of each.
pub(crate) fn inputs_of(corpus: &Corpus) -> Result<Value> {
    let mut inputs = Vec::new();
    for input in corpus.inputs() {
        let mut changed = None;
        if input.path().is_file() {
            let metadata = std::fs::metadata(input.path()).map_err(Error::io(input.path()))?;
            // `None` on a file system without times, where the size must do
            let since =
                metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            changed = since.map(|since| since.as_nanos() as u64);
        }
        inputs.push(json!([**input.name(), input.size(), changed]));
    }
    Ok(inputs.into())
}
