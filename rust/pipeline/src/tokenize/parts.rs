//! The training and the validation part of a job: what is required of them, and their manifests.

use std::fs;

use lslm_clean::{Cleaner, Funnel};
use lslm_corpus::{Corpus, Statistics};
use lslm_dataset::manifest::TOKENIZER;
use lslm_dataset::{HoldOutEntry, Manifest, TokenizerEntry};
use lslm_runtime::files::{create_folder, write_atomically};
use lslm_runtime::{Error, Result, hex};
use serde::Serialize;

use crate::journal::write_json;
use crate::slice::SliceCount;
use crate::tokenize::shards::{ShardMaker, TokenizeRecord};
use crate::validation::{TRAIN, VALIDATION, ValidationPart};

/// The funnel of a finished job, in its output folder. lslm-corpus has this name too: no corpus
/// reads it.
const FUNNEL: &str = "_funnel.json";
/// What to do about an empty part, with the options of the command line.
const MORE_DOCUMENTS: &str = "hold out stretches of the documents (--hold-out stretches), make \
                              more documents of plain text (--split line or blank-lines), or \
                              change the fraction (--validation-fraction)";

/// The result of [`tokenize`](crate::tokenize()).
#[derive(Clone, Debug, Serialize)]
pub struct Tokenized {
    /// The dataset in `train/`.
    pub train: Manifest,
    /// The dataset in `validation/`, or `None` for a fraction of 0.
    pub validation: Option<Manifest>,
    /// The documents that cleaning kept and dropped, by reason.
    pub funnel: Funnel,
    /// The counts of the reading.
    pub reading: Statistics,
    /// Those of the documents to compare with, if
    /// [`DedupOptions::against`](crate::DedupOptions::against) names documents.
    pub against: Option<Statistics>,
    /// What the caller should see, such as an empty validation part.
    pub warnings: Vec<String>,
    /// The slice whose partitions these figures are of; `None` if the job is finished.
    #[serde(skip)]
    pub slice: Option<SliceCount>,
}

/// Both parts of the output of a job.
pub(crate) struct Parts<'a> {
    pub(crate) shards: &'a ShardMaker<'a>,
    pub(crate) cleaner: Option<&'a Cleaner>,
    pub(crate) corpus: &'a Corpus,
}

