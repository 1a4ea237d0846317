"""The time of a run that is given in minutes: the schedule follows the clock, not the steps.

    share = time since the start / (budget − what the last validation and checkpoint will take)
    learning rate ← schedule(share)
    train until no further step fits

So a run ends on time, cooled down, however fast the machine is and however that changes. The time
of a validation or checkpoint is known in steps, which become slower together with it.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from lslm.optim import learning_rate_factor

if TYPE_CHECKING:
    from lslm.config import Config
    from lslm.optim import ScheduleConfig
    from lslm.parallel import Ranks

__all__ = ["Budget"]

SMOOTHING_STEPS = 10
"""Steps over which the time of a step is averaged: some, since single ones are interrupted."""
N_RECENT = 3
"""Last steps, of whose times the median counts if it is above the average: a pace that falls near
the end must be noticed at once."""
MAX_OVERHEAD = 0.2
"""Share of the time so far for validations and checkpoints; beyond it, they are left out."""
MAX_VALIDATION = 0.1
"""Share of the budget for the last validation; one that takes longer scores fewer tokens."""
N_POSITIONS = 10_000
"""Steps of the schedule that the share of the time is mapped to."""
N_SHARES = 10
"""Validations and checkpoints of a run, where the configuration does not say."""


@dataclass(kw_only=True)
class Budget:
    """How much of its time a run has used, and what its parts take."""

    seconds: float
    """The time of the whole run, validations and checkpoints included."""
    group: Ranks
    validation_steps: float
    """Time of one validation, in steps."""
    save_steps: float = 1.0
    """Time of one checkpoint, in steps."""
    mean_seconds: float = 0.0
    """Time of a step, averaged; 0 before the first."""
    recent: list[float] = field(default_factory=list)
    """Times of the last steps."""
    n_timed: int = 0
    overhead_seconds: float = 0.0
    """Time in validations and checkpoints."""
    used: float = 0.0
    """Seconds used, as of the last :meth:`tick`."""
    is_over: bool = False
    """Whether the last step was the last that fits."""
    shares: dict[str, int] = field(default_factory=dict)
    """Tenths of the budget that were over when a validation or checkpoint was made."""
    share: float = 0.0
    """Where the schedule is, from 0 to 1; it never goes back."""
    _start: float = field(default_factory=time.monotonic)
    """When this call began, less the time that earlier calls used."""

    @classmethod
    def of(cls, config: Config, group: Ranks, n_scored: int, start: float) -> Budget:
        """Return the budget of a new run, which began at ``start``, a ``time.monotonic()``.

        ``n_scored`` is the number of tokens of a validation; a forward pass is a third of a step.
        """
        batch_tokens = config.train.batch_size * config.model.sequence_length
        steps = n_scored / (3 * batch_tokens)
        seconds = 60 * config.train.minutes
        return cls(seconds=seconds, group=group, validation_steps=steps, _start=start)

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, for :meth:`restore`."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in {"seconds", "group", "_start"}
        }

    def restore(self, record: dict[str, Any]) -> None:
        """Continue from the record of a checkpoint: the time after it does not count."""
        vars(self).update(record)
        self._start = time.monotonic() - self.used

    def tick(self) -> None:
        """Read the clock: the mean over all processes, so that they decide alike."""
        self.used = self._mean(time.monotonic() - self._start)

    @property
    def step_seconds(self) -> float:
        """The time of the next step; 0 if it is not known."""
        return max(self.mean_seconds, statistics.median(self.recent or [0.0]))

    @property
    def left(self) -> float:
        """Seconds for further steps: without those of the last validation and checkpoint."""
        validation = min(self.validation_steps * self.step_seconds, MAX_VALIDATION * self.seconds)
        last = validation + self.save_steps * self.step_seconds
        return self.seconds - self.used - min(last, self.seconds / 2)

    def steps_left(self) -> int:
        """Return about how many more steps are made."""
        return int(max(self.left, 0.0) / self.step_seconds) if self.step_seconds else 0

    def learning_rate_factor(self, schedule: ScheduleConfig) -> float:
        """Return the factor of the next step."""
        self.share = max(self.share, self.used / ((self.used + max(self.left, 0.0)) or 1.0))
        return learning_rate_factor(schedule, int(self.share * (N_POSITIONS - 1)), N_POSITIONS)

    def add_step(self, seconds: float) -> None:
        """Count a step; the first of a call is slower, and the second replaces it."""
        self.n_timed += 1
        weight = 1 / min(max(self.n_timed - 1, 1), SMOOTHING_STEPS)
        mean = self._mean(seconds)
        self.mean_seconds += weight * (mean - self.mean_seconds)
        self.recent = [*self.recent, mean][-N_RECENT:]
        self.tick()
        self._update_is_over()

    def add_validation(self, seconds: float, share: float) -> None:
        """Count a validation, of ``share`` of the tokens that the configuration says."""
        self.validation_steps = self._add_overhead("validation", seconds) / share
        self._update_is_over()

    def add_save(self, seconds: float, beside: float) -> None:
        """Count a checkpoint: ``seconds`` in which training waited.

        ``beside`` is the time of the last one in a thread of the first process, which the end of
        the run waits for.
        """
        steps = self._add_overhead("save", seconds)
        last = self.group.sum(torch.tensor(beside, dtype=torch.float64)).item()
        self.save_steps = steps + last / max(self.step_seconds, 1e-9)

    def _add_overhead(self, kind: str, seconds: float) -> float:
        """Count ``seconds``; return them in steps."""
        self.shares[kind] = self._tenths()
        self.tick()
        mean = self._mean(seconds)
        self.overhead_seconds += mean
        return mean / max(self.step_seconds, 1e-9)

    def is_due(self, kind: str, *, every: int, step: int) -> bool:
        """Return whether a validation or checkpoint is due after ``step`` and can be paid.

        ``every`` is the number of steps between them; 0: each tenth of the time.
        """
        due = step % every == 0 if every else self._tenths() > self.shares.get(kind, 0)
        steps = self.validation_steps if kind == "validation" else self.save_steps
        cost = self.overhead_seconds + steps * self.step_seconds
        return due and cost <= MAX_OVERHEAD * self.used

    def affordable_tokens(self, wanted: int, unit: int) -> int:
        """Return how many of ``wanted`` tokens a validation can score, a multiple of ``unit``."""
        slowest = max(self.step_seconds, *self.recent)  # it cannot be cut short once begun
        share = MAX_VALIDATION * self.seconds / max(self.validation_steps * slowest, 1e-9)
        return wanted if share >= 1 else max(unit, int(share * wanted) // unit * unit)

    def _update_is_over(self) -> None:
        """Set whether the end is nearer now than after another step."""
        self.is_over = self.is_over or self.left < self.step_seconds / 2

    def _mean(self, seconds: float) -> float:
        """Return the mean of ``seconds`` over all processes."""
        total = self.group.sum(torch.tensor(seconds, dtype=torch.float64)).item()
        return total / self.group.world_size

    def _tenths(self) -> int:
        return math.floor(N_SHARES * self.used / self.seconds)
