"""The training loop: learning rate, batch, step, and now and then a validation and a checkpoint."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import time
from typing import TYPE_CHECKING

import torch

from lslm.training.metrics import MetricsFile
from lslm.training.step import train_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lslm.feed import Batch
    from lslm.progress import Reporter
    from lslm.scores import EvaluationResult
    from lslm.training.run import TrainingRun, TrainingState
    from lslm.training.stop import StopSignal

__all__ = ["training_loop"]

_logger = logging.getLogger("lslm.training")


def training_loop(
    run: TrainingRun,
    state: TrainingState,
    stop: StopSignal,
    reporter: Reporter | None,
    on_validation: Callable[[], bool | None] | None = None,
) -> bool:
    """Train ``run`` from ``state``, which is updated, to its last step or to a stop signal.

    ``on_validation`` is called after each validation; if it returns true, the run is saved and
    ends there. Return whether it did, or all steps are made.

    ::

        for each step:
            learning rate ← schedule(step, or the share of the time that is over)
            batch ← next rows of the data
            loss ← forward(batch); gradients ← backward(loss); weights ← update(gradients)
            sometimes: validate; save a checkpoint
    """
    settings, group = run.config.train, run.group
    batch_tokens = settings.batch_size * run.config.model.sequence_length
    batches, stopping, ended = iter(run.loader), False, False

    def show(text: str) -> None:
        if reporter is not None:
            reporter.update("train", state.step, run.expected_steps(state.step), text)

    with MetricsFile(run.folder, write=group.first) as metrics, _no_garbage_collection(run.device):
        while not (stopping or ended or run.is_finished(state.step)):
            factor = run.learning_rate_factor(state.step)
            set_learning_rates(run.optimizers, factor)
            torch.manual_seed(step_seed(settings.seed, state.step, group.rank))  # of dropout

            start = time.monotonic()
            state.loss, norm = _step(run, state.step + 1, next(batches))
            seconds = time.monotonic() - start

            state.step += 1
            state.n_tokens += batch_tokens
            state.seconds += seconds
            if run.budget is not None:
                run.budget.add_step(seconds)
            stopping, at_end = stop.is_set(group), run.is_finished(state.step)
            if at_end or state.step % settings.log_every == 0:
                row = {
                    "loss": state.loss,
                    "gradient_norm": norm,
                    "lr": run.config.optim.lr * factor,
                }
                row |= {"tokens": state.n_tokens, "seconds": state.seconds}
                metrics.write(state.step, row | {"tokens_per_second": batch_tokens / seconds})
            speed = f"{batch_tokens / seconds:,.0f} tokens/s"
            show(text := f"steps, loss {state.loss:.3f}, {speed}")

            validation = final = None
            if run.data.validation is not None and (at_end or run.is_due("validation", state.step)):
                show("steps, validating")
                state.validation = validation = run.validate()
                metrics.write_validation(state.step, validation)
                at_end = run.is_finished(state.step)  # it may have used up the time
                _log(run, "step %d: validation loss %.4f", state.step, validation.loss)
                ended = on_validation is not None and bool(on_validation())
                if validation.sample is not None and run.is_complete(state.step):
                    final = _validate_all(run, state, metrics, reporter)
            if at_end or stopping or ended or run.is_due("save", state.step):
                show("steps, saving")
                metrics.sync()
                run.save(state, validation, final)
                _log(run, "step %d: saved in %s", state.step, run.folder)
                show(text)
    return ended or run.is_finished(state.step)


def _validate_all(
    run: TrainingRun, state: TrainingState, metrics: MetricsFile, reporter: Reporter | None
) -> EvaluationResult | None:
    """Return the scores over everything; None in a run of minutes, which are over."""
    assert state.validation is not None
    n_sampled, n_tokens = state.validation.n_tokens, run.data.n_validation_tokens
    if run.budget is not None:
        shown = (f"{n_sampled:,}", f"{n_tokens:,}", run.folder)
        text = "the validation loss is of a sample, %s of %s tokens: lslm eval %s scores all"
        _log(run, text, *shown)
        return None
    state.validation = final = run.validate_all(reporter)
    metrics.write_validation(state.step, final, "final_validation")
    _log(run, "validation loss over all %s tokens: %.4f", f"{n_tokens:,}", final.loss)
    return final


def _log(run: TrainingRun, text: str, *values: object) -> None:
    """Log a message at INFO, in the first process."""
    if run.group.first:
        _logger.info(text, *values)


def set_learning_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set the rate of every parameter group to its peak times ``factor``."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = group["peak_lr"] * factor


def step_seed(seed: int, step: int, process_rank: int) -> int:
    """Return the seed of dropout in one step of one process, 63 bits."""
    digest = hashlib.sha256(f"{seed} {step} {process_rank}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _step(run: TrainingRun, number: int, batch: Batch[torch.Tensor]) -> tuple[float, float]:
    """Make step ``number``; return its loss and gradient norm."""
    settings = run.config.train
    try:
        return train_step(
            run.trained,
            run.optimizers,
            batch.inputs,
            batch.targets,
            micro_batch_size=settings.micro_batch_size or None,
            max_grad_norm=settings.max_grad_norm or None,
            dtype=settings.dtype,
        )
    except FloatingPointError as error:
        raise FloatingPointError(
            f"step {number} of {run.folder}: {error}; stopped before the update: start a run with "
            f"a lower optim.lr than {run.config.optim.lr}, or inspect this step's data"
        ) from None


@contextlib.contextmanager
def _no_garbage_collection(device: str) -> Iterator[None]:
    """Disable Python's collector while training on a GPU.

    It would halt the processes one after the other, and each time the others wait.
    """
    enabled = gc.isenabled()
    if device.startswith("cuda"):
        gc.collect()
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
