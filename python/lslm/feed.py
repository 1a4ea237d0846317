"""Batches on their way to a CUDA device, copied one ahead of their use."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

    from lslm._lslm import LoaderCore

__all__ = ["Batch", "CudaFeed", "as_signed", "widen"]


class Batch(NamedTuple):
    """One step's rows: int64 of shape (batch_size, sequence_length), torch tensors or numpy arrays.

    ``targets[i, t]`` is the token that follows ``inputs[i, t]``.
    """

    inputs: Any
    targets: Any


class CudaFeed:
    """Copies batches to a CUDA device one ahead of their use.

    Rows travel as stored (2 or 4 bytes a token instead of 16) through a ring of page-locked
    buffers, on a stream of their own, and are widened on the device. A buffer is filled again only
    after the event behind its copy.
    """

    def __init__(self, core: LoaderCore, device: str | torch.device, pin: bool) -> None:
        import torch

        self._core = core
        self._device = torch.device(device)
        self._pin = pin
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._ring: deque[tuple[torch.Tensor, torch.cuda.Event]] = deque()
        self._ahead = self._fetch()

    def next(self) -> tuple[Batch, int] | None:
        """Return the next batch and how many samples were given with it, or None at the end."""
        import torch

        if self._ahead is None:
            return None
        batch, event, samples = self._ahead
        self._ahead = self._fetch()
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in batch:
            # the memory was allocated on the other stream; it must not go back while in use here
            tensor.record_stream(current)
        return batch, samples

    def _fetch(self) -> tuple[Batch, torch.cuda.Event, int] | None:
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

        if len(self._ring) < 3:
            buffer = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        else:
            buffer, event = self._ring.popleft()
            event.synchronize()
        return buffer.copy_(rows)


def as_signed(rows: Any) -> tuple[torch.Tensor, int]:
    """Return ``rows`` of unsigned ids as a signed tensor of the same bits, and the mask of an id.

    torch has few kernels for unsigned types.
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
