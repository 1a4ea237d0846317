"""lslm: raw text to a measured language model.

Clean text, learn a vocabulary, tokenize, stream, train, evaluate, generate. The text side is
compiled and needs no torch; :func:`train`, :func:`evaluate` and :func:`generate` load it when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lslm._lslm import (
    Cleaner,
    CleanResult,
    StreamDecoder,
    TokenDataset,
    Tokenizer,
    __version__,
    clean,
    documents,
    measure_tokenizer,
    tokenize,
    train_tokenizer,
)
from lslm.exceptions import FormatError, LslmError, MismatchError

if TYPE_CHECKING:
    from lslm.evaluation import evaluate
    from lslm.generation import generate
    from lslm.training import train

__all__ = [
    "CleanResult",
    "Cleaner",
    "FormatError",
    "LslmError",
    "MismatchError",
    "StreamDecoder",
    "TokenDataset",
    "Tokenizer",
    "__version__",
    "clean",
    "documents",
    "evaluate",
    "generate",
    "measure_tokenizer",
    "tokenize",
    "train",
    "train_tokenizer",
]

_LAZY = {"evaluate": "evaluation", "generate": "generation", "train": "training"}


def __getattr__(name: str) -> Any:
    """Load the functions that need torch when they are first asked for."""
    if name in _LAZY:
        return getattr(import_module(f"lslm.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'lslm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
