"""Documents to read: :class:`Corpus`, and the type of every argument ``inputs=``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path  # noqa: TC003  (typing.get_type_hints(Skipped) needs it)
from typing import NamedTuple, TypeAlias

from lslm._lslm import Corpus, Document, DocumentIterator
from lslm.files import StrPath

__all__ = ["Corpus", "Document", "DocumentIterator", "Inputs", "Skipped"]

Inputs: TypeAlias = Corpus | StrPath | Iterable[StrPath]
"""A :class:`Corpus`, or files, folders, globs and ``-`` for standard input."""


class Skipped(NamedTuple):
    """A file or folder that a :class:`Corpus` found and does not read, and why."""

    path: Path
    reason: str
    """``hidden`` (the name begins with a dot), ``excluded``, ``extension`` (not one of those that
    are read from folders), ``linked_folder``, ``special`` (neither file nor folder),
    ``bookkeeping`` (lslm's own records and datasets) or
    ``duplicate`` (the same file as an earlier one)."""
