"""Two formulas of the model with their gradients written out, for CPUs.

There torch's own gradients of them pass over memory two times as often. Under torch.compile, on a
GPU and without gradients the formulas run as they stand; ``test_gradients_by_hand_equal_torch``
holds the two equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["rms_norm", "squared_relu"]


def rms_norm(x: Tensor, weight: Tensor | None, eps: float | None) -> Tensor:
    """Return x / √(mean(x²) + ε) · weight over the last axis; ε = None: that of the type."""
    if not _is_by_hand(x) or x.dtype not in {torch.float32, torch.float64}:
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    return _RMSNorm.apply(x, weight, eps)  # type: ignore[no-any-return]


def squared_relu(x: Tensor) -> Tensor:
    """Return max(0, x)²."""
    return _SquaredReLU.apply(x) if _is_by_hand(x) else F.relu(x).square()


def _is_by_hand(x: Tensor) -> bool:
    """Return whether the gradient with respect to ``x`` is the one written here."""
    plain = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    return x.device.type == "cpu" and not plain


class _RMSNorm(torch.autograd.Function):
    """y = n · w with n = x · s and s = 1 / √(mean(x²) + ε).

    ∂w = Σ ∂y · n over the rows; ∂x = s · (∂n − n · mean(∂n · n)) with ∂n = ∂y · w.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.size(-1)).add_(eps).rsqrt_()
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit if weight is None else unit * weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        unit, scale, weight = ctx.saved_tensors
        weight_grad, unit_grad = None, grad
        if weight is not None:
            weight_grad = (grad * unit).flatten(0, -2).sum(0)
            unit_grad = grad * weight
        mean = (unit_grad * unit).mean(-1, keepdim=True)
        return torch.addcmul(unit_grad, unit, mean, value=-1).mul_(scale), weight_grad, None


class _SquaredReLU(torch.autograd.Function):
    """y = r² with r = max(0, x); ∂x = 2 r ∂y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (grad * positive).mul_(2)  # type: ignore[no-any-return]
