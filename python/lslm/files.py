"""Locks on folders and atomic writes, which survive a kill and a second process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeAlias

from lslm._lslm import FolderLock, missing_path, write_atomically

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["StrPath", "lock", "not_found", "sync", "write_atomically"]

StrPath: TypeAlias = str | os.PathLike[str]
"""A path, as text or as an object such as :class:`pathlib.Path`."""


def lock(folder: StrPath) -> AbstractContextManager[FolderLock]:
    """Return a context that holds ``folder`` for this process; no other can enter it meanwhile.

    The folder is made if it is missing, and removed on leaving if it was made here and is still
    empty. The lock is the operating system's, on the file ``.lock``: it ends with the process,
    however that ends.

    Raises on entering:
        ValueError: another process holds the folder.

    >>> with lslm.files.lock("runs/first"):
    ...     lslm.files.write_atomically("runs/first/note.txt", "one writer at a time")
    """
    return FolderLock(folder)


def not_found(path: StrPath, what: str = "no such file or folder") -> FileNotFoundError:
    """Return the error for a missing ``path``, with what to do about a URL or a name on the hub."""
    shown, step = missing_path(path)
    return FileNotFoundError(2, what + step, shown)


def sync(path: StrPath) -> None:
    """Sync a file or folder to the disk; do nothing where the system cannot sync folders."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
