"""Batches, their copy to a CUDA device one ahead of their use, and a loader in torch's tools."""

from __future__ import annotations

import copy
import sys
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    from lslm._lslm import LoaderCore

__all__ = [
    "Batch",
    "BatchOrigin",
    "CudaFeed",
    "as_signed",
    "refuse_workers",
    "register_iterable",
    "widen",
]


ArrayT = TypeVar("ArrayT")


class BatchOrigin(Generic[ArrayT]):
    """Where a batch comes from: its loader's core and state, and what makes arrays of its kind.

    Arguments:
        core: reads the documents of the rows.
        state: the loader's state but for the position.
        samples, round: the position after the batch.
        convert: makes an array of the batch's kind from one of numpy.

    """

    def __init__(
        self,
        core: LoaderCore,
        state: Mapping[str, Any],
        samples: int,
        round: int,
        convert: Callable[[NDArray[Any]], ArrayT],
    ) -> None:
        self._core = core
        self._state = state
        self._samples, self._round = samples, round
        self.convert = convert

    def state(self) -> dict[str, Any]:
        """Return the loader's state after the batch."""
        return copy.deepcopy({**self._state, "samples": self._samples, "round": self._round})

    def documents(self) -> tuple[NDArray[Any], ...]:
        """Return what :meth:`LoaderCore.documents` says of the rows."""
        return self._core.documents(self._samples - self._core.samples_per_step)


class _Rows(NamedTuple, Generic[ArrayT]):
    """Inputs and targets: what a batch unpacks as."""

    inputs: ArrayT
    targets: ArrayT
    """``targets[i, t]`` is the token after ``inputs[i, t]``."""


class Batch(_Rows[ArrayT]):
    """The rows of one step: torch tensors or numpy arrays, int64 (batch_size, sequence_length).

    ``for inputs, targets in loader`` unpacks it; a target of -100, torch's ``ignore_index``, is not
    to be counted. Besides, it carries the ``state`` of the loader
    after it, and the documents of its rows, which are looked up when they are first used:

    ::

        row            … the end . A whole one . The begin
        document_ids     7 7 7 7   8 8 8 8       9 9 9
        positions        0 1 2 3   0 1 2 3       0 1 2
        cu_seqlens       0         4             8       11

    A loop that fetches ahead saves ``batch.state`` of the batch it has trained on:
    ``loader.state_dict()`` counts those it has fetched.
    """

    _origin: BatchOrigin[ArrayT] | None = None
    _saved: dict[str, Any] | None = None

    @classmethod
    def of(cls, inputs: ArrayT, targets: ArrayT, origin: BatchOrigin[ArrayT]) -> Batch[ArrayT]:
        """Return a batch with its origin."""
        batch = cls(inputs, targets)
        batch._origin = origin
        return batch

    @property
    def state(self) -> dict[str, Any]:
        """The loader's ``state_dict()`` after this batch: it resumes with the next one."""
        state = self._saved if self._origin is None else self._origin.state()
        if state is None:
            raise AttributeError("this batch was not made by a loader: it has no state")
        return state

    @property
    def _known_origin(self) -> BatchOrigin[ArrayT]:
        if self._origin is None:
            raise AttributeError("this batch does not come from a loader: it has no documents")
        return self._origin

    @cached_property
    def _documents(self) -> tuple[ArrayT, ArrayT, ArrayT, int, NDArray[Any], NDArray[Any]]:
        ids, positions, boundaries, sources, starts = self._known_origin.documents()
        shape, convert = (len(sources), -1), self._known_origin.convert
        longest = int(np.diff(boundaries).max())
        arrays = (ids.reshape(shape), positions.reshape(shape), boundaries)
        one, two, three = (convert(array) for array in arrays)
        return one, two, three, longest, sources, starts

    @property
    def document_ids(self) -> ArrayT:
        """For each input the number of its document in its dataset, int64; -1 for padding."""
        return self._documents[0]

    @property
    def positions(self) -> ArrayT:
        """For each input its position in the part of the document that the row has, int32."""
        return self._documents[1]

    @property
    def cu_seqlens(self) -> ArrayT:
        """Where each part of a document, or padding, begins among all inputs; their number; int32.

        As attention with variable lengths takes it: ``inputs.view(-1)`` are the tokens.
        """
        return self._documents[2]

    @property
    def max_seqlen(self) -> int:
        """Inputs of the longest part of a document."""
        return self._documents[3]

    @property
    def sources(self) -> NDArray[np.int32]:
        """For each row the index of its dataset in ``loader.datasets``, numpy."""
        return self._documents[4]

    @property
    def starts(self) -> NDArray[np.int64]:
        """For each row the position of its first token in its dataset, numpy."""
        return self._documents[5]

    def padded_cu_seqlens(self, length: int) -> ArrayT:
        """Return ``cu_seqlens``, its last value repeated up to ``length``: equal for all batches.

        Compiled models need one shape. ``ValueError`` if the batch has more parts of documents.
        """
        boundaries = self._known_origin.documents()[2]
        if len(boundaries) > length:
            raise ValueError(
                f"length = {length}: this batch has {len(boundaries) - 1} parts of documents; "
                f"choose at least {len(boundaries)}"
            )
        return self._known_origin.convert(np.pad(boundaries, (0, length - len(boundaries)), "edge"))

    def __reduce__(self) -> tuple[Any, ...]:
        saved = self._saved if self._origin is None else self._origin.state()
        return type(self), tuple(self), {"_saved": saved}  # the loader stays where it is


