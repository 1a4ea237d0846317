//! The verbs over files: `clean`, `train_tokenizer`, `measure_tokenizer`, `tokenize`.

use std::ffi::CString;
use std::io::Write;
use std::path::{Path, PathBuf};

use lslm_bpe::train::{Placement, TrainOptions};
use lslm_bpe::{TokenId, Tokenizer};
use lslm_clean::CleanConfig;
use lslm_corpus::{Corpus, Format, ReadOptions};
use lslm_pipeline::{
    CleanOptions, Cleaned, DedupOptions, Finished, HoldOut, LearnOptions, Learner, MeasureOptions,
    Measured, PreviewOptions, Slice, TRAIN, TokenizeOptions, Tokenized, VALIDATION,
};
use lslm_runtime::{Error, Result, Task};
use pyo3::exceptions::{PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::cleaner::CleanerArgument;
use crate::convert::{Surrogates, iterate_texts, text_at};
use crate::corpus::{corpus_of, warn_of_losses};
use crate::error::to_python;
use crate::numbers;
use crate::results::{self, result};
use crate::run::{Session, run};
use crate::tokenizer::{PyTokenizer, TokenizerArgument, pattern_of};

/// Bytes of text taken from an iterable before they are counted: work for all threads, and little
/// memory.
const MAX_TEXTS_BYTES: usize = 8 << 20;
/// Bytes of input in a partition where no files are written: the work of a thread at a time.
const PARTITION_BYTES: u64 = 16 << 20;

#[doc = stub!("clean")]
#[pyfunction]
#[pyo3(signature = (inputs, *, output, cleaner=CleanerArgument::Profile("default".to_owned()), dedup=None,
    dedup_against=None, save_index=false, dropped=None, annotate=false, signals=false, format="jsonl.zst", partition_bytes=268_435_456, partitions=None, threads=None,
    progress=None),
    text_signature = "(inputs, *, output, cleaner='default', dedup=None, dedup_against=None, \
                      save_index=False, dropped=None, annotate=False, signals=False, \
                      format='jsonl.zst', partition_bytes=268435456, partitions=None, threads=None, \
                      progress=None)")]
pub(crate) fn clean<'py>(
    inputs: &Bound<'py, PyAny>,
    output: PathBuf,
    cleaner: CleanerArgument,
    dedup: Option<&str>,
    dedup_against: Option<PathBuf>,
    save_index: bool,
    dropped: Option<PathBuf>,
    annotate: bool,
    signals: bool,
    format: &str,
    #[pyo3(from_py_with = numbers::partition_bytes)] partition_bytes: u64,
    partitions: Option<&str>,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = inputs.py();
    let options = CleanOptions {
        clean: with_dedup(cleaner.config()?, dedup)?,
        dedup: DedupOptions { against: dedup_against, save_index },
        dropped,
        annotate,
        signals,
        extension: format.to_owned(),
        partition_bytes,
        threads: threads_here(py, threads)?,
    };
    let slice = parse_slice(partitions)?;
    let corpus = corpus_of(inputs)?;
    let made = run(py, progress, |task| match slice {
        Some(slice) => lslm_pipeline::clean_slice(&corpus, &output, &options, slice, task),
        None => lslm_pipeline::clean(&corpus, &output, &options, task),
    })?;
    clean_result(py, &output, &made)
}

/// Returns the `CleanResult` of what was written to `output`.
fn clean_result<'py>(
    py: Python<'py>,
    output: &Path,
    made: &Cleaned,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = json!({
        "output": output,
        "files": made.files,
        "n_documents": made.n_documents,
        "n_bytes": made.n_bytes,
        "funnel": results::funnel(&made.funnel),
        "losses": results::losses(&made.losses),
        "reading": results::reading(&made.reading),
        "against": made.against.as_ref().map(results::reading),
        "fingerprint": made.fingerprint,
        "slice": made.slice.as_ref().map(results::slice),
    });
    if let Some(advice) = made.funnel.advice() {
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(advice)?, 1)?;
    }
    result(py, "CleanResult", &fields)
}

fn parse_slice(partitions: Option<&str>) -> PyResult<Option<Slice>> {
    partitions.map(str::parse).transpose().map_err(to_python)
}

/// Returns `config` with the stage that the argument `dedup=` asks for.
fn with_dedup(config: CleanConfig, dedup: Option<&str>) -> PyResult<CleanConfig> {
    let settings = match dedup {
        None => return Ok(config),
        Some("exact") => json!({ "documents": true }),
        Some(parts @ ("lines" | "paragraphs")) => json!({ "documents": true, "parts": parts }),
        Some(other) => {
            return Err(PyValueError::new_err(format!(
                "dedup = {other:?}: choose None, \"exact\", \"lines\" or \"paragraphs\""
            )));
        }
    };
    config.with(&json!({ "dedup": settings })).map_err(to_python)
}

