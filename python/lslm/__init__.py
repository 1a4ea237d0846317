"""lslm: raw text to a measured language model.

The verbs are functions: :func:`clean`, :func:`train_tokenizer`, :func:`tokenize`, :func:`train`,
:func:`evaluate`, :func:`generate`, :func:`inspect` and :func:`verify` for what they wrote, and
:func:`export_model` and :func:`import_model` for weights of other programs. The text side is
compiled and needs no torch; what needs torch loads it when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lslm._lslm import (
    CleanedText,
    Cleaner,
    Measure,
    StreamDecoder,
    TokenDataset,
    Tokenizer,
    __version__,
    clean,
    finish,
    measure_tokenizer,
    preview_clean,
    tokenize,
    train_tokenizer,
)
from lslm.corpus import Corpus, Document, DocumentIterator, Inputs
from lslm.exceptions import FormatError, LslmError, MismatchError
from lslm.progress import Progress
from lslm.results import CleanPreview, CleanResult, TokenizeResult, TokenizerReport

__all__ = [
    "Analysis",
    "Batch",
    "CleanPreview",
    "CleanResult",
    "CleanedText",
    "Cleaner",
    "ComparisonResult",
    "Config",
    "Corpus",
    "Document",
    "DocumentIterator",
    "EvaluationResult",
    "ExportResult",
    "FormatError",
    "ImportResult",
    "Inputs",
    "Inspection",
    "LslmError",
    "Measure",
    "MismatchError",
    "Mixture",
    "ModelConfig",
    "Progress",
    "ScalingResult",
    "ScoreTable",
    "StreamDecoder",
    "TokenDataset",
    "TokenLoader",
    "TokenizeResult",
    "Tokenizer",
    "TokenizerReport",
    "TrainResult",
    "Transformer",
    "TuneResult",
    "__version__",
    "analyze",
    "clean",
    "compare",
    "complete",
    "evaluate",
    "export_model",
    "finish",
    "generate",
    "import_model",
    "inspect",
    "load_config",
    "measure_tokenizer",
    "open_scores",
    "preview_clean",
    "scaling",
    "tokenize",
    "train",
    "train_tokenizer",
    "tune",
    "verify",
    "write_dataset",
]

if TYPE_CHECKING:
    from lslm.analysis import Analysis, analyze
    from lslm.comparison import ComparisonResult, compare
    from lslm.config import Config, load_config
    from lslm.data import Batch, Mixture, TokenLoader, write_dataset
    from lslm.evaluation import evaluate
    from lslm.generation import complete, generate
    from lslm.huggingface import ExportResult, ImportResult, export_model, import_model
    from lslm.inspection import Inspection, inspect, verify
    from lslm.model import ModelConfig, Transformer
    from lslm.score_table import ScoreTable, open_scores
    from lslm.scores import EvaluationResult
    from lslm.training import TrainResult, train
    from lslm.tuning import ScalingResult, TuneResult, scaling, tune
else:  # out of type checkers' sight, so that a wrong name is an error for them
    _MODULES = {
        "analysis": ["Analysis", "analyze"],
        "comparison": ["ComparisonResult", "compare"],
        "config": ["Config", "load_config"],
        "data": ["Batch", "Mixture", "TokenLoader", "write_dataset"],
        "evaluation": ["evaluate"],
        "generation": ["complete", "generate"],
        "huggingface": ["ExportResult", "ImportResult", "export_model", "import_model"],
        "inspection": ["Inspection", "inspect", "verify"],
        "model": ["ModelConfig", "Transformer"],
        "score_table": ["ScoreTable", "open_scores"],
        "scores": ["EvaluationResult"],
        "training": ["TrainResult", "train"],
        "tuning": ["ScalingResult", "TuneResult", "scaling", "tune"],
    }
    _LAZY = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        """Return a name that is loaded at its first use, mostly because it needs torch."""
        if name not in _LAZY:
            raise AttributeError(f"module 'lslm' has no attribute {name!r}")
        try:
            value = getattr(import_module(f"lslm.{_LAZY[name]}"), name)
        except ModuleNotFoundError as error:
            if error.name not in {"torch", "safetensors"}:
                raise
            raise ImportError(
                f"lslm.{name} needs {error.name}: pip install 'lslm[train]'"
            ) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return __all__
