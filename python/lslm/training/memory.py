"""Rows of a forward pass that fit into a GPU's memory, found before a run begins."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING

import torch

from lslm.parallel import autocast, ranks

if TYPE_CHECKING:
    from lslm.model import Transformer

__all__ = ["fitting_rows", "is_out_of_memory"]

_logger = logging.getLogger("lslm.training")

STATE_BYTES = 12
"""Bytes a parameter beside weights and activations: two moments, and the buckets of gradients that
several processes exchange."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch, on a GPU or a CPU, or Python could not allocate memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def fitting_rows(model: Transformer, rows: int, device: str, dtype: str) -> int:
    """Return the rows of a micro-batch that fit into memory: ``rows``, or that halved some times.

    A forward and a backward pass are made with as much memory taken as the optimizer will need;
    the weights stay as they are. With several processes all return the same. Raises torch's error
    if one row does not fit.
    """
    n_values = sum(p.numel() for p in model.parameters())
    while True:
        error: BaseException | None = None
        try:
            _try_rows(model, rows, device, dtype, STATE_BYTES * n_values)
        except (MemoryError, RuntimeError) as caught:
            if not is_out_of_memory(caught) or rows == 1:
                raise
            error = caught.with_traceback(None)  # which holds the activations
        model.zero_grad()
        if not ranks().any(error is not None):
            return rows
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        if ranks().first:
            text = "%d rows of a micro-batch do not fit into memory: trying %d, of the same batch"
            _logger.warning(text, rows, rows // 2)
        rows //= 2


def _try_rows(model: Transformer, rows: int, device: str, dtype: str, n_reserved: int) -> None:
    """Make a forward and a backward pass of ``rows`` rows, with ``n_reserved`` bytes taken."""
    reserved = torch.empty(n_reserved, dtype=torch.uint8, device=device)
    ids = torch.zeros(rows, model.config.sequence_length, dtype=torch.int64, device=device)
    with autocast(device, dtype):
        loss = model(ids, ids, reduction="sum")
    loss.backward()
    del reserved
