"""The cross-entropy of a linear head in pieces: equal to the whole, with a bit of the memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["IGNORE", "linear_cross_entropy"]

IGNORE = -100
"""A target with this value is not counted."""


class _Sum(torch.autograd.Function):
    """Σ cross_entropy(hidden @ weight.T, targets) without ever holding all the logits.

    The gradients of a piece of rows are made while its logits exist, already in the forward pass:
    ∂L/∂logits = softmax(logits) − one-hot(target). The backward pass only scales them.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        matrix = weight.to(hidden.dtype)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        hidden_grad, weight_grad = None, None
        if any(ctx.needs_input_grad):
            hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(hidden), rows):
            x, target = hidden[start : start + rows], targets[start : start + rows, None]
            counted, target = (target != IGNORE).to(wide), target.clamp_min(0)
            logits = (x @ matrix.T).to(wide)  # (rows, V)
            log_sum = logits.logsumexp(-1, keepdim=True)
            total += ((log_sum - logits.gather(1, target)) * counted).sum()
            if hidden_grad is not None and weight_grad is not None:
                grad = logits.sub_(log_sum).exp_()
                grad.scatter_add_(1, target, grad.new_full((1, 1), -1).expand_as(target))
                narrow = grad.mul_(counted).to(hidden.dtype)
                hidden_grad[start : start + rows] = narrow @ matrix
                weight_grad += narrow.T @ x
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad.to(hidden_grad.dtype), weight_grad * grad, None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str = "mean", rows: int = 0
) -> Tensor:
    """``cross_entropy(hidden @ weight.T, targets, reduction)`` for ``rows`` rows at a time.

    ``hidden`` is (..., C), ``weight`` (V, C), ``targets`` (...). ``rows`` = 0 takes as many as suit
    a CPU's cache or keep a GPU busy. ``reduction`` is mean, sum, or none: that one has no gradient.
    """
    rows = rows or max(1, (2**27 if hidden.is_cuda else 2**22) // len(weight))
    flat, flat_targets = hidden.flatten(0, -2), targets.flatten()
    if reduction != "none":
        with torch.autocast(hidden.device.type, enabled=False):
            total: Tensor = _Sum.apply(flat, weight, flat_targets, rows)
        return total / (targets != IGNORE).sum() if reduction == "mean" else total
    nats = []
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        matrix = weight.to(hidden.dtype)
        for x, target in zip(torch.split(flat, rows), torch.split(flat_targets, rows), strict=True):
            logits = x @ matrix.T
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            predicted = logits.gather(1, target.clamp_min(0)[:, None])[:, 0]
            nats.append((logits.logsumexp(-1) - predicted) * (target != IGNORE))
    return torch.cat(nats).view(targets.shape)
