"""How a run starts: the configuration of its folder adopted, resolved and built, or restored."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn.parallel import DistributedDataParallel

from lslm.checkpoint import list_checkpoints, read_state, set_aside
from lslm.config import (
    Config,
    Setting,
    config_keys,
    get_value,
    given_keys,
    load_config,
    locate_data,
    missing_data,
    named_paths,
    replace,
    to_toml,
)
from lslm.exceptions import FormatError, MismatchError
from lslm.files import write_atomically
from lslm.model import Transformer
from lslm.optim import build_optimizers, default_newton_schulz_steps
from lslm.parallel import Ranks, resolve_dtype
from lslm.run_loader import run_loader
from lslm.training.autotune import autotune
from lslm.training.budget import Budget
from lslm.training.environment import changes, environment
from lslm.training.health import Health
from lslm.training.memory import fitting_rows
from lslm.training.metrics import drop_rows_after
from lslm.training.origin import open_origin, with_shape
from lslm.training.run import (
    TrainingData,
    TrainingRun,
    TrainingState,
    stored_config,
    with_cadence,
)
from lslm.training.skipping import checkpoints_before, leave_out

if TYPE_CHECKING:
    from lslm import Tokenizer

__all__ = ["KEY_OWNERS", "adopt_config", "start_run"]

_logger = logging.getLogger("lslm.training")

KEY_OWNERS: dict[str, Literal["call", "both"]] = {
    "train.out": "call",
    "train.stop_after": "call",
    "train.device": "call",
    "train.threads": "call",
    "train.autotune": "both",
    "data.path": "both",
    "data.validation": "both",
    "train.steps": "both",
    "train.minutes": "both",
    "train.micro_batch_size": "both",
    "train.compile": "both",
    "train.log_every": "both",
    "train.validate_every": "both",
    "train.validation_tokens": "both",
    "train.validation_seed": "both",
    "train.checkpoint_every": "both",
    "train.keep_last": "both",
    "train.keep_best": "both",
    "train.keep_every": "both",
    "train.on_bad_step": "both",
    "train.loggers": "both",
}
"""Whose value counts when a run is resumed.

``call``: that of this call, or the default. ``both``: that of this call if it is given, which the
run then keeps; else that of the run. All other keys belong to the run: to change one would make it
another run.
"""
UNRESOLVED: dict[str, object] = {
    "model.vocab_size": 0,
    "train.dtype": "auto",
    "optim.newton_schulz_steps": 0,
}
"""Values that the run's own config.toml replaces by what they resolved to."""


def start_run(
    config: Config,
    folder: Path,
    *,
    device: str,
    group: Ranks,
    resume: bool,
    skip_steps: tuple[int, int] | None = None,
) -> tuple[TrainingRun, TrainingState]:
    """Return the run in ``folder``, new or restored from its last checkpoint; write its files.

    ``skip_steps`` are those whose data is left out, see :mod:`lslm.training.skipping`. The caller
    holds the lock of ``folder``. Raises what :func:`adopt_config` and :class:`TrainingData` do,
    before anything is written.
    """
    start = time.monotonic()
    config = adopt_config(config, folder, resume=resume)
    found = list_checkpoints(folder) if resume else []
    saved = found if skip_steps is None else checkpoints_before(found, skip_steps)
    origin = None if saved else open_origin(config)
    data = TrainingData.open(config)
    if origin is not None:
        config = with_shape(config, origin.config)
        origin.check_tokenizer(data.tokenizer, data.path)
    config = _resolve(config, data.tokenizer, device, alone=group.world_size == 1)
    torch.set_num_threads(config.train.threads)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    run = _build(with_cadence(config), folder, device, group, data)
    if not config.train.steps:
        run = dataclasses.replace(run, budget=Budget.of(config, group, run.n_scored, start))
    state = TrainingState()
    if origin is not None:
        origin.load(run.model)
        bos_id = origin.bos_id if data.train.bos_id is None else data.train.bos_id
        run = dataclasses.replace(run, bos_id=bos_id, eos_ids=origin.eos_ids)
    if saved:
        run, state = _resumed(run, saved, group)
    if skip_steps is not None:
        leave_out(run, state, skip_steps, found[len(saved) :])
    if group.first:
        write_atomically(folder / "config.toml", to_toml(stored_config(run.config)))
        if not (folder / "tokenizer.json").is_file():
            data.tokenizer.save(folder / "tokenizer.json")
        if origin is not None:
            origin.copy_companions(folder)
        drop_rows_after(folder, state.step, validation_due=state.validation_due)
    group.wait()
    return run, state


def _resumed(
    run: TrainingRun, saved: list[Path], group: Ranks
) -> tuple[TrainingRun, TrainingState]:
    """Return the run as its newest whole checkpoint of ``saved`` has it, and the state."""
    state, record = _restore_newest(run, saved, group)
    eos_ids = tuple(record.get("eos_ids", ()))
    run = dataclasses.replace(run, bos_id=record.get("bos_id"), eos_ids=eos_ids)
    changed = changes(record.get("environment", {}), environment(run))
    if changed and group.first:
        _logger.warning("%s: not bit-exact from step %d on: %s", run.folder, state.step, changed)
    return run, state


