"""The exceptions that are lslm's own; everywhere else the built-in ones are raised."""

from __future__ import annotations

__all__ = ["FormatError", "LslmError", "MismatchError"]


class LslmError(Exception):
    """The base of lslm's own exceptions."""


class FormatError(LslmError, ValueError):
    """A file is not what its format asks for: of another kind, cut short, or damaged.

    ``path`` is the file, ``offset`` the place in it in bytes, or None where no place is known.
    """

    def __init__(self, message: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class MismatchError(LslmError, ValueError):
    """Two things do not belong together: tokenizer, dataset, checkpoint or configuration."""
