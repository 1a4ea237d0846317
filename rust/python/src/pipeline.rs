//! Files to files: `clean`, `train_tokenizer`, `tokenize`, and a look at documents.

use std::path::PathBuf;

use lslm_bpe::Figures;
use lslm_bpe::train::{Placement, TrainOptions};
use lslm_clean::CleanConfig;
use lslm_corpus::{Corpus, ReadOptions, Split, Utf8Policy};
use lslm_pipeline::{CleanOptions, LearnOptions, Learner, MeasureOptions, TokenizeOptions};
use lslm_runtime::{Error, Task};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cleaner::{PyCleaner, config_of};
use crate::convert::{Surrogates, text};
use crate::error::to_python;
use crate::run::{Session, run};
use crate::tokenizer::{PyTokenizer, pattern_of};

/// How much text of an iterable is taken before it is worked on, in bytes.
const TEXTS_BYTES: usize = 8 << 20;
/// Where no files are made, partitions are only hand-overs to threads.
const PARTITION_BYTES: u64 = 16 << 20;

/// Clean documents: files to files. The docstring stands in `_lslm.pyi`.
#[pyfunction]
#[pyo3(signature = (inputs, *, output, profile="default", dedup=None, redact=false, overrides=None,
    text_key="text", id_key="id", split="file", separator=None, extensions=None, utf8="replace",
    zstd_long=27, format="jsonl.zst", partition_bytes=268_435_456, threads=None, progress=None))]
pub(crate) fn clean(
    py: Python<'_>,
    inputs: &Bound<'_, PyAny>,
    output: PathBuf,
    profile: &str,
    dedup: Option<&str>,
    redact: bool,
    overrides: Option<&Bound<'_, PyDict>>,
    text_key: &str,
    id_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
    format: &str,
    partition_bytes: u64,
    threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let exact_dedup = match dedup {
        None => false,
        Some("exact") => true,
        Some(other) => {
            return Err(PyValueError::new_err(format!(
                "dedup = {other:?}: choose None or \"exact\""
            )));
        }
    };
    let inputs = paths(inputs)?;
    let overrides = overrides.map_or_else(|| Ok(PyDict::new(py)), PyDictMethods::copy)?;
    if redact {
        overrides.set_item("redact", true)?;
    }
    let read = read_options(text_key, id_key, split, separator, extensions, utf8, zstd_long)?;
    let options = CleanOptions {
        clean: config_of(py, profile, Some(&overrides))?,
        exact_dedup,
        extension: format.to_owned(),
        partition_bytes,
        threads: threads_here(py, threads)?,
    };
    let made = run(py, progress, |task| {
        lslm_pipeline::clean(&Corpus::open(&inputs, read)?, &output, &options, task)
    })?;
    to_object(py, &made)
}

/// Learn a vocabulary. The docstring stands in `_lslm.pyi`.
#[pyfunction]
#[pyo3(signature = (inputs=None, *, texts=None, vocab_size, pattern="o200k_base",
    special_tokens=vec!["<|endoftext|>".to_owned()], special_first=false, min_frequency=2,
    max_token_length=None, clean=None, validation_fraction=0.0, sample_bytes=None, seed=0, memory=None, text_key="text",
    split="file", separator=None, extensions=None, utf8="replace", zstd_long=27, threads=None, progress=None))]
pub(crate) fn train_tokenizer(
    py: Python<'_>,
    inputs: Option<&Bound<'_, PyAny>>,
    texts: Option<&Bound<'_, PyAny>>,
    vocab_size: usize,
    pattern: &str,
    special_tokens: Vec<String>,
    special_first: bool,
    min_frequency: u64,
    max_token_length: Option<usize>,
    clean: Option<&Bound<'_, PyAny>>,
    validation_fraction: f64,
    sample_bytes: Option<u64>,
    seed: u64,
    memory: Option<u64>,
    text_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
    threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyTokenizer> {
    let read = read_options(text_key, "id", split, separator, extensions, utf8, zstd_long)?;
    let options = LearnOptions {
        clean: clean.map(cleaning).transpose()?,
        pattern: pattern_of(pattern)?,
        train: TrainOptions {
            special_tokens,
            placement: if special_first { Placement::Front } else { Placement::End },
            min_frequency,
            max_token_length,
            memory,
            ..TrainOptions::new(vocab_size)
        },
        validation_fraction,
        sample_bytes,
        seed,
        memory,
        partition_bytes: PARTITION_BYTES,
        threads: threads_here(py, threads)?,
    };
    let tokenizer = match (inputs, texts) {
        (Some(inputs), None) => {
            let inputs = paths(inputs)?;
            run(py, progress, |task| {
                lslm_pipeline::train_tokenizer(&Corpus::open(&inputs, read)?, &options, task)
            })?
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
    Ok(PyTokenizer { inner: tokenizer })
}

/// Takes texts from an iterable while attached, some megabytes at a time, and counts them detached.
fn learn_texts(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    options: &LearnOptions,
    session: &mut Session,
) -> PyResult<lslm_bpe::Tokenizer> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "texts= is an iterable of str; put a single text in a list",
        ));
    }
    let mut learner = Learner::new(options).map_err(to_python)?;
    let mut counted = 0;
    let mut batch: Vec<String> = Vec::new();
    let mut size = 0;
    let mut count = |session: &mut Session, batch: &mut Vec<String>, size: usize| {
        counted += size as u64;
        session.run(py, |task: &Task| {
            task.begin("count words", "bytes", None);
            task.advance(counted)?;
            learner.add(batch, task)
        })?;
        batch.clear();
        PyResult::Ok(())
    };
    for given in texts.try_iter()? {
        let bytes = text(&given?, Surrogates::Replace)?.into_owned();
        let document = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        size += document.len();
        batch.push(document);
        if size >= TEXTS_BYTES {
            count(session, &mut batch, size)?;
            size = 0;
        }
    }
    count(session, &mut batch, size)?;
    session.run(py, |task| learner.learn(task))
}

