"""Waiting for a folder that another process holds for a moment."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from lslm.files import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_held", "wait_for_lock"]

POLL_SECONDS = 0.02
"""Time between two attempts; a worker holds the folder of a study for some milliseconds."""


@contextlib.contextmanager
def wait_for_lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process as a context; wait while another one does."""
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(folder))
            except ValueError:  # held
                time.sleep(POLL_SECONDS)
                continue
            yield
            return


def is_held(folder: Path) -> bool:
    """Return whether a living process holds ``folder``; its lock ends with the process."""
    if not folder.is_dir():
        return False
    try:
        with lock(folder):
            return False
    except ValueError:
        return True