#[doc = stub!("preview_clean")]
#[pyfunction]
#[pyo3(signature = (inputs, *, cleaner=CleanerArgument::Profile("default".to_owned()), sample=0.01, seed=0,
    signals=false, threads=None, progress=None),
    text_signature = "(inputs, *, cleaner='default', sample=0.01, seed=0, signals=False, \
                      threads=None, progress=None)")]
pub(crate) fn preview_clean<'py>(
    inputs: &Bound<'py, PyAny>,
    cleaner: CleanerArgument,
    sample: f64,
    #[pyo3(from_py_with = numbers::seed)] seed: u64,
    signals: bool,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = inputs.py();
    let options = PreviewOptions {
        clean: cleaner.config()?,
        sample,
        seed,
        signals,
        threads: threads_here(py, threads)?,
    };
    let corpus = corpus_of(inputs)?;
    let preview = run(py, progress, |task| lslm_pipeline::preview_clean(&corpus, &options, task))?;
    if options.clean.stages().any(|stage| stage == "dedup") {
        let text = c"the stage dedup is left out: a sample has few of the duplicates";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
    }
    let fields = json!({
        "sample": sample,
        "funnel": results::funnel(&preview.funnel),
        "losses": results::losses(&preview.losses),
        "reading": results::reading(&preview.reading),
    });
    result(py, "CleanPreview", &fields)
}

#[doc = stub!("train_tokenizer")]
#[pyfunction]
#[pyo3(signature = (inputs=None, *, texts=None, vocab_size, pattern="o200k_base",
    special_tokens=vec!["<|endoftext|>".to_owned()], special_tokens_first=false, min_frequency=2,
    max_token_length=None, cleaner=None, validation_fraction=0.0, hold_out="auto",
    sample_bytes=None, seed=0, memory=None, threads=None, progress=None),
    text_signature = "(inputs=None, *, texts=None, vocab_size, pattern='o200k_base', \
                      special_tokens=['<|endoftext|>'], special_tokens_first=False, \
                      min_frequency=2, max_token_length=None, cleaner=None, \
                      validation_fraction=0.0, hold_out='auto', sample_bytes=None, seed=0, \
                      memory=None, threads=None, progress=None)")]
pub(crate) fn train_tokenizer(
    py: Python<'_>,
    inputs: Option<&Bound<'_, PyAny>>,
    texts: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = numbers::vocab_size)] vocab_size: usize,
    pattern: &str,
    special_tokens: Vec<String>,
    special_tokens_first: bool,
    #[pyo3(from_py_with = numbers::min_frequency)] min_frequency: u64,
    #[pyo3(from_py_with = numbers::max_token_length)] max_token_length: Option<usize>,
    cleaner: Option<CleanerArgument>,
    validation_fraction: f64,
    hold_out: &str,
    #[pyo3(from_py_with = numbers::sample_bytes)] sample_bytes: Option<u64>,
    #[pyo3(from_py_with = numbers::seed)] seed: u64,
    #[pyo3(from_py_with = numbers::memory)] memory: Option<u64>,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyTokenizer> {
    let options = LearnOptions {
        clean: cleaner.map(CleanerArgument::config).transpose()?,
        pattern: pattern_of(pattern)?,
        train: TrainOptions {
            special_tokens,
            placement: if special_tokens_first { Placement::Front } else { Placement::End },
            min_frequency,
            max_token_length,
            memory,
            ..TrainOptions::new(vocab_size)
        },
        validation_fraction,
        hold_out: parse_hold_out(hold_out)?,
        sample_bytes,
        seed,
        memory,
        partition_bytes: PARTITION_BYTES,
        threads: threads_here(py, threads)?,
    };
    let inner = match (inputs, texts) {
        (Some(inputs), None) => {
            let corpus = corpus_of(inputs)?;
            let (tokenizer, reading) =
                run(py, progress, |task| lslm_pipeline::train_tokenizer(&corpus, &options, task))?;
            warn_of_losses(py, &reading)?;
            tokenizer
        }
        (None, Some(texts)) => {
            let mut session = Session::new(py, progress)?;
            let learned = learn_texts(py, texts, &options, &mut session);
            session.close(py, learned)?
        }
        _ => {
            return Err(PyTypeError::new_err("train_tokenizer() needs either inputs or texts="));
        }
    };
    Ok(PyTokenizer { inner })
}

/// Learns from an iterable of texts.
fn learn_texts(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    options: &LearnOptions,
    session: &mut Session,
) -> PyResult<Tokenizer> {
    let learner = Learner::new(options).map_err(to_python)?;
    in_batches(py, texts, "count words", session, |batch, task| learner.add(batch, task))?;
    session.run(py, |task| learner.learn(task))
}