def _restore_newest(
    run: TrainingRun, saved: list[Path], group: Ranks
) -> tuple[TrainingState, dict[str, Any]]:
    """Return the state of the newest checkpoint of ``saved`` that is whole, and its record.

    Damaged ones after it are renamed, so that they are neither kept nor pruned as the newest.
    Raises the error of the newest if none is whole.
    """
    damaged: list[tuple[Path, FormatError | FileNotFoundError]] = []
    for checkpoint in reversed(saved):
        try:
            state, record = run.restore(checkpoint), read_state(checkpoint)
            break
        except (FormatError, FileNotFoundError) as error:
            damaged.append((checkpoint, error))
    else:
        raise damaged[0][1]
    group.wait()  # all processes have seen the same folders
    if group.first:
        for folder, fault in damaged:
            _logger.warning(
                "%s: resuming from step %d; the damaged checkpoint is kept as %s",
                fault,
                state.step,
                set_aside(folder).name,
            )
    return state, record


def adopt_config(config: Config, folder: Path, *, resume: bool) -> Config:
    """Return the configuration to train with: the one of the run in ``folder``, else ``config``.

    KEY_OWNERS says which values are those of ``config``. A given value of another key that is not
    the run's is a ``MismatchError``, a dataset that cannot be found a ``FileNotFoundError``, and a
    run in ``folder`` without ``resume`` a ``ValueError``.
    """
    path = folder / "config.toml"
    if not path.is_file():
        return config
    if not resume:
        raise ValueError(f"{folder} already holds a run: resume it, or choose another out=")
    if _is_imported(folder):
        raise MismatchError(
            f"{folder} was imported and has no training to resume: start another run from it, "
            f"init_from={folder}"
        )
    stored, given = locate_data(load_config(path), folder), given_keys(config)
    changes: dict[str, Setting] = {}
    for key in config_keys():
        value, kept, owner = get_value(config, key), get_value(stored, key), KEY_OWNERS.get(key)
        if owner == "call" or (owner == "both" and key in given):
            changes[key.replace(".", "__")] = value
        elif key in given and value not in {kept, UNRESOLVED.get(key, kept)}:
            raise MismatchError(
                f"{folder} was started with {key} = {kept!r}, not {value!r}: leave it out, or "
                f"start another run"
            )
    if not config.train.steps:  # once its minutes are over, the run's config has their steps
        changes["train__steps"] = stored.train.steps
        minutes = changes.get("train__minutes")
        if minutes and minutes != stored.train.minutes and stored.train.steps:
            raise MismatchError(
                f"{folder} is a run of {stored.train.steps} steps, which train.minutes = "
                f"{minutes} does not change: give steps="
            )
    _check_data_exists(stored, given, folder)
    return replace(stored, **changes)


def _is_imported(folder: Path) -> bool:
    """Return whether the checkpoint of ``folder`` is of a published model, not of a training."""
    for checkpoint in list_checkpoints(folder)[-1:]:
        with contextlib.suppress(FormatError):
            return "loader" not in read_state(checkpoint)
    return False


def _check_data_exists(stored: Config, given: set[str], folder: Path) -> None:
    """Raise ``FileNotFoundError`` for a dataset of the run that is missing and was not given."""
    named = named_paths(stored.data.validation) if stored.data.validation else {}
    paths = [("data.path", "data=", stored.data.path)]
    paths += [("data.validation", "validation=", path) for path in named.values()]
    for key, setting, path in paths:
        if path and key not in given and not Path(path).exists():
            raise missing_data(path, stored, folder, "data", setting)


def _resolve(config: Config, tokenizer: Tokenizer, device: str, *, alone: bool) -> Config:
    """Return ``config`` with the values that follow from the data and the machine filled in.

    ``alone``: whether this process trains by itself; several choose nothing by their own clocks.
    """
    size = config.model.vocab_size or tokenizer.vocab_size
    if size < tokenizer.vocab_size:
        raise MismatchError(
            f"model.vocab_size = {size}, but the tokenizer has {tokenizer.vocab_size} ids"
        )
    if not config.train.steps and not config.train.minutes:
        raise ValueError("train.steps and train.minutes are both 0: set one of them")
    steps = config.optim.newton_schulz_steps or default_newton_schulz_steps(device)
    config = replace(config, vocab_size=size)
    if config.train.autotune and device == "cpu" and alone:
        config = autotune(config)
    return replace(
        config,
        dtype=resolve_dtype(config.train.dtype, device),
        newton_schulz_steps=steps,
        threads=config.train.threads or torch.get_num_threads(),
    )


def _build(
    config: Config, folder: Path, device: str, group: Ranks, data: TrainingData
) -> TrainingRun:
    """Return the run with a new model, optimizers and loader."""
    settings = config.train
    if settings.batch_size % group.world_size:
        raise ValueError(
            f"train.batch_size = {settings.batch_size} is not a multiple of the number of "
            f"processes, {group.world_size}"
        )
    model = Transformer(config.model, settings.seed).to(device)
    if settings.compile:
        model.compile_layers()
    if device.startswith("cuda"):
        wanted = settings.micro_batch_size or settings.batch_size // group.world_size
        rows = fitting_rows(model, wanted, device, settings.dtype)
        config = config if rows == wanted else replace(config, micro_batch_size=rows)
    return TrainingRun(
        folder=folder,
        config=config,
        device=device,
        group=group,
        data=data,
        model=model,
        optimizers=build_optimizers(model, config.optim, group),
        trained=DistributedDataParallel(model) if group.world_size > 1 else model,
        loader=run_loader(
            config,
            data.train,
            rank=group.rank,
            world_size=group.world_size,
            device=None if device == "cpu" else device,
        ),
        health=Health.of(config),
        bos_id=data.train.bos_id,
    )