/// Sum up what a vocabulary makes of documents. The docstring stands in `_lslm.pyi`.
#[pyfunction]
#[pyo3(signature = (inputs, *, tokenizer, clean=None, validation_fraction=0.0, seed=0,
    text_key="text", split="file", separator=None, extensions=None, utf8="replace", zstd_long=27,
    threads=None, progress=None))]
pub(crate) fn measure_tokenizer(
    py: Python<'_>,
    inputs: &Bound<'_, PyAny>,
    tokenizer: &Bound<'_, PyTokenizer>,
    clean: Option<&Bound<'_, PyAny>>,
    validation_fraction: f64,
    seed: u64,
    text_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
    threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let inputs = paths(inputs)?;
    let tokenizer = &tokenizer.get().inner;
    let read = read_options(text_key, "id", split, separator, extensions, utf8, zstd_long)?;
    let options = MeasureOptions {
        clean: clean.map(cleaning).transpose()?,
        validation_fraction,
        seed,
        partition_bytes: PARTITION_BYTES,
        threads: threads_here(py, threads)?,
    };
    let measured = run(py, progress, |task| {
        let corpus = Corpus::open(&inputs, read)?;
        lslm_pipeline::measure_tokenizer(&corpus, tokenizer, &options, task)
    })?;
    let held_out = measured.held_out.documents > 0;
    let uses = if held_out { &measured.held_out_uses } else { &measured.uses };
    let special: Vec<u32> = tokenizer.special_tokens().map(|(_, id)| id).collect();
    let unused: Vec<u32> = (0..)
        .zip(uses)
        .filter(|(id, uses)| {
            **uses == 0 && !special.contains(id) && tokenizer.token_bytes(*id).is_ok()
        })
        .map(|(id, _)| id)
        .collect();
    let files: Vec<Value> = measured.files.iter().map(|(file, f)| figures(Some(file), f)).collect();
    to_object(
        py,
        &json!({
            "files": files,
            "total": figures(None, &measured.total),
            "held_out": held_out.then(|| figures(None, &measured.held_out)),
            "unused": unused,
        }),
    )
}

/// Figures with the ratios that people ask for.
fn figures(file: Option<&str>, figures: &Figures) -> Value {
    let mut object = json!(figures);
    object["bytes_per_token"] = figures.bytes_per_token().into();
    object["tokens_per_word"] = figures.tokens_per_word().into();
    object["whole_word_share"] = figures.whole_word_share().into();
    if let Some(file) = file {
        object["file"] = file.into();
    }
    object
}

/// Turn documents into datasets. The docstring stands in `_lslm.pyi`.
#[pyfunction]
#[pyo3(signature = (inputs, *, output, tokenizer, clean=None, validation_fraction=0.005, seed=0,
    eos_token=None, bos_token=None, text_key="text", id_key="id", split="file", separator=None,
    extensions=None, utf8="replace", zstd_long=27, partition_bytes=268_435_456, threads=None,
    progress=None))]
pub(crate) fn tokenize(
    py: Python<'_>,
    inputs: &Bound<'_, PyAny>,
    output: PathBuf,
    tokenizer: &Bound<'_, PyTokenizer>,
    clean: Option<&Bound<'_, PyAny>>,
    validation_fraction: f64,
    seed: u64,
    eos_token: Option<String>,
    bos_token: Option<String>,
    text_key: &str,
    id_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
    partition_bytes: u64,
    threads: Option<usize>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let inputs = paths(inputs)?;
    let tokenizer = &tokenizer.get().inner;
    let read = read_options(text_key, id_key, split, separator, extensions, utf8, zstd_long)?;
    let options = TokenizeOptions {
        clean: clean.map(cleaning).transpose()?,
        validation_fraction,
        seed,
        eos_token,
        bos_token,
        partition_bytes,
        threads: threads_here(py, threads)?,
    };
    let made = run(py, progress, |task| {
        let corpus = Corpus::open(&inputs, read)?;
        lslm_pipeline::tokenize(&corpus, &output, tokenizer, &options, task)
    })?;
    to_object(py, &made)
}

