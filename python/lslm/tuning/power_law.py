"""L(N, D) = E + A / N^α + B / D^β: the fit, its intervals, and what it predicts.

Hoffmann et al. 2022, approach 3: the parameters that minimise the Huber loss of log L − log L̂, here
by Gauss–Newton steps with damping from a grid of starts. N is FLOPs per token / 6, parameters
counted by the work they cause, so that a run costs C = 6 N D. Intervals are a bootstrap: residuals
are drawn again, put on the fitted losses, and the fit is repeated.

    repeat:  r ← log L − log L̂(θ);  w ← min(1, δ / |r|)
             (Jᵀ w J + μ diag) s = Jᵀ w r;   θ ← θ + s if that is better, else μ grows
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MIN_RUNS", "PowerLaw", "bootstrap", "fit_power_law"]

Array: TypeAlias = "NDArray[np.float64]"

MIN_RUNS = 9
"""Runs to fit five parameters to: fewer leave no residuals to judge by."""
HUBER = 1e-3
"""Residual of log L from which it counts linearly (Hoffmann et al. 2022)."""
STARTS = tuple(itertools.product((0.2, 0.5, 1.0), (0.2, 0.4, 0.8), (0.2, 0.4, 0.8)))
"""E as a share of the lowest loss, α and β at which a search begins."""
MAX_STEPS = 200
EXPONENTS = (0.02, 2.0)
"""Range of α and β: beyond it a term is a constant, or is not there."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """The five parameters."""

    E: float
    """Loss that neither size nor data removes, nats per token."""
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, n: Array | float, d: Array | float) -> Array:
        """Return L(N, D)."""
        return np.asarray(self.E + self.A * n**-self.alpha + self.B * d**-self.beta)

    def best_size(self, flops: float) -> float:
        """Return the N with the lowest loss at C = 6 N D = ``flops``."""
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        return float(ratio * (flops / 6) ** (self.beta / (self.alpha + self.beta)))


def fit_power_law(n: Sequence[float], d: Sequence[float], loss: Sequence[float]) -> PowerLaw:
    """Return the law that fits runs of sizes ``n`` on ``d`` tokens best.

    Raises ``ValueError`` for fewer than MIN_RUNS runs, or fewer than three sizes or token counts.
    """
    if len(loss) < MIN_RUNS:
        raise ValueError(f"{len(loss)} runs are too few to fit: give at least {MIN_RUNS}")
    for values, what in ((n, "model sizes"), (d, "numbers of tokens")):
        if len(set(values)) < 3:
            raise ValueError(f"{len(set(values))} {what} are too few to fit: give at least 3")
    x, y = np.log(np.array([n, d], np.float64)), np.log(np.array(loss, np.float64))
    found = [_search(x, y, _start(x, y, *start)) for start in STARTS]
    return _law(min(found, key=lambda item: item[1])[0])


def bootstrap(
    law: PowerLaw,
    n: Sequence[float],
    d: Sequence[float],
    loss: Sequence[float],
    *,
    n_samples: int = 200,
    seed: int = 0,
) -> tuple[list[PowerLaw], Array]:
    """Return laws fitted to resampled residuals, and the residuals of log L, widened.

    They are widened by √(n / (n − 5)), as a fit of five parameters makes residuals smaller than
    the noise is.
    """
    x, y = np.log(np.array([n, d], np.float64)), np.log(np.array(loss, np.float64))
    fitted = np.log(law.loss(np.exp(x[0]), np.exp(x[1])))
    residuals = (y - fitted) * math.sqrt(len(y) / max(len(y) - 5, 1))
    residuals -= residuals.mean()
    rng, theta = np.random.default_rng(seed), _theta(law)
    laws = [
        _law(_search(x, fitted + rng.choice(residuals, len(y)), theta)[0]) for _ in range(n_samples)
    ]
    return laws, residuals


def _theta(law: PowerLaw) -> Array:
    """Return log E, log A, log B, α, β."""
    return np.array([*np.log([law.E, law.A, law.B]), law.alpha, law.beta])


def _law(theta: Array) -> PowerLaw:
    E, A, B = np.exp(theta[:3])
    return PowerLaw(E=float(E), A=float(A), B=float(B), alpha=float(theta[3]), beta=float(theta[4]))


def _start(x: Array, y: Array, share: float, alpha: float, beta: float) -> Array:
    """Return a start: E is a share of the lowest loss, half of the rest comes from each term."""
    lowest = math.exp(y.min())
    rest = math.log(max(math.exp(y.mean()) - share * lowest, 1e-3) / 2)
    log_n, log_d = x.mean(1)
    return np.array(
        [math.log(share * lowest), rest + alpha * log_n, rest + beta * log_d, alpha, beta]
    )


def _search(x: Array, y: Array, theta: Array) -> tuple[Array, float]:
    """Return the parameters at the end of a search, and their Huber loss."""
    damping, cost = 1e-2, _huber(y - _log_loss(x, theta)[0])
    for _ in range(MAX_STEPS):
        predicted, jacobian = _log_loss(x, theta)
        residual = y - predicted
        weight = np.minimum(1.0, HUBER / np.maximum(np.abs(residual), 1e-300))
        normal = jacobian.T @ (weight[:, None] * jacobian)
        normal[np.diag_indices(5)] *= 1 + damping
        normal[np.diag_indices(5)] += 1e-12
        step = np.linalg.solve(normal, jacobian.T @ (weight * residual))
        candidate = theta + np.clip(step, -1.0, 1.0)
        candidate[3:] = np.clip(candidate[3:], *EXPONENTS)
        lower = _huber(y - _log_loss(x, candidate)[0])
        if lower < cost:
            is_done = cost - lower < 1e-12 * cost
            theta, cost, damping = candidate, lower, damping / 3
            if is_done:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return theta, cost


def _log_loss(x: Array, theta: Array) -> tuple[Array, Array]:
    """Return log L̂ of each run, and its derivatives by the five parameters."""
    terms = np.exp(
        np.stack(
            [
                np.full(x.shape[1], theta[0]),
                theta[1] - theta[3] * x[0],
                theta[2] - theta[4] * x[1],
            ]
        )
    )
    total = terms.sum(0)
    shares = terms / total
    return np.log(total), np.stack([*shares, -shares[1] * x[0], -shares[2] * x[1]], axis=1)


def _huber(residual: Array) -> float:
    size = np.abs(residual)
    return float(np.where(size < HUBER, size**2 / 2, HUBER * (size - HUBER / 2)).sum())
