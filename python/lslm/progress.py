"""Progress of long calls: a bar, plain lines through ``logging``, or the caller's own function."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["Callback", "Progress", "Reporter", "amount_of", "reporting", "resolve", "to_stderr"]

Callback: TypeAlias = Callable[[str, int, int | None, str], object]
"""``f(stage, done, total, unit)``; ``total`` is None where it is not known."""

Progress: TypeAlias = bool | Callback | None
"""How a long call reports its progress, see :func:`resolve`."""

Clock: TypeAlias = Callable[[], float]
"""Returns seconds, as ``time.monotonic`` does."""

FIRST_LINE_SECONDS = 2.0
"""Time in a stage before its first line, so that short calls print nothing."""

LINE_SECONDS = 10.0
"""Time between two lines of a stage: six a minute, which a log file of a day can hold."""

NOTEBOOK_SECONDS = 0.5
"""Time between two updates of the bar in a notebook; each is a message to the browser."""

NARROW_COLUMNS = 72
"""Width of a terminal below which the bar has no amount and no rate."""

logger = logging.getLogger("lslm.progress")
"""Carries the lines at INFO; its parent ``lslm`` carries all messages of this package."""

_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)


class Reporter(Protocol):
    """Receives the progress of a long call."""

    def update(
        self,
        stage: str,
        done: int,
        total: int | None,
        unit: str,
        *,
        seconds_left: float | None = None,
    ) -> None:
        """Record that ``done`` of ``total`` (None: unknown) ``unit`` of ``stage`` are finished.

        ``seconds_left`` is the time left where the caller knows more than the rate so far.
        """

    def close(self, completed: bool) -> None:
        """End the report; ``completed`` is false after an exception."""


def resolve(progress: Progress) -> Reporter | None:
    """Return the reporter for ``progress``, or None for no report.

    None is a bar if standard error is a terminal or in a notebook, True a bar in any case, False
    no report. A function is called as ``f(stage, done, total, unit)``, at most ten times a second,
    and at the end of each stage. Unless ``progress`` is False, the logger ``lslm.progress`` gets a
    line every LINE_SECONDS, if it is enabled for INFO.
    """
    if progress is False or (progress is None and _is_quiet.get()):
        return None
    reporters: list[Reporter] = []
    if callable(progress):
        reporters.append(_Calls(progress))
    elif _in_notebook():
        reporters.append(_NotebookBar())
    elif progress or sys.stderr.isatty():
        reporters.append(_Bar())
    if logger.isEnabledFor(logging.INFO):
        reporters.append(_Lines())
    if len(reporters) > 1:
        return _Several(reporters)
    return reporters[0] if reporters else None


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


@contextlib.contextmanager
def to_stderr(*, quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Print warnings and the messages of the logger ``lslm`` to standard error.

    The command line runs each verb in it. ``quiet`` leaves warnings only, and no bar; ``verbose``
    adds messages at DEBUG. On a terminal the bar takes the place of the lines of progress.
    """
    parent = logging.getLogger("lslm")
    handler = _StderrHandler()
    if sys.stderr.isatty():
        handler.addFilter(lambda record: record.name != logger.name)
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    previous, token = parent.level, _is_quiet.set(quiet)
    parent.addHandler(handler)
    parent.setLevel(level)
    try:
        with warnings.catch_warnings():
            # each time, and without the line of this package that caused it
            warnings.filterwarnings("always", category=UserWarning, module=r"lslm\b")
            warnings.showwarning = _print_warning
            yield
    finally:
        parent.removeHandler(handler)
        parent.setLevel(previous)
        _is_quiet.reset(token)


class _StderrHandler(logging.Handler):
    """Prints to the standard error of the moment, which a bar replaces while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, in place of Python's own two."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class _Several:
    """Passes progress on to several reporters."""

    def __init__(self, reporters: list[Reporter]) -> None:
        self._reporters = reporters

    def update(
        self,
        stage: str,
        done: int,
        total: int | None,
        unit: str,
        *,
        seconds_left: float | None = None,
    ) -> None:
        for reporter in self._reporters:
            reporter.update(stage, done, total, unit, seconds_left=seconds_left)

    def close(self, completed: bool) -> None:
        for reporter in self._reporters:
            reporter.close(completed)


class _Calls:
    """Passes progress on to a function, at most ten times a second."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._last: tuple[str, int, int | None, str] | None = None
        self._time = 0.0

    def update(
        self, stage: str, done: int, total: int | None, unit: str, **_known: float | None
    ) -> None:
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


