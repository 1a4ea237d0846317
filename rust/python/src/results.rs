//! Results of the crates as the dataclasses of `lslm.results`.
//!
//! Counts are called `n_…` here; in the files that jobs write they keep the names of the format.

use std::path::Path;

use lslm_bpe::TextStatistics;
use lslm_clean::{DroppedExample, Funnel, Signal};
use lslm_corpus::{BadFile, Statistics};
use lslm_dataset::{HoldOutEntry, Manifest};
use lslm_pipeline::{Losses, SliceCount, SourceCount};
use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::convert::loads;

/// Returns the dataclass of `lslm.results` called `name` with these fields.
pub(crate) fn result<'py>(
    py: Python<'py>,
    name: &str,
    fields: &Value,
) -> PyResult<Bound<'py, PyAny>> {
    let class = py.import("lslm.results")?.getattr(name)?;
    class.call_method1("from_dict", (loads(py, &fields.to_string())?,))
}

/// Returns the fields of a `BadFile`.
pub(crate) fn bad_file(bad: &BadFile) -> Value {
    json!({
        "source": bad.source,
        "position": bad.position,
        "detail": bad.detail,
        "n_documents": bad.documents,
    })
}

/// Returns the fields of a `Reading`.
pub(crate) fn reading(statistics: &Statistics) -> Value {
    let bad: Map<String, Value> = statistics
        .bad
        .iter()
        .map(|(reason, bad)| {
            let row = json!({ "n_documents": bad.documents, "examples": bad.examples });
            (reason.name().to_owned(), row)
        })
        .collect();
    json!({
        "n_documents": statistics.documents,
        "n_bytes": statistics.bytes,
        "n_replaced_documents": statistics.replaced_documents,
        "n_replaced_sequences": statistics.replaced_sequences,
        "n_trailing_bytes": statistics.trailing_bytes,
        "n_inner_marks": statistics.inner_marks,
        "converted": statistics.converted,
        "bad": bad,
        "bad_files": statistics.bad_files.iter().map(bad_file).collect::<Vec<_>>(),
    })
}

/// Returns the sources of which much was dropped, each with the fields of a `SourceLoss`.
pub(crate) fn losses(losses: &Losses) -> Value {
    let row = |count: &SourceCount| {
        json!({
            "n_documents": count.documents,
            "n_bytes": count.bytes,
            "n_documents_kept": count.documents_kept,
            "n_bytes_kept": count.bytes_kept,
        })
    };
    Value::Object(losses.0.iter().map(|(source, count)| (source.clone(), row(count))).collect())
}

/// Returns the fields of a `Funnel`.
pub(crate) fn funnel(funnel: &Funnel) -> Value {
    let dropped: Map<String, Value> = funnel
        .dropped
        .iter()
        .map(|(reason, row)| {
            let examples: Vec<Value> = row
                .examples
                .iter()
                .map(|example| {
                    let (value, limit) = example.measured.unzip();
                    let DroppedExample { text, span, .. } = example;
                    json!({ "text": text, "value": value, "limit": limit, "span": span })
                })
                .collect();
            let row = json!({
                "n_documents": row.documents,
                "n_bytes": row.bytes,
                "examples": examples,
                "entries": row.entries,
            });
            (reason.clone(), row)
        })
        .collect();
    let changes: Map<String, Value> = funnel
        .changes
        .iter()
        .map(|(rule, change)| {
            let row = json!({ "n_documents": change.documents, "n_changes": change.amount });
            (rule.clone(), row)
        })
        .collect();
    let dedup: Map<String, Value> = funnel
        .dedup
        .iter()
        .map(|(kind, found)| {
            let row = json!({
                "n_compared": found.compared,
                "n_removed": found.removed,
                "n_older": found.older,
                "groups": found.groups,
            });
            (kind.clone(), row)
        })
        .collect();
    let signals: Map<String, Value> =
        funnel.signals.iter().map(|(name, found)| (name.clone(), signal(found))).collect();
    json!({
        "n_documents": funnel.documents,
        "n_bytes": funnel.bytes,
        "n_documents_kept": funnel.documents_kept,
        "n_bytes_kept": funnel.bytes_kept,
        "dropped": dropped,
        "changes": changes,
        "dedup": dedup,
        "signals": signals,
        "n_without_url": funnel.without_url,
    })
}

/// Returns the fields of a `Signal`.
fn signal(found: &Signal) -> Value {
    let row = |(value, count): (&i64, &u64)| json!([*value as f64 / 1000.0, count]);
    json!({
        "limit": found.limit,
        "is_maximum": found.is_maximum,
        "n_documents": found.documents,
        "n_failed": found.failed,
        "values": found.values.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Returns the fields of a `DatasetPart`: the dataset in `path`.
pub(crate) fn part(path: &Path, manifest: &Manifest) -> Value {
    json!({
        "path": path,
        "n_tokens": manifest.tokens,
        "n_documents": manifest.documents,
        "n_bytes": manifest.bytes,
        "n_shards": manifest.shards.len(),
    })
}

/// Returns the fields of a `HeldOut`.
pub(crate) fn held_out(entry: &HoldOutEntry) -> Value {
    json!({
        "by": entry.by,
        "fraction": entry.fraction,
        "seed": entry.seed,
        "n_divided_documents": entry.divided_documents,
    })
}

/// Returns the fields of a `JobSlice`.
pub(crate) fn slice(count: &SliceCount) -> Value {
    json!({
        "index": count.slice.index(),
        "n_slices": count.slice.of(),
        "n_partitions": count.n_partitions,
        "n_partitions_total": count.n_partitions_total,
        "n_partitions_left": count.n_partitions_left,
    })
}

/// Returns the fields of a `TextStatistics`, of one file or of several.
pub(crate) fn text_statistics(file: Option<&str>, figures: &TextStatistics) -> Value {
    json!({
        "file": file,
        "n_documents": figures.n_documents,
        "n_bytes": figures.n_bytes,
        "n_words": figures.n_words,
        "n_whole_words": figures.n_whole_words,
        "n_tokens": figures.n_tokens,
        "bytes_per_token": figures.bytes_per_token(),
        "tokens_per_word": figures.tokens_per_word(),
        "whole_word_share": figures.whole_word_share(),
    })
}
