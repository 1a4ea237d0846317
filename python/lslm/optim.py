"""Gradient descent: SGD, AdamW and Muon, and the parameter groups of a model."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from lslm.optim_config import OptimConfig, ScheduleConfig, learning_rate_factor
from lslm.parallel import Ranks

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

__all__ = [
    "SGD",
    "AdamW",
    "Muon",
    "OptimConfig",
    "ScheduleConfig",
    "build_optimizers",
    "default_newton_schulz_steps",
    "learning_rate_factor",
    "newton_schulz",
    "update",
]


class _Optimizer(torch.optim.Optimizer):
    """torch's class, whose methods wrapped for its compiler would load that: a second of imports.

    Nobody compiles these two; what they wrap is called as it is.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with settings of their own."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, or make them 0."""
        inspect.unwrap(torch.optim.Optimizer.zero_grad)(self, set_to_none)


class SGD(_Optimizer):
    """Gradient descent with momentum: v ← μ v + g, θ ← θ (1 − η λ) − η v (Polyak 1964).

    η is ``lr``, μ ``momentum``, λ ``weight_decay``; with μ = λ = 0, θ ← θ − η g.
    """

    def __init__(
        self, params: ParamsT, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, keep: Tensor | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; nothing if ``keep`` is false."""
        for group in self.param_groups:
            for p, gradient in _gradients(group["params"], keep):
                velocity = gradient
                if group["momentum"]:
                    state = self.state[p]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(p)
                    velocity = state["momentum"].mul_(_factor(group["momentum"], keep))
                    velocity.add_(gradient)
                _subtract(p, velocity, group["lr"], group["lr"] * group["weight_decay"], keep)


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019).

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², and with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ):
    θ ← θ (1 − η λ) − η m̂ / (√v̂ + ε). ``fused`` uses torch's kernel for the same update.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        fused: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"fused": fused})

    @torch.no_grad()
    def step(self, keep: Tensor | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; nothing if ``keep`` is false."""
        for group in self.param_groups:
            pairs = _gradients(group["params"], keep)
            for p, _ in pairs:
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
                    state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            if group["fused"]:
                self._fused(group, pairs, keep)
                continue
            if keep is not None and not keep:
                continue
            beta1, beta2 = group["betas"]
            for p, gradient in pairs:
                step, mean, square = (self.state[p][key] for key in ("step", "mean", "square"))
                t = step.add_(1).item()
                mean.lerp_(gradient, 1 - beta1)
                square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                mean_hat, square_hat = mean / (1 - beta1**t), square / (1 - beta2**t)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * mean_hat / (square_hat.sqrt() + group["eps"]))

    def _fused(
        self, group: dict[str, Any], pairs: list[tuple[Tensor, Tensor]], keep: Tensor | None
    ) -> None:
        states = [self.state[p] for p, _ in pairs]
        adamw(
            [p for p, _ in pairs],
            [gradient for _, gradient in pairs],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            found_inf=None if keep is None else (~keep).to(torch.float32),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


class Muon(_Optimizer):
    """Momentum with an orthogonalised step, for matrices (rows, columns) (Jordan et al. 2024).

    M ← μ M + (1 − μ) G, θ ← θ (1 − η λ) − η √max(1, rows / columns) · O((1 − μ) G + μ M), where O
    is :func:`newton_schulz`. Matrices of one shape are updated together. Several processes that
    have the same gradients share the work: each computes O of some matrices, and all get it.
    """

    _ranks = Ranks()
    """The processes that share the work; a copy of an optimizer works alone."""

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        *,
        dtype: torch.dtype | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """``dtype`` is that of the matrix products; None: bfloat16 on a GPU, float32 on a CPU.

        ``ranks`` are the processes that share the work; None: each works alone.
        """
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps}
        super().__init__(params, defaults | {"dtype": dtype})
        self._ranks = ranks or Ranks()
        if any(p.dim() != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon updates matrices only: use AdamW for all other parameters")

    @torch.no_grad()
    def step(self, keep: Tensor | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; nothing if ``keep`` is false."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p, gradient in _gradients(group["params"], keep):
                shapes.setdefault(p.shape, []).append((p, gradient))
            for shape, pairs in shapes.items():
                updates = []
                for p, gradient in pairs:
                    state = self.state[p]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    weight: Any = 1 - group["momentum"]
                    if keep is not None:  # of weight 0 the gradient changes nothing
                        weight = keep.to(p.dtype) * weight
                    momentum = state["momentum"].lerp_(gradient, weight)
                    updates.append(torch.lerp(gradient, momentum, group["momentum"]))
                dtype = group["dtype"] or (torch.bfloat16 if momentum.is_cuda else torch.float32)
                stack = self._orthogonal(updates, dtype, group["steps"])
                rate = group["lr"] * math.sqrt(max(1, shape[0] / shape[1]))
                decay = group["lr"] * group["weight_decay"]
                for (p, _), direction in zip(pairs, stack, strict=True):
                    _subtract(p, direction, rate, decay, keep)

    def _orthogonal(self, updates: list[Tensor], dtype: torch.dtype, steps: int) -> Tensor:
        """Return O of ``updates`` (n, rows, columns); each process computes its share of them."""
        share = math.ceil(len(updates) / self._ranks.world_size)
        mine = updates[share * self._ranks.rank :][:share]
        if len(mine) == share:
            found = newton_schulz(torch.stack(mine).to(dtype), steps)
        else:  # the last processes have fewer, or none
            found = torch.zeros(share, *updates[0].shape, dtype=dtype, device=updates[0].device)
            if mine:
                found[: len(mine)] = newton_schulz(torch.stack(mine).to(dtype), steps)
        return self._ranks.gather(found)[: len(updates)]


def newton_schulz(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return ``matrices`` (n, rows, columns) with every singular value replaced by about 1.

    Iterates X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X from X / ‖X‖. The coefficients raise small singular
    values fastest; after 5 steps they are between about 0.7 and 1.2 (Jordan et al. 2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.size(-2) <= matrices.size(-1)
    x = matrices if wide else matrices.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)
    if x.dtype.itemsize >= 4 and x.size(-1) >= 2 * x.size(-2):
        x = torch.matmul(_gram_factor(x @ x.mT, steps, (a, b, c)), x)
        return x if wide else x.mT
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x if wide else x.mT


def _gram_factor(gram: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """Return the matrix Q with which Q X is what ``steps`` iterations make of X, given X Xᵀ.

    Every factor P = a + b G + c G² is a polynomial of the first X Xᵀ, so all of them commute: Q is
    their product, and X Xᵀ becomes P² X Xᵀ. The products are of the small side alone, a third less
    for a matrix of one to four; in half precision too much is lost.
    """
    a, b, c = coefficients
    factor: Tensor | None = None
    for step in range(steps):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        factor = polynomial if factor is None else polynomial @ factor
        if step + 1 < steps:
            gram = polynomial @ gram @ polynomial
    return torch.eye(gram.size(-1)).to(gram) if factor is None else factor


def default_newton_schulz_steps(device: str | torch.device) -> int:
    """Return Muon's iterations where the configuration has 0: 5, and 3 on a CPU.

    There 5 would be a fifth of a small model's step.
    """
    return 3 if torch.device(device).type == "cpu" else 5


def update(optimizers: list[torch.optim.Optimizer], keep: Tensor) -> None:
    """Make one update of each of ``optimizers``, or none if ``keep`` is false; clear gradients.

    The optimizers of this module decide that on the device, so on a GPU the host does not wait.
    Others, and all on a CPU, where reading ``keep`` waits for nothing, are called or not.
    """
    on_device = keep.is_cuda and all(isinstance(o, SGD | AdamW | Muon) for o in optimizers)
    if on_device or keep:
        for optimizer in optimizers:
            optimizer.step(keep) if on_device else optimizer.step()  # type: ignore[call-overload]
    for optimizer in optimizers:
        optimizer.zero_grad()


def _gradients(params: list[Tensor], keep: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """Return each parameter that has a gradient, with its gradient: 0 if ``keep`` is false."""
    pairs = [(p, p.grad) for p in params if p.grad is not None]
    if keep is not None:
        for _, gradient in pairs:
            gradient.masked_fill_(~keep, 0)  # it may be NaN, which no factor removes
    return pairs


def _factor(value: float, keep: Tensor | None) -> float | Tensor:
    """Return ``value``, or 1 if ``keep`` is false."""
    return value if keep is None else 1 + keep * (value - 1)


def _subtract(p: Tensor, step: Tensor, rate: float, decay: float, keep: Tensor | None) -> None:
    """θ ← θ (1 − decay) − rate · step, unless ``keep`` is false."""
    if decay:
        p.mul_(_factor(1 - decay, keep))
    if keep is None:
        p.add_(step, alpha=-rate)
    else:
        p.addcmul_(step.to(p.dtype), keep.to(p.dtype), value=-rate)


def build_optimizers(
    model: nn.Module, config: OptimConfig, ranks: Ranks | None = None
) -> list[torch.optim.Optimizer]:
    """Return the optimizers for ``model``: its matrices, embedding, head and vectors in groups.

    Each group has its peak rate as ``peak_lr``; the rate of a step is that times
    :func:`learning_rate_factor`. ``ranks`` is that of :class:`Muon`.
    """
    roles: dict[str, list[Tensor]] = {"matrix": [], "embedding": [], "head": [], "vector": []}
    for name, parameter in model.named_parameters():
        role = "matrix" if parameter.dim() == 2 else "vector"
        if name.startswith(("embedding.", "positions.", "bigrams.")):
            role = "embedding"
        elif name.startswith("head."):
            role = "head"
        roles[role].append(parameter)
    width = roles["embedding"][0].size(1)
    muon, scale = config.name == "muon", math.sqrt(256 / width)
    rates = {
        "matrix": config.lr,
        "embedding": config.embedding_lr or (0.3 * scale if muon else config.lr),
        "head": config.head_lr or (0.008 * scale if muon else config.lr),
        "vector": config.vector_lr or (0.02 if muon else config.lr),
    }
    groups = [
        {
            "params": parameters,
            "lr": rates[role],
            "peak_lr": rates[role],
            "weight_decay": config.weight_decay if role != "vector" else 0.0,
        }
        for role, parameters in roles.items()
        if parameters
    ]
    if config.name == "sgd":
        return [SGD(groups, momentum=config.momentum)]
    if config.name == "adamw" or not roles["matrix"]:
        return [AdamW(groups, betas=config.betas, eps=config.eps)]
    steps = config.newton_schulz_steps or default_newton_schulz_steps(roles["matrix"][0].device)
    return [
        Muon(groups[:1], momentum=config.momentum, steps=steps, ranks=ranks),
        AdamW(groups[1:], betas=config.betas, eps=config.eps),
    ]
