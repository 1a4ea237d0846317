"""Exceptions of lslm's own, for errors that Python has no built-in exception for."""

from __future__ import annotations

__all__ = ["FormatError", "Interrupted", "LslmError", "MismatchError"]


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


class Interrupted(KeyboardInterrupt):
    """A signal ended a call after its work was saved; the message says how to resume.

    ``signal_number`` is that of SIGINT (Ctrl-C), SIGTERM or SIGHUP (a closed terminal).
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class MismatchError(LslmError, ValueError):
    """Two things do not belong together: tokenizer, dataset, checkpoint or configuration."""
