"""Training on without the data of some steps: back to the last checkpoint before them, and over.

checkpoints         ...  1200   [1230 … 1240]   1250  1300
restored                  ^                     set aside as replaced-step-…
step 1230 reads what step 1241 read before; the schedule of the loader keeps it
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lslm.checkpoint import amend_checkpoint, read_state, set_aside

if TYPE_CHECKING:
    from pathlib import Path

    from lslm.training.run import TrainingRun, TrainingState

__all__ = ["checkpoints_before", "leave_out"]

_logger = logging.getLogger("lslm.training")


def checkpoints_before(saved: list[Path], steps: tuple[int, int]) -> list[Path]:
    """Return the checkpoints of ``saved`` to resume from so that ``steps`` can be left out.

    They are those before the first of the steps; all, if the newest one has left them out already.
    Raises ``ValueError`` for steps that are not a range from 1, and if no checkpoint is so early.
    """
    first, last = steps
    if not 1 <= first <= last:
        raise ValueError(f"skip_steps = {first}:{last}: give the first and the last step, from 1")
    if not saved or list(steps) in read_state(saved[-1]).get("left_out_steps", []):
        return saved
    before = [checkpoint for checkpoint in saved if read_state(checkpoint)["step"] < first]
    if not before:
        oldest = read_state(saved[0])["step"]
        raise ValueError(
            f"skip_steps = {first}:{last}: the oldest checkpoint is of step {oldest}, which has "
            f"read step {first}: keep more of them (keep_last=, keep_every=)"
        )
    return before


def leave_out(
    run: TrainingRun, state: TrainingState, steps: tuple[int, int], replaced: list[Path]
) -> None:
    """Leave out the data of ``steps``, counted from 1, both included, from ``state`` on.

    The checkpoints ``replaced``, which have read them, are renamed. The one that was restored gets
    the schedule, so that a run that is killed now does not meet the data either.
    """
    first, last = steps
    if list(steps) in state.left_out_steps:
        _log(run, f"steps {first} to {last} were left out before")
    else:
        at = run.loader.n_samples // run.config.train.batch_size + first - 1 - state.step
        run.loader.skip(at, at + last - first)
        state.left_out_steps = [*state.left_out_steps, list(steps)]
        _log(run, f"from step {state.step} on without the data that steps {first} to {last} read")
        if state.step and run.group.first:
            changes = {
                "loader": run.loader.state_dict(),
                "left_out_steps": state.left_out_steps,
            }
            amend_checkpoint(run.folder, state.step, changes)
    if run.group.first:
        for checkpoint in reversed(replaced):
            _log(run, f"{checkpoint} is kept as {set_aside(checkpoint, 'replaced').name}")
    run.group.wait()


def _log(run: TrainingRun, text: str) -> None:
    """Log a warning, in the first process."""
    if run.group.first:
        _logger.warning("%s: %s", run.folder, text)
