//! `lslm.Cleaner`, `CleanedText` and `Measure`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use lslm_clean::{Changes, CleanConfig, CleanedText, Cleaner, Measure, PROFILES, RULES, Verdict};
use lslm_runtime::{Error, hex, threads};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use serde_json::Value;

use crate::convert::{dumps, iterate_texts, loads, not_a_text};
use crate::error::to_python;
use crate::numbers;
use crate::run::run;

#[doc = stub!("Cleaner")]
#[pyclass(frozen, module = "lslm", name = "Cleaner")]
pub(crate) struct PyCleaner {
    cleaner: Cleaner,
}

/// The argument `cleaner=`: a `Cleaner`, or the name of a profile.
pub(crate) enum CleanerArgument {
    Cleaner(CleanConfig),
    Profile(String),
}

impl CleanerArgument {
    /// Returns the rules; ValueError for an unknown profile.
    pub(crate) fn config(self) -> PyResult<CleanConfig> {
        match self {
            Self::Cleaner(config) => Ok(config),
            Self::Profile(name) => profile(&name),
        }
    }
}

/// Returns the profile `name`, or what a settings file of FineWeb-2 describes: `fra_Latn.yml`.
fn profile(name: &str) -> PyResult<CleanConfig> {
    let path = Path::new(name);
    let language = path.file_stem().and_then(OsStr::to_str);
    match (path.extension().and_then(OsStr::to_str), language) {
        (Some("yml" | "yaml"), Some(language)) => {
            let yaml = std::fs::read_to_string(path).map_err(Error::io(path));
            yaml.and_then(|yaml| CleanConfig::fineweb2(&yaml, language)).map_err(to_python)
        }
        _ => CleanConfig::profile(name).map_err(to_python),
    }
}

impl<'py> FromPyObject<'_, 'py> for CleanerArgument {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(cleaner) = value.cast::<PyCleaner>() {
            return Ok(Self::Cleaner(cleaner.get().cleaner.config().clone()));
        }
        let Ok(profile) = value.cast::<PyString>() else {
            let kind = value.get_type().name()?;
            let text = format!("must be a Cleaner or the name of a profile, not {kind}");
            return Err(PyTypeError::new_err(text));
        };
        Ok(Self::Profile(profile.to_str()?.to_owned()))
    }
}

#[pymethods]
impl PyCleaner {
    #[new]
    #[pyo3(signature = (profile = "default", /, **overrides))]
    fn new(profile: &str, overrides: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut config = self::profile(profile)?;
        if let Some(overrides) = overrides {
            let changes: Value = serde_json::from_str(&dumps(overrides)?)
                .map_err(|error| to_python(Error::invalid(format!("overrides: {error}"))))?;
            config = config.with(&changes).map_err(to_python)?;
        }
        Ok(Self { cleaner: Cleaner::new(&config).map_err(to_python)? })
    }

