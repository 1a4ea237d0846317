"""One trial: an ordinary run in ``STUDY/trials/NAME``, and what came of it.

Running out of memory and a loss that is not finite are results, as is a configuration that cannot
be built; any other error ends the study.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from typing import TYPE_CHECKING, Any

from lslm.checkpoint import find_checkpoint, list_checkpoints, read_state
from lslm.config import Config, load_config
from lslm.exceptions import MismatchError
from lslm.report.metrics import read_metrics
from lslm.training import TrainResult, train
from lslm.training.memory import is_out_of_memory
from lslm.tuning.budget import count_flops, count_parameters
from lslm.tuning.plan import RUNGS
from lslm.tuning.slot import slot_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna

    from lslm.tuning.plan import Plan
    from lslm.tuning.storage import Storage

__all__ = ["run_trial"]

Show = "Callable[[int, int | None, str], object]"


def run_trial(
    plan: Plan,
    storage: Storage,
    trial: optuna.Trial,
    show: Callable[[int, int | None, str], object],
) -> None:
    """Train what ``trial`` describes, from its last checkpoint if there is one; record the result.

    ``show`` is called with steps done, steps in all, and text.
    """
    with storage.heartbeat(trial):
        start = time.monotonic()
        try:
            config = _configuration(plan, storage, trial)
        except MismatchError:
            raise
        except ValueError as error:  # no such model
            storage.note(trial, reason=str(error))
            storage.finish(trial, "invalid", None)
            return
        follower = _Follower(storage, trial, may_prune=not slot_of(trial).is_fixed)
        run = storage.folder / "trials" / slot_of(trial).name
        if follower.replay(run):
            _record(storage, trial, run, "pruned")
            return
        outcome, reason = _train(config, follower, show)
        storage.note(trial, reason=reason, seconds=time.monotonic() - start)
        _record(storage, trial, run, outcome)


def _configuration(plan: Plan, storage: Storage, trial: optuna.Trial) -> Config:
    """Return the configuration of ``trial``, and record what follows from it."""
    slot = slot_of(trial)
    if slot.is_fixed:  # Optuna records the values that it is asked for
        values = {
            p.key: p.suggest(trial) for p in plan.space.parameters if p.key in (slot.values or {})
        }
    else:
        values = plan.space.suggest(trial, plan.config)
    storage.note(trial, drawn=True)
    config = plan.configure(values, folder=storage.folder, slot=slot)
    from lslm import TokenDataset

    vocab_size = config.model.vocab_size or TokenDataset(config.data.train_path()).vocab_size
    shape = _with_vocabulary(config, vocab_size)
    storage.note(
        trial,
        run=f"trials/{slot.name}",
        n_parameters=count_parameters(shape.model),
        flops_per_token=count_flops(shape.model),
        shape=f"{shape.model.layers} × {shape.model.width}",
        vocab_size=vocab_size,
    )
    return config


def _with_vocabulary(config: Config, vocab_size: int) -> Config:
    from lslm.config import replace

    return replace(config, vocab_size=vocab_size)


def _train(
    config: Config, follower: _Follower, show: Callable[[int, int | None, str], object]
) -> tuple[str, str]:
    """Return the outcome of training, and the reason if it is not the usual one."""

    def report(_stage: str, done: int, total: int | None, unit: str) -> None:
        show(done, total, unit)

    try:
        train(config, resume=True, progress=report, on_validation=follower.follow)
    except FloatingPointError as error:
        return "diverged", str(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
    else:
        return ("pruned" if follower.has_pruned else "finished"), ""
    _free_memory()  # here, where the traceback no longer holds the tensors
    return "out of memory", reason


def _free_memory() -> None:
    """Return what a failed trial holds, so that the worker goes on."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Follower:
    """Reports the validations of a trial to Optuna, and stops it where the pruner says so."""

    def __init__(self, storage: Storage, trial: optuna.Trial, *, may_prune: bool) -> None:
        self._storage, self._trial, self._may_prune = storage, trial, may_prune
        self._reported = 0
        self.has_pruned = False

    def replay(self, run: Path) -> bool:
        """Report the validations up to the last checkpoint of ``run``; return whether to stop.

        Those after it are made again.
        """
        if not list_checkpoints(run):
            return False
        checkpoint = read_state(find_checkpoint(run, "last"))
        self._storage.note(self._trial, saved_step=checkpoint["step"])
        steps = load_config(run / "config.toml").train.steps
        if not steps:
            return False
        for row in read_metrics(run / "metrics.jsonl"):
            bits = row.validation_bits_per_byte
            if bits is None or row.step > checkpoint["step"]:
                continue
            if self._report(row.step / steps, bits):
                return True
        return False

    def follow(self, reached: TrainResult) -> bool:
        """Report a validation; return whether to stop."""
        assert reached.validation is not None
        settings = load_config(reached.run / "config.toml").train
        if settings.steps:
            share = reached.step / settings.steps
        else:  # until its time is over, a run of minutes has no number of steps
            share = min(1.0, reached.seconds / (60 * settings.minutes))
        return self._report(share, reached.validation.bits_per_byte)

    def _report(self, share: float, bits_per_byte: float) -> bool:
        """Report the loss after this share of the budget; return whether to stop."""
        ninths = round(RUNGS * share)
        if ninths <= self._reported:
            return False
        self._reported = ninths
        self._trial.report(bits_per_byte, ninths)
        if not math.isfinite(bits_per_byte):
            self.has_pruned = True
        elif self._may_prune and share < 1:
            self.has_pruned = self._trial.should_prune()
        return self.has_pruned


def _record(storage: Storage, trial: optuna.Trial, run: Path, outcome: str) -> None:
    """Record the result of ``trial`` from the files of its run."""
    facts: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):  # ended before its first checkpoint
        state = read_state(find_checkpoint(run, "last"))
        facts = {"step": state["step"], "n_tokens": state["tokens"], "trained": state["seconds"]}
        validation = state.get("final_validation") or state.get("validation")
        if validation:
            facts["loss"] = validation["loss"]
            facts["bits_per_byte"] = validation["bits_per_byte"]
    value = facts.get("bits_per_byte") if outcome == "finished" else None
    if outcome == "finished" and value is None:
        outcome = "diverged"
    storage.note(trial, **facts)
    storage.finish(trial, outcome, value)
