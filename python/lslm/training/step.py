"""One step of training: forward, backward, update. The host launches it and reads nothing."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.parallel import DistributedDataParallel

from lslm.loss import IGNORE
from lslm.optim import update
from lslm.parallel import autocast, ranks

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Limits", "StepValues", "launch_step", "train_step"]


@dataclass(frozen=True)
class Limits:
    """The largest loss and gradient norm with which a step updates the weights.

    A value that is not finite is above every limit.
    """

    loss: float = math.inf
    norm: float = math.inf


class StepValues:
    """Loss, gradient norm, whether there was an update, and targets, on their way to the host.

    On a GPU they are copied to page-locked memory after the step; reading them waits for that step
    alone, not for those that were launched after it.
    """

    def __init__(self, loss: Tensor, norm: Tensor, is_kept: Tensor, n_targets: Tensor) -> None:
        values = torch.stack([loss, norm, is_kept.to(loss.dtype), n_targets.to(loss.dtype)])
        self._copied: torch.cuda.Event | None = None
        if values.is_cuda:
            on_device, values = values, torch.empty(4, dtype=values.dtype, pin_memory=True)
            values.copy_(on_device, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()
        self._values = values

    def read(self) -> tuple[float, float, bool]:
        """Return loss, gradient norm and whether the weights were updated, once they are known."""
        if self._copied is not None:
            self._copied.synchronize()
        loss, norm, is_kept, _ = self._values.tolist()
        return loss, norm, bool(is_kept)

    @property
    def n_targets(self) -> int:
        """Targets of all processes that were counted, after :meth:`read`."""
        return int(self._values[3])


def launch_step(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    inputs: Tensor,
    targets: Tensor,
    *,
    document_ids: Tensor | None = None,
    micro_batch_size: int | None = None,
    max_grad_norm: float | None = None,
    dtype: str = "float32",
    limits: Limits | None = None,
) -> StepValues:
    """Make the step that :func:`train_step` describes; return its values without reading them.

    The weights stay as they are if loss or gradient norm is not finite or above ``limits``; on a
    GPU the device decides that.
    """
    limits = limits or Limits()
    group, rows = ranks(), micro_batch_size or len(inputs)
    n_targets, sums = group.sum((targets != IGNORE).sum()), []
    for start in range(0, len(inputs), rows):
        part = slice(start, start + rows)
        # DDP sums gradients over the processes in the last backward pass, and divides by their
        # number: hence the factor world_size below.
        wait = start + rows < len(inputs) and isinstance(model, DistributedDataParallel)
        with model.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
            with autocast(inputs.device.type, dtype):
                documents = {} if document_ids is None else {"document_ids": document_ids[part]}
                loss = model(inputs[part], targets[part], reduction="sum", **documents)
            (loss * (group.world_size / n_targets)).backward()
        sums.append(loss.detach())
    wide = torch.float32 if inputs.device.type == "mps" else torch.float64  # which mps lacks
    mean = group.sum(torch.stack(sums).to(wide).sum()) / n_targets
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_grad_norm, norm)
    norm = norm.to(wide)
    is_kept = torch.isfinite(mean) & torch.isfinite(norm)
    is_kept &= (mean <= limits.loss) & (norm <= limits.norm)
    update(optimizers, is_kept)
    return StepValues(mean, norm, is_kept, n_targets)


def train_step(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    inputs: Tensor,
    targets: Tensor,
    *,
    document_ids: Tensor | None = None,
    micro_batch_size: int | None = None,
    max_grad_norm: float | None = None,
    dtype: str = "float32",
) -> tuple[float, float]:
    """Return the loss and the norm of the gradient of one step: forward, backward, update.

    ``inputs`` and ``targets`` (B, T) are this process's rows, ``micro_batch_size`` of them at a
    time (None: all); with ``document_ids`` (B, T) the model keeps the documents of a row apart. The
    loss is the mean nats per target over all micro-batches of all processes: their sum, divided
    once. A gradient whose norm is above ``max_grad_norm`` is scaled down to it.
    Raises ``FloatingPointError``, and updates nothing, if loss or gradient is not finite. A run
    calls :func:`launch_step`, which is the same without waiting for the result.
    """
    values = launch_step(
        model,
        optimizers,
        inputs,
        targets,
        document_ids=document_ids,
        micro_batch_size=micro_batch_size,
        max_grad_norm=max_grad_norm,
        dtype=dtype,
    )
    loss, norm, is_kept = values.read()
    if not is_kept:
        raise FloatingPointError(f"loss {loss}, gradient norm {norm}")
    return loss, norm
