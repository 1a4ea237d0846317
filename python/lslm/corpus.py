"""Documents to read: :class:`Corpus`, and the type of every argument ``inputs=``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path  # noqa: TC003  (typing.get_type_hints(Skipped) needs it)
from typing import NamedTuple, TypeAlias

from lslm._lslm import Corpus, Document, DocumentIterator
from lslm.files import StrPath

__all__ = ["Corpus", "Document", "DocumentIterator", "FileEncoding", "Inputs", "Skipped"]

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


class FileEncoding(NamedTuple):
    """A file of a :class:`Corpus` that is not UTF-8 and is converted while it is read."""

    path: Path
    encoding: str
    """The name in the WHATWG Encoding Standard, such as ``GBK`` or ``windows-1251``."""
    confidence: float | None
    """The share of eight pieces of the file's start that show the same encoding by themselves; None
    where the encoding was named."""
