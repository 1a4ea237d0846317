"""One step of training: forward, backward, update."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import torch
from torch.nn.parallel import DistributedDataParallel

from lslm.loss import IGNORE
from lslm.parallel import autocast, ranks

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["train_step"]


def train_step(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    inputs: Tensor,
    targets: Tensor,
    *,
    micro_batch_size: int | None = None,
    max_grad_norm: float | None = None,
    dtype: str = "float32",
) -> tuple[float, float]:
    """Return the loss and the norm of the gradient of one step: forward, backward, update.

    ``inputs`` and ``targets`` (B, T) are this process's rows, ``micro_batch_size`` of them at a
    time (None: all). The loss is the mean nats per target over all micro-batches of all processes:
    their sum, divided once. A gradient whose norm is above ``max_grad_norm`` is scaled down to it.
    Raises ``FloatingPointError`` before the update if loss or gradient is not finite.
    """
    group, rows = ranks(), micro_batch_size or len(inputs)
    n_targets, sums = group.sum((targets != IGNORE).sum()), []
    for start in range(0, len(inputs), rows):
        part = slice(start, start + rows)
        # DDP sums gradients over the processes in the last backward pass, and divides by their
        # number: hence the factor world_size below.
        wait = start + rows < len(inputs) and isinstance(model, DistributedDataParallel)
        with model.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
            with autocast(inputs.device.type, dtype):
                loss = model(inputs[part], targets[part], reduction="sum")
            (loss * (group.world_size / n_targets)).backward()
        sums.append(loss.detach())
    mean = (group.sum(torch.stack(sums).cpu().double().sum()) / n_targets.cpu()).item()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not (math.isfinite(mean) and math.isfinite(norm.item())):
        raise FloatingPointError(f"loss {mean}, gradient norm {norm.item()}")
    if max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_grad_norm, norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return mean, norm.item()
