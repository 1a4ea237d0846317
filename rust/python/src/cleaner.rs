//! `lslm.Cleaner`.

use std::borrow::Cow;

use lslm_clean::{
    Changes, CleanBuffers, CleanConfig, CleanedText, Cleaner, Measure, PROFILES, Verdict,
};
use lslm_runtime::{Error, hex, threads};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyString, PyTuple};
use serde_json::Value;

use crate::error::to_python;
use crate::run::run;

/// Normalises, judges and redacts texts by the rules of a profile.
#[pyclass(frozen, module = "lslm", name = "Cleaner")]
pub(crate) struct PyCleaner {
    pub(crate) cleaner: Cleaner,
}

/// What became of one text.
#[pyclass(frozen, module = "lslm", name = "CleanResult")]
pub(crate) struct PyCleanResult {
    text: Py<PyString>,
    measure: Option<Measure>,
    changes: Changes,
}

/// The configuration of a profile with changes to its rules.
pub(crate) fn config_of(
    py: Python<'_>,
    profile: &str,
    overrides: Option<&Bound<'_, PyDict>>,
) -> PyResult<CleanConfig> {
    let config = CleanConfig::profile(profile).map_err(to_python)?;
    let Some(overrides) = overrides else { return Ok(config) };
    let json: String = py.import("json")?.call_method1("dumps", (overrides,))?.extract()?;
    let changes: Value = serde_json::from_str(&json)
        .map_err(|error| to_python(Error::invalid(format!("overrides: {error}"))))?;
    config.with(&changes).map_err(to_python)
}

#[pymethods]
impl PyCleaner {
    /// The profile, and changes to its rules by keyword.
    #[new]
    #[pyo3(signature = (profile = "default", /, **overrides))]
    fn new(py: Python<'_>, profile: &str, overrides: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let cleaner = Cleaner::new(&config_of(py, profile, overrides)?).map_err(to_python)?;
        Ok(Self { cleaner })
    }

    /// The names of all profiles.
    #[staticmethod]
    fn profiles() -> Vec<&'static str> {
        PROFILES.iter().map(|profile| profile.name).collect()
    }

    /// Cleans one text.
    fn clean(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<PyCleanResult> {
        let backed = PyBackedStr::try_from(text.clone())?;
        let cleaned = py.detach(|| self.cleaner.clean(&backed, &mut CleanBuffers::default()));
        Ok(PyCleanResult::new(py, text, cleaned))
    }

    /// Cleans many texts on `threads` threads.
    #[pyo3(signature = (texts, *, threads = None))]
    #[allow(clippy::needless_pass_by_value)] // an argument that Python hands over
    fn clean_batch(
        &self,
        py: Python<'_>,
        texts: Vec<Bound<'_, PyString>>,
        threads: Option<usize>,
    ) -> PyResult<Vec<PyCleanResult>> {
        let threads = threads::resolve(threads).map_err(to_python)?;
        let backed: Vec<PyBackedStr> =
            texts.iter().map(|text| text.clone().try_into()).collect::<PyResult<_>>()?;
        let silent = false.into_pyobject(py)?;
        let cleaned =
            run(py, Some(&silent), |task| self.cleaner.clean_batch(&backed, threads, task))?;
        let results = texts.iter().zip(cleaned);
        Ok(results.map(|(text, cleaned)| PyCleanResult::new(py, text, cleaned)).collect())
    }

    /// Every measure of one text, also behind the first that fails.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyString>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let backed = PyBackedStr::try_from(text.clone())?;
        let measures = py.detach(|| self.cleaner.explain(&backed, &mut CleanBuffers::default()));
        let rows = measures.into_iter().map(|measure| {
            let row = PyDict::new(py);
            row.set_item("name", measure.name)?;
            row.set_item("value", measure.value)?;
            row.set_item("limit", measure.limit)?;
            row.set_item("passed", measure.passed)?;
            Ok(row)
        });
        rows.collect()
    }

    /// The whole configuration, every rule with all of its settings.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = self.cleaner.config().to_value().to_string();
        py.import("json")?.call_method1("loads", (json,))
    }

    /// SHA-256 over everything that decides the result, in hexadecimal.
    #[getter]
    fn fingerprint(&self) -> String {
        hex(&self.cleaner.fingerprint())
    }

    fn __repr__(&self) -> String {
        let profile = self.cleaner.config().profile_name();
        format!("Cleaner({profile:?}, fingerprint={}…)", &self.fingerprint()[..8])
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.cleaner.fingerprint() == other.cleaner.fingerprint()
    }

    fn __hash__(&self) -> u64 {
        let bytes = self.cleaner.fingerprint();
        bytes.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyAny>)> {
        let overrides = self.config(py)?;
        let profile = overrides.call_method1("pop", ("profile",))?;
        Ok((PyTuple::new(py, [profile])?, overrides))
    }
}

impl PyCleanResult {
    fn new(py: Python<'_>, text: &Bound<'_, PyString>, cleaned: CleanedText<'_>) -> Self {
        let text = match cleaned.text {
            Cow::Borrowed(_) => text.clone().unbind(),
            Cow::Owned(new) => PyString::new(py, &new).unbind(),
        };
        let measure = match cleaned.verdict {
            Verdict::Keep => None,
            Verdict::Drop(measure) => Some(measure),
        };
        Self { text, measure, changes: cleaned.changes }
    }
}

#[pymethods]
impl PyCleanResult {
    /// The text after cleaning; the very object that was given if nothing changed.
    #[getter]
    fn text(&self, py: Python<'_>) -> Py<PyString> {
        self.text.clone_ref(py)
    }

    /// Whether the text is kept.
    #[getter]
    fn keep(&self) -> bool {
        self.measure.is_none()
    }

    /// Why it is not kept.
    #[getter]
    fn reason(&self) -> Option<&str> {
        self.measure.as_ref().map(|measure| measure.name.as_str())
    }

    /// What was measured and what the limit is, for a text that is not kept.
    #[getter]
    fn measured(&self) -> Option<(f64, f64)> {
        self.measure.as_ref().map(|measure| (measure.value, measure.limit))
    }

    /// How much each rule changed.
    #[getter]
    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let changes = PyDict::new(py);
        for (rule, amount) in self.changes.iter() {
            changes.set_item(rule, amount)?;
        }
        Ok(changes)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let changes = self.changes(py)?.repr()?;
        let length = self.text.bind(py).len()?;
        let verdict = match &self.measure {
            None => "keep=True".to_owned(),
            Some(measure) => format!("keep=False, reason={:?}", measure.name),
        };
        Ok(format!("CleanResult({verdict}, changes={changes}, text of {length} characters)"))
    }
}