/// Count documents and show the first. The docstring stands in `_lslm.pyi`.
#[pyfunction]
#[pyo3(signature = (inputs, *, limit=2, text_key="text", id_key="id", split="file", separator=None,
    extensions=None, utf8="replace", zstd_long=27, progress=None))]
pub(crate) fn documents(
    py: Python<'_>,
    inputs: &Bound<'_, PyAny>,
    limit: usize,
    text_key: &str,
    id_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let inputs = paths(inputs)?;
    let options = read_options(text_key, id_key, split, separator, extensions, utf8, zstd_long)?;
    let found = run(py, progress, |task| {
        let corpus = Corpus::open(&inputs, options)?;
        let total = corpus.total_bytes();
        task.begin("read", "bytes", (total > 0).then_some(total));
        let mut reader = corpus.read_all();
        let (mut samples, mut counted) = (Vec::new(), 0);
        while let Some(document) = reader.next_document(task)? {
            if samples.len() < limit {
                let (text, id, source) = (document.text, document.id, document.source);
                samples.push(json!({ "text": text, "id": id, "source": *source }));
            }
            let consumed = reader.bytes_consumed();
            task.advance(consumed - counted)?;
            counted = consumed;
        }
        let reading = reader.into_statistics();
        Ok(json!({
            "n_documents": reading.documents,
            "n_bytes": reading.bytes,
            "reading": reading,
            "samples": samples,
        }))
    })?;
    to_object(py, &found)
}

/// The paths of a `str`, a path, or an iterable of those.
fn paths(inputs: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let one = |input: &Bound<'_, PyAny>| -> PyResult<String> {
        let path: PathBuf = input.extract()?;
        path.into_os_string().into_string().map_err(|path| {
            PyValueError::new_err(format!("{}: the path is not Unicode", path.display()))
        })
    };
    if inputs.is_instance_of::<PyString>() || inputs.hasattr("__fspath__")? {
        return Ok(vec![one(inputs)?]);
    }
    inputs.try_iter()?.map(|input| one(&input?)).collect()
}

fn read_options(
    text_key: &str,
    id_key: &str,
    split: &str,
    separator: Option<&str>,
    extensions: Option<Vec<String>>,
    utf8: &str,
    zstd_long: u32,
) -> PyResult<ReadOptions> {
    let split = match (separator, split) {
        (Some(line), "file") => Split::Separator(line.to_owned()),
        (None, "file") => Split::File,
        (None, "lines") => Split::Lines,
        (None, "blank_lines") => Split::BlankLines(1),
        (Some(_), _) => {
            return Err(PyValueError::new_err("give split= or separator=, not both"));
        }
        (None, other) => {
            return Err(PyValueError::new_err(format!(
                "split = {other:?}: choose file, lines or blank_lines"
            )));
        }
    };
    Ok(ReadOptions {
        text_key: text_key.to_owned(),
        id_key: id_key.to_owned(),
        split,
        utf8: utf8.parse::<Utf8Policy>().map_err(to_python)?,
        extensions,
        zstd_long,
        ..ReadOptions::default()
    })
}

/// The cleaning that `clean=` asks for: a profile's name or a `Cleaner`.
fn cleaning(clean: &Bound<'_, PyAny>) -> PyResult<CleanConfig> {
    if let Ok(cleaner) = clean.cast::<PyCleaner>() {
        return Ok(cleaner.get().cleaner.config().clone());
    }
    config_of(clean.py(), clean.extract()?, None)
}

/// `threads`, where `None` means one inside a worker process, since its siblings use the others.
pub(crate) fn threads_here(py: Python<'_>, threads: Option<usize>) -> PyResult<Option<usize>> {
    if threads.is_some() {
        return Ok(threads);
    }
    let parent = py.import("multiprocessing")?.call_method0("parent_process")?;
    Ok((!parent.is_none()).then_some(1))
}

/// `value` as the Python objects of its JSON.
pub(crate) fn to_object(py: Python<'_>, value: &impl Serialize) -> PyResult<Py<PyAny>> {
    let text = serde_json::to_string(value)
        .map_err(|error| to_python(Error::invalid(error.to_string())))?;
    Ok(py.import("json")?.call_method1("loads", (text,))?.unbind())
}
