//! The Python binding of lslm: one file per class, conversions only, no logic.
//!
//! * Every class is frozen, so threads share objects without locks of their own.
//! * Every long call goes through [`run::run`], which detaches from the interpreter, checks signals
//!   and reports progress.
//! * Every error becomes an exception in [`error::to_python`].
//! * Every docstring comes from the stub, `python/lslm/_lslm.pyi`, by `stub!`.

// PyO3 passes arguments by value, and a function has one argument for each keyword
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
// docstrings of Python are reStructuredText, not Markdown
#![allow(clippy::doc_lazy_continuation, clippy::doc_link_with_quotes)]

/// Expands to the docstring of an item in the stub, which `build.rs` extracted.
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
mod numbers;
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
    use crate::error::missing_path;
    #[pymodule_export]
    use crate::files::{PyFolderLock, write_atomically};
    #[pymodule_export]
    use crate::loader::PyLoaderCore;
    #[pymodule_export]
    use crate::pipeline::{
        clean, finish, measure_tokenizer, preview_clean, tokenize, train_tokenizer,
    };
    #[pymodule_export]
    use crate::tokenizer::{PyStreamDecoder, PyTokenizer};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // without this check, a wrong LSLM_SIMD would have no effect
        lslm_bpe::simd_level().map_err(to_python)?;
        module.add("MAX_BATCH_TOKENS", lslm_dataset::loader::MAX_BATCH_TOKENS)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
