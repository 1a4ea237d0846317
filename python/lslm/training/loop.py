"""The training loop: learning rate, batch, step, and now and then a checkpoint and a validation."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch

from lslm.training.environment import memory_bytes, peak_flops
from lslm.training.health import WeightSample
from lslm.training.metrics import MetricsFile
from lslm.training.pace import Pace
from lslm.training.rewind import rewind
from lslm.training.run import validation_records
from lslm.training.saving import Saver
from lslm.training.step import StepValues, launch_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from lslm.feed import Batch
    from lslm.progress import Reporter
    from lslm.scores import EvaluationResult
    from lslm.training.loggers import Logger
    from lslm.training.run import TrainingRun, TrainingState
    from lslm.training.step import Limits
    from lslm.training.stop import StopSignal

__all__ = ["set_learning_rates", "step_seed", "training_loop"]

_logger = logging.getLogger("lslm.training")

MAX_SKIPPED = 10
"""Steps in a row that may be skipped: after so many the fault is not in the data."""


def training_loop(
    run: TrainingRun,
    state: TrainingState,
    stop: StopSignal,
    reporter: Reporter | None,
    *,
    on_validation: Callable[[], bool | None] | None = None,
    loggers: Sequence[Logger] = (),
) -> bool:
    """Train ``run`` from ``state``, which is updated, to its last step or to a stop signal.

    ``on_validation`` is called after each validation; if it returns true, the run is saved and
    ends there. Return whether it did, or all steps are made. ``loggers`` get each row of metrics.

    ::

        for each step:
            learning rate ← schedule(step, or the share of the time that is over)
            batch ← next rows of the data
            launch: loss ← forward(batch); gradients ← backward(loss); weights ← update(gradients)
            read loss and norm of the step before, which a GPU has finished meanwhile
            sometimes, once this step's are read: save a checkpoint; validate
    """
    validates, stopping, ended = run.data.validation is not None, False, False
    with (
        MetricsFile(run.folder, loggers, write=run.group.first) as metrics,
        Saver(run.folder, run.config.train, metrics.sync, write=run.group.first) as saver,
        _no_garbage_collection(run.device),
    ):
        loop = _Loop(run, state, metrics, saver, reporter)
        if state.validation_due:  # the run was stopped between a checkpoint and its validation
            ended = loop.validate(on_validation)
        elif run.config.train.on_bad_step == "rewind" and state.step == 0:
            loop.save()  # somewhere to go back to
        while not (stopping or ended or run.is_finished(state.step)):
            if not loop.make_step():
                continue
            stopping, at_end = stop.is_set(run.group), run.is_finished(state.step)
            saving = at_end or stopping or run.is_due("save", state.step) or loop.should_retry()
            validating = validates and (at_end or run.is_due("validation", state.step))
            if (saving or validating) and not loop.settle():
                stopping = False  # it went back, and stops after the next step
                continue
            if saving:
                loop.save(validation_due=validating)
            if validating and (at_end or not stopping):
                ended = loop.validate(on_validation)
        if not loop.is_saved and (ended or run.is_finished(state.step)):
            loop.save()
        saver.finish()
        loop.show()
    run.group.wait()
    return ended or (run.is_finished(state.step) and not state.validation_due)


class _Launched(NamedTuple):
    """A step whose values are not read yet."""

    values: StepValues
    changed: torch.Tensor | None
    """How many of the sampled weights it changed, if they were looked at."""
    factor: float
    """Of the learning rates."""
    loader: dict[str, Any] | None
    """The state of the loader after its batch, if the run may go back."""
    seconds: float
    """Its time."""
    row: dict[str, float]
    """Its figures for metrics.jsonl that were known when it was launched."""


@dataclass
class _Loop:
    """The parts of the training loop, which :func:`training_loop` calls in turn."""

    run: TrainingRun
    state: TrainingState
    metrics: MetricsFile
    saver: Saver
    reporter: Reporter | None
    is_saved: bool = True
    """Whether the weights are those of the last checkpoint."""
    _launched: _Launched | None = None
    _pace: Pace = field(init=False)
    _batches: Iterator[Batch[torch.Tensor]] = field(init=False)
    _validation: tuple[EvaluationResult, EvaluationResult | None] | None = None
    """The validation of the current step, on the sample and over everything."""
    _speed: str = "no step made"
    _peak_speed: float | None = field(init=False)
    """Tokens a second at the peak of all devices together, where it is known."""

    def __post_init__(self) -> None:
        run, step = self.run, self.state.step
        self._pace = Pace(saved=step, validated=step - self.state.validation_due)
        self._batches = iter(run.loader)
        peak, self._peak_speed = peak_flops(run.device, run.config.train.dtype), None
        if peak is not None:
            self._peak_speed = peak * run.group.world_size / run.model.flops_per_token()

    def make_step(self) -> bool:
        """Launch the next step and read the one before; return whether the run did not go back."""
        run, state, settings = self.run, self.state, self.run.config.train
        number, factor = state.step + 1, run.learning_rate_factor(state.step)
        set_learning_rates(run.optimizers, factor)
        if run.config.model.dropout:  # nothing else is drawn
            torch.manual_seed(step_seed(settings.seed, state.step, run.group.rank))
        start, batch = time.monotonic(), next(self._batches)
        waited = time.monotonic() - start
        sample = WeightSample(run.model.parameters()) if WeightSample.is_due(number) else None
        values = _launch(run, batch, run.health.limits(number))
        changed = None if sample is None else sample.changed()
        if not self.read_step():
            return False
        seconds = time.monotonic() - start
        state.step, self.is_saved, self._validation = number, False, None
        state.seconds += seconds
        self._pace.add_step(seconds)
        if run.budget is not None:
            run.budget.add_step(seconds)
        row = {"lr": run.config.optim.lr * factor, "seconds": state.seconds, "data_seconds": waited}
        loader = run.loader.state_dict() if settings.on_bad_step == "rewind" else None
        self._launched = _Launched(values, changed, factor, loader, seconds, row)
        n_places = settings.batch_size * run.config.model.sequence_length
        self._speed = f"{n_places / seconds:,.0f} tokens/s"
        self.show()
        return True

    def read_step(self) -> bool:
        """Wait for the launched step and log it; return whether the run did not go back.

        Raises ``FloatingPointError`` for a step that is not sound, by ``train.on_bad_step``.
        """
        if self._launched is None:
            return True
        (values, changed, factor, loader, seconds, row), self._launched = self._launched, None
        run, state, settings = self.run, self.state, self.run.config.train
        loss, norm, is_kept = values.read()
        verdict = run.health.judge(state.step, loss, norm)
        if verdict.kind == "dead":
            raise _stopped(run, state.step, f"{verdict.text}, no weight changes any more")
        if verdict.kind != "sound":
            if settings.on_bad_step == "stop" and verdict.kind == "not finite":
                raise _stopped(run, state.step, f"{verdict.text}, stopped before the update")
            if settings.on_bad_step == "skip" and run.health.n_bad > MAX_SKIPPED:
                text = f"{verdict.text}, {MAX_SKIPPED} steps in a row were skipped before it"
                raise _stopped(run, state.step, text)
            if settings.on_bad_step == "rewind":
                assert loader is not None
                rewind(run, state, self.saver, self.metrics, reason=verdict.text, loader=loader)
                self._batches, self.is_saved = iter(run.loader), True
                return False
            _warn(run, state.step, verdict.text + ("" if is_kept else "; skipped this update"))
        state.n_tokens += values.n_targets
        row |= {"tokens": state.n_tokens, "tokens_per_second": values.n_targets / seconds}
        state.n_skipped += not is_kept
        state.loss = loss if verdict.kind != "not finite" else state.loss
        signs = run.health.signs(state.step, loss, norm, at_end=run.is_finished(state.step))
        if changed is not None and is_kept:
            signs += run.health.rounding_sign(changed.item(), factor)
        for text in signs:
            _warn(run, state.step, f"{text}; optim.lr is {run.config.optim.lr:g}")
        if run.is_finished(state.step) or state.step % settings.log_every == 0 or not is_kept:
            self._write({"loss": loss, "gradient_norm": norm} | row, is_kept=is_kept)
        return True

    def _write(self, row: dict[str, float], *, is_kept: bool) -> None:
        """Write the row of the step that was read."""
        row = row | {"memory_bytes": memory_bytes(self.run.device)}
        if self._peak_speed is not None:
            row["peak_share"] = row["tokens_per_second"] / self._peak_speed
        self.metrics.write(self.state.step, row if is_kept else row | {"skipped": True})

    def settle(self) -> bool:
        """Wait for the launched step, whose time counts; return whether the run did not go back."""
        start = time.monotonic()
        went_on = self.read_step()
        self.state.seconds += time.monotonic() - start
        return went_on

    def should_retry(self) -> bool:
        """Return whether to save because the last checkpoint failed some time ago.

        Several processes save at the same steps; the first alone knows of the failure.
        """
        return self.run.group.world_size == 1 and self.saver.is_retry_due

    def save(self, *, validation_due: bool = False) -> None:
        """Begin to write a checkpoint of the current step, which :meth:`read_step` has read."""
        run, state, start = self.run, self.state, time.monotonic()
        self.show("saving")
        state.validation_due = validation_due
        record = run.record(state, *(self._validation or ()))
        self.saver.save(state.step, run.model, run.optimizers, record)
        self.is_saved, seconds = True, time.monotonic() - start
        self._pace.add_save(state.step, seconds)
        if run.budget is not None:
            run.budget.add_save(seconds, self.saver.seconds)
        _log(run, "step %d: saved in %s", state.step, run.folder)

    def validate(self, on_validation: Callable[[], bool | None] | None) -> bool:
        """Validate, with everything after the last step; return whether the run is to end."""
        run, state, start = self.run, self.state, time.monotonic()
        self.show("validating")
        state.validation = sampled = run.validate()
        self._pace.add_validation(state.step, time.monotonic() - start, sampled.n_tokens)
        self.metrics.write_validation(state.step, sampled)
        _log(run, "step %d: validation loss %.4f", state.step, sampled.loss)
        ended = on_validation is not None and bool(on_validation())
        final = None
        if sampled.sample is not None and run.is_complete(state.step):
            final = _validate_all(run, state, self.metrics, self.reporter)
        self._validation = sampled, final
        if state.validation_due:
            state.validation_due = False
            records = validation_records(sampled, final)
            self.saver.amend(state.step, records | {"validation_due": False})
        return ended

    def show(self, text: str | None = None) -> None:
        """Report the progress: steps, the last loss that was read, and ``text`` or the speed."""
        if self.reporter is not None:
            step, loss, text = self.state.step, self.state.loss, text or self._speed
            known = f"steps, {text}" if math.isnan(loss) else f"steps, loss {loss:.3f}, {text}"
            expected, left = self.run.expected_steps(step), self._pace.seconds_left(self.run, step)
            self.reporter.update("train", step, expected, known, seconds_left=left)


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


def _warn(run: TrainingRun, step: int, text: str) -> None:
    """Log a warning about ``step``, in the first process."""
    if run.group.first:
        _logger.warning("step %d of %s: %s", step, run.folder, text)


def _stopped(run: TrainingRun, step: int, text: str) -> FloatingPointError:
    """Return the error that ends a run whose ``step`` was not sound."""
    return FloatingPointError(
        f"step {step} of {run.folder}: {text}; start a run with a lower optim.lr than "
        f"{run.config.optim.lr:g}, or inspect this step's data"
    )


def set_learning_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set the rate of every parameter group to its peak times ``factor``."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = group["peak_lr"] * factor


def step_seed(seed: int, step: int, process_rank: int) -> int:
    """Return the seed of dropout in one step of one process, 63 bits."""
    digest = hashlib.sha256(f"{seed} {step} {process_rank}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _launch(run: TrainingRun, batch: Batch[torch.Tensor], limits: Limits) -> StepValues:
    """Launch a step of ``run`` on ``batch``."""
    settings = run.config.train
    return launch_step(
        run.trained,
        run.optimizers,
        batch.inputs,
        batch.targets,
        document_ids=batch.document_ids if run.config.data.document_mask else None,
        micro_batch_size=settings.micro_batch_size or None,
        max_grad_norm=settings.max_grad_norm or None,
        dtype=settings.dtype,
        limits=limits,
    )


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
