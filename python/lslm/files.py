"""Files that are the old or the new one at every moment, and folders held by one process."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lock", "sync", "write_atomically"]


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold ``folder``, made if it is missing, for this process.

    Raises ``ValueError`` with the folder's path when another process holds it. A folder that was
    made here and is still empty at the end is removed.
    """
    folder = Path(folder)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("ab") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"{folder}: another process is writing this folder; wait or choose another output"
            ) from None
        if os.fstat(file.fileno()).st_nlink == 0:  # removed between our open and our lock
            raise ValueError(f"{folder}: another process has just ended there; try again")
        try:
            yield
        finally:
            if sys.platform != "win32":  # an open file cannot be removed on Windows
                path.unlink(missing_ok=True)
            if new:
                with contextlib.suppress(OSError):  # not empty: the run is there
                    folder.rmdir()


def write_atomically(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write ``data`` (text as UTF-8) as the whole file ``path``, and sync it to the disk.

    Readers see the old or the new file, also after a crash.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: str | os.PathLike[str]) -> None:
    """Sync a file or folder to the disk; do nothing where the system cannot sync folders."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
