"""How many steps fit into a number of minutes, measured on a few."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch

from lslm.parallel import ranks
from lslm.training.step import train_step

if TYPE_CHECKING:
    from torch import nn

    from lslm import TokenDataset
    from lslm.config import Config

__all__ = ["fitting_steps"]

MIN_STEPS = 10
"""Fewest steps of a run, however little time it has: fewer show no curve."""
MIN_TRIALS, MAX_TRIALS = 4, 50
"""Steps to time; the first is slower and is not counted."""
TRIAL_SHARE, MAX_TRIAL_SECONDS = 0.03, 10
"""When no further step is timed: after this share of the budget, at most these seconds."""


def fitting_steps(
    config: Config,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    *,
    start: float,
    device: str,
    validation: TokenDataset | None,
) -> int:
    """Return how many steps fit into ``train.minutes`` from ``start``, a ``time.monotonic()``.

    A few steps with a learning rate of 0 are timed on drawn tokens. The weights are restored
    afterwards, the state of ``optimizers`` is not: build new ones.
    """
    group, settings = ranks(), config.train
    budget = 60 * settings.minutes
    seconds = _seconds_per_step(config, model, optimizers, device, budget)
    reserve = 0.02 * budget  # checkpoints, and the start
    if validation is not None:  # ten of them; a forward pass is a third of a step
        scored = min(settings.validation_tokens or validation.n_tokens, validation.n_tokens)
        batch_tokens = settings.batch_size * config.model.sequence_length
        reserve += 10 * scored * seconds / (3 * batch_tokens)
    left = budget - (time.monotonic() - start) - min(reserve, budget / 2)
    # the mean over the processes, so that all of them get the same number
    total = group.sum(torch.tensor(left / seconds, dtype=torch.float64)).item()
    return max(MIN_STEPS, int(total / group.world_size))


def _seconds_per_step(
    config: Config,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    device: str,
    budget: float,
) -> float:
    """Return the median time of a few steps; the weights are restored."""
    group, settings, T = ranks(), config.train, config.model.sequence_length
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = settings.batch_size // group.world_size
    drawn = torch.randint(config.model.vocab_size, (rows, T + 1)).to(device)
    inputs, targets = drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()
    for parameters in (g for optimizer in optimizers for g in optimizer.param_groups):
        parameters["lr"] = 0.0
    times: list[float] = []
    limit = time.monotonic() + min(TRIAL_SHARE * budget, MAX_TRIAL_SECONDS)
    # any(): all processes make the same number of steps, or they would wait for each other for ever
    while len(times) < MIN_TRIALS or (
        len(times) < MAX_TRIALS and group.any(time.monotonic() < limit)
    ):
        moment = time.monotonic()
        train_step(
            model,
            optimizers,
            inputs,
            targets,
            micro_batch_size=settings.micro_batch_size or None,
            max_grad_norm=settings.max_grad_norm or None,
            dtype=settings.dtype,
        )
        times.append(time.monotonic() - moment)
    model.load_state_dict(before)
    return statistics.median(times[1:])