    #[doc = stub!("Cleaner.profiles")]
    #[staticmethod]
    fn profiles() -> Vec<&'static str> {
        PROFILES.iter().map(|profile| profile.name).collect()
    }

    #[doc = stub!("Cleaner.rules")]
    #[staticmethod]
    fn rules(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let rules = PyDict::new(py);
        for rule in &RULES {
            rules.set_item(rule.name, rule.about)?;
        }
        Ok(rules)
    }

    #[doc = stub!("Cleaner.clean")]
    fn clean(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<PyCleanedText> {
        let backed = PyBackedStr::try_from(text.clone())?;
        let cleaned =
            py.detach(|| self.cleaner.with_buffers(|buffers| self.cleaner.clean(&backed, buffers)));
        Ok(PyCleanedText::new(py, text, cleaned))
    }

    #[doc = stub!("Cleaner.clean_batch")]
    #[pyo3(signature = (texts, *, threads = None))]
    fn clean_batch(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = numbers::threads)] threads: Option<usize>,
    ) -> PyResult<Vec<PyCleanedText>> {
        let threads = threads::resolve(threads).map_err(to_python)?;
        let texts = iterate_texts(texts)?.enumerate().map(|(index, value)| {
            let value = value?;
            value.cast_into::<PyString>().map_err(|error| not_a_text(index, &error.into_inner()))
        });
        let texts = texts.collect::<PyResult<Vec<_>>>()?;
        let backed: Vec<PyBackedStr> =
            texts.iter().map(|text| text.clone().try_into()).collect::<PyResult<_>>()?;
        let silent = PyBool::new(py, false);
        let cleaned = run(py, Some(silent.as_any()), |task| {
            self.cleaner.clean_batch(&backed, threads, task)
        })?;
        let results = texts.iter().zip(cleaned);
        Ok(results.map(|(text, cleaned)| PyCleanedText::new(py, text, cleaned)).collect())
    }

    #[doc = stub!("Cleaner.explain")]
    fn explain(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<Vec<PyMeasure>> {
        let backed = PyBackedStr::try_from(text.clone())?;
        let measures = py
            .detach(|| self.cleaner.with_buffers(|buffers| self.cleaner.explain(&backed, buffers)));
        Ok(measures.into_iter().map(PyMeasure).collect())
    }

    #[doc = stub!("Cleaner.config")]
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loads(py, &self.cleaner.config().to_value().to_string())
    }

    #[doc = stub!("Cleaner.fingerprint")]
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

#[doc = stub!("CleanedText")]
#[pyclass(frozen, module = "lslm", name = "CleanedText")]
pub(crate) struct PyCleanedText {
    // a member of a frozen class: reading it calls no function
    #[doc = stub!("CleanedText.text")]
    #[pyo3(get)]
    text: Py<PyString>,
    measure: Option<Box<Measure>>,
    changes: Changes,
}

impl PyCleanedText {
    fn new(py: Python<'_>, text: &Bound<'_, PyString>, cleaned: CleanedText<'_>) -> Self {
        let text = match cleaned.text {
            Cow::Borrowed(_) => text.clone().unbind(),
            Cow::Owned(new) => PyString::new(py, &new).unbind(),
        };
        let measure = match cleaned.verdict {
            Verdict::Keep => None,
            Verdict::Drop(measure) => Some(Box::new(measure)),
        };
        Self { text, measure, changes: cleaned.changes }
    }
}

#[pymethods]
impl PyCleanedText {
    #[doc = stub!("CleanedText.keep")]
    #[getter]
    fn keep(&self) -> bool {
        self.measure.is_none()
    }

    #[doc = stub!("CleanedText.reason")]
    #[getter]
    fn reason(&self) -> Option<&str> {
        self.measure.as_ref().map(|measure| measure.name.as_str())
    }

    #[doc = stub!("CleanedText.measure")]
    #[getter]
    fn measure(&self) -> Option<PyMeasure> {
        self.measure.as_deref().cloned().map(PyMeasure)
    }

    #[doc = stub!("CleanedText.changes")]
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
        Ok(format!("CleanedText({verdict}, changes={changes}, text of {length} characters)"))
    }
}

#[doc = stub!("Measure")]
#[pyclass(frozen, eq, module = "lslm", name = "Measure")]
#[derive(PartialEq)]
pub(crate) struct PyMeasure(Measure);

#[pymethods]
impl PyMeasure {
    #[doc = stub!("Measure.name")]
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[doc = stub!("Measure.value")]
    #[getter]
    fn value(&self) -> f64 {
        self.0.value
    }

    #[doc = stub!("Measure.limit")]
    #[getter]
    fn limit(&self) -> f64 {
        self.0.limit
    }

    #[doc = stub!("Measure.passed")]
    #[getter]
    fn passed(&self) -> bool {
        self.0.passed
    }

    fn __repr__(&self) -> String {
        let Measure { name, value, limit, passed } = &self.0;
        let passed = if *passed { "True" } else { "False" };
        format!("Measure({name:?}, value={value}, limit={limit}, passed={passed})")
    }
}
