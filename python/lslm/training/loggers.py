"""Rows of metrics.jsonl sent to other tools as well: TensorBoard and Weights & Biases."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from lslm.config import config_keys, get_value

if TYPE_CHECKING:
    from pathlib import Path

    from lslm.config import Config

__all__ = ["Logger", "check_loggers", "open_loggers"]

Logger: TypeAlias = Callable[[Mapping[str, Any]], object]
"""Takes a row of metrics.jsonl, which has ``step`` and the figures of that step."""


def check_loggers(config: Config) -> list[str]:
    """Return the names in ``train.loggers``; ``ValueError`` for one unknown or not installed."""
    names = [name.strip() for name in config.train.loggers.split(",") if name.strip()]
    for name in names:
        if name not in _OPENERS:
            raise ValueError(f"train.loggers: {name!r} is unknown: choose {' or '.join(_OPENERS)}")
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"train.loggers: {name} is not installed: pip install {name}")
    return names


def open_loggers(config: Config, run: Path) -> list[Logger]:
    """Return the loggers that ``train.loggers`` names, for the run in the folder ``run``."""
    return [_OPENERS[name](config, run) for name in check_loggers(config)]


def _tensorboard(_: Config, run: Path) -> Logger:
    """Return a logger that writes event files into RUN/tensorboard."""
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(run / "tensorboard")

    def log(row: Mapping[str, Any]) -> None:
        for name, value in _numbers(row).items():
            writer.add_scalar(name, value, row["step"])
        writer.flush()

    return log


def _wandb(config: Config, run: Path) -> Logger:
    """Return a logger to a run of Weights & Biases; the same one when the run is resumed."""
    wandb = importlib.import_module("wandb")
    settings = {key: get_value(config, key) for key in config_keys()}
    key = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
    there = wandb.init(
        project="lslm", name=run.name, id=key, dir=str(run), config=settings, resume="allow"
    )
    return lambda row: there.log(_numbers(row), step=row["step"])


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a row, without its step and without text."""
    known = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return {name: value for name, value in known.items() if name != "step"}


_OPENERS: dict[str, Callable[[Config, Path], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
