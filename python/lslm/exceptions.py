"""Exceptions of lslm's own, for errors that Python has no built-in exception for."""

from __future__ import annotations

__all__ = ["FormatError", "LslmError", "MismatchError"]


class LslmError(Exception):
    """The base class of lslm's own exceptions."""


class FormatError(LslmError, ValueError):
    """A file does not follow its format: it is of another kind, truncated, or damaged.

    ``path`` is the file, ``offset`` the byte where the fault is, or None if it is unknown.
    """

    def __init__(self, message: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class MismatchError(LslmError, ValueError):
    """Two things do not belong together: tokenizer, dataset, checkpoint or configuration."""
