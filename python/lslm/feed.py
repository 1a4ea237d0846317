"""Batches, their copy to a CUDA device one ahead of their use, and a loader in torch's tools."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lslm._lslm import LoaderCore

__all__ = ["Batch", "CudaFeed", "as_signed", "refuse_workers", "register_iterable", "widen"]


ArrayT = TypeVar("ArrayT")


class Batch(NamedTuple, Generic[ArrayT]):
    """The rows of one step: torch tensors or numpy arrays, int64 (batch_size, sequence_length)."""

    inputs: ArrayT
    targets: ArrayT
    """``targets[i, t]`` is the token after ``inputs[i, t]``."""


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

    def next(self) -> tuple[Batch[torch.Tensor], int] | None:
        """Return the next batch and the number of samples up to it, or None at the end."""
        import torch

        if self._ahead is None:
            return None
        batch, event, samples = self._ahead
        self._ahead = self._fetch()
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in batch:
            # allocated on the other stream: its memory must not be reused while in use here
            tensor.record_stream(current)
        return batch, samples

    def _fetch(self) -> tuple[Batch[torch.Tensor], torch.cuda.Event, int] | None:
        import torch

        item = self._core.next()
        if item is None:
            return None
        rows, _, samples = item
        host, mask = as_signed(rows)
        if self._pin:
            host = self._staging(host)
        with torch.cuda.stream(self._stream):
            inputs, targets = widen(host.to(self._device, non_blocking=self._pin), mask)
            event = self._stream.record_event()
        if self._pin:
            self._ring.append((host, event))
        return Batch(inputs, targets), event, samples

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


def widen(rows: torch.Tensor, mask: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets, int64 (B, T), of ``rows`` (B, T + 1) from :func:`as_signed`."""
    import torch

    wide = rows.to(torch.int64).bitwise_and_(mask)
    return wide[:, :-1].contiguous(), wide[:, 1:].contiguous()


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
