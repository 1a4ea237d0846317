"""The cross-entropy of a linear head in pieces: equal to the whole, with a bit of the memory."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

__all__ = ["IGNORE", "linear_cross_entropy"]

IGNORE = -100
"""A target with this value is not counted."""


class _Sum(torch.autograd.Function):
    """Σ cross_entropy(hidden @ weight.T, targets) without ever holding all the logits.

    The gradients of a piece of rows are made while its logits exist, already in the forward pass.
    The backward pass only scales them.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int, compiled: bool
    ) -> Tensor:
        piece = _compiled() if compiled else _piece
        matrix = weight.to(hidden.dtype)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        gradient, hidden_grad, weight_grad = any(ctx.needs_input_grad), None, None
        if gradient:
            hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            nats, grad = piece(hidden[part], matrix, targets[part], gradient)
            total += nats
            if grad is not None and hidden_grad is not None and weight_grad is not None:
                hidden_grad[part] = grad @ matrix
                weight_grad += grad.T @ hidden[part]
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad.to(hidden_grad.dtype), weight_grad * grad, None, None, None


def _piece(
    x: Tensor, matrix: Tensor, target: Tensor, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Σ nats of the rows ``x``, and ∂Σ/∂logits = softmax(logits) − one-hot(target) if asked for."""
    wide = torch.promote_types(x.dtype, torch.float32)
    target = target[:, None]
    counted, target = (target != IGNORE).to(wide), target.clamp_min(0)
    logits = (x @ matrix.T).to(wide)  # (rows, V)
    log_sum = logits.logsumexp(-1, keepdim=True)
    nats = ((log_sum - logits.gather(1, target)) * counted).sum()
    if not gradient:
        return nats, None
    grad = logits.sub_(log_sum).exp_()
    if torch.compiler.is_compiling():  # a scatter would end the kernel and write all of grad once
        grad = grad - (torch.arange(len(matrix), device=x.device) == target).to(wide)
    else:
        grad.scatter_add_(1, target, grad.new_full((1, 1), -1).expand_as(target))
    return nats, grad.mul_(counted).to(x.dtype)


@functools.cache
def _compiled() -> Any:
    """:func:`_piece` in two kernels, which read and write the logits in the format of the rows."""
    return torch.compile(_piece, dynamic=False)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    reduction: str = "mean",
    rows: int = 0,
    *,
    compiled: bool = False,
) -> Tensor:
    """``cross_entropy(hidden @ weight.T, targets, reduction)`` for ``rows`` rows at a time.

    ``hidden`` is (..., C), ``weight`` (V, C), ``targets`` (...). ``rows`` = 0 takes as many as suit
    a CPU's cache or keep a GPU busy. ``reduction`` is mean, sum, or none: that one has no gradient.
    ``compiled`` takes kernels of torch.compile for the sum and its gradient. The product is made in
    autocast's format where that is on, like any other.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    size = 2**29 if compiled else 2**27  # logits at once on a GPU; compiled, they take less memory
    rows = rows or _power_of_two((size if kind == "cuda" else 2**22) // len(weight))
    flat, flat_targets = hidden.flatten(0, -2), targets.flatten()
    if reduction != "none":
        with torch.autocast(kind, enabled=False):
            total: Tensor = _Sum.apply(flat, weight, flat_targets, rows, compiled)
        return total / (targets != IGNORE).sum() if reduction == "mean" else total
    nats = []
    with torch.no_grad(), torch.autocast(kind, enabled=False):
        matrix = weight.to(hidden.dtype)
        for x, target in zip(torch.split(flat, rows), torch.split(flat_targets, rows), strict=True):
            logits = x @ matrix.T
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            predicted = logits.gather(1, target.clamp_min(0)[:, None])[:, 0]
            nats.append((logits.logsumexp(-1) - predicted) * (target != IGNORE))
    return torch.cat(nats).view(targets.shape)


def _power_of_two(limit: int) -> int:
    """The largest power of two up to ``limit``: it divides most batches into equal pieces."""
    return 1 << max(0, limit.bit_length() - 1)
