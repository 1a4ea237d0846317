"""The cross-entropy that training runs: head and loss together, some rows at a time.

Equal to :func:`lslm.model.cross_entropy`, the formula, of all logits (held equal by
``test_linear_cross_entropy_equals_cross_entropy``), without ever holding them: N × V float32 values
and as many of their gradient, which for 2¹⁹ tokens and 50,000 ids would be 200 GB.

    for each chunk of rows:
        logits = hidden[chunk] @ weightᵀ
        loss += Σ logsumexp(logits) − logits[target]
        grad = softmax(logits) − onehot(target)          # ∂loss/∂logits
        hidden_grad[chunk] = grad @ weight
        weight_grad += gradᵀ @ hidden[chunk]

1. The gradients are computed in the forward pass, while a chunk's logits exist; the backward pass
   only scales them (as in Liger Kernel, Hsu et al. 2024).
2. Sums are float32 or wider, products are in the type of ``hidden``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["IGNORE", "divergence", "linear_cross_entropy", "token_scores"]

IGNORE = -100
"""A target with this value is not counted; torch's own ``ignore_index``."""


MAX_CPU, MAX_CUDA, MAX_CUDA_COMPILED = 2**22, 2**27, 2**29
"""Logits per chunk: 16 MB on a CPU, for its cache; on a GPU enough to keep it busy.

Compiled kernels hold fewer copies of a logit, so that more of them fit.
"""


SCORE_CPU = 2**20
"""Logits per chunk of :func:`token_scores` on a CPU: 4 MB, and as much again for its buffer. With
4,096 ids, four times as many took 93 instead of 48 ms for 2,048 rows."""


class _Sum(torch.autograd.Function):
    """Σ cross_entropy(hidden @ weight.T, targets), ``rows`` rows at a time."""

    @staticmethod
    def forward(  # noqa: PLR0917  (torch passes them by position)
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int, compiled: bool
    ) -> Tensor:
        chunk_sum = _compiled() if compiled else _chunk_sum
        matrix = weight.to(hidden.dtype)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        gradient, hidden_grad, weight_grad = any(ctx.needs_input_grad), None, None
        if gradient:
            hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            nats, grad = chunk_sum(hidden[part], matrix, targets[part], gradient)
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
        # a factor such as 1 / 1200 rounded to bfloat16 would be 0.2 % short, of every row alike
        scaled = (hidden_grad.to(grad.dtype) * grad).to(hidden_grad.dtype)
        return scaled, weight_grad * grad, None, None, None


