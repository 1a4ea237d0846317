"""From documents to windows: what the model reads, and which of its targets are scored.

    documents → sequences (all joined, or each alone) → windows → (inputs, targets, first scored)

The scored targets of the windows, in order, are the scored tokens of the text in order. Positions
count the tokens of all documents, one document after the other, whatever the boundaries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lslm.protocol import Protocol

__all__ = ["Window", "WindowPlanner"]


class Window(NamedTuple):
    """One row of a batch: ``targets[i]`` is predicted from ``inputs[: i + 1]``."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    first: int
    """``targets[first:]`` are scored."""
    position: int
    """Position of the first scored target among all tokens."""


class WindowPlanner:
    """Cuts a stream of tokens into the windows of a protocol.

    ::

        for each document:
            yield from planner.push(ids)
            if boundaries are separate: yield from planner.finish()
        yield from planner.finish()

    With ``s`` for a sequence, the prefix included, window k of T tokens reads ``s[a : stop - 1]``
    and scores ``s[scored : stop]``:

    =================  ==============================  =====================  ==================
    protocol           stop                            a                      scored
    =================  ==============================  =====================  ==================
    first: scored      T + 1, then one stride further  stop − 1 − T, from 0   the stop before
    first: context     k · stride + T                  k · stride             the same; > a
    second-half        k · T + T                       k · T                  a + T / 2 + 1
    =================  ==============================  =====================  ==================

    The last window stops at the end of the sequence, if the remainder is scored. Memory holds one
    window and the tokens pushed last.

    Arguments:
        protocol: what to score.
        prefix: the id before each sequence, where the protocol has one; None if the tokenizer has
            no such token: then the first token of a sequence is context only.
        bos: the id that llama.cpp writes over the first token of each window; None for none.

    """

    def __init__(
        self, protocol: Protocol, *, prefix: int | None = None, bos: int | None = None
    ) -> None:
        self.protocol = protocol
        self._bos = bos if protocol.targets == "second-half" else None
        self._lead = self._bos if protocol.prefix == "none" else prefix
        self._start(0)

    def _start(self, position: int) -> None:
        """Begin a sequence whose first token is number ``position`` of all."""
        lead = [] if self._lead is None else [self._lead]
        self._ids: NDArray[Any] = np.array(lead, np.uint32)
        self._origin, self._index = 0, 0  # of _ids[0] in the sequence; of the next window
        self._stop = 0 if self.protocol.first == "context" else 1
        self._position = position - len(lead)  # of s[0]

    def push(self, ids: NDArray[np.integer[Any]]) -> Iterator[Window]:
        """Append ``ids`` to the sequence; yield the windows that are full."""
        self._ids = np.concatenate([self._ids, ids.astype(np.uint32, copy=False)])
        while (window := self._next(is_end=False)) is not None:
            yield window
        # the last window may begin before the next full one would: it reaches back as far as it can
        last = self._begin(self._origin + len(self._ids))
        unused = max(0, min(last, self._begin(self._next_stop())) - self._origin)
        self._ids, self._origin = self._ids[unused:], self._origin + unused

    def finish(self) -> Iterator[Window]:
        """End the sequence; yield the last window, unless the protocol drops it."""
        if self.protocol.remainder == "scored":
            window = self._next(is_end=True)
            if window is not None:
                yield window
        self._start(self._position + self._origin + len(self._ids))

    def _next_stop(self) -> int:
        """Return where the next full window stops."""
        T, stride = self.protocol.window, self.protocol.stride
        if self.protocol.first == "scored":
            return self._stop + stride if self._index else T + 1
        return self._index * stride + T

    def _begin(self, stop: int) -> int:
        """Return the first input of the next window, which ends at ``stop``."""
        if self.protocol.first == "scored":
            return max(0, stop - 1 - self.protocol.window)
        return self._index * self.protocol.stride

    def _next(self, *, is_end: bool) -> Window | None:
        """Return the next window, or None if the tokens so far do not fill it."""
        length, stop = self._origin + len(self._ids), self._next_stop()
        if stop > length:
            if not is_end:
                return None
            stop = length
        begin = self._begin(stop)
        scored = max(self._stop, begin + 1)
        if self.protocol.targets == "second-half":
            scored = begin + self.protocol.window // 2 + 1
        if scored >= stop:
            return None
        ids = self._ids[begin - self._origin : stop - self._origin].astype(np.int64)
        self._index, self._stop = self._index + 1, stop
        if self._bos is not None:
            ids[0] = self._bos
        return Window(ids[:-1], ids[1:], scored - begin - 1, self._position + scored)