class _Stage:
    """The stage that runs now, with its rate since it began."""

    def __init__(self, name: str, done: int, now: float) -> None:
        self.name = name
        self._first_done, self._start = done, now
        self.done, self.unit, self.now = done, "", now
        self.total: int | None = None
        self.seconds_left: float | None = None
        """What the caller knows of the time left; None: the rate says it."""

    def update(self, done: int, total: int | None, unit: str, now: float) -> None:
        self.done, self.total, self.unit, self.now = done, total, unit, now

    @property
    def seconds(self) -> float:
        """Time since the stage began."""
        return self.now - self._start

    @property
    def per_second(self) -> float:
        """Amount finished in a second; what a resumed stage begins with does not count."""
        return (self.done - self._first_done) / self.seconds if self.seconds > 0 else 0.0

    @property
    def rate(self) -> str:
        """The rate with its unit, empty when it is not known."""
        if self.per_second <= 0:
            return ""
        if self.unit == "bytes":
            return f"{self.per_second / 1e6:,.1f} MB/s"
        unit = self.unit.partition(",")[0]
        if self.per_second < 1:
            return f"{1 / self.per_second:,.1f} s/{unit.removesuffix('s')}"
        return f"{self.per_second:,.{1 if self.per_second < 100 else 0}f} {unit}/s"

    @property
    def eta(self) -> str:
        """The time left, by the caller or at this rate; empty when it is not known."""
        if self.seconds_left is not None:
            return _duration(self.seconds_left)
        if self.total is None or self.per_second <= 0:
            return ""
        return _duration(max(self.total - self.done, 0) / self.per_second)

    def amount(self, *, with_total: bool) -> str:
        """The amount finished, of the total where there is one and it is wanted."""
        last = self.total if with_total and self.total is not None else self.done
        unit = "MB" if self.unit == "bytes" else _unit_of(last, self.unit)
        of = "" if self.total is None or not with_total else f" of {self._number(self.total)}"
        return f"{self._number(self.done)}{of} {unit}"

    def _number(self, amount: int) -> str:
        return f"{amount / 1e6:,.1f}" if self.unit == "bytes" else f"{amount:,}"

    def line(self) -> str:
        """The state in one line: ``tokenize 25%: 12.0 of 48.0 MB, 6.0 MB/s, ETA 0:06``."""
        share = f" {self.done / self.total:.0%}" if self.total else ""
        rate = "" if "/s" in self.unit else self.rate  # such as "steps, 3,000 tokens/s"
        parts = [f"{self.name}{share}: {self.amount(with_total=True)}", rate]
        return ", ".join(filter(None, [*parts, f"ETA {self.eta}" if self.eta else ""]))

    def last_line(self) -> str:
        """The finished stage in one line: ``tokenize: 48.0 MB in 0:08, 6.0 MB/s``."""
        amount = self.amount(with_total=False).partition(", ")[0]
        took = f"{self.name}: {amount} in {_duration(self.seconds)}"
        return f"{took}, {self.rate}" if self.rate else took


def amount_of(done: int, total: int | None, unit: str) -> str:
    """Return the progress of a call inside another: ``5 of 20 steps, loss 3.1``."""
    of = "" if total is None else f" of {total:,}"
    return f"{done:,}{of} {_unit_of(done if total is None else total, unit)}"


def _unit_of(amount: int, unit: str) -> str:
    """Return the unit of an amount: ``step, loss 3.1`` of 1."""
    noun, comma, rest = unit.partition(",")
    return (noun.removesuffix("s") if amount == 1 else noun) + comma + rest


