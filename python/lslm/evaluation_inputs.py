"""What ``data`` of an evaluation means, and who is evaluated: names, paths and fingerprints.

Needs no torch: whether a score table is of this model and these data is decided without the model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lslm.checkpoint import find_checkpoint, read_state
from lslm.config import Config, missing_data
from lslm.evaluation_data import (
    DatasetDocuments,
    EvaluationData,
    TextDocuments,
    Vocabulary,
    check_tokenizer,
)
from lslm.inspection import kind_of
from lslm.mixture import find_part

if TYPE_CHECKING:
    import os

    from lslm import Tokenizer

__all__ = ["RunFacts", "is_text", "model_fingerprints", "open_data", "own_validation"]


class RunFacts(Protocol):
    """What is known of a run without its weights: :class:`lslm.checkpoint.Run` and RunFiles."""

    @property
    def path(self) -> Path:
        """The run's folder."""

    @property
    def step(self) -> int:
        """Updates made before the checkpoint."""

    @property
    def config(self) -> Config:
        """Its configuration."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def validation_dataset(self) -> str | None:
        """Fingerprint of the validation set that it was trained with; None: without one."""

    @property
    def bos_id(self) -> int | None:
        """The id that begins a document; None: the tokenizer's ``eos_id``."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The ids that end a text; empty: the tokenizer's ``eos_id``."""


def model_fingerprints(run: RunFacts) -> dict[str, str]:
    """Return the identities of the tokenizer and of the weights of ``run``, hexadecimal."""
    found = {"tokenizer": run.tokenizer.fingerprint}
    try:
        files = read_state(find_checkpoint(run.path, run.step))["files"]
        hashes = {n: file["sha256"] for n, file in files.items() if n.startswith("model")}
    except (OSError, ValueError):  # a published model, which has no record of its hashes
        hashes = {path.name: _sha256(path) for path in run.path.glob("*.safetensors")}
    if hashes:
        found["model"] = hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()
    return found


def open_data(run: RunFacts, data: Any, vocabulary: Vocabulary) -> list[EvaluationData]:
    """Return what ``data`` of :func:`evaluate` means, each with a name."""
    if data is None:
        data = own_validation(run)
    if isinstance(data, dict):
        named = data
    elif isinstance(data, list | tuple):
        named = {str(getattr(one, "path", one)): one for one in data}
        if len(named) < len(data):
            raise ValueError("data: the same name twice; give a mapping from names to data")
    else:
        named = {str(getattr(data, "path", data)): data}
    if not named:
        raise ValueError("data is empty: give a dataset or text to evaluate on")
    return [_open_one(one, name, vocabulary) for name, one in named.items()]


def _open_one(data: Any, name: str, vocabulary: Vocabulary) -> EvaluationData:
    """Return one dataset or text as evaluation data."""
    import lslm

    if isinstance(data, lslm.Corpus):
        return TextDocuments(data, vocabulary, name if "Corpus" not in name else "text")
    if isinstance(data, lslm.TokenDataset):
        check_tokenizer(data, vocabulary.tokenizer, data.path)
        return DatasetDocuments(data, vocabulary, name)
    if is_text(data):
        return TextDocuments(lslm.Corpus(str(data)), vocabulary, name)
    path = find_part(data, "validation") or Path(data)
    return _open_one(lslm.TokenDataset(path), name, vocabulary)


def is_text(data: str | os.PathLike[str]) -> bool:
    """Return whether ``data`` is text, and not a dataset; ``ValueError`` if it is neither."""
    text = str(data)
    if text == "-" or (any(c in text for c in "*?[") and not Path(text).exists()):
        return True
    kind = kind_of(data)
    if kind in {"run", "tokenizer", "scores"}:
        name = "score table" if kind == "scores" else kind
        raise ValueError(f"{text} is a {name}, not data: give a dataset or text to evaluate on")
    return kind == "documents"


def own_validation(run: RunFacts) -> Any:
    """Return the validation sets of ``run``; raise an error that says what is missing."""
    paths, where = run.config.data.validation_paths(), run.config.data
    for path in paths.values():
        if not path.exists():
            raise missing_data(str(path), run.config, run.path, "validation data", "data=")
    if paths:
        return next(iter(paths.values())) if list(paths) == ["validation"] else paths
    if not where.path or Path(where.path).exists():
        if run.validation_dataset is None:
            raise ValueError(f"{run.path} was trained without validation data: give data=")
        where = replace(where, path=str(Path(where.path, "validation")))
    raise missing_data(where.path, run.config, run.path, "validation data", "data=")


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