impl Parts<'_> {
    /// Returns the sums of records, without warnings.
    pub(crate) fn sum(&self, records: Vec<TokenizeRecord>) -> Tokenized {
        let train = self.manifest(TRAIN, &records);
        let validation =
            (!self.shards.validation.is_empty()).then(|| self.manifest(VALIDATION, &records));
        let (mut funnel, mut reading) = (Funnel::default(), self.corpus.statistics());
        for record in records {
            reading.merge(&record.reading);
            funnel.merge(record.funnel);
        }
        let (against, warnings, slice) = (None, Vec::new(), None);
        Tokenized { train, validation, funnel, reading, against, warnings, slice }
    }

    /// Writes the tokenizers, the funnel and the manifests; that of the training part is the last.
    pub(crate) fn finish(
        &self,
        records: Vec<TokenizeRecord>,
        duplicates: Funnel,
        tokenizer_json: &str,
    ) -> Result<Tokenized> {
        let mut tokenized = self.sum(records);
        tokenized.funnel.merge(duplicates);
        let Tokenized { train, validation, funnel, .. } = &tokenized;
        let validation_part = validation.as_ref().map(|manifest| (VALIDATION, manifest));
        let parts: Vec<_> = validation_part.into_iter().chain([(TRAIN, train)]).collect();
        for (part, _) in &parts {
            create_folder(&self.shards.folder(part))?;
            write_atomically(self.shards.folder(part).join(TOKENIZER), tokenizer_json.as_bytes())?;
        }
        if self.cleaner.is_some() {
            write_json(&self.shards.output.join(FUNNEL), funnel)?;
        }
        for (part, manifest) in parts {
            manifest.write(&self.shards.folder(part))?;
        }
        let is_empty = validation.as_ref().is_some_and(|manifest| manifest.documents == 0);
        let mut warnings =
            if is_empty { vec![self.empty_validation(train.documents)] } else { vec![] };
        warnings.extend(funnel.advice());
        tokenized.warnings = warnings;
        Ok(tokenized)
    }

    /// Returns an error if the training part has no documents, and removes the validation shards.
    pub(crate) fn require_train(&self, records: &[TokenizeRecord]) -> Result<()> {
        if records.iter().any(|record| record.shards.contains_key(TRAIN)) {
            return Ok(());
        }
        let mut n_documents = 0;
        for entry in records.iter().filter_map(|record| record.shards.get(VALIDATION)) {
            n_documents += entry.documents;
            // a file that is gone was removed before a kill
            let _ = fs::remove_file(self.shards.folder(VALIDATION).join(&entry.file));
        }
        // refused for a folder that is not empty
        let _ = fs::remove_dir(self.shards.folder(VALIDATION));
        if n_documents == 0 {
            let mut funnel = Funnel::default();
            for record in records {
                funnel.merge(record.funnel.clone());
            }
            let most = funnel.dropped.iter().max_by_key(|(_, row)| row.documents);
            let (reason, n) = most.map_or(("", 0), |(reason, row)| (reason, row.documents));
            let what = match funnel.documents {
                1 => format!("the only document, by {reason}"),
                all => format!("all {all} documents, {n} of them by {reason}"),
            };
            return Err(Error::invalid(format!(
                "cleaning dropped {what}: choose another profile or change the rule"
            )));
        }
        Err(Error::invalid(format!(
            "the training part is empty: {} held out for validation \
             (validation_fraction = {}, seed = {}); {MORE_DOCUMENTS}",
            if n_documents == 1 {
                "the only document is".to_owned()
            } else {
                format!("all {n_documents} documents are")
            },
            self.shards.validation.fraction,
            self.shards.validation.seed,
        )))
    }

    /// Returns the warning about a validation part without documents.
    fn empty_validation(&self, n_documents: u64) -> String {
        format!(
            "the validation part is empty: {} held out (validation_fraction = {}); \
             {MORE_DOCUMENTS}, or hold out nothing with 0",
            if n_documents == 1 {
                "the only document is not".to_owned()
            } else {
                format!("none of {n_documents} documents is")
            },
            self.shards.validation.fraction,
        )
    }

    /// Returns what was held out, for the manifests of both parts.
    fn hold_out(&self, records: &[TokenizeRecord]) -> Option<HoldOutEntry> {
        let ValidationPart { fraction, seed, .. } = self.shards.validation;
        let divided_documents = records.iter().map(|record| record.divided_documents).sum();
        let by = if divided_documents > 0 { "stretches" } else { "documents" };
        let entry = HoldOutEntry { by: by.to_owned(), fraction, seed, divided_documents };
        (!self.shards.validation.is_empty()).then_some(entry)
    }

    /// Returns the manifest of one part, with its shards in the order of the partitions.
    fn manifest(&self, part: &str, records: &[TokenizeRecord]) -> Manifest {
        let mut manifest = Manifest::new(self.shards.tokenizer.vocab_size() as u32);
        manifest.split = Some(part.to_owned());
        manifest.document_end = self.shards.end;
        manifest.clean = self.cleaner.map(|cleaner| hex(&cleaner.fingerprint()));
        manifest.sources =
            self.corpus.inputs().iter().map(|input| input.name().to_string()).collect();
        manifest.tokenizer = TokenizerEntry {
            file: Some(TOKENIZER.to_owned()),
            fingerprint: Some(hex(&self.shards.tokenizer.fingerprint())),
        };
        manifest.hold_out = self.hold_out(records);
        for record in records {
            if let Some(entry) = record.shards.get(part) {
                manifest.push(entry.clone());
            }
        }
        manifest
    }
}
