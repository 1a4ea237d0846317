"""Stopping a run after the current step: Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from lslm.parallel import Ranks

__all__ = ["StopSignal"]


class StopSignal:
    """Catches Ctrl-C, SIGTERM and SIGHUP as a context; a second Ctrl-C is ``KeyboardInterrupt``.

    A SIGHUP that is ignored, as under ``nohup``, stays ignored. Python runs signal handlers in the
    main thread only: elsewhere nothing is caught.
    """

    def __init__(self) -> None:
        self._is_set = False
        self.number: int = signal.SIGINT
        """The signal that came first; SIGINT if it came to another process of the group."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals():
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @staticmethod
    def _signals() -> list[int]:
        """Return the signals to catch."""
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
        if hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN:
            return [signal.SIGINT, signal.SIGTERM]
        return [signal.SIGINT, signal.SIGTERM, hang_up]

    def _handle(self, number: int, _: object) -> None:
        if self._is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._is_set:
            self.number = number
            if os.isatty(2):
                os.write(2, b"\nsaving after this step; Ctrl-C again stops at once\n")
        self._is_set = True

    def is_set(self, group: Ranks) -> bool:
        """Return whether a signal came to any process of ``group``: the same on all of them."""
        return group.any(self._is_set)
