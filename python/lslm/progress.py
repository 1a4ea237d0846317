"""Progress of long calls: a bar on a terminal, or the caller's own function."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Callback", "Progress", "Reporter", "reporting", "resolve"]

Callback: TypeAlias = Callable[[str, int, int | None, str], object]
"""``f(stage, done, total, unit)``; ``total`` is None where it is not known."""

Progress: TypeAlias = bool | Callback | None
"""How a long call reports its progress, see :func:`resolve`."""


class Reporter(Protocol):
    """Receives the progress of a long call."""

    def update(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """Record that ``done`` of ``total`` (None: unknown) ``unit`` of ``stage`` are finished."""

    def close(self, completed: bool) -> None:
        """End the report; ``completed`` is false after an exception."""


def resolve(progress: Progress) -> Reporter | None:
    """Return the reporter for ``progress``, or None for no report.

    None is a bar if standard error is a terminal, True a bar in any case, False no report. A
    function is called as ``f(stage, done, total, unit)``, at most ten times a second, and at the
    end of each stage.
    """
    if progress is None:
        progress = sys.stderr.isatty()
    if callable(progress):
        return _Calls(progress)
    return _Bar() if progress else None


@contextlib.contextmanager
def reporting(progress: Progress) -> Iterator[Reporter | None]:
    """Yield the reporter of ``progress`` and close it afterwards, with whether all went well."""
    reporter, completed = resolve(progress), False
    try:
        yield reporter
        completed = True
    finally:
        if reporter is not None:
            reporter.close(completed)


class _Calls:
    """Passes progress on to a function, at most ten times a second."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._last: tuple[str, int, int | None, str] | None = None
        self._time = 0.0

    def update(self, stage: str, done: int, total: int | None, unit: str) -> None:
        now = time.monotonic()
        new_stage = self._last is None or self._last[0] != stage
        if self._last is not None and new_stage:
            self._callback(*self._last)
        self._last = (stage, done, total, unit)
        if stage and (new_stage or now - self._time >= 0.1):
            self._time = now
            self._callback(*self._last)

    def close(self, completed: bool) -> None:
        if completed and self._last is not None and self._last[0]:
            self._callback(*self._last)


class _Bar:
    """A rich progress bar on standard error, one line a stage, with rate and ETA."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bars: dict[str, TaskID] = {}
        self._progress = RichProgress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[amount]:>20}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()

    def update(self, stage: str, done: int, total: int | None, unit: str) -> None:
        if not stage:
            return
        if stage not in self._bars:
            self._finish_bars()
            self._bars[stage] = self._progress.add_task(stage, total=total, amount="")
        amount = f"{done / 1e6:,.1f} MB" if unit == "bytes" else f"{done:,} {unit}"
        self._progress.update(self._bars[stage], completed=done, total=total, amount=amount)

    def _finish_bars(self) -> None:
        for bar in self._bars.values():
            total = self._progress.tasks[bar].total
            if total is not None:
                self._progress.update(bar, completed=total)

    def close(self, completed: bool) -> None:
        if completed:
            self._finish_bars()
        self._progress.stop()
