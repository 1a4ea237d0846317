"""Whether one configuration is better than another, or only luckier: repetitions over seeds.

The loss of a run differs from seed to seed. σ is its standard deviation, pooled over all
configurations that were repeated:

    σ² = Σ_c Σ_s (x_cs − mean_c)² / Σ_c (n_c − 1)

The best of many trials is best partly by luck, so the runs that it was chosen by are left out: only
fresh seeds count. Two configurations whose difference has 0 in its 95 % interval are a *tie*. The
recommendation is the simplest configuration whose mean is within one standard error of the lowest
(Breiman et al. 1984).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Comparison", "Repeated", "compare", "pooled_deviation", "t_quantile"]

CONFIDENCE = 0.95
"""Of the intervals."""


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A configuration that was trained with several seeds."""

    name: str
    losses: tuple[float, ...]
    """One per seed that reached the end."""
    complexity: tuple[float, ...] = (0.0,)
    """What is compared to say which is simpler: smaller is simpler."""

    @property
    def mean(self) -> float:
        """Mean of the losses; infinity without one."""
        return sum(self.losses) / len(self.losses) if self.losses else math.inf


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What repetitions say."""

    sigma: float
    """Standard deviation of the loss from seed to seed; NaN without repetitions."""
    degrees: int
    """Degrees of freedom of ``sigma``."""
    best: str
    """The configuration with the lowest mean."""
    recommended: str
    """The simplest within one standard error of it."""
    rows: tuple[Row, ...]
    """All configurations, the lowest mean first."""

    def sigmas(self, difference: float) -> float:
        """Return how many σ a difference is; NaN without a σ, or with one of 0."""
        return difference / self.sigma if self.sigma > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration beside the best and the reference."""

    name: str
    mean: float
    error: float
    """Standard error of the mean."""
    difference: float
    """Mean minus that of the reference."""
    interval: tuple[float, float]
    """95 % interval of the difference."""
    is_tie: bool
    """Whether the difference to the best may be 0."""

    @property
    def verdict(self) -> str:
        """Return what the interval says about the reference."""
        low, high = self.interval
        return "better" if high < 0 else "worse" if low > 0 else "tie"


def compare(configurations: Sequence[Repeated], reference: str) -> Comparison:
    """Return the comparison of ``configurations`` with each other and with ``reference``.

    Those without a single loss come last and are never recommended.
    """
    ordered = sorted(configurations, key=lambda one: (one.mean, one.complexity))
    sigma, degrees = pooled_deviation({one.name: one.losses for one in ordered})
    best = ordered[0]
    beside = next((one for one in ordered if one.name == reference), best)
    quantile = t_quantile(0.5 + CONFIDENCE / 2, degrees) if degrees else math.inf
    rows = []
    for one in ordered:
        low, high = _interval(one, beside, sigma, quantile)
        from_best = _interval(one, best, sigma, quantile)
        rows.append(
            Row(
                name=one.name,
                mean=one.mean,
                error=sigma / math.sqrt(len(one.losses)) if one.losses else math.inf,
                difference=one.mean - beside.mean,
                interval=(low, high),
                is_tie=not from_best[0] > 0,
            )
        )
    error = rows[0].error if math.isfinite(rows[0].error) else 0.0
    within = [one for one in ordered if one.mean <= best.mean + error]
    simplest = min(within, key=lambda one: (one.complexity, one.mean))
    return Comparison(
        sigma=sigma,
        degrees=degrees,
        best=best.name,
        recommended=simplest.name,
        rows=tuple(rows),
    )


def pooled_deviation(losses: Mapping[str, Sequence[float]]) -> tuple[float, int]:
    """Return σ over all groups, each around its own mean, and its degrees of freedom."""
    squares, degrees = 0.0, 0
    for group in losses.values():
        if len(group) > 1:
            mean = sum(group) / len(group)
            squares += sum((x - mean) ** 2 for x in group)
            degrees += len(group) - 1
    return (math.sqrt(squares / degrees) if degrees else math.nan), degrees


def _interval(one: Repeated, other: Repeated, sigma: float, quantile: float) -> tuple[float, float]:
    """Return the interval of the difference of two means; (0, 0) of one with itself."""
    if one.name == other.name:
        return 0.0, 0.0
    if not one.losses or not other.losses or math.isnan(sigma):
        return -math.inf, math.inf
    half = quantile * sigma * math.sqrt(1 / len(one.losses) + 1 / len(other.losses))
    difference = one.mean - other.mean
    return difference - half, difference + half


def t_quantile(p: float, degrees: int) -> float:
    """Return x with P(T ≤ x) = p, 0.5 ≤ p < 1, of Student's distribution."""
    low, high = 0.0, 1.0
    while _t_probability(high, degrees) < p:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_probability(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def _t_probability(x: float, degrees: int) -> float:
    """Return P(T ≤ x) for x ≥ 0: the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(x / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine if degrees % 2 else 1.0), 0.0
    for k in range(2 + degrees % 2, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    if degrees % 2:
        return 0.5 + (angle + sine * total) / math.pi
    return 0.5 + sine * total / 2