_IGNORE = -100
"""A target that is not counted: :data:`lslm.loss.IGNORE`, whose module needs torch."""

_RING = 3
"""Page-locked buffers: one is filled, one is copied, one waits for its event."""


class CudaFeed:
    """Copies batches to a CUDA device one ahead of their use.

    Rows are copied as stored (2 or 4 bytes per token instead of 16) through a ring of page-locked
    buffers, on a separate stream, and are widened on the device. A buffer is reused only after the
    event recorded after its copy.
    """

    def __init__(self, core: LoaderCore, device: str | torch.device, pin: bool) -> None:
        import torch

        self._core = core
        self._device = torch.device(device)
        self._pin = pin
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._ring: deque[tuple[torch.Tensor, torch.cuda.Event]] = deque()
        self._ahead = self._fetch()

    def next(self) -> tuple[torch.Tensor, torch.Tensor, int] | None:
        """Return inputs, targets and the number of samples up to them, or None at the end."""
        import torch

        if self._ahead is None:
            return None
        inputs, targets, event, samples = self._ahead
        self._ahead = self._fetch()
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in (inputs, targets):
            # allocated on the other stream: its memory must not be reused while in use here
            tensor.record_stream(current)
        return inputs, targets, samples

    def _fetch(self) -> tuple[torch.Tensor, torch.Tensor, torch.cuda.Event, int] | None:
        import torch

        item = self._core.next()
        if item is None:
            return None
        rows, _, ignored, samples = item
        host, mask = as_signed(rows)
        if self._pin:
            host = self._staging(host)
        with torch.cuda.stream(self._stream):
            inputs, targets = widen(host.to(self._device, non_blocking=self._pin), mask, ignored)
            event = self._stream.record_event()
        if self._pin:
            self._ring.append((host, event))
        return inputs, targets, event, samples

    def _staging(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        if len(self._ring) < _RING:
            buffer = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        else:
            buffer, event = self._ring.popleft()
            event.synchronize()
        return buffer.copy_(rows)


def as_signed(rows: NDArray[np.uint16] | NDArray[np.uint32]) -> tuple[torch.Tensor, int]:
    """Return ``rows`` as a signed tensor of the same bits, and the bit mask of an id.

    torch has few kernels for unsigned types: :func:`widen` makes int64 of them.
    """
    import torch

    narrow = rows.dtype == np.uint16
    signed = rows.view(np.int16 if narrow else np.int32)
    return torch.from_numpy(signed), 0xFFFF if narrow else 0xFFFF_FFFF


def widen(
    rows: torch.Tensor, mask: int, ignored: NDArray[np.int64] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets, int64 (B, T), of ``rows`` (B, T + 1) from :func:`as_signed`.

    The targets ``ignored``, numbered through all rows, become -100.
    """
    import torch

    wide = rows.to(torch.int64).bitwise_and_(mask)
    inputs, targets = wide[:, :-1].contiguous(), wide[:, 1:].contiguous()
    if ignored is not None:
        at = torch.from_numpy(ignored).to(rows.device)
        targets.view(-1).index_fill_(0, at, _IGNORE)
    return inputs, targets


def register_iterable(loader: type, *, needs_torch: bool) -> None:
    """Make ``loader`` a virtual subclass of torch's ``IterableDataset``.

    torch's DataLoader and Lightning decide by ``isinstance`` how they read. A real subclass would
    need torch where :mod:`lslm.data` is imported; this loads it only if ``needs_torch``.
    """
    if needs_torch or "torch" in sys.modules:
        from torch.utils.data import IterableDataset

        IterableDataset.register(loader)


def refuse_workers() -> None:
    """Raise ``RuntimeError`` in a worker process of torch's DataLoader."""
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is not None and torch_data.get_worker_info() is not None:
        raise RuntimeError(
            "a TokenLoader cannot run in a worker of DataLoader, where each worker would yield "
            "every batch: use num_workers=0; a thread of the loader reads ahead"
        )
