//! The Python binding of lslm: thin, one file per class, no logic.
//!
//! Every class is frozen; every long call goes through [`run::run`], the one place that detaches
//! from the interpreter, looks at signals and calls progress; every error goes through
//! [`error::to_python`].

// PyO3 hands over owned values, and a call with keywords has as many arguments as it has keywords
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]

/// Expands to the docstring of an item in `python/lslm/_lslm.pyi`, the one place where the compiled
/// part is documented; `build.rs` has extracted it.
macro_rules! stub {
    ($item:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $item))
    };
}

mod cleaner;
mod convert;
mod corpus;
mod dataset;
mod error;
mod files;
mod loader;
mod memory;
mod pipeline;
mod results;
mod run;
mod tokenizer;

#[doc = stub!("__doc__")]
#[pyo3::pymodule(gil_used = false)]
mod _lslm {
    use pyo3::prelude::*;

    use crate::error::to_python;

    #[pymodule_export]
    use crate::cleaner::{PyCleanedText, PyCleaner, PyMeasure};
    #[pymodule_export]
    use crate::corpus::{PyCorpus, PyDocument, PyDocumentIterator};
    #[pymodule_export]
    use crate::dataset::{PyDatasetWriter, PyTokenDataset};
    #[pymodule_export]
    use crate::files::{PyFolderLock, write_atomically};
    #[pymodule_export]
    use crate::loader::PyLoaderCore;
    #[pymodule_export]
    use crate::pipeline::{clean, measure_tokenizer, tokenize, train_tokenizer};
    #[pymodule_export]
    use crate::tokenizer::{PyStreamDecoder, PyTokenizer};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // a wrong LSLM_SIMD would otherwise be heeded by nobody
        lslm_bpe::simd_level().map_err(to_python)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