def _chunk_sum(
    x: Tensor, matrix: Tensor, target: Tensor, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return Σ nats of the rows ``x`` and, with ``gradient``, ∂Σ/∂logits (rows, V)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    target = target[:, None]
    counted, target = (target != IGNORE).to(wide), target.clamp_min(0)
    logits = (x @ matrix.T).to(wide)  # (rows, V)
    if torch.compiler.is_compiling():
        log_sum = logits.logsumexp(-1, keepdim=True)
        nats = ((log_sum - logits.gather(1, target)) * counted).sum()
        if not gradient:
            return nats, None
        # a scatter would be a second kernel over all of grad
        one_hot = torch.arange(len(matrix), device=x.device) == target
        return nats, (logits.sub_(log_sum).exp_() - one_hot.to(wide)).mul_(counted).to(x.dtype)
    logits = logits.log_softmax(-1)  # one kernel, in which a row stays in a core's cache
    nats = -(logits.gather(1, target) * counted).sum()
    if not gradient:
        return nats, None
    grad = logits.exp_()
    grad.scatter_add_(1, target, grad.new_full((1, 1), -1).expand_as(target))
    return nats, grad.mul_(counted).to(x.dtype)


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]:
    """Return :func:`_chunk_sum` as two kernels, which read and write logits in the rows' type."""
    return torch.compile(_chunk_sum, dynamic=False)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    reduction: Literal["mean", "sum", "none"] = "mean",
    rows: int | None = None,
    *,
    compiled: bool = False,
) -> Tensor:
    """Return ``cross_entropy(hidden @ weight.T, targets, reduction)``, ``rows`` rows at a time.

    ``hidden`` is (..., C), ``weight`` (V, C), ``targets`` (...). ``rows`` = None: as many as fit a
    CPU's cache or keep a GPU busy. The reduction none, of shape (...), has no gradient.
    ``compiled`` uses kernels of torch.compile for the sum and its gradient. Under autocast the
    products are in its type, like any other.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    size = (MAX_CUDA_COMPILED if compiled else MAX_CUDA) if kind == "cuda" else MAX_CPU
    rows = rows or _power_of_two(size // len(weight))
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
    """Return the largest power of two up to ``limit``: most batches become equal chunks."""
    return 1 << max(0, limit.bit_length() - 1)


@torch.no_grad()
def token_scores(
    hidden: Tensor, weight: Tensor, targets: Tensor, rows: int | None = None
) -> Tensor:
    """Return nats, rank, entropy and top (4, N) of ``targets`` (N), ``rows`` rows at a time.

    nats = −log p(target), equal to ``linear_cross_entropy(…, reduction="none")``; rank is the
    number of ids with a higher logit; entropy = −Σ p log p in nats; top = −log p of the most
    likely id. ``hidden`` is (N, C), ``weight`` (V, C), as there; the result is float32 or wider.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rows = rows or _power_of_two((MAX_CUDA if kind == "cuda" else SCORE_CPU) // len(weight))
    scores = torch.empty(4, len(targets), dtype=wide, device=hidden.device)
    with torch.autocast(kind, enabled=False):
        matrix = weight.to(hidden.dtype)
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            scores[:, part] = torch.stack(_row_scores(hidden[part], matrix, targets[part], wide))
    return scores


def _row_scores(
    x: Tensor, matrix: Tensor, target: Tensor, wide: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return nats, rank, entropy and top of some rows.

    There are two matrices: the logits, and a buffer that comparisons and exponentials share. A
    comparison into numbers of the logits' type is five times faster to sum than one into booleans.
    """
    logits = (x @ matrix.T).to(wide)  # (rows, V)
    buffer = torch.empty_like(logits)
    predicted = logits.gather(1, target[:, None])
    rank = torch.gt(logits, predicted, out=buffer).sum(1)
    top = logits.amax(1, keepdim=True)
    shifted = logits.sub_(top)
    total = torch.exp(shifted, out=buffer).sum(1)
    log_total = total.log()  # of Σ exp(z − largest): −log p of the most likely id
    mean = torch.linalg.vecdot(buffer, shifted) / total  # Σ p (z − top)
    return log_total - (predicted - top)[:, 0], rank, log_total - mean, log_total


@torch.no_grad()
def divergence(
    hidden: Tensor,
    other: Tensor,
    weight: Tensor,
    other_weight: Tensor,
    rows: int | None = None,
) -> Tensor:
    """Return KL(p ‖ q) in nats, and 1 where p and q have the same mode, (2, N).

    p and q are the softmax of ``hidden @ weight.T`` and of ``other @ other_weight.T``, both over
    the same ids; ``rows`` rows are computed at a time.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        lower = torch.get_autocast_dtype(kind)
        hidden, other = hidden.to(lower), other.to(lower)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rows = rows or _power_of_two((MAX_CUDA if kind == "cuda" else SCORE_CPU) // len(weight))
    found = torch.empty(2, len(hidden), dtype=wide, device=hidden.device)
    with torch.autocast(kind, enabled=False):
        first, second = weight.to(hidden.dtype), other_weight.to(other.dtype)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            p = (hidden[part] @ first.T).to(wide)
            q = (other[part] @ second.T).to(wide)
            found[1, part] = (p.argmax(1) == q.argmax(1)).to(wide)
            p, q = p.log_softmax(1), q.log_softmax(1)
            found[0, part] = torch.linalg.vecdot(p.exp(), p - q)
    return found