/// Calls `work` with all texts of an iterable, some megabytes at a time; takes them while attached,
/// works detached. `stage` names the work to the reporter.
fn in_batches(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    stage: &'static str,
    session: &mut Session,
    mut work: impl FnMut(&[String], &Task) -> Result<()> + Send,
) -> PyResult<()> {
    let mut done = 0;
    let mut batch: Vec<String> = Vec::new();
    let mut size = 0;
    let mut finish = |batch: &mut Vec<String>, size: usize| {
        done += size as u64;
        session.run(py, |task: &Task| {
            task.begin(stage, "bytes", None);
            task.advance(done)?;
            work(batch, task)
        })?;
        batch.clear();
        PyResult::Ok(())
    };
    for (index, given) in iterate_texts(texts)?.enumerate() {
        let bytes = text_at(index, &given?, Surrogates::Replace)?.into_owned();
        let document = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        size += document.len();
        batch.push(document);
        if size >= MAX_TEXTS_BYTES {
            finish(&mut batch, size)?;
            size = 0;
        }
    }
    finish(&mut batch, size)
}

#[doc = stub!("measure_tokenizer")]
#[pyfunction]
#[pyo3(signature = (inputs, *, tokenizer, cleaner=None, validation_fraction=0.0, hold_out="auto",
    seed=0, threads=None, progress=None),
    text_signature = "(inputs, *, tokenizer, cleaner=None, validation_fraction=0.0, \
                      hold_out='auto', seed=0, threads=None, progress=None)")]
pub(crate) fn measure_tokenizer<'py>(
    inputs: &Bound<'py, PyAny>,
    tokenizer: TokenizerArgument,
    cleaner: Option<CleanerArgument>,
    validation_fraction: f64,
    hold_out: &str,
    #[pyo3(from_py_with = numbers::seed)] seed: u64,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = inputs.py();
    let tokenizer = tokenizer.0;
    let options = MeasureOptions {
        clean: cleaner.map(CleanerArgument::config).transpose()?,
        validation_fraction,
        hold_out: parse_hold_out(hold_out)?,
        seed,
        partition_bytes: PARTITION_BYTES,
        threads: threads_here(py, threads)?,
    };
    let corpus = corpus_of(inputs)?;
    let measured = run(py, progress, |task| {
        lslm_pipeline::measure_tokenizer(&corpus, &tokenizer, &options, task)
    })?;
    let files: Vec<Value> = measured
        .files
        .iter()
        .map(|(file, figures)| results::text_statistics(Some(file), figures))
        .collect();
    let has_validation = measured.validation.n_documents > 0;
    let fields = json!({
        "total": results::text_statistics(None, &measured.total),
        "validation": has_validation
            .then(|| results::text_statistics(None, &measured.validation)),
        "files": files,
        "unused": unused(&tokenizer, &measured),
    });
    result(py, "TokenizerReport", &fields)
}

/// Returns the ids, except special ones, that occur in no validation document, or without these in
/// no document.
fn unused(tokenizer: &Tokenizer, measured: &Measured) -> Vec<TokenId> {
    let has_validation = measured.validation.n_documents > 0;
    let uses = if has_validation { &measured.validation_uses } else { &measured.uses };
    let special: Vec<TokenId> = tokenizer.special_tokens().map(|(_, id)| id).collect();
    (0..)
        .zip(uses)
        .filter(|(id, uses)| {
            **uses == 0 && !special.contains(id) && tokenizer.token_bytes(*id).is_ok()
        })
        .map(|(id, _)| id)
        .collect()
}

#[doc = stub!("tokenize")]
#[pyfunction]
#[pyo3(signature = (inputs=None, *, texts=None, output, tokenizer, cleaner=None, dedup=None,
    dedup_against=None, save_index=false, validation_fraction=0.005, hold_out="auto", seed=0, eos_token=None, bos_token=None, partition_bytes=268_435_456,
    partitions=None, threads=None, progress=None),
    text_signature = "(inputs=None, *, texts=None, output, tokenizer, cleaner=None, dedup=None, \
                      dedup_against=None, save_index=False, validation_fraction=0.005, hold_out='auto', seed=0, eos_token=None, bos_token=None, \
                      partition_bytes=268435456, partitions=None, threads=None, progress=None)")]