def _duration(seconds: float) -> str:
    """Return seconds as ``0:05``, ``12:30`` or ``3:04:05``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Paced:
    """Calls ``_show`` in each stage after ``first`` seconds, then every ``every`` seconds."""

    def __init__(self, first: float, every: float, clock: Clock) -> None:
        self._first, self._every, self._clock = first, every, clock
        self._stage: _Stage | None = None
        self._stages: dict[str, _Stage] = {}
        self._next, self._is_shown = 0.0, False

    def update(
        self,
        stage: str,
        done: int,
        total: int | None,
        unit: str,
        *,
        seconds_left: float | None = None,
    ) -> None:
        if not stage:
            return
        now = self._clock()
        if self._stage is None or self._stage.name != stage:
            self._finish()
            earlier = self._stages.get(stage)
            # training that a validation interrupted goes on, with the time since it began
            if earlier is None or not done >= earlier.done > 0:
                earlier = _Stage(stage, done, now)
            self._stage = self._stages[stage] = earlier
            self._next, self._is_shown = now + self._first, False
        self._stage.update(done, total, unit, now)
        self._stage.seconds_left = seconds_left
        if now >= self._next:
            self._next, self._is_shown = now + self._every, True
            self._show(self._stage, finished=False)

    def close(self, completed: bool) -> None:
        if completed:
            self._finish()

    def _finish(self) -> None:
        """Show the end of a stage that was shown while it ran."""
        if self._stage is not None and self._is_shown:
            self._show(self._stage, finished=True)

    def _show(self, stage: _Stage, *, finished: bool) -> None:
        raise NotImplementedError


class _Lines(_Paced):
    """Logs a line every few seconds: for log files, pipes and scripts."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(FIRST_LINE_SECONDS, LINE_SECONDS, clock)

    def _show(self, stage: _Stage, *, finished: bool) -> None:
        logger.info("%s", stage.last_line() if finished else stage.line())


class _NotebookBar(_Paced):
    """Displays a bar of text in a notebook; unlike the bar of rich, without ipywidgets."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(0.0, NOTEBOOK_SECONDS, clock)
        self._handle: Any = None
        self._shown: _Stage | None = None

    def _show(self, stage: _Stage, *, finished: bool) -> None:
        from IPython.display import display  # type: ignore[import-not-found]

        done = stage.done / stage.total if stage.total else 0.0
        filled = 20 if finished else round(20 * min(done, 1.0))
        text = "━" * filled + "╌" * (20 - filled) + "  "
        shown = {"text/plain": text + (stage.last_line() if finished else stage.line())}
        if self._shown is not stage:
            self._shown, self._handle = stage, display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


class _Bar:
    """A rich progress bar on standard error, one line a stage, with rate and ETA."""

    def __init__(self, console: Console | None = None, clock: Clock = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        console = Console(stderr=True) if console is None else console
        columns = [
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12 if console.width < 100 else 30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[eta]}", table_column=Column(no_wrap=True)),
        ]
        if console.width >= NARROW_COLUMNS:
            amount = TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True))
            columns.insert(3, amount)
        self._clock = clock
        self._bars: dict[str, tuple[TaskID, _Stage]] = {}
        self._progress = RichProgress(*columns, console=console)
        self._progress.start()

    def update(
        self,
        stage: str,
        done: int,
        total: int | None,
        unit: str,
        *,
        seconds_left: float | None = None,
    ) -> None:
        if not stage:
            return
        now = self._clock()
        if stage not in self._bars:
            self._finish_bars()
            bar = self._progress.add_task(stage, total=total, amount="", eta="")
            self._bars[stage] = bar, _Stage(stage, done, now)
        bar, shown = self._bars[stage]
        shown.update(done, total, unit, now)
        shown.seconds_left = seconds_left
        rate = "" if "/s" in unit else shown.rate
        amount = ", ".join(filter(None, [shown.amount(with_total=False), rate]))
        eta = f"ETA {shown.eta}" if shown.eta else ""
        self._progress.update(bar, completed=done, total=total, amount=amount, eta=eta)

    def _finish_bars(self) -> None:
        for bar, stage in self._bars.values():
            total = max(stage.done, 1) if stage.total is None else stage.total
            took = f"in {_duration(stage.seconds)}"
            self._progress.update(bar, total=total, completed=total, eta=took)

    def close(self, completed: bool) -> None:
        if completed:
            self._finish_bars()
        self._progress.stop()
