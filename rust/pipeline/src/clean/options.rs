//! The options of cleaning, and the names of the files that follow from them.

use std::path::{Path, PathBuf};

use lslm_clean::CleanConfig;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::cleaning::Accounting;
use crate::dedup::DedupOptions;

/// How [`clean`](crate::clean()) works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CleanOptions {
    /// The rules.
    pub clean: CleanConfig,
    /// What deduplication, if `clean` has that stage, compares with and saves.
    pub dedup: DedupOptions,
    /// A folder for the documents that are dropped, as they were read, with the reason (see
    /// [`Annotation`](lslm_corpus::Annotation)), and for the lines and paragraphs that are removed.
    /// Files of rules are called `part-NNNNNN` and `lines-NNNNNN`, those of deduplication
    /// `duplicates-NNNNNN` and `duplicate-parts-NNNNNN`, those of the rules after it `late-NNNNNN`
    /// and `late-lines-NNNNNN`.
    pub dropped: Option<PathBuf>,
    /// Whether every document is kept and gets the fields of an
    /// [`Annotation`](lslm_corpus::Annotation), with all signals.
    pub annotate: bool,
    /// Whether the values of every signal are collected: see
    /// [`Funnel::signals`](lslm_clean::Funnel::signals).
    pub signals: bool,
    /// The extension of the output files, such as `jsonl.zst`, which decides their format.
    pub extension: String,
    /// About how many bytes of input become one file.
    pub partition_bytes: u64,
    /// The number of threads; see [`threads::resolve`].
    #[serde(skip)]
    pub threads: Option<usize>,
}

/// Returns what happens with dropped documents.
pub(crate) fn accounting(options: &CleanOptions) -> Accounting {
    match (&options.dropped, options.annotate) {
        (_, true) => Accounting::Annotate,
        (Some(_), false) => Accounting::Collect,
        (None, false) => Accounting::Count,
    }
}

/// Returns the name of the file of one partition.
pub(crate) fn file_name(partition: usize, extension: &str) -> String {
    format!("part-{partition:06}.{extension}")
}

/// Returns the name of the file of the documents that the rules drop from one partition.
pub(crate) fn dropped_name(partition: usize, options: &CleanOptions) -> String {
    file_name(partition, dropped_extension(options))
}

/// Returns the extension of the files of dropped documents: that of the output, which has all
/// fields, unless it is plain text.
pub(crate) fn dropped_extension(options: &CleanOptions) -> &str {
    if options.extension.starts_with("txt") { "jsonl.zst" } else { &options.extension }
}

/// Returns an error for options of dropped documents that cannot be used, or that would mix two jobs
/// in one folder.
pub(crate) fn check_accounting(output: &Path, options: &CleanOptions) -> Result<()> {
    if options.annotate && options.dropped.is_some() {
        return Err(Error::invalid(
            "annotate keeps every document: leave the folder of dropped documents out",
        ));
    }
    if options.annotate && options.extension.starts_with("txt") {
        return Err(Error::invalid("annotate adds fields, which text has not: write jsonl.zst"));
    }
    let Some(folder) = &options.dropped else { return Ok(()) };
    let is_resumed = output.join(".progress").exists();
    let is_used = folder.join(dropped_name(0, options)).exists();
    if folder == output || (is_used && !is_resumed) {
        return Err(Error::invalid(format!(
            "{}: the folder of dropped documents holds other work; choose another",
            folder.display()
        )));
    }
    Ok(())
}
