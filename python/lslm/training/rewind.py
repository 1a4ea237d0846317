"""Going back: the weights of the last checkpoint, the data after the batch that was not sound.

    weights, optimizer state, window of the last steps  ← the last whole checkpoint
    position in the data                                 stays after the batch
    metrics.jsonl                                        rows after it go; one row says so
    state.json of the checkpoint                         gets the new position

So a run that is resumed from that checkpoint does not meet the batch again either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lslm.checkpoint import list_checkpoints
from lslm.exceptions import FormatError

if TYPE_CHECKING:
    from lslm.training.metrics import MetricsFile
    from lslm.training.run import TrainingRun, TrainingState
    from lslm.training.saving import Saver

__all__ = ["rewind"]

_logger = logging.getLogger("lslm.training")

MAX_REWINDS = 3
"""Times that a run goes back to the same checkpoint: after so many the fault is not in the data."""


def rewind(
    run: TrainingRun,
    state: TrainingState,
    saver: Saver,
    metrics: MetricsFile,
    *,
    reason: str,
    loader: dict[str, Any],
) -> None:
    """Return ``run`` to its last whole checkpoint; ``state`` follows.

    ``loader`` is the state of the loader after the batch of the step that was not sound. Raises
    ``FloatingPointError`` without a checkpoint, or where the run went back there MAX_REWINDS times.
    """
    bad_step = state.step
    saver.wait()
    run.group.wait()
    restored = _restore(run, bad_step, reason)
    before = [entry for entry in state.rewinds if entry["to"] == restored.step]
    if len(before) >= MAX_REWINDS:
        raise FloatingPointError(
            f"step {bad_step} of {run.folder}: {reason}, and the run went back to step "
            f"{restored.step} {len(before)} times before; start a run with a lower optim.lr than "
            f"{run.config.optim.lr:g}"
        )
    run.loader.load_state_dict(loader)
    seconds = state.seconds  # they were used, whatever came of them
    entry = {"from": bad_step, "to": restored.step, "reason": reason}
    rewinds = [*state.rewinds, entry]
    vars(state).update(vars(restored) | {"seconds": seconds, "rewinds": rewinds})
    if run.group.first:
        metrics.drop_rows_after(state.step)
        metrics.write(state.step, {"rewound_from": bad_step, "reason": reason})
        _logger.warning(
            "step %d of %s: %s; back to step %d, and on with the data after that batch",
            bad_step,
            run.folder,
            reason,
            state.step,
        )
    saver.amend(state.step, {"loader": loader, "rewinds": state.rewinds, "seconds": seconds})
    run.group.wait()


def _restore(run: TrainingRun, bad_step: int, reason: str) -> TrainingState:
    """Load the last whole checkpoint before ``bad_step``."""
    for checkpoint in reversed(list_checkpoints(run.folder)):
        try:
            return run.go_back(checkpoint)
        except (FormatError, FileNotFoundError) as error:
            if run.group.first:
                _logger.warning("%s; going back to the checkpoint before it", error)
    raise FloatingPointError(
        f"step {bad_step} of {run.folder}: {reason}; there is no checkpoint to go back to"
    )
