"""How long a run still takes, its validations and checkpoints included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lslm.training.run import TrainingRun

__all__ = ["Pace"]

SMOOTHING_STEPS = 20
"""Steps over which the time of a step is averaged: a shown time that jumps helps nobody."""
FORWARD_SHARE = 1 / 3
"""Of a step's time for its tokens: what scoring them takes, until a validation was timed."""


@dataclass
class Pace:
    """What a step, scoring a token and a checkpoint took in this call, in seconds."""

    saved: int
    """The step of the last checkpoint, or that this call began at."""
    validated: int
    """The step up to which no validation is left to be made."""
    step_seconds: float = 0.0
    """Averaged; 0 before the first step."""
    validation_seconds: float = 0.0
    """Of the last validation on the sample; 0 before the first."""
    token_seconds: float = 0.0
    """Of scoring a token in it."""
    save_seconds: float = 0.0
    """In which training waited for the last checkpoint."""
    n_timed: int = 0

    def add_step(self, seconds: float) -> None:
        """Count a step; the first of a call is slower, and the second replaces it."""
        self.n_timed += 1
        weight = 1 / min(max(self.n_timed - 1, 1), SMOOTHING_STEPS)
        self.step_seconds += weight * (seconds - self.step_seconds)

    def add_validation(self, step: int, seconds: float, n_tokens: int) -> None:
        """Count a validation on a sample of ``n_tokens`` after ``step``."""
        self.validated, self.validation_seconds = step, seconds
        self.token_seconds = seconds / max(n_tokens, 1)

    def add_save(self, step: int, seconds: float) -> None:
        """Count a checkpoint of ``step``, for which training waited ``seconds``."""
        self.saved, self.save_seconds = step, seconds

    def seconds_left(self, run: TrainingRun, step: int) -> float | None:
        """Return the time until ``run`` ends, as of ``step``; None before the first step.

        Of a run of minutes it is what is left of them.
        """
        if not self.step_seconds:
            return None
        if run.budget is not None:
            return max(0.0, run.budget.seconds - run.budget.used)
        settings, n_all = run.config.train, run.data.n_validation_tokens
        last = min(settings.stop_after or settings.steps, settings.steps)
        # a run that went back makes them again
        saved, validated = min(self.saved, step), min(self.validated, step)
        seconds = (last - step) * self.step_seconds
        seconds += _n_due(saved, last, settings.checkpoint_every) * self.save_seconds
        token_seconds = self.token_seconds or self._expected_token_seconds(run)
        validation_seconds = self.validation_seconds or run.n_scored * token_seconds
        seconds += _n_due(validated, last, settings.validate_every) * validation_seconds
        if validated < last == settings.steps and run.n_scored < n_all:
            seconds += n_all * token_seconds  # after the last step everything is scored
        return seconds

    def _expected_token_seconds(self, run: TrainingRun) -> float:
        """Return the time of scoring a token where none was timed."""
        per_step = run.config.train.batch_size * run.config.model.sequence_length
        return FORWARD_SHARE * self.step_seconds / per_step


def _n_due(done: int, last: int, every: int) -> int:
    """Return how many steps after ``done`` up to ``last`` are multiples of ``every``, or last."""
    if done >= last:
        return 0
    return last // every - done // every + (last % every != 0)