pub(crate) fn tokenize<'py>(
    py: Python<'py>,
    inputs: Option<&Bound<'py, PyAny>>,
    texts: Option<&Bound<'py, PyAny>>,
    output: PathBuf,
    tokenizer: TokenizerArgument,
    cleaner: Option<CleanerArgument>,
    dedup: Option<&str>,
    dedup_against: Option<PathBuf>,
    save_index: bool,
    validation_fraction: f64,
    hold_out: &str,
    #[pyo3(from_py_with = numbers::seed)] seed: u64,
    eos_token: Option<String>,
    bos_token: Option<String>,
    #[pyo3(from_py_with = numbers::partition_bytes)] partition_bytes: u64,
    partitions: Option<&str>,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let tokenizer = tokenizer.0;
    // without rules, deduplication compares the texts as they are
    let cleaner = cleaner.or_else(|| dedup.map(|_| CleanerArgument::Profile("none".to_owned())));
    let clean = cleaner.map(|cleaner| with_dedup(cleaner.config()?, dedup)).transpose()?;
    let options = TokenizeOptions {
        clean,
        dedup: DedupOptions { against: dedup_against, save_index },
        validation_fraction,
        hold_out: parse_hold_out(hold_out)?,
        seed,
        eos_token,
        bos_token,
        partition_bytes,
        threads: threads_here(py, threads)?,
    };
    let slice = parse_slice(partitions)?;
    let mut session = Session::new(py, progress)?;
    let corpus = match (inputs, texts) {
        (Some(inputs), None) => corpus_of(inputs),
        (None, Some(texts)) => spool(py, texts, &mut session),
        _ => Err(PyTypeError::new_err("tokenize() needs either inputs or texts=")),
    };
    let made = corpus.and_then(|corpus| {
        session.run(py, |task| match slice {
            Some(slice) => {
                lslm_pipeline::tokenize_slice(&corpus, &output, &tokenizer, &options, slice, task)
            }
            None => lslm_pipeline::tokenize(&corpus, &output, &tokenizer, &options, task),
        })
    });
    let made = session.close(py, made)?;
    tokenize_result(py, &output, &made)
}

/// Returns the `TokenizeResult` of what was written to `output`.
fn tokenize_result<'py>(
    py: Python<'py>,
    output: &Path,
    made: &Tokenized,
) -> PyResult<Bound<'py, PyAny>> {
    let part = |name: &Path, manifest| results::part(&output.join(name), manifest);
    let fields = json!({
        "train": part(TRAIN.as_ref(), &made.train),
        "validation": made.validation.as_ref().map(|made| part(VALIDATION.as_ref(), made)),
        "held_out": made.train.hold_out.as_ref().map(results::held_out),
        "funnel": results::funnel(&made.funnel),
        "reading": results::reading(&made.reading),
        "against": made.against.as_ref().map(results::reading),
        "warnings": made.warnings,
        "slice": made.slice.as_ref().map(results::slice),
    });
    for warning in &made.warnings {
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(warning.as_str())?, 1)?;
    }
    result(py, "TokenizeResult", &fields)
}

#[doc = stub!("finish")]
#[pyfunction]
#[pyo3(signature = (output, *, threads=None, progress=None),
    text_signature = "(output, *, threads=None, progress=None)")]
pub(crate) fn finish<'py>(
    py: Python<'py>,
    output: PathBuf,
    #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let threads = threads_here(py, threads)?;
    match run(py, progress, |task| lslm_pipeline::finish(&output, threads, task))? {
        Finished::Clean(made) => clean_result(py, &output, &made),
        Finished::Tokenize(made) => tokenize_result(py, &output, &made),
    }
}

/// Writes `texts` to a temporary file and returns the corpus of it, whose source is "texts": an
/// iterator can be read once, and not on all threads.
fn spool(py: Python<'_>, texts: &Bound<'_, PyAny>, session: &mut Session) -> PyResult<Corpus> {
    let failed = |error| Error::io(std::env::temp_dir())(error);
    let mut file = NamedTempFile::new().map_err(failed).map_err(to_python)?;
    in_batches(py, texts, "take texts", session, |batch, _| {
        let lines: Vec<String> =
            batch.iter().map(|text| format!("{}\n", json!({ "text": text }))).collect();
        file.write_all(lines.concat().as_bytes()).map_err(failed)
    })?;
    let options = ReadOptions { format: Some(Format::Jsonl), ..ReadOptions::default() };
    Corpus::of_temporary("texts", file, options).map_err(to_python)
}

fn parse_hold_out(name: &str) -> PyResult<HoldOut> {
    name.parse().map_err(to_python)
}

/// Returns `threads`; inside a worker process None becomes one, since its siblings use the others.
fn threads_here(py: Python<'_>, threads: Option<usize>) -> PyResult<Option<usize>> {
    if threads.is_some() {
        return Ok(threads);
    }
    let parent = py.import("multiprocessing")?.call_method0("parent_process")?;
    Ok((!parent.is_none()).then_some(1))
}
