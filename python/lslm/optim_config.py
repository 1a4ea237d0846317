"""What a run's optimizer and schedule are set to, and the learning rate that follows.

A schedule is a pure function of the step, so a checkpoint holds nothing of it. Needs no torch, so
that a configuration can be read without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["OptimConfig", "ScheduleConfig", "learning_rate_factor"]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimizer of each kind of parameter, and its rates."""

    name: Literal["muon", "adamw", "sgd"] = "muon"
    """muon: Muon for the matrices of the layers, AdamW for all else; adamw, sgd: one for all."""
    lr: float = 0.02
    """Peak learning rate of the matrices."""
    embedding_lr: float = 0.0
    """Peak rate of embedding, positions and bigrams; 0: ``lr``, with muon 0.3 × (256 / width)^½."""
    head_lr: float = 0.0
    """Peak rate of the head; 0: ``lr``, with muon 0.008 × (256 / width)^½."""
    vector_lr: float = 0.0
    """Peak rate of norms and biases; 0: ``lr``, with muon 0.02."""
    momentum: float = 0.95
    """μ of Muon and SGD."""
    newton_schulz_steps: int = 0
    """Iterations of Muon; 0: :func:`lslm.optim.default_newton_schulz_steps`."""
    betas: tuple[float, float] = (0.9, 0.95)
    """β₁ and β₂ of AdamW."""
    eps: float = 1e-8
    """ε of AdamW."""
    weight_decay: float = 0.0
    """λ of all parameters with two axes; decoupled, that is, times the learning rate."""

    def __post_init__(self) -> None:
        for name in ("lr", "embedding_lr", "head_lr", "vector_lr", "eps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"optim.{name} = {getattr(self, name)}: must be at least 0")
        for name, value in [("momentum", self.momentum), *(("betas", b) for b in self.betas)]:
            if not 0 <= value < 1:
                raise ValueError(f"optim.{name} = {value}: must be at least 0 and below 1")
        if self.newton_schulz_steps < 0:
            raise ValueError(
                f"optim.newton_schulz_steps = {self.newton_schulz_steps}: must be at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run: a warm-up, then a shape; see :func:`learning_rate_factor`."""

    name: Literal["constant", "linear", "cosine", "wsd"] = "wsd"
    """After the warm-up: flat; a line down; half a cosine down; flat, then a line down.

    wsd is warm-up, stable, decay (Hu et al. 2024).
    """
    warmup_fraction: float = 0.02
    """Share of the steps in which the rate rises from 0 along a line."""
    decay_fraction: float = 0.6
    """Share of the steps in which the rate of wsd falls."""
    final_lr_fraction: float = 0.0
    """Rate at the end, as a share of the peak."""

    def __post_init__(self) -> None:
        for name in ("warmup_fraction", "decay_fraction", "final_lr_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"schedule.{name} = {getattr(self, name)}: must be from 0 to 1")


def learning_rate_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """Return the factor on every learning rate in update ``step`` (0, …, ``steps`` − 1)."""
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    start = warmup
    if config.name == "wsd":
        start = max(warmup, steps - round(config.decay_fraction * steps))
    if config.name == "constant" or step < start:
        return 1.0
    left = (steps - step) / (steps - start + 1)  # below 1 in the first step, above 0 in the last
    if config.name == "cosine":
        left = (1 - math.cos(math.pi * left)) / 2
    return config.final_lr_fraction + (1 - config.final_lr_fraction) * left
